"""`danlu train`: starts a training, or does what the word behind it says."""

import importlib
from collections.abc import Sequence

WORDS = {  # word: module here with a main(argv)
    "inspect": "inspecting",
    "compare": "comparing",
    "merge": "merging",
}


def main(argv: Sequence[str]) -> None:
    word = argv[0] if argv and argv[0] in WORDS else ""
    module = importlib.import_module(f".{WORDS.get(word, 'launching')}", __package__)
    module.main(argv[1:] if word else argv)
