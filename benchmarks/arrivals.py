"""How long running streams are held up while long prompts arrive: p99 gap, with and without.

    python -m benchmarks.arrivals [--engine thread] [--streams 4] [--long 2000] [--rounds 3]

In turns, the same streams run alone and while prompts of 2,000 tokens arrive one after the other.
Exit status 1 if the p99 gap with them is more than three times that without.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Sequence

from danlu.cli.bench.summary import Spread, spread

from .report import percentiles, table
from .seams import Opened, Stream, greedy, opened, shared_flags

MOST = 3.0
PROMPT = 32  # tokens of a running stream's own prompt
ANSWER = 4  # tokens of the answer to a long prompt


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    ratios, rows = [], []
    with opened(args, args.streams + 1, args.long + PROMPT + args.tokens) as engine:
        for number in range(-1, args.rounds):
            without, _ = measured(engine, args, number, arriving=False)
            during, arrived = measured(engine, args, number, arriving=True)
            if number < 0:  # the warm-up
                continue
            ratios.append(during.p99 / without.p99)
            cells = (percentiles(without), percentiles(during), f"{ratios[-1]:.2f}", str(arrived))
            rows.append([str(number + 1), *cells])
    found = statistics.median(ratios)
    print(f"p99 gap with prompts of {args.long} arriving / without: {found:.2f}, ", end="")
    print(f"bar ≤ {MOST:g}, {'met' if found <= MOST else 'not met'}\n")
    head = ["round", "gaps alone, ms p50 / p95 / p99", "with arrivals", "p99 ratio", "arrived"]
    print("\n".join(table(head, rows)))
    if not found <= MOST:  # also where nothing could be compared: nan
        raise SystemExit(1)


def measured(
    engine: Opened, args: argparse.Namespace, number: int, *, arriving: bool
) -> tuple[Spread, int]:
    """The running streams' gaps once all have begun, and how many long prompts were read then."""
    chance = random.Random(f"{number} {arriving}")
    streams = [
        engine.ask(greedy(engine.ids(PROMPT, chance), args.tokens)) for _ in range(args.streams)
    ]
    arrived = 0
    while arriving and not any(stream.closed.is_set() for stream in streams):
        engine.ask(greedy(engine.ids(args.long, chance), ANSWER)).wait()
        arrived += 1
    for stream in streams:
        stream.wait()
    return spread(gaps(streams)), arrived


def gaps(streams: Sequence[Stream]) -> list[float]:
    """Between pieces, from when the last stream began to when the first one ended."""
    begin = max(stream.times[0] for stream in streams)
    end = min(stream.times[-1] for stream in streams)
    return [
        b - a
        for stream in streams
        for a, b in zip(stream.times, stream.times[1:], strict=False)
        if begin <= a and b <= end
    ]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = shared_flags(__doc__)
    parser.add_argument("--streams", default=4, type=int, help="that run")
    parser.add_argument("--tokens", default=128, type=int, help="of each running stream's answer")
    parser.add_argument("--long", default=2000, type=int, help="tokens of an arriving prompt")
    parser.add_argument("--rounds", default=3, type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
