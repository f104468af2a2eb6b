"""In which encoding a file is written: by its mark, else UTF-8 or, where that fails, GB18030."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...adapters.errors import StartError

MARKS = (  # UTF-32's little-endian one begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NO_TEXT = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "Zstandard"))
NO_JSON = ((b"PAR1", "Parquet"), (b"ARROW1", "Arrow"))
BLOCK = 1 << 20  # bytes at a time
RUN = re.compile(rb"[\x80-\xff]+")
ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}")
FAULTS = 10  # GB18030 has at most one fault in so many of the places that are no UTF-8


@dataclass(frozen=True, slots=True)
class Encoding:
    """`errors` is how a byte that is no text is kept, so that its record can be refused.

    A `guessed` one is told to the user.
    """

    name: str
    errors: str = "surrogateescape"
    guessed: bool = False


def encoding_of(file: Path) -> Encoding:
    """Raises StartError for what is no text at all, and OSError."""
    with file.open("rb") as content:
        start = content.read(8)
    _refuse(file, start)
    for mark, name in MARKS:
        if start.startswith(mark):
            return Encoding(name, "surrogateescape" if name == "utf-8-sig" else "surrogatepass")
    if _is_utf8(file):
        return Encoding("utf-8")
    good, bad = _runs(file)
    if bad > good and _gb18030_faults(file) * FAULTS <= bad:
        return Encoding("gb18030", guessed=True)
    return Encoding("utf-8")


def _refuse(file: Path, start: bytes) -> None:
    for mark, name in NO_TEXT:
        if start.startswith(mark):
            raise StartError(f"{file} is compressed ({name}); unpack it first")
    for mark, name in NO_JSON:
        if start.startswith(mark):
            raise StartError(f"{file} is {name}; write its records as JSON or JSONL")


def _is_utf8(file: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in _blocks(file):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _runs(file: Path) -> tuple[int, int]:
    """How many runs of bytes beyond ASCII are UTF-8, and how many are not.

    An escape speaks for UTF-8 too: whoever writes those writes nothing else on purpose.
    """
    good = bad = 0
    for block in _blocks(file):
        good += len(ESCAPE.findall(block))
        for run in RUN.finditer(block):
            if run.start() == 0 or run.end() == len(block):
                continue  # perhaps a part of one
            whole = "\ufffd" not in run[0].decode(errors="replace")
            good, bad = good + whole, bad + (not whole)
    return good, bad


def _gb18030_faults(file: Path) -> int:
    decoder = codecs.getincrementaldecoder("gb18030")("replace")
    return sum(decoder.decode(block).count("\ufffd") for block in _blocks(file))


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            yield block
