"""ChatGLM2 and its kin from their original checkpoints, without a line of the code beside them."""
