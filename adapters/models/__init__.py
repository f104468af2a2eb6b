"""Model families: how they are loaded, prompted and read."""
