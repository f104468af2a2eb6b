"""How long the tenth turn of a chat waits for its first token, beside a first turn of that length.

    python -m benchmarks.turns [--engine thread] [--turns 10] [--new 40] [--first 46] [--rounds 3]

A chat whose every question has the same number of words; its tenth is compared with a first
question in a fresh chat, in turns. An engine that keeps what it has read reads only the new
question, and before it the end of the last answer: where a template puts marks around messages, a
first question of as many tokens has some words more (`--first`). Exit status 1 if the tenth waits
more than 1.3 times as long.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Sequence

from danlu.adapters.wire.generation import GenerateBody, Message

from .report import table
from .seams import Opened, opened, shared_flags

MOST = 1.3
MS = 1000.0
WORD_ROOM = 4  # tokens a word at most, with what a template puts around a message


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    ratios, rows = [], []
    longest = args.turns * (args.new * WORD_ROOM + args.tokens)
    with opened(args, 1, longest) as engine:
        for number in range(-1, args.rounds):
            chance = random.Random(number)
            last = waits(engine, args, chance, args.turns, args.new)[-1]
            first = statistics.median(
                waits(engine, args, chance, 1, args.first or args.new)[0] for _ in range(args.fresh)
            )
            if number < 0:  # the warm-up
                continue
            ratios.append(last / first)
            cells = (f"{first * MS:.1f}", f"{last * MS:.1f}", f"{ratios[-1]:.2f}")
            rows.append([str(number + 1), *cells])
    found = statistics.median(ratios)
    print(f"turn {args.turns}'s first token / a first turn's: {found:.2f}, ", end="")
    print(f"bar ≤ {MOST:g}, {'met' if found <= MOST else 'not met'}\n")
    print("\n".join(table(["round", "a first turn, ms", f"turn {args.turns}, ms", "ratio"], rows)))
    if found > MOST:
        raise SystemExit(1)


def waits(
    engine: Opened, args: argparse.Namespace, chance: random.Random, turns: int, new: int
) -> list[float]:
    """Seconds to the first token of each turn of one new chat, whose questions have `new` words."""
    talk: list[Message] = []
    seconds = []
    for _ in range(turns):
        talk.append(Message(role="user", content=engine.words(new, chance)))
        stream = engine.ask(chat(talk, args.tokens))
        stream.wait()
        seconds.append(stream.first)
        talk.append(Message(role="assistant", content="".join(stream.texts)))
    return seconds


def chat(talk: Sequence[Message], tokens: int) -> GenerateBody:
    return GenerateBody(
        messages=list(talk), max_new_tokens=tokens, temperature=0.0, ignore_eos=True, echo=False
    )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = shared_flags(__doc__)
    parser.add_argument("--turns", default=10, type=int)
    parser.add_argument("--new", default=40, type=int, help="words of each question")
    parser.add_argument("--first", type=int, help="words of a first question (default: --new)")
    parser.add_argument("--tokens", default=16, type=int, help="of each answer")
    parser.add_argument("--fresh", default=3, type=int, help="first turns a round, for a median")
    parser.add_argument("--rounds", default=3, type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
