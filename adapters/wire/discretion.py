"""What a stranger's words may tell those who are no operators: no address, no folder, no traceback.
Pure.

A file keeps its name: "config.json is damaged" helps, and where it lies does not. Commands in
backticks stay whole: they are advice, such as the worker gives for an error of CANN's.
"""

import re

TRACEBACK = "Traceback (most recent call last)"
NOWHERE = "an address"
SOURCES = r"(?!(?:py|pyx|c|cc|cpp|cu|h|hpp|ts)\b)"  # file.py:12 is a line of a file

ADDRESSES = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"`<>()]*[^\s'\"`<>().,:;]"  # a URL, without what ends a sentence
    r"|\bhost='[^']*'(?:, port=\d+)?"  # as requests and urllib3 write it
    r"|(?<=\bhost )[\w.-]+:\d+"  # as aiohttp does
    r"|\('[^'()]*'(?:, \d+)+\)"  # as asyncio does
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]*\w)"
    r"|\[[0-9a-f]*:[0-9a-f:]*\](?::\d+)?"
    rf"|(?<![\w.-])(?:localhost|[\w-]+(?:\.[\w-]+)*\.{SOURCES}[a-z][\w-]*):\d{{2,5}}\b",
    re.IGNORECASE,
)
FOLDERS = re.compile(r"(`[^`]*`)|(?<![\w/.])~?/(?:[^\s/'\"`:,;<>()]+/)+")


def discreet(words: str) -> str:
    """The first line of `words`, or of a traceback the last, without addresses and folders."""
    lines = [line.strip() for line in words.splitlines() if line.strip()] or [""]
    line = lines[-1] if words.lstrip().startswith(TRACEBACK) else lines[0]
    return FOLDERS.sub(r"\1", ADDRESSES.sub(NOWHERE, line))
