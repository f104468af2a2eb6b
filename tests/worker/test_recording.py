"""What becomes of a worker's start where a device records, records nothing, or fails to."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.card import card, loading, on_card
from support.devices import FakeDevice
from support.stage import Stage, working_ahead
from support.tiny import random_model, tiny_config, tiny_loaded
from transformers import BloomConfig

from danlu.adapters.devices.device import Recorder, Replay
from danlu.adapters.errors import StartError
from danlu.worker.engine import Engine
from danlu.worker.hosted import Manner
from danlu.worker.job import Job
from danlu.worker.kv_cache import KvCache
from danlu.worker.loading import Progress
from danlu.worker.local_engines import engine_for, load_engine
from danlu.worker.recording import record
from danlu.worker.replay import Replays
from danlu.worker.runner import Runner
from danlu.worker.settings import WorkerSettings
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import fitted

GREEDY: dict[str, Any] = {"temperature": 0.0}
SHAPES = 3  # of one, two and four rows, over the only length there is
NOTICE = "decode steps are not recorded (--graphs off does not try): "


class Deaf(FakeDevice):
    """What it recorded does nothing."""

    def recorder(self) -> Recorder:
        return self

    def record(self, work: Callable[[], None]) -> Replay:
        return lambda: None


@contextmanager
def stage_on(device: FakeDevice, **manner: Any) -> Iterator[Stage]:
    stage = Stage(working_ahead, device, concurrency=4, **manner)
    yield stage
    stage.engine.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.endswith("worker.recording")]


class Fitted:
    """A model that is looked at, and runs over a cache of its own."""

    def __init__(self) -> None:
        self.model: Any = on_card(random_model(tiny_config()))
        layers = fitted(self.model, 128).layers
        self.cache = KvCache(layers, 5, 128, self.model.dtype, self.model.device)
        self._shapes = Shapes(128, rows=4, part=64, fixed=True)
        self._runner = Runner(self.model, self.cache, self._shapes)

    def recorded(self, device: FakeDevice) -> Replays | None:
        record(self._runner, self.cache, self._shapes, device, "auto", Progress())
        return self._runner.replays


async def text_of(stage: Stage) -> str:
    return await stage.text(**GREEDY, prompt_token_ids=list(range(10, 40)))


@pytest.fixture(scope="module")
def said() -> str:
    """The same question's answer, where nothing is recorded."""

    async def ask() -> str:
        with stage_on(FakeDevice()) as stage:
            return await text_of(stage)

    return asyncio.run(ask())


@pytest.mark.anyio
async def test_every_shape_is_recorded_once_and_before_anybody_asks(
    said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with stage_on(FakeDevice(records=True)) as stage:
        done = stage.device.recorded
        assert done is not None and done.recordings == SHAPES
        assert warnings(caplog)[0].startswith(f"decode steps are recorded shapes={SHAPES} memory=")
        assert await text_of(stage) == said
        assert done.recordings == SHAPES


@pytest.mark.anyio
async def test_off_records_nothing(said: str) -> None:
    with stage_on(FakeDevice(records=True), graphs="off") as stage:
        assert stage.device.recorded is None
        assert await text_of(stage) == said


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, SHAPES])
async def test_what_cannot_be_recorded_is_said_once_and_steps_are_run(
    at: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with stage_on(FakeDevice(records=True, fails_at=at)) as stage:
        assert warnings(caplog) == [f"{NOTICE}an operator cannot be recorded"]
        done = stage.device.recorded
        assert done is not None
        before = done.replays
        assert await text_of(stage) == said
        assert done.replays == before


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (FakeDevice(), f"--graphs on: {card()} records no steps; leave it out"),
        (
            FakeDevice(records=True, fails_at=2),
            "--graphs on: an operator cannot be recorded; leave it out",
        ),
    ],
)
def test_on_insists(device: FakeDevice, words: str) -> None:
    with pytest.raises(StartError) as info, stage_on(device, graphs="on"):
        pass
    assert str(info.value) == words


def test_the_host_refuses_on_before_a_model_is_read(tmp_path: Path) -> None:
    settings = WorkerSettings(model_path=str(tmp_path), device="cpu", graphs="on")
    with pytest.raises(StartError, match="^--graphs on: cpu records no steps; leave it out$"):
        load_engine(settings, Progress())


