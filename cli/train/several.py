"""`python -m danlu.cli.train.several`: torchrun, with its flags, whose last word is a sentence."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

# Seconds that processes get to end after a signal: a checkpoint of a large model takes minutes.
PATIENCE = "300"
PROCESSES = "--nproc-per-node="
SPOKEN = (2, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # statuses of those who said why they end


def main(argv: Sequence[str]) -> int:
    """Imports torch; the exit status is that of the first process that failed."""
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", PATIENCE)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads(argv, cores())))  # torchrun's choice is 1
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # torchrun's; processes speak for themselves
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    logging.getLogger("torch.distributed.elastic.multiprocessing").setLevel(logging.CRITICAL)
    start: Callable[[Sequence[str]], object] = torchrun
    try:
        start(argv)
    except ChildFailedError as exc:
        rank, failure = exc.get_first_failure()
        return status_of(rank, failure.exitcode)
    except SignalException as exc:
        return 128 + int(exc.sigval)
    return 0


def cores() -> int:
    """Those that this process may use, where the system tells."""
    asked = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(asked(0)) if asked else os.cpu_count() or 1


def threads(argv: Sequence[str], cores: int) -> int:
    """Of each process: its part of the cores."""
    (count,) = (word.partition("=")[2] for word in argv if word.startswith(PROCESSES))
    return max(1, cores // int(count))


def status_of(rank: int, ended: int) -> int:
    """The status for a process that `ended` so, negative for a signal; told if it was mute."""
    if ended < 0:
        name = signal.Signals(-ended).name
        why = "; the machine's memory may be too small" if name == "SIGKILL" else ""
        print(f"danlu train: process {rank} was ended by {name}{why}", file=sys.stderr)
        return 128 - ended
    if ended not in SPOKEN:
        print(f"danlu train: process {rank} ended with status {ended}", file=sys.stderr)
    return ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
