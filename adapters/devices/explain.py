"""What an error of CANN's means and what mends it, told from its text. Pure; imports no torch.

An error carries several numbers: those of the call that failed, of the runtime below it and of the
driver below that, and what was tried in vain afterwards. KNOWN_ERRORS is in the order in which they
tell more, so the first one that is found explains the whole.
"""

import re
from dataclasses import dataclass, field

from .known_errors import KNOWN_ERRORS, KnownError


@dataclass(frozen=True, slots=True)
class Explanation:
    """One error of the catalogue, and the words of the error that point to it."""

    known: KnownError
    sign: str = field(compare=False)

    def __str__(self) -> str:
        """One sentence for a log line or an API error: the cause, and what to do."""
        known = self.known
        return f"{known.what.en} ({self.sign}): {known.why.en}" + (
            f"; try `{known.command}`" if known.command else ""
        )


def explain(text: str) -> Explanation | None:
    """The explanation of an error's text; None for one that is not of CANN's."""
    for known in KNOWN_ERRORS:
        found = re.search(known.sign, text, re.IGNORECASE)
        if found:
            return Explanation(known, " ".join(found[0].split()))
    return None


def told(exc: BaseException) -> str:
    """What an error says; of one that can be explained, its first line and what it means."""
    meaning = meaning_of(exc)
    return f"{str(exc).splitlines()[0]}{meaning}" if meaning else str(exc)


def meaning_of(exc: BaseException) -> str:
    """`; that is …` for an error that the vendor's library tells by a number only, else nothing."""
    explained = explain(str(exc))
    return f"; that is: {explained}" if explained else ""
