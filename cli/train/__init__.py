"""`danlu train`: fine-tunes a model, shows what would be trained, compares, and merges."""
