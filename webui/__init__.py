"""The chat page on port 7860."""
