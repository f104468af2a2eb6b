"""What of a model is trained, and how that is written: all of it, a LoRA, or a prefix."""
