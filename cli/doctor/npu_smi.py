"""Reads what `npu-smi info` prints. Pure.

A card takes two lines: number, name and health; then chip, bus address and memory. 910 has its
memory in the last column (HBM), 310P in the one before. Processes follow in a table of their own.
"""

import re
from dataclasses import replace

from .facts import Card, Process

FIRST = re.compile(r"^\|\s*(\d+)\s+(\S*[A-Za-z]\S*)\s*\|\s*(\w+)\s*\|")
SECOND = re.compile(
    r"^\|\s*(\d+)(?:\s+\d+)?\s*\|\s*[0-9A-Fa-f:.]+|^\|\s*(\d+)(?:\s+\d+)?\s*\|\s*NA"
)
USED = re.compile(r"(\d+)\s*/\s*(\d+)")
PROCESS = re.compile(r"^\|\s*(\d+)\s+(\d+)\s*\|\s*(\d+)\s*\|\s*(.*?)\s*\|\s*(\d+)\s*\|")


def cards_in(text: str) -> tuple[Card, ...]:
    """The cards in the order of the table, each with the processes on it."""
    cards: list[Card] = []
    places: dict[tuple[str, str], int] = {}  # card and chip, as npu-smi numbers them
    started: re.Match[str] | None = None
    for line in text.splitlines():
        if process := PROCESS.match(line):
            place = places.get((process[1], process[2]))
            if place is not None:
                cards[place] = _with(cards[place], process)
        elif started and (chip := SECOND.match(line)):
            used, total = _memory(line)
            places[started[1], chip[1] or chip[2]] = len(cards)
            cards.append(Card(started[2], started[3], used, total, npu=int(started[1])))
            started = None
        else:
            started = FIRST.match(line)
    return tuple(cards)


def _memory(line: str) -> tuple[int, int]:
    """Used and all of it in MB: the last pair that is not 0 / 0."""
    pairs = [(int(a), int(b)) for a, b in USED.findall(line) if int(b)]
    return pairs[-1] if pairs else (0, 0)


def _with(card: Card, process: re.Match[str]) -> Card:
    found = Process(int(process[3]), process[4], int(process[5]))
    return replace(card, processes=(*card.processes, found))
