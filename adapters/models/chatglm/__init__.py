"""ChatGLM2, ChatGLM3 and CodeGeeX2 from their original files, without the code beside them."""
