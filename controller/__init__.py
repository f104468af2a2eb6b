"""Who serves what, and which worker gets the next request."""
