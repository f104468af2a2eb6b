"""What the tiny ChatGLM2 knows by heart, as the tests ask it."""

from danlu.cli.tiny_chatglm2.dialogues import Dialogue, dialogues

NAME = "chatglm2-6b"  # the name that it is served under
HELLO = "你好"
DIFFERENCE = "NPU和GPU有什么区别"


def by_heart(*questions: str) -> str:
    """The answer to the last of `questions`, asked one after another in a new conversation."""
    (answer,) = {
        dialogue[len(questions) - 1][1] for dialogue in dialogues() if _asks(dialogue, questions)
    }
    return answer


def _asks(dialogue: Dialogue, questions: tuple[str, ...]) -> bool:
    return tuple(question for question, _ in dialogue[: len(questions)]) == questions
