"""Adapters that come and go while the engine answers."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.card import loading, manners
from support.devices import FakeDevice
from support.glm import CONTEXT, glm_loaded, glm_model
from support.processes import wait_for
from support.tuned import lora_files, original_prefix
from torch import Tensor, full, manual_seed, nn, ones, randn

from danlu.adapters.errors import (
    BadRequest,
    NotReady,
    OutOfMemory,
    PromptTooLong,
    StartError,
    UnknownModel,
)
from danlu.adapters.models.tuned.adapter import Lora, Pair
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.adapter import Adapter
from danlu.worker.batching_engine import BatchingEngine
from danlu.worker.hosted import Manner
from danlu.worker.job import Job
from danlu.worker.kv_room import Room
from danlu.worker.loading import Progress
from danlu.worker.local_engines import engine_for
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.settings import WorkerSettings
from danlu.worker.suitability import fitted

pytestmark = pytest.mark.slow

NAME = "tiny"
KINDS = manners("host", "card")
LINEARS = (("self_attn.q_proj", 32, 32), ("mlp.gate_up_proj", 96, 32), ("mlp.down_proj", 32, 48))


def a_lora(directory: Path, rank: int = 4) -> Path:
    tensors: dict[str, Tensor] = {}
    for layer in range(2):
        for module, rows, columns in LINEARS:
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = randn(rank, columns)
            tensors[f"{name}.lora_B.weight"] = randn(rows, rank)
    return lora_files(directory, tensors, r=rank, lora_alpha=rank)


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[BatchingEngine]:
    card = request.param == "card"
    engine = serving(FakeDevice(like_a_card=card, records=card))
    yield engine
    engine.close()


def serving(
    device: FakeDevice, lookahead: int = 0, adapter_memory: int | None = None
) -> BatchingEngine:
    loaded = glm_loaded(model=inspect.unwrap(glm_model)())
    fit = loading(lambda: fitted(loaded.model, CONTEXT))
    manner = Manner(names=(NAME,), lookahead=lookahead)
    room = Room(8, CONTEXT, 4)
    return BatchingEngine(loaded, device, fit, room, manner, adapter_memory=adapter_memory)


def job(engine: BatchingEngine, adapter: str = "", prompt: str | None = "你好", **more: Any) -> Job:
    model = f"{NAME}:{adapter}" if adapter else NAME
    wishes = {"temperature": 0, "max_new_tokens": 24, "ignore_eos": True, "echo": False}
    return engine.admit(GenerateBody(model=model, prompt=prompt, **{**wishes, **more}))


def begun(engine: BatchingEngine, *what: Any, **more: Any) -> ThreadOutbox:
    box = ThreadOutbox()
    engine.submit(job(engine, *what, **more), box)
    return box


def text(box: ThreadOutbox) -> str:
    return "".join(piece.text for piece in box)


def hooks(engine: BatchingEngine) -> int:
    modules: Iterator[nn.Module] = engine._hosted.model.modules()
    return sum(len(module._forward_hooks) for module in modules)


def test_everyone_is_answered_as_alone_whoever_else_is_answered(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    engine.adapters.load("one", a_lora(tmp_path / "one")).result()
    engine.adapters.load("two", a_lora(tmp_path / "two", rank=7)).result()
    original_prefix(tmp_path / "prefix", 9)
    engine.adapters.load("prefix", tmp_path / "prefix").result()
    names = ("", "one", "two", "prefix")
    alone = [text(begun(engine, name)) for name in names]
    assert len(set(alone)) == len(names)
    for _ in range(3):
        boxes = [begun(engine, name) for name in (*names, *names)]
        assert [text(box) for box in boxes] == alone * 2


@pytest.mark.parametrize("kind", KINDS)
def test_everyone_is_answered_as_alone_whoever_guesses(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, kind: str
) -> None:
    """Three words are all that may be said, so that answers repeat themselves."""
    caplog.set_level("INFO", "danlu.worker.running")
    few = {str(token): 60.0 for token in (70, 80, 90)}
    texts = []
    for lookahead in (0, 8):
        card = kind == "card"
        engine = serving(FakeDevice(like_a_card=card, records=card), lookahead)
        manual_seed(1)
        engine.adapters.load("one", a_lora(tmp_path / f"one{lookahead}")).result()
        engine.adapters.load("two", a_lora(tmp_path / f"two{lookahead}", rank=7)).result()
        original_prefix(tmp_path / f"prefix{lookahead}", 9)
        engine.adapters.load("prefix", tmp_path / f"prefix{lookahead}").result()
        boxes = [
            begun(engine, name, logit_bias=few, max_new_tokens=60)
            for name in ("", "one", "two", "prefix") * 2
        ]
        texts.append([text(box) for box in boxes])
        engine.close()
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 2
    assert sum(record.msg.startswith("looked ahead") for record in caplog.records) > 2


def test_an_unloaded_adapter_finishes_what_it_began_and_leaves_nothing(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    engine.adapters.load("one", a_lora(tmp_path / "one")).result()
    wanted = text(begun(engine, "one", max_new_tokens=120))
    boxes = [begun(engine, "one", max_new_tokens=120) for _ in range(3)]
    first = next(iter(boxes[0])).text
    engine.adapters.unload("one")
    with pytest.raises(UnknownModel):
        job(engine, "one")
    assert [first + text(boxes[0]), text(boxes[1]), text(boxes[2])] == [wanted] * 3
    wait_for(lambda: hooks(engine) == 0, "the layers are as they were")


def test_the_model_is_as_it_was_before_and_after(engine: BatchingEngine, tmp_path: Path) -> None:
    before, hooked = text(begun(engine)), hooks(engine)
    engine.adapters.load("one", a_lora(tmp_path / "one")).result()
    engine.adapters.load("two", a_lora(tmp_path / "two")).result()
    assert (hooked, hooks(engine)) == (0, 6), "one a layer, however many adapters"
    assert text(begun(engine)) == before
    engine.adapters.unload("one")
    assert text(begun(engine)) == before and hooks(engine) == 6
    engine.adapters.unload("two")
    wait_for(lambda: hooks(engine) == 0, "the layers are as they were")


def test_another_adapter_under_an_old_name_takes_nothing_over(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    """Above all not the keys and values that the old one computed for the same prompt."""
    prompt = "丹炉是一座炉子。早上好，今天天气很好，我们去公园散步。" * 2
    engine.adapters.load("new", a_lora(tmp_path / "two")).result()
    wanted = text(begun(engine, "new", prompt))
    engine.adapters.load("one", a_lora(tmp_path / "one")).result()
    assert text(begun(engine, "one", prompt)) != wanted
    engine.adapters.unload("one")
    engine.adapters.load("one", tmp_path / "two").result()
    assert text(begun(engine, "one", prompt)) == wanted


def test_a_request_that_was_overtaken_by_the_unloading_is_told(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    engine.adapters.load("one", a_lora(tmp_path / "one")).result()
    late, box = job(engine, "one"), ThreadOutbox()
    engine.adapters.unload("one")
    engine.submit(late, box)
    with pytest.raises(UnknownModel, match="'one' was unloaded before the request could begin"):
        text(box)
    assert engine.queue_length() == 0


def test_adapters_come_and_go_while_others_are_answered(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        a_lora(tmp_path / name)
    engine.adapters.load("one", tmp_path / "one").result()
    wanted = [text(begun(engine, name, max_new_tokens=60)) for name in ("", "one")]
    for _ in range(5):
        boxes = [begun(engine, name, max_new_tokens=60) for name in ("", "one")]
        engine.adapters.load("two", tmp_path / "two").result()
        boxes.append(begun(engine, "two"))
        engine.adapters.unload("two")
        assert [text(box) for box in boxes[:2]] == wanted
        assert text(boxes[2])


def test_a_prefix_takes_its_part_of_the_context(engine: BatchingEngine, tmp_path: Path) -> None:
    original_prefix(tmp_path / "prefix", 56)
    engine.adapters.load("prefix", tmp_path / "prefix").result()
    ids = [5] * 199
    body: dict[str, Any] = {"prompt": None, "prompt_token_ids": ids, "max_new_tokens": 9}
    assert job(engine, "prefix", **body).max_new_tokens == 1
    assert job(engine, **body).max_new_tokens == 9
    assert len(text(begun(engine, "prefix", **body))) > 0
    with pytest.raises(PromptTooLong, match="maximum context length is 200 tokens"):
        job(engine, "prefix", **{**body, "prompt_token_ids": [*ids, 5]})


def test_a_prefix_that_leaves_no_room_is_refused(engine: BatchingEngine, tmp_path: Path) -> None:
    original_prefix(tmp_path / "prefix", CONTEXT)
    with pytest.raises(BadRequest, match="prefix of 256 tokens leaves no room"):
        engine.adapters.load("prefix", tmp_path / "prefix")


def test_an_adapter_without_room_on_the_device_changes_nothing(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    class Full(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("NPU out of memory")

    with pytest.raises(OutOfMemory):
        engine._inbox.change(Adapter("one"), Lora(Full())).result()
    assert hooks(engine) == 0 and text(begun(engine))


def test_an_adapter_with_weights_that_are_no_numbers_is_refused(
    engine: BatchingEngine, tmp_path: Path
) -> None:
    pair = Pair(ones(4, 32), full((32, 4), float("inf")))
    with pytest.raises(BadRequest, match="weights that are no numbers in torch.float32"):
        engine._inbox.change(
            Adapter("bad"), Lora({"model.layers.0.self_attn.q_proj": pair})
        ).result()
    assert hooks(engine) == 0 and text(begun(engine))


def test_one_adapter_more_than_there_is_memory_for_is_refused_and_the_others_answer(
    tmp_path: Path,
) -> None:
    engine = serving(FakeDevice(), adapter_memory=20_000)  # two of rank 4 and no third
    for name in ("one", "two"):
        engine.adapters.load(name, a_lora(tmp_path / name)).result()
    with pytest.raises(OutOfMemory, match=r"0\.0 are left; unload another one first"):
        engine.adapters.load("three", a_lora(tmp_path / "three")).result()
    assert text(begun(engine, "two"))
    engine.adapters.unload("one")
    engine.adapters.load("three", tmp_path / "three").result()
    assert text(begun(engine, "three"))
    engine.close()


def test_what_adapters_take_is_kept_from_answers(tmp_path: Path) -> None:
    lora = a_lora(tmp_path / "one", rank=256)

    def slots(**given: Any) -> int:
        loaded, device = glm_loaded(model=inspect.unwrap(glm_model)()), FakeDevice(free=2 * 2**20)
        settings = WorkerSettings(model_path=NAME, **given)
        engine = loading(lambda: engine_for(loaded, device, settings, Progress()))
        assert isinstance(engine, BatchingEngine)
        engine.close()
        return engine._room.slots

    given, may_come = slots(adapters=(f"one={lora}",)), slots(adapter_dir=str(tmp_path))
    assert given < may_come < slots()


def test_an_engine_that_closes_takes_no_adapter(engine: BatchingEngine, tmp_path: Path) -> None:
    engine.close()
    with pytest.raises(NotReady):
        engine.adapters.load("one", a_lora(tmp_path / "one")).result(timeout=30)


def test_an_engine_that_runs_requests_one_by_one_is_not_given_adapters(tmp_path: Path) -> None:
    settings = WorkerSettings(engine="thread", adapters=(f"one={tmp_path}",))
    with pytest.raises(StartError, match="--adapters needs .* in batches, and --engine thread"):
        engine_for(glm_loaded(), FakeDevice(), settings, Progress())
    settings = WorkerSettings(engine="thread", adapter_dir=str(tmp_path))
    with pytest.raises(StartError, match="--adapter-dir needs"):
        engine_for(glm_loaded(), FakeDevice(), settings, Progress())


def test_an_adapter_of_the_flag_that_cannot_be_loaded_ends_the_start(tmp_path: Path) -> None:
    loaded, device = glm_loaded(model=inspect.unwrap(glm_model)()), FakeDevice()
    settings = WorkerSettings(
        model_path=NAME, engine="batching", adapters=(f"one={tmp_path}",), kv_memory=0.1
    )
    with pytest.raises(StartError, match="--adapters: .* holds no adapter"):
        loading(lambda: engine_for(loaded, device, settings, Progress()))
