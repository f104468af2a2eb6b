"""Processes that train together, really started, and what each of them does.

`python -m support.ranks SCENARIO FOLDER` is one of them; its results are in FOLDER/RANK.pt.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from danlu.adapters.errors import StartError
from danlu.training.learner import Batch, Learner, recompute_layers, trained_parameters
from danlu.training.methods.choice import method_for
from danlu.training.parallel.checkpoints import Checkpoints, Trained
from danlu.training.parallel.folders import name_of
from danlu.training.parallel.gathering import gathered
from danlu.training.parallel.launch import Place, Ranks, joined
from danlu.training.parallel.loading import begin
from danlu.training.parallel.resuming import facts_of, resume
from danlu.training.parallel.sharding import local, shards
from danlu.training.progress import Progress
from danlu.training.settings import TrainingSettings

from .processes import Program, free_port

TESTS = Path(__file__).resolve().parents[1]
ROWS, TOKENS, WORDS = 4, 12, 90
STEPS, SAVED = 4, 2
METHODS = ("lora", "qlora", "ptuning")
LOST = 3  # exit status of a process that lost another one


@dataclass(frozen=True, slots=True)
class Plain:
    """Trains all weights, or where `only` is given those whose names hold it."""

    only: str = ""
    keeps_base: bool = False

    def learner(self, model: PreTrainedModel) -> Learner:
        learner = Learner(model)
        for name, weights in learner.named_parameters():
            weights.requires_grad_(self.only in name)
            if self.only in name:
                weights.data = weights.data.float()
        return learner

    def initialise(self, learner: Learner, seed: int) -> None:
        return None


@dataclass(frozen=True, slots=True)
class In:
    compute: torch.dtype = torch.float32


def settings(folder: Path, **changes: Any) -> TrainingSettings:
    """Of a training of the model in folder/model; the processes take its rows together."""
    made = TrainingSettings(
        model_name_or_path=str(folder / "model"),
        output_dir=str(folder / "run"),
        device="cpu",
        ddp_timeout=120,
        per_device_train_batch_size=ROWS // 2,
    )
    return replace(made, **changes)


def batch(step: int, ranks: Ranks) -> Batch:
    """This process' rows of a step; their first half is prompt."""
    chance = torch.Generator().manual_seed(step)
    ids = torch.randint(3, WORDS, (ROWS, TOKENS), generator=chance)
    labels = ids.clone()
    labels[:, : TOKENS // 2] = -100
    mine = slice(*(ROWS // ranks.count * (ranks.rank + i) for i in (0, 1)))
    positions = torch.arange(TOKENS).expand(ROWS, TOKENS)
    return Batch(ids[mine], labels[mine], positions[mine])


def adam(learner: Learner) -> torch.optim.Optimizer:
    return torch.optim.AdamW(trained_parameters(learner).values(), lr=1e-2, eps=1e-3)


def step(number: int, learner: Learner, optimiser: torch.optim.Optimizer, ranks: Ranks) -> float:
    """The loss of all processes' rows."""
    optimiser.zero_grad()
    loss = learner(batch(number, ranks))
    loss.backward()
    for weights in trained_parameters(learner).values():
        assert weights.grad is not None
        weights.grad /= ROWS * TOKENS // 2
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimiser.step()
    return ranks.total(loss.item())[0]


def gradients(learner: Learner, ranks: Ranks) -> dict[str, Tensor]:
    """Of the sum of the losses of all processes' rows, whole, in the first process."""
    learner.zero_grad()
    learner(batch(0, ranks)).backward()
    found = {n: p.grad for n, p in trained_parameters(learner).items() if p.grad is not None}
    whole = gathered(found, ranks)
    learner.zero_grad()
    return whole


def held(optimiser: torch.optim.Optimizer) -> int:
    """Numbers of the optimiser's that lie in this process."""
    states = [s for of in optimiser.state.values() for s in of.values()]
    return sum(local(state).numel() for state in states if state.dim())


def whole(learner: Learner, ranks: Ranks) -> dict[str, Tensor]:
    return gathered(dict(learner.named_parameters()), ranks)


def scores(learner: Learner, ranks: Ranks) -> Tensor:
    """What the model says of the same tokens in every process."""
    rows = batch(1, Ranks(Place(), ranks.device, None))
    with torch.no_grad():
        found: Tensor = learner(rows)
    return found


def keeper(
    folder: Path,
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    ranks: Ranks,
    write: Callable[[Mapping[str, Tensor], Path], None] | None = None,
) -> Checkpoints:
    def served(state: Mapping[str, Tensor], out: Path) -> None:
        out.mkdir()
        torch.save(dict(state), out / "weights.bin")

    facts = facts_of(settings(folder), "samples", ranks.count)
    trained = Trained(learner, optimiser, write or served)
    return Checkpoints(folder / "run", trained, ranks, facts)


def killing(folder: Path, ranks: Ranks) -> Iterator[dict[str, Any]]:
    """Looks at everything, trains, and is killed while its second checkpoint is written."""
    (folder / f"{ranks.rank}.came").touch()
    ranks.wait()
    came = sorted(path.stem for path in folder.glob("*.came"))
    told = settings(folder, fsdp="full_shard auto_wrap")
    learner = begin(told, ranks, Plain(), In()).learner
    found = {"came": came, **looked_at(learner, ranks)}
    optimiser = adam(learner)
    found["losses"] = []
    for number in range(STEPS):
        found["losses"].append(step(number, learner, optimiser, ranks))
        if number + 1 == SAVED:
            scores(learner, ranks)  # an evaluation: afterwards some weights lie whole in each
            keeper(folder, learner, optimiser, ranks).save(Progress(step=SAVED, inside=SAVED))
    found |= {"held": held(optimiser), "weights": whole(learner, ranks)}
    yield found

    def die(state: Mapping[str, Tensor], out: Path) -> None:
        out.mkdir()
        os.kill(os.getpid(), signal.SIGKILL)

    keeper(folder, learner, optimiser, ranks, die).save(Progress(step=STEPS, inside=STEPS))


def looked_at(learner: Learner, ranks: Ranks) -> dict[str, Any]:
    """What each process holds, and that it is the same model; what they tell each other."""
    found: dict[str, Any] = {
        "shards": [(p.name, p.whole, p.here) for p in shards(learner)],
        "first weights": whole(learner, ranks),
        "scores": scores(learner, ranks),
        "gradients": gradients(learner, ranks),
        "total": ranks.total(0.1, float(ranks.rank), 1e16 if ranks.first else 1.0),
        "told": ranks.told(f"from {ranks.rank}"),
    }
    model: Any = learner.model
    recompute_layers(learner)
    learner.train()
    found["gradients, computed twice"] = gradients(learner, ranks)
    model.activation_checkpointing_disable()
    learner.eval()

    def fail() -> None:
        raise StartError("the first one cannot")

    try:
        ranks.by_first(fail)
    except StartError as exc:
        found["wrong"] = str(exc)
    return found


def resuming(folder: Path, ranks: Ranks) -> Iterator[dict[str, Any]]:
    """Goes on from the first checkpoint, in as many processes as there are."""
    halves = ROWS // ranks.count
    told = settings(folder, fsdp="full_shard", per_device_train_batch_size=halves)
    learner = begin(told, ranks, Plain(), In()).learner
    optimiser = adam(learner)
    checkpoint = folder / "run" / name_of(SAVED)
    at = resume(checkpoint, learner, optimiser, ranks, facts_of(told, "samples", ranks.count))
    losses = [step(number, learner, optimiser, ranks) for number in range(at.step, STEPS)]
    kept = keeper(folder, learner, optimiser, ranks)
    if ranks.count > 1:
        kept.save(replace(at, step=STEPS))
    yield {"at": at, "losses": losses, "weights": whole(learner, ranks)}


def by_method(folder: Path, ranks: Ranks, name: str) -> dict[str, Tensor]:
    """The gradients of what `--method` trains, in halves where there are two processes."""
    told = settings(folder, method=name, fsdp="full_shard", lora_dropout=0.0, pre_seq_len=4)
    learner = begin(told, ranks, method_for(told), In()).learner
    learner.eval()
    return gradients(learner, ranks)


def refused(folder: Path, ranks: Ranks) -> tuple[str, str]:
    """What each finds wrong with what it was told, and as what."""
    told = settings(folder, method="lora", lora_target_modules=("no_such_layer",))
    try:
        begin(told, ranks, method_for(told), In())
    except StartError as exc:
        return type(exc).__name__, str(exc)
    raise AssertionError("there is such a layer")


def replicating(folder: Path, ranks: Ranks) -> Iterator[dict[str, Any]]:
    """All weights whole in each process; then other models in halves."""
    learner = begin(settings(folder), ranks, Plain(), In()).learner
    found = looked_at(learner, ranks)
    optimiser = adam(learner)
    step(0, learner, optimiser, ranks)
    told = settings(folder, model_name_or_path=str(folder / "tied"), fsdp="full_shard")
    tied = begin(told, ranks, Plain(), In()).learner
    model: Any = tied.model
    found["tied"] = {
        "same": model.lm_head.weight is model.model.embed_tokens.weight,
        "gradients": gradients(tied, ranks),
    }
    own = replace(told, model_name_or_path=str(folder / "own"), trust_remote_code=True)
    found["own code"] = gradients(begin(own, ranks, Plain(), In()).learner, ranks)
    found["refused"] = refused(folder, ranks)
    found["methods"] = {name: by_method(folder, ranks, name) for name in METHODS}
    half = begin(told, ranks, Plain("q_proj", True), In(torch.bfloat16)).learner
    before = whole(half, ranks)
    losses = [step(0, half, adam(half), ranks) for _ in range(2)]
    found["mixed"] = {
        "before": before,
        "after": whole(half, ranks),
        "losses": losses,
        "tables": dict(half.named_buffers()),
    }
    yield found


def further(folder: Path, ranks: Ranks) -> Iterator[dict[str, Any]]:
    """What else there is to try, in the same processes: starting them takes longest."""
    for found in resuming(folder, ranks):
        yield {"resumed": found}
    for more in replicating(folder, ranks):
        yield {"resumed": found, **more}


SCENARIOS = {"killing": killing, "further": further}


def alone() -> Ranks:
    """This process by itself."""
    with ExitStack() as stack:
        return stack.enter_context(joined({}, TrainingSettings(device="cpu")))


@contextmanager
def started(scenario: str, folder: Path, *, torchrun: bool = False) -> Iterator[list[Program]]:
    """Two processes, by torchrun (one program) or each by itself."""
    port = str(free_port())
    here = {"PYTHONPATH": str(TESTS)}
    flags = ("support.ranks", scenario, str(folder))
    with ExitStack() as stack:
        if torchrun:
            run = ("--nproc_per_node=2", f"--master_port={port}", "-m", *flags)
            yield [stack.enter_context(Program.ours("torch.distributed.run", *run, env=here))]
            return
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **here}
        yield [
            stack.enter_context(Program.ours(*flags, env={**shared, "RANK": str(rank)}))
            for rank in (0, 1)
        ]


def results(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def main() -> int:
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    try:
        with joined(os.environ, settings(folder)) as ranks:
            for found in SCENARIOS[scenario](folder, ranks):
                torch.save(found, folder / f"{ranks.rank}.pt")
    except StartError as exc:
        print(f"ended: {exc}", flush=True)
        return LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