def test_a_model_that_is_not_batched_refuses_on() -> None:
    other = tiny_loaded(
        model=random_model(BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4))
    )
    settings = WorkerSettings(model_path="m", graphs="on")
    with pytest.raises(StartError, match="^--graphs on is for models that can be batched"):
        loading(lambda: engine_for(other, FakeDevice(), settings, Progress()))


@pytest.mark.usefixtures("bound")
def test_recordings_that_give_something_else_are_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert Fitted().recorded(Deaf()) is None
    assert "a recording's results differ by" in warnings(caplog)[0]


@pytest.mark.usefixtures("bound")
def test_a_number_of_the_hosts_that_a_recording_would_keep_is_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, steps = Fitted(), 0

    def scaled(_: object, __: object, made: Any) -> None:
        nonlocal steps
        steps += 1
        made.logits.mul_(1 + steps / 10)

    one.model.register_forward_hook(scaled)
    assert one.recorded(FakeDevice(records=True)) is None
    assert "a recording's results differ by" in warnings(caplog)[0]


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(
    "look",
    [
        lambda logits: logits.max().item(),
        lambda logits: logits.add_(torch.tensor([1.0], device=logits.device)),
        lambda logits: logits[logits > 0],
    ],
    ids=["reads a number back", "brings one along", "depends on how many there are"],
)
def test_a_model_that_looks_at_its_numbers_is_not_recorded(
    look: Callable[[Any], object], caplog: pytest.LogCaptureFixture
) -> None:
    one = Fitted()
    one.model.register_forward_hook(lambda _, __, made: (look(made.logits), None)[1])
    assert one.recorded(FakeDevice(records=True)) is None
    (warning,) = warnings(caplog)
    assert warning.startswith(NOTICE)
    assert len((torch.ones(2, device=card()) + 1).tolist()) == 2  # as before


@pytest.mark.usefixtures("bound")
def test_nothing_is_left_of_the_trials() -> None:
    one = Fitted()
    replays = one.recorded(FakeDevice(records=True))
    assert replays is not None and len(replays) == SHAPES
    assert not any(tensor.any() for tensor in (*one.cache.keys, *one.cache.values))


class Narrow(FakeDevice):
    """Its memory does not do for a step that reads a prompt, as long as there are recordings."""

    def __init__(self) -> None:
        super().__init__(records=True)
        self.on_release = self._note
        self._releases = 0

    def _note(self) -> None:
        self._releases += 1

    @property
    def full(self) -> bool:
        return self.recorded is not None and self.recorded.recordings > 0 and self._releases == 0


def narrow_stage(device: Narrow, **manner: Any) -> Stage:
    def fill(_: object, __: object, given: dict[str, Any]) -> None:
        if device.full and given["input_ids"].shape[1] >= 16:
            raise RuntimeError("out of memory")

    def make(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
        model.register_forward_pre_hook(fill, with_kwargs=True)
        return working_ahead(model, device, manner)

    return Stage(make, device, **manner)


@pytest.mark.anyio
async def test_recordings_give_way_where_memory_does_not_do_for_both(
    said: str, caplog: pytest.LogCaptureFixture
) -> None:
    device = Narrow()
    stage = narrow_stage(device)
    assert warnings(caplog) == [f"{NOTICE}no memory is left beside the recordings"]
    done = device.recorded
    assert done is not None
    before = done.replays
    assert await text_of(stage) == said
    assert done.replays == before
    stage.engine.close()
    with pytest.raises(StartError, match="^--graphs on: no memory is left beside the recordings"):
        narrow_stage(Narrow(), graphs="on")


class Lost(FakeDevice):
    def recorder(self) -> Recorder:
        return self

    def record(self, work: Callable[[], None]) -> Replay:
        raise RuntimeError("error code is 507899")


def test_a_device_that_is_lost_meanwhile_is_that_and_no_matter_of_recordings() -> None:
    with pytest.raises(RuntimeError, match="507899"), stage_on(Lost()):
        pass


@pytest.mark.usefixtures("bound")
def test_what_is_recorded_is_done_with_each_replay_and_not_before() -> None:
    """Of the recorder that the tests have, and of a simulated card's."""
    recorder = FakeDevice(records=True).recorder()
    assert recorder is not None
    numbers, sums = torch.ones(3, device=card()), torch.zeros(3, device=card())

    def work() -> None:
        sums.add_(numbers * 2)

    replay = recorder.record(work)
    assert sums.tolist() == [0, 0, 0]
    replay()
    numbers.fill_(5)
    replay()
    assert sums.tolist() == [12, 12, 12]
