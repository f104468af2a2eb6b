"""ChatGLM2's own finish of an answer, on text as it comes. Pure; what is let out stays.

The answer has no white space around it, and the date that the model was trained to leave open is
filled in. Two stages, because what ends an answer is looked for between them: what a reader will
see, but before it is known where that ends.
"""

MARK, MEANT = "[[训练时间]]", "2023年"


class Wording:
    """Fills the date in and drops white space at the beginning, unless the text goes on from one.

    Owned by the thread that runs the sequence.
    """

    def __init__(self, *, begun: bool = False) -> None:
        self._begun = begun
        self._held = ""

    @property
    def held(self) -> int:
        """Characters held back, as many as they come to at least."""
        return min(len(self._held), len(MEANT))

    def feed(self, text: str) -> str:
        """What has become certain: all but an end with which the mark may begin."""
        text = (self._held + text).replace(MARK, MEANT)
        text = text if self._begun else text.lstrip()
        kept = next((n for n in range(len(MARK) - 1, 0, -1) if text.endswith(MARK[:n])), 0)
        self._held = text[len(text) - kept :]
        self._begun = self._begun or text != ""
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back and has become no mark."""
        held, self._held = self._held, ""
        return held


class Ending:
    """Holds white space back until something follows; at the end nothing does."""

    def __init__(self) -> None:
        self._held = ""

    held = 0  # of what a reader will see

    def feed(self, text: str) -> str:
        text = self._held + text
        certain = text.rstrip()
        self._held = text[len(certain) :]
        return certain

    def flush(self) -> str:
        return ""


class Untouched:
    """Either stage where there is nothing to do."""

    held = 0

    def feed(self, text: str) -> str:
        return text

    def flush(self) -> str:
        return ""
