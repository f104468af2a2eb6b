"""Logging, configured once, from a program's main(): FastChat's line format, files on request."""

import logging
import logging.handlers
import sys
from pathlib import Path

from ..errors import StartError

LINE = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
QUIET = (
    "httpx",
    "httpcore",
    "urllib3",
    "asyncio",
    "aiohttp.access",
    "uvicorn.access",
    "uvicorn.error",
)


def configure(program: str, log_dir: str = "", level: int = logging.INFO) -> None:
    """Send every log line to stderr and, if `log_dir` is not empty, to LOGDIR/<program>.log.

    Files turn over daily, as FastChat's do. Standard output stays the program's own. Raises
    StartError for a directory that cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log_dir:
        handlers.append(_file(Path(log_dir), program))
    logging.basicConfig(level=level, format=LINE, handlers=handlers, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def configure_one_of(program: str, rank: str) -> None:
    """As above, for process `rank` of several: the first tells what it does, the others only what
    goes wrong, with their rank before it."""
    first = rank == "0"
    configure(program, level=logging.INFO if first else logging.WARNING)
    for handler in () if first else logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"[process {rank}] {LINE}"))


def _file(log_dir: Path, program: str) -> logging.Handler:
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        return logging.handlers.TimedRotatingFileHandler(
            log_dir / f"{program}.log", when="D", utc=True, encoding="utf-8"
        )
    except OSError as exc:
        raise StartError(f"cannot write log files to {str(log_dir)!r}: {exc.strerror}") from exc
