"""How much faster answers are with tokens looked up in the prompt, where they quote and where not.

    python -m benchmarks.lookup [--guesses 8] [--streams 1,4] [--tokens 96] [--rounds 3]

Two engines with the same weights, one of them with `--prompt-lookup-num-tokens`, answer the same
questions in turns: to repeat a passage (greedy), and to tell a story (drawn, temperature 0.8, the
same seeds for both). Answers are compared, too; in the weights' short number formats a token may
differ where two are as good as equally likely, because more rows are added in another order.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from danlu.adapters.wire.generation import GenerateBody, Message

from .referee import ROOT
from .report import table
from .seams import Opened, opened, shared_flags

WORDS = (50, 160)  # of a passage, from and to
HEROES = (
    "a fox",
    "a baker",
    "two ships",
    "the moon",
    "a clock",
    "a river",
    "an old coat",
    "a king",
)
ROOM = 512  # tokens of a prompt at most


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    tasks = {"repeats a passage": repeats(args.tokens), "tells a story": stories(args.tokens)}
    room = (max(args.streams), ROOM + args.tokens)
    rows = []
    with opened(args, *room) as plain, opened(_guessing(args), *room) as guessing:
        for task, bodies in tasks.items():
            for streams in args.streams:
                found = _compared(plain, guessing, bodies, streams, args)
                rows.append([task, str(streams), *found])
                print(*rows[-1], sep=", ", file=sys.stderr)  # it takes a while
    head = ("answer", "streams", "tokens/s without", "with", "with / without", "same answers")
    print("\n".join(table(head, rows)))


def repeats(tokens: int) -> list[GenerateBody]:
    """Passages of this project's own documentation, to be repeated."""
    texts = (ROOT / "docs" / "architecture.md").read_text().split("\n\n")
    passages = [text for text in texts if WORDS[0] <= len(text.split()) <= WORDS[1]]
    asked = "Repeat the following text exactly, word by word:\n\n"
    return [_body(asked + text, tokens, 0.0, None) for text in passages]


def stories(tokens: int) -> list[GenerateBody]:
    asked = "Tell a long story about "
    return [
        _body(f"{asked}{hero}.", tokens, 0.8, seed=number) for number, hero in enumerate(HEROES)
    ]


def _body(text: str, tokens: int, temperature: float, seed: int | None) -> GenerateBody:
    """An answer of exactly so many tokens."""
    return GenerateBody(
        messages=[Message(role="user", content=text)],
        max_new_tokens=tokens,
        temperature=temperature,
        seed=seed,
        ignore_eos=True,
        echo=False,
    )


def _compared(
    plain: Opened,
    guessing: Opened,
    bodies: Sequence[GenerateBody],
    streams: int,
    args: argparse.Namespace,
) -> list[str]:
    """Both rates, their ratio of one round, and how many answers are the same."""
    rates: dict[Opened, list[float]] = {plain: [], guessing: []}
    same = asked = 0
    for number in range(-1, args.rounds):  # the first warms up
        mine = [bodies[(number * streams + i) % len(bodies)] for i in range(streams)]
        said: dict[Opened, list[str]] = {}
        for engine in (plain, guessing) if number % 2 else (guessing, plain):
            seconds, said[engine] = _answered(engine, mine)
            rates[engine].append(streams * args.tokens / seconds)
        same += sum(a == b for a, b in zip(said[plain], said[guessing], strict=True))
        asked += streams
    ratios = [b / a for a, b in zip(rates[plain][1:], rates[guessing][1:], strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
    middles = [f"{statistics.median(found[1:]):.1f}" for found in rates.values()]
    return [*middles, spread, f"{same} of {asked}"]


def _answered(engine: Opened, bodies: Sequence[GenerateBody]) -> tuple[float, list[str]]:
    """Seconds from the first token to the end of the last answer, and the texts.

    Reading the prompts is no part of it: both do that alike, and what they keep of them differs.
    """
    streams = [engine.ask(body) for body in bodies]
    for stream in streams:
        stream.wait()
    begun = min(stream.times[0] for stream in streams)
    return time.perf_counter() - begun, ["".join(stream.texts) for stream in streams]


def _guessing(args: argparse.Namespace) -> argparse.Namespace:
    flags = [*args.worker_flags, "--prompt-lookup-num-tokens", str(args.guesses)]
    return argparse.Namespace(**{**vars(args), "worker_flags": flags})


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = shared_flags(__doc__)
    parser.add_argument("--guesses", default=8, type=int, help="tokens that are looked up at most")
    parser.add_argument("--streams", default=[1, 4], type=_numbers)
    parser.add_argument("--tokens", default=96, type=int, help="of each answer")
    parser.add_argument("--rounds", default=3, type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
