"""A tiny real ChatGLM2, trained from nothing on the dialogues here until it knows them by heart."""
