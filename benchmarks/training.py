"""Our training beside transformers' Trainer as FastChat uses it, and in two processes.

    python -m benchmarks.training [--contenders danlu,trainer:max] [--samples 64] [--rounds 3]

Every contender is a process of its own with the same weights; in a round each begins with them anew
and learns from the same samples once, in the same number format and with as many threads, two
processes with as many each. They take turns, and ratios are those of one round. The loss of other
samples after a pass shows whether everyone did the same work.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from . import passes
from .contenders.learning import Conditions
from .contest import turns
from .engine import machine
from .models import glm_to_train
from .passes import Passed, Trained
from .referee import Process, Say, module
from .servers import free_port

EVERYONE = "danlu,danlu:packed,danlu:x2,trainer:dynamic,trainer:max"
PROGRAMS = {"danlu": "course", "trainer": "trainer"}
USUAL = "dynamic"  # the kind of a contender that has no other name


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    asked = Conditions(USUAL, glm_to_train(), args.threads, args.batch, args.longest)
    found = _contest(asked, args)
    print("\n".join(_page(found, asked, args)))
    if args.json:
        plain = {name: asdict(trained) for name, trained in found.items()}
        Path(args.json).write_text(json.dumps({"asked": vars(args), "trained": plain}))


def _contest(asked: Conditions, args: argparse.Namespace) -> dict[str, Trained]:
    """What came of it; after Ctrl-C, what had come of it by then."""
    processes: list[Process] = []
    found: dict[str, Trained] = {}
    with ExitStack() as ending:
        try:
            for name in args.contenders:
                processes.append(started(name, asked))
                ending.callback(processes[-1].close)
                found[name] = Trained(processes[-1].standing)
            ready = [one for one in processes if one.wait_until_ready()]
            _rounds(ready, found, args, say=_say)
        except KeyboardInterrupt:
            _say("interrupted; what was measured until now:")
    return found


def _rounds(
    ready: Sequence[Process], found: Mapping[str, Trained], args: argparse.Namespace, *, say: Say
) -> None:
    """A short pass that does not count, and then everyone's turn in each round; other samples in
    each, the same for everybody."""
    inside = {one.standing.name: one for one in ready if _pass(one, args.batch, args.rounds)}
    for number, order in turns(list(inside), args.rounds):
        for name in order:
            if name in inside:
                say(f"round {number + 1} of {args.rounds}: {name}")
                passed = _pass(inside[name], args.samples, number)
                if passed is None:
                    del inside[name]
                else:
                    found[name].passes.append(passed)


def _pass(process: Process, count: int, seed: int) -> Passed | None:
    """None if it broke down."""
    heard = process.ask({"count": count, "seed": seed})
    return Passed(**heard) if heard is not None else None


def started(name: str, asked: Conditions) -> Process:
    program, _, kind = name.partition(":")
    told = Conditions(kind or USUAL, asked.model, asked.threads, asked.batch, asked.longest)
    env = {"OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
    if kind == "x2":
        env |= FIRST_OF_TWO | {"MASTER_PORT": str(free_port())}
    return Process(name, module(PROGRAMS[program], *told.flags()), env)


FIRST_OF_TWO = {
    "RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
}


def _page(
    found: Mapping[str, Trained], asked: Conditions, args: argparse.Namespace
) -> Iterator[str]:
    yield (
        f"{args.samples} samples a round, {args.batch} to a step, {args.rounds} rounds, "
        f"{args.threads} threads a process, float32, layers computed twice; {machine()}; load "
        f"{os.getloadavg()[0]:.1f} at the end."
    )
    yield passes.told_of(asked.samples(args.samples, 0).lengths.tolist(), args.longest)
    yield ""
    yield from passes.speeds(found)
    yield from passes.ratios(found)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contenders", default=EVERYONE.split(","), type=lambda t: t.split(","))
    parser.add_argument("--samples", default=64, type=int, help="of a round")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--batch", default=8, type=int, help="samples of a step")
    parser.add_argument("--longest", default=512, type=int, help="tokens of a sample")
    parser.add_argument("--threads", default=1, type=int, help="of a process")
    parser.add_argument("--json", default="", help="a file for every pass")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
