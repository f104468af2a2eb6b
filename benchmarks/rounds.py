"""Whether an engine gives everything back: rounds of requests of mixed lengths, some of them left.

    python -m benchmarks.rounds [--engine thread] [--requests 1000] [--rounds 10] [--left 0.3]

After each round: every stream was closed exactly once, and nothing runs or waits. Peak memory must
not grow over the rounds, the first one aside. Exit status 1 if anything of that is not so.
"""

import argparse
import gc
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .report import table
from .seams import Opened, Stream, greedy, opened, shared_flags

GROWTH = 1.02  # of peak memory from the second round to the last: what allocators keep
SETTLE = 30.0  # seconds in which the queue must be empty after the last stream has closed
STEP = 0.02
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Round:
    """What was left of one round. `peak` is the process' highest memory so far, in bytes."""

    streams: int
    closed_once: int
    failed: int
    left: int
    queue: int
    memory: int
    peak: int
    seconds: float


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    with opened(args, args.at_a_time, args.longest_prompt + args.longest_answer) as engine:
        found = [one_round(engine, args, number) for number in range(args.rounds)]
    faults = faults_of(found)
    print("; ".join(faults) if faults else f"{args.rounds} rounds left nothing behind")
    print()
    print("\n".join(table(HEAD, map(_row, range(1, len(found) + 1), found))))
    if faults:
        raise SystemExit(1)


def one_round(engine: Opened, args: argparse.Namespace, number: int) -> Round:
    """All requests, at most so many at a time, each with its own lengths, some left on the way."""
    chance = random.Random(number)
    begun = time.perf_counter()
    streams: list[Stream] = []
    running: list[Stream] = []
    for _ in range(args.requests):
        while len(running) >= args.at_a_time:
            running[0].closed.wait(SETTLE)
            running = [stream for stream in running if not stream.closed.is_set()]
        streams.append(_ask(engine, args, chance))
        running.append(streams[-1])
    for stream in streams:
        stream.closed.wait(SETTLE)
    queue = _settled(engine)
    seconds = time.perf_counter() - begun
    gc.collect()
    return Round(
        streams=len(streams),
        closed_once=sum(stream.closes == 1 for stream in streams),
        failed=sum(stream.error is not None for stream in streams),
        left=sum(stream.abandoned for stream in streams),
        queue=queue,
        memory=_memory("VmRSS"),
        peak=_memory("VmHWM"),
        seconds=seconds,
    )


def faults_of(found: Sequence[Round]) -> list[str]:
    """What is not as it was, in words."""
    faults = []
    for number, one in enumerate(found, 1):
        if one.closed_once != one.streams:
            faults.append(
                f"round {number}: {one.streams - one.closed_once} streams not closed once"
            )
        if one.failed:
            faults.append(f"round {number}: {one.failed} streams failed")
        if one.queue:
            faults.append(f"round {number}: {one.queue} still run or wait")
    if len(found) > 2 and found[-1].peak > found[1].peak * GROWTH:
        grown = (found[-1].peak - found[1].peak) / MIB
        faults.append(f"peak memory grew by {grown:.0f} MiB from round 2 to round {len(found)}")
    return faults


def _ask(engine: Opened, args: argparse.Namespace, chance: random.Random) -> Stream:
    ids = engine.ids(chance.randint(1, args.longest_prompt), chance)
    tokens = chance.randint(1, args.longest_answer)
    leave_after = chance.randrange(tokens) if chance.random() < args.left else None
    return engine.ask(greedy(ids, tokens), leave_after)


def _settled(engine: Opened) -> int:
    """What still runs or waits once nothing should."""
    deadline = time.monotonic() + SETTLE
    while engine.engine.queue_length() and time.monotonic() < deadline:
        time.sleep(STEP)
    return engine.engine.queue_length()


def _memory(field: str) -> int:
    """Bytes, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


HEAD = [
    "round",
    "streams",
    "closed once",
    "failed",
    "left",
    "queue",
    "memory, MiB",
    "peak",
    "seconds",
]


def _row(number: int, one: Round) -> list[str]:
    counts = (number, one.streams, one.closed_once, one.failed, one.left, one.queue)
    memory = (f"{one.memory / MIB:.0f}", f"{one.peak / MIB:.0f}", f"{one.seconds:.1f}")
    return [*map(str, counts), *memory]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = shared_flags(__doc__)
    parser.add_argument("--requests", default=1000, type=int, help="a round")
    parser.add_argument("--rounds", default=10, type=int)
    parser.add_argument("--left", default=0.3, type=float, help="share of them that is left")
    parser.add_argument("--at-a-time", default=16, type=int)
    parser.add_argument("--longest-prompt", default=64, type=int)
    parser.add_argument("--longest-answer", default=16, type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
