"""What every engine promises: jobs in, boxes closed once, whatever happens."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from support.card import card, loading, manners
from support.processes import wait_for
from support.stage import SOON, Make, Stage, batching_engine, thread_engine, working_ahead
from transformers import PreTrainedModel

from danlu.adapters.errors import BadRequest, DeviceLost, NotReady, OutOfMemory, ServeError
from danlu.adapters.wire.generation import GenerateBody

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


WISHES: list[dict[str, Any]] = [
    {"temperature": 0},
    {"top_p": 0.8, "repetition_penalty": 1.2, "logprobs": 2, "echo": True},
    {"structured_outputs": {"json_object": True}, "ignore_eos": False},
]


def tensors_among(objects: Iterable[object]) -> int:
    return sum(issubclass(type(each), torch.Tensor) for each in objects)


def tensors_in_garbage() -> int:
    """Those of whole models left out: an earlier test's may be let go of at any time."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    models = [each for each in gc.garbage if isinstance(each, PreTrainedModel)]
    theirs = sum(len([*model.parameters(), *model.buffers()]) for model in models)
    found = tensors_among(gc.garbage) - theirs
    gc.garbage.clear()
    return found


@contextmanager
def spoiled(stage: Stage, words: str | None = None) -> Iterator[None]:
    """What the model computes are no numbers, or it fails with `words`."""

    def spoil(_: object, __: object, made: Any) -> None:
        if words is not None:
            raise RuntimeError(words)
        made.get("logits", made.get("last_hidden_state")).fill_(torch.nan)

    hooks = [m.register_forward_hook(spoil) for m in (stage.model, stage.model.base_model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@pytest.fixture(params=[thread_engine, *manners(batching_engine, working_ahead)])
def make(request: pytest.FixtureRequest) -> Make:
    make: Make = request.param
    return make


@pytest.fixture
async def stage(make: Make) -> AsyncIterator[Stage]:
    stage = Stage(make, concurrency=2)
    yield stage
    stage.engine.close()


async def test_messages_are_answered_and_the_box_is_closed(stage: Stage) -> None:
    pieces = await stage.answer(messages=[{"role": "user", "content": "What is in the box?"}])
    assert pieces[-1].finish_reason == "length"
    assert pieces[-1].usage.completion_tokens == 12
    assert stage.engine.queue_length() == 0


async def test_every_step_runs_on_a_thread_that_was_bound_once(stage: Stage) -> None:
    stage.device.watch(stage.model)
    await asyncio.gather(*[stage.answer(seed=i) for i in range(8)])
    await asyncio.wrap_future(stage.engine.embed(["a cat", "a dog"]))
    assert stage.device.users <= set(stage.device.bound)
    assert threading.get_ident() not in stage.device.users
    assert 1 <= len(stage.device.bound) == len(set(stage.device.bound)) <= 2


async def test_twenty_at_a_time_say_what_each_says_alone(stage: Stage) -> None:
    alone = [await stage.text(seed=i) for i in range(20)]
    together = await asyncio.gather(*[stage.text(seed=i) for i in range(20)])
    assert together == alone
    assert len(set(alone)) > 1


async def test_a_reader_who_leaves_before_the_first_token_frees_the_thread(stage: Stage) -> None:
    with stage.held() as go:
        boxes = [stage.start() for _ in range(5)]
        for box in boxes:
            box.leave()
        assert stage.engine.queue_length() == 0
        go.set()
    wait_for(lambda: all(box.closed for box in boxes), "every box is closed", SOON)
    assert await stage.text(seed=1)


async def test_a_reader_who_leaves_halfway_ends_the_answer(stage: Stage) -> None:
    box = stage.start(max_new_tokens=100)
    first = await anext(aiter(box))
    box.leave()
    stage.idle()
    wait_for(lambda: box.closed, "the box is closed", SOON)
    assert [piece async for piece in box][-1:] == [] or first.finish_reason is None


async def test_vectors_that_nobody_waits_for_are_left_unmade(make: Make) -> None:
    """Cancelled while the first of many is read: the others are not, and the thread is free."""
    stage, go, steps = Stage(make, concurrency=1), threading.Event(), list[int]()

    def step(*_: object) -> None:
        steps.append(1)
        go.wait(SOON)

    stage.model.base_model.register_forward_pre_hook(step)
    texts = stage.engine.embed(["a cat"] * 1000)
    wait_for(lambda: bool(steps), "the first text is read", SOON)
    assert texts.cancel()
    assert stage.engine.queue_length() == 0
    go.set()
    assert await stage.text(seed=1)
    assert len(steps) < 100
    stage.engine.close()


async def test_the_queue_counts_running_and_waiting(stage: Stage) -> None:
    with stage.held() as go:
        boxes = [stage.start() for _ in range(5)]
        texts = stage.engine.embed(["a cat"])
        assert stage.engine.queue_length() == 6
        go.set()
        for box in boxes:
            assert [piece async for piece in box][-1].finish_reason == "length"
        await asyncio.wrap_future(texts)
    stage.idle()


async def test_a_fault_is_an_error_for_its_reader_and_the_engine_goes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        stage.failing(KeyError("prompt")),
        pytest.raises(ServeError, match="KeyError: 'prompt'") as info,
    ):
        await stage.answer()
    assert info.value.code == 50001
    assert "request failed" in caplog.text
    stage.idle()
    assert await stage.text()


async def test_an_error_of_the_cards_library_is_explained_to_its_reader_and_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    words = RuntimeError("NPU function error: f, error code is 507015\n[ERROR] (PID:1) ERR00100")
    with stage.failing(words), pytest.raises(ServeError) as info:
        await stage.answer()
    told = str(info.value)
    meaning = "; that is: an operator crashed on the card (error code is 507015): a kernel got"
    assert told.startswith("the engine failed: RuntimeError: NPU function error: f, error code is")
    assert meaning in told and "try `grep" in told and "\n" not in told
    assert f"request failed{meaning}" in caplog.text


async def test_a_fault_tells_its_reader_no_folder_and_no_address_and_the_log_all(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    words = OSError("cannot read /home/me/glm/x.bin from 10.0.0.7:2049\nat /usr/lib/y.py")
    with stage.failing(words), pytest.raises(ServeError) as info:
        await stage.answer()
    told = "the engine failed: OSError: cannot read x.bin from an address"
    assert info.value.told == str(info.value) == told
    assert "/home/me/glm/x.bin from 10.0.0.7:2049" in caplog.text


async def test_running_out_of_memory_says_so_and_frees_what_can_be_freed(stage: Stage) -> None:
    words = RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB")
    with stage.failing(words), pytest.raises(OutOfMemory, match=f"{card()} is out of memory"):
        await stage.answer()
    wait_for(lambda: stage.device.released == 1, "memory is released", SOON)
    assert await stage.text()


async def test_a_lost_device_ends_what_runs_and_what_waits_and_is_not_touched_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with stage.held() as go, stage.failing(RuntimeError("error code is 507899")):
        boxes = [stage.start() for _ in range(5)]
        texts = stage.engine.embed(["a cat"])
        go.set()
        for box in boxes:
            with pytest.raises(DeviceLost, match=f"^{card()} is lost; this worker ends, ask"):
                [piece async for piece in box]
        with pytest.raises(DeviceLost):
            await asyncio.wrap_future(texts)
    assert stage.engine.lost.done()
    with pytest.raises(DeviceLost):
        await stage.answer()
    assert stage.device.released == 0
    assert caplog.text.count(f"device lost device={card()}: error code is 507899") == 1


async def test_the_memory_of_a_failed_request_is_let_go_before_it_is_released(
    stage: Stage,
) -> None:
    """An exception holds its frames, and they hold the tensors."""
    tensors, gone = list[Any](), list[bool]()

    def fail(module: object, args: object, kwargs: dict[str, Any]) -> None:
        tensors.append(weakref.ref(kwargs["input_ids"]))
        raise RuntimeError("out of memory")

    stage.device.on_release = lambda: gone.append(tensors[0]() is None)
    hook = stage.model.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(OutOfMemory):
        await stage.answer()
    hook.remove()
    wait_for(lambda: bool(gone), "memory is released", SOON)
    assert gone == [True]


async def test_an_error_that_its_reader_keeps_keeps_none_of_the_requests_tensors(
    stage: Stage,
) -> None:
    """Whoever lets go of it last would free them, on a thread that has no device."""
    wanted = [{}, {"logprobs": 1, "echo": True}]
    for fields in wanted:
        await stage.text(**fields)
    await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    gc.collect()
    before, errors = tensors_among(gc.get_objects()), []
    with spoiled(stage):
        for fields in wanted:
            with pytest.raises(ServeError, match="not a number") as info:
                await stage.answer(**fields)
            errors.append(info.value)
        with pytest.raises(ServeError, match="not numbers") as info:
            await asyncio.wrap_future(stage.engine.embed(["a cat"]))
        errors.append(info.value)
    await asyncio.wrap_future(stage.engine.embed(["a cat"]))  # the step before is long over
    assert tensors_among(gc.get_objects()) <= before and len(errors) == 3


async def test_requests_leave_no_tensors_to_the_garbage_collector(stage: Stage) -> None:
    """It comes on any thread, and would free them there."""
    await stage.text()
    gc.disable()
    loading(gc.collect)
    for fields in WISHES:
        await stage.text(**fields)
        stage.start(**{**fields, "max_new_tokens": 90}).leave()
    for words in ("out of memory", "something else"):
        with spoiled(stage, words), pytest.raises(ServeError):
            await stage.answer()
    with spoiled(stage):
        for fields in WISHES:
            with pytest.raises(ServeError):
                await stage.answer(**fields)
        with pytest.raises(ServeError):
            await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    stage.idle()
    await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    assert loading(tensors_in_garbage) == 0
    gc.enable()


async def test_closing_ends_what_runs_and_what_waits_with_an_error(make: Make) -> None:
    stage = Stage(make, concurrency=1)
    with stage.held() as go:
        boxes = [stage.start() for _ in range(3)]
        stage.engine.close()
        go.set()
        for box in boxes:
            with pytest.raises(NotReady, match="stopping"):
                [piece async for piece in box]
    with pytest.raises(NotReady, match="stopping"):
        await stage.answer()
    with pytest.raises(NotReady, match="stopping"):
        await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    stage.idle()


async def test_the_default_seed_is_for_requests_without_one(make: Make) -> None:
    stage = Stage(make, concurrency=1, seed=5)
    assert await stage.text() == await stage.text() == await stage.text(seed=5)
    assert await stage.text() != await stage.text(seed=6)
    stage.engine.close()


async def test_vectors_have_length_one_and_ignore_their_neighbours(stage: Stage) -> None:
    alone = await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    beside = await asyncio.wrap_future(stage.engine.embed(["a dog and a box " * 3, "a cat"]))
    assert beside.vectors[1] == alone.vectors[0]
    assert float(torch.tensor(alone.vectors[0]).norm()) == pytest.approx(1, abs=1e-5)
    assert alone.tokens == stage.engine.count("a cat")


async def test_a_text_that_is_empty_is_refused_by_its_place(stage: Stage) -> None:
    with pytest.raises(BadRequest, match=r"'input\[1\]' is empty"):
        await asyncio.wrap_future(stage.engine.embed(["a cat", ""]))


@pytest.mark.parametrize("cut", [True, False])
async def test_a_text_that_is_too_long_is_cut_only_where_that_was_asked_for(
    make: Make, cut: bool
) -> None:
    stage = Stage(make, embed_in_truncate=cut)
    made = await asyncio.wrap_future(stage.engine.embed(["morning " * 400]))
    assert (made.tokens == stage.engine.card.context_length) is cut
    stage.engine.close()


async def test_the_card_says_what_is_honoured(stage: Stage, make: Make) -> None:
    card = stage.engine.card
    unkept = {"priority"} if make is thread_engine else set[str]()
    assert card.parameters == GenerateBody.model_fields.keys() - unkept
    assert card.context_length == 128
    assert card.conversation["name"] == "orca-2"
