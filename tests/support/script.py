"""What the scripted stock worker says; shared by the worker, in FastChat's Python, and the tests.

The texts are those of the golden traces. They are not append-only, as FastChat's for ChatGLM are
not: a comma turns full-width, half an emoji becomes one, a marker becomes a year.
"""

NAME = "chatglm2-6b"
CONTEXT = 200
TEXTS = ("你", "你好", "你好,", "你好，我", "你好，我\ufffd", "你好，我😊", "你好，我😊[[训练时")
ANSWER = "你好，我😊2023年。"
VECTOR = (0.6, 0.8)
PREFIX = 2  # tokens before every text, as ChatGLM2 has; a character is one token
PAUSE = 0.2  # seconds between two frames of a SLOW answer
