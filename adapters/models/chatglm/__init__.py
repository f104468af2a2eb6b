"""ChatGLM2, ChatGLM3 and CodeGeeX2: their original files, read and written as transformers' GLM."""
