"""What is special to batches: neighbours, of whom nobody notices anything."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from support.card import loading, manners
from support.devices import FakeDevice
from support.processes import wait_for
from support.stage import SOON, Make, Stage, batching_engine, thread_engine, working_ahead
from support.tiny import random_model, tiny_config, tiny_loaded

from danlu.adapters.devices.device import NOWHERE
from danlu.adapters.devices.fault import Fault
from danlu.adapters.errors import DeviceLost, NotReady, OutOfMemory, Overloaded, ServeError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.batching_engine import BatchingEngine
from danlu.worker.job import Piece
from danlu.worker.kv_room import Room
from danlu.worker.outbox import Outbox
from danlu.worker.suitability import fitted

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
POISON = 399  # the id of a token whose embedding is no number, where a test says so
GREEDY: dict[str, Any] = {"temperature": 0.0, "logit_bias": {str(POISON): -100.0}}


class StrayingDevice(FakeDevice):
    """One from which the engine's thread strays at the step of this number, from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.strays_at = 0

    def where(self) -> str:
        self.strays_at -= 1
        return NOWHERE if self.strays_at == 0 else super().where()


class CountingBox:
    """A box whose reader leaves after so many pieces, or never; it notes how it is closed."""

    def __init__(self, leaves_after: int | None) -> None:
        self._left = leaves_after
        self.abandoned = leaves_after == 0
        self.pieces: list[Piece] = []
        self.closings: list[ServeError | None] = []

    def put(self, piece: Piece) -> None:
        assert not self.closings, "a piece for a closed box"
        self.pieces.append(piece)
        self.abandoned = len(self.pieces) == self._left

    def close(self, error: ServeError | None = None) -> None:
        self.closings.append(error)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


class NotingBox(CountingBox):
    """One that notes its priority when it is closed."""

    def __init__(self, priority: int, ended: list[int]) -> None:
        super().__init__(None)
        self._priority, self._ended = priority, ended

    def close(self, error: ServeError | None = None) -> None:
        super().close(error)
        self._ended.append(self._priority)


def poison(stage: Stage) -> None:
    """From now on a prompt with that token leads to no number."""
    weight = stage.model.model.embed_tokens.weight
    loading(lambda: weight[POISON].fill_(float("nan")))


@pytest.fixture(params=manners(batching_engine, working_ahead))
def make(request: pytest.FixtureRequest) -> Make:
    make: Make = request.param
    return make


@pytest.fixture
async def stage(make: Make) -> AsyncIterator[Stage]:
    stage = Stage(make, concurrency=4)
    yield stage
    stage.engine.close()


def a_prompt(chance: random.Random, most: int = 90) -> list[int]:
    """Of any length; many begin alike."""
    shared = [chance.choice([7, 8])] * chance.randint(0, most // 2)
    return [*shared, *(chance.randrange(3, 300) for _ in range(chance.randint(1, most // 2)))]


async def test_one_more_than_may_wait_is_turned_away_at_once(make: Make) -> None:
    stage = Stage(make, concurrency=2, waiting=3)
    with stage.held() as go:
        boxes = [stage.start() for _ in range(5)]
        with pytest.raises(Overloaded, match="^2 requests run and 3 wait; try again") as info:
            await stage.answer()
        assert info.value.retry_after
        boxes[0].leave()
        boxes.append(stage.start())
        go.set()
        for box in boxes[1:]:
            assert [piece async for piece in box][-1].finish_reason == "length"
    stage.engine.close()


async def test_requests_that_come_at_once_begin_at_once() -> None:
    """The first one waits for as many as may run; not for longer."""
    stage = Stage(partial(batching_engine, gathering=SOON), concurrency=3)
    read: list[int] = []
    stage.model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    prompts = [[5] * 20, [6] * 30, [7] * 40]
    boxes = [stage.start(prompt_token_ids=prompt) for prompt in prompts]
    async with asyncio.timeout(SOON / 2):
        for box in boxes:
            assert [piece async for piece in box][-1].finish_reason == "length"
    assert read[0] == 90
    stage.engine.close()


async def test_all_steps_run_on_one_thread(stage: Stage) -> None:
    stage.device.watch(stage.model)
    await asyncio.gather(*[stage.answer(seed=i) for i in range(6)])
    await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    assert stage.device.users == set(stage.device.bound)
    assert len(stage.device.bound) == 1


async def test_a_device_that_cannot_be_bound_is_an_error_for_the_maker() -> None:
    loaded = tiny_loaded(model=random_model(tiny_config()))
    fit = loading(lambda: fitted(loaded.model, 128))
    with pytest.raises(RuntimeError, match="507033"):
        BatchingEngine(loaded, FakeDevice(broken=True), fit, Room(2, 128, 2))


async def test_a_greedy_answer_is_the_same_alone_in_a_batch_and_by_another_engine(
    stage: Stage,
) -> None:
    """Also the second time, when the prompt is known; prompts are of one token up to 90."""
    chance = random.Random(1)
    bodies = [{**GREEDY, "prompt_token_ids": a_prompt(chance)} for _ in range(24)]
    bodies.append({**GREEDY, "prompt_token_ids": [5]})
    threads = Stage(thread_engine, concurrency=1)
    expected = [await threads.text(**body) for body in bodies]
    assert [await stage.text(**body) for body in bodies] == expected
    assert await asyncio.gather(*[stage.text(**body) for body in bodies]) == expected
    assert [await stage.text(**body) for body in reversed(bodies)] == expected[::-1]
    threads.engine.close()


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 100])
async def test_an_echo_has_the_log_probabilities_that_another_engine_gives(
    stage: Stage, length: int
) -> None:
    chance = random.Random(length)
    prompt = [chance.randrange(3, 300) for _ in range(length)]
    body = {**GREEDY, "prompt_token_ids": prompt, "echo": True, "logprobs": 2}
    threads = Stage(thread_engine, concurrency=1)
    expected, (found, *_) = (
        await threads.answer(**body),
        await asyncio.gather(stage.answer(**body), stage.answer(**body), stage.answer(seed=1)),
    )
    threads.engine.close()
    assert [piece.text for piece in found] == [piece.text for piece in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.logprobs and other.logprobs
        assert one.logprobs.tokens == other.logprobs.tokens
        assert one.logprobs.text_offset == other.logprobs.text_offset
        pairs = zip(one.logprobs.token_logprobs, other.logprobs.token_logprobs, strict=True)
        assert all(a == b or a == pytest.approx(b, abs=1e-4) for a, b in pairs)


@pytest.mark.parametrize("length", [1, 2, 64, 65, 100])
async def test_what_is_made_of_a_prompt_is_what_another_engine_makes_of_it(
    stage: Stage, length: int
) -> None:
    """Also the second time, when the prompt is known; neighbours ask for nothing."""
    prompt = [(7 * n) % 290 + 3 for n in range(length)]
    body = {**GREEDY, "prompt_token_ids": prompt, "prompt_logprobs": 2}
    threads = Stage(thread_engine, concurrency=1)
    (expected, *_) = await threads.answer(**body)
    threads.engine.close()
    await stage.answer(**body)
    found, (plain, *_) = await asyncio.gather(stage.answer(**body), stage.answer(seed=1))
    assert expected.prompt_logprobs is not None and found[0].prompt_logprobs is not None
    assert plain.prompt_logprobs is None
    assert all(piece.prompt_logprobs is None for piece in found[1:])
    for one, other in zip(found[0].prompt_logprobs, expected.prompt_logprobs, strict=True):
        assert (one is None) == (other is None)
        for mine, theirs in zip((one or {}).items(), (other or {}).items(), strict=True):
            assert (mine[0], mine[1].rank) == (theirs[0], theirs[1].rank)
            assert mine[1].logprob == pytest.approx(theirs[1].logprob, abs=1e-4)


def test_of_those_who_wait_the_lowest_priority_is_served_first(make: Make) -> None:
    stage, ended = Stage(make, concurrency=1), list[int]()
    with stage.held() as go:
        for priority in (1 - 2**31, 0, 7, -5, 0, 2**31 - 1, -(10**9)):
            body = stage.body(max_new_tokens=2, priority=priority)
            stage.engine.submit(stage.engine.admit(body), NotingBox(priority, ended))
        go.set()
        wait_for(lambda: len(ended) == 7, "every box is closed", SOON)
    assert ended == [1 - 2**31, -(10**9), -5, 0, 0, 7, 2**31 - 1]
    stage.engine.close()


async def test_twins_read_their_prompt_once(stage: Stage) -> None:
    read = list[int]()

    def count(module: object, args: object, kwargs: dict[str, Any]) -> None:
        read.append(kwargs["input_ids"].shape[1])

    hook = stage.model.register_forward_pre_hook(count, with_kwargs=True)
    with stage.held() as go:
        prompt = list(range(3, 93))
        boxes = [stage.start(prompt_token_ids=prompt, max_new_tokens=1) for _ in range(4)]
        go.set()
        for box in boxes:
            assert [piece async for piece in box]
    hook.remove()
    assert 90 + 3 <= sum(read) < 2 * 90  # a card's steps are filled up


@pytest.mark.parametrize("at", [1, 2, 8])
async def test_want_of_memory_ends_the_newest_and_nobody_else_notices(
    stage: Stage, at: int
) -> None:
    """In a step that reads prompts, in the next one, and while all are writing."""
    prompts = [list(range(n, n + 20)) for n in (10, 50, 90)]
    expected = [await stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
    with stage.held() as go, stage.failing(RuntimeError("out of memory"), at=at + 1):
        first = stage.start(max_new_tokens=1)  # whose step is held, until all are here
        boxes = [stage.start(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
        go.set()
        assert [piece async for piece in first]
        said = [await said_by(box) for box in boxes]
    (lost,) = [i for i, one in enumerate(said) if one != expected[i]]
    assert said[lost] == "out of memory"
    assert lost == 2 or (at < 3 and stage.device.fixed_shapes)  # there prompts come one by one
    assert await stage.text(**GREEDY, prompt_token_ids=prompts[lost]) == expected[lost]


async def said_by(box: Outbox) -> str:
    try:
        return "".join([piece.text async for piece in box])
    except OutOfMemory:
        return "out of memory"


async def test_a_row_that_is_no_number_ends_its_own_request_and_its_slot_is_clean(
    make: Make,
) -> None:
    stage = Stage(make, concurrency=3)
    poison(stage)
    prompts = [list(range(n, n + 20)) for n in (10, 50)]
    expected = [await stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
    for length in (1, 40, 80):
        with stage.held() as go:
            boxes = [stage.start(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
            wrong = stage.start(**GREEDY, prompt_token_ids=[*range(3, 3 + length), POISON, 9])
            go.set()
            with pytest.raises(ServeError, match="not a number|no number|not numbers"):
                [piece async for piece in wrong]
            texts = ["".join([piece.text async for piece in box]) for box in boxes]
        assert texts == expected
        again = [stage.text(**GREEDY, prompt_token_ids=prompts[i % 2]) for i in range(6)]
        assert await asyncio.gather(*again) == expected * 3
    stage.engine.close()


async def test_what_no_later_token_vouched_for_is_not_kept(make: Make) -> None:
    """A card that works ahead has read the token that ends an answer before it was known to."""
    stage = Stage(make, concurrency=3)
    poison(stage)
    prompts = [[n, n + 1, n + 2] for n in range(10, 150, 10)]
    expected = [await stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
    to_the_end = {**GREEDY, "logit_bias": {str(POISON): 100.0}, "stop_token_ids": [POISON]}
    for _ in range(5):  # every slot is used
        (piece,) = await stage.answer(**to_the_end, prompt_token_ids=list(range(3, 23)))
        assert piece.finish_reason == "stop"
    texts = [stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
    assert await asyncio.gather(*texts) == expected
    stage.engine.close()


class DefectiveDevice(FakeDevice):
    """One whose faults cannot be told: a defect of ours that nobody has foreseen."""

    def fault(self, exc: BaseException) -> Fault | None:
        raise KeyError("a defect")


async def test_an_engine_whose_thread_fails_leaves_nobody_waiting(make: Make) -> None:
    stage = Stage(make, DefectiveDevice(), concurrency=2)
    with stage.held() as go:
        boxes = [stage.start() for _ in range(4)]
        vectors = stage.engine.embed(["a cat"])
        with stage.failing(RuntimeError("boom")):
            go.set()
            for box in boxes:
                with pytest.raises(DeviceLost):
                    [piece async for piece in box]
    with pytest.raises(DeviceLost):
        await asyncio.wrap_future(vectors)
    with pytest.raises((DeviceLost, NotReady)):
        await stage.answer()
    assert stage.engine.lost.done() and stage.engine.queue_length() == 0


async def test_a_scored_prompt_that_is_no_number_ends_its_own_request_only(make: Make) -> None:
    stage = Stage(make, concurrency=3)
    poison(stage)
    prompt = list(range(10, 30))
    expected = await stage.text(**GREEDY, prompt_token_ids=prompt)
    poisoned = [*range(3, 60), POISON, 9]
    with stage.held() as go:
        good = stage.start(**GREEDY, prompt_token_ids=prompt)
        wrong = stage.start(**GREEDY, prompt_token_ids=poisoned, echo=True, logprobs=1)
        go.set()
        with pytest.raises(ServeError, match="not a number"):
            [piece async for piece in wrong]
        assert "".join([piece.text async for piece in good]) == expected
    assert await stage.text(**GREEDY, prompt_token_ids=prompt) == expected
    stage.engine.close()


async def test_a_slot_in_which_a_scored_prompt_went_wrong_is_clean(make: Make) -> None:
    stage = Stage(make, concurrency=3)
    poison(stage)
    prompt = list(range(10, 30))
    expected = await stage.text(**GREEDY, prompt_token_ids=prompt)
    poisoned = [*range(3, 60), POISON, 9]
    for _ in range(6):  # every slot is used
        with pytest.raises(ServeError, match="not a number"):
            await stage.answer(**GREEDY, prompt_token_ids=poisoned, echo=True, logprobs=1)
    texts = [stage.text(**GREEDY, prompt_token_ids=prompt, echo=False) for _ in range(6)]
    assert await asyncio.gather(*texts) == [expected] * 6
    stage.engine.close()


async def test_a_thread_that_strays_gives_nobody_another_ones_tokens(make: Make) -> None:
    """The step was planned and not run; what is believed to lie in the slots must be true."""
    prompts = [list(range(n, n + 40)) for n in (10, 60, 110)]
    for step in range(1, 8):
        device = StrayingDevice()
        stage = Stage(make, device, concurrency=3)
        expected = [await stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
        await stage.text(prompt_token_ids=list(range(200, 290)))
        with stage.held() as go:
            boxes = [
                stage.start(**GREEDY, prompt_token_ids=[*prompt, 3], max_new_tokens=length)
                for prompt, length in zip(prompts, (2, 30, 4), strict=True)
            ]
            device.strays_at = step + 1  # the step that is held has been looked at
            go.set()
            wait_for(partial(all_closed, boxes), "every box is closed", SOON)
        with pytest.raises(ServeError, match="nothing was computed"):
            [piece async for piece in boxes[1]]
        again = [await stage.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
        stage.engine.close()
        assert again == expected, f"strayed at step {step}"


def all_closed(boxes: list[Outbox]) -> bool:
    return all(box.closed for box in boxes)


async def test_a_lost_device_ends_vectors_too(stage: Stage) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("error code is 507899")

    stage.model.base_model.register_forward_pre_hook(fail)
    with stage.held() as go:
        boxes = [stage.start() for _ in range(6)]
        texts = [stage.engine.embed(["a cat"]) for _ in range(3)]
        go.set()
        for box in boxes:
            with pytest.raises(DeviceLost):
                [piece async for piece in box]
        for one in texts:
            with pytest.raises(DeviceLost):
                await asyncio.wait_for(asyncio.wrap_future(one), SOON)
    assert stage.engine.queue_length() == 0
    assert stage.engine.lost.done()


async def test_answers_go_on_while_vectors_are_made(stage: Stage) -> None:
    alone = await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    expected = await stage.text(**GREEDY)
    vectors = stage.engine.embed(["a cat"] * 400)
    assert await stage.text(**GREEDY) == expected
    assert not vectors.done()
    made = await asyncio.wrap_future(vectors)
    assert made.vectors == alone.vectors * 400


async def test_vectors_do_not_wait_for_answers_to_end(stage: Stage) -> None:
    box = stage.start(max_new_tokens=100)
    await anext(aiter(box))
    await asyncio.wrap_future(stage.engine.embed(["a cat"]))
    assert not box.closed
    assert [piece async for piece in box][-1].finish_reason == "length"


@pytest.mark.slow
@pytest.mark.parametrize("closes_after", [None, 40, 200])
async def test_every_box_is_closed_once_whatever_its_reader_does(
    make: Make, closes_after: int | None
) -> None:
    """300 requests from four threads; three in ten readers leave, the engine perhaps as well."""
    stage = Stage(make, concurrency=5)
    chance, boxes = random.Random(closes_after), list[tuple[list[int], CountingBox]]()
    for _ in range(300):
        leaves = chance.randint(0, 8) if chance.random() < 0.3 else None
        boxes.append((a_prompt(chance), CountingBox(leaves)))

    def submit(part: list[tuple[list[int], CountingBox]]) -> None:
        for prompt, box in part:
            body = stage.body(**GREEDY, prompt_token_ids=prompt, max_new_tokens=9)
            stage.engine.submit(stage.engine.admit(body), box)

    threads = [threading.Thread(target=submit, args=(boxes[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    if closes_after is not None:
        wait_for(lambda: answered(boxes) >= closes_after, "some are answered", SOON)
        stage.engine.close()
    for thread in threads:
        thread.join(SOON)
    wait_for(lambda: all(box.closings for _, box in boxes), "every box is closed", SOON)
    stage.idle()
    assert all(len(box.closings) == 1 for _, box in boxes)
    for _, box in boxes:
        (error,) = box.closings
        if not box.abandoned:
            assert error is None or isinstance(error, NotReady)
            assert (error is None) is (box.pieces[-1:] != [] and bool(box.pieces[-1].finish_reason))
    assert any(box.closings[0] for _, box in boxes) is (closes_after is not None)
    stage.engine.close()
    await check_some(boxes)


def answered(boxes: list[tuple[list[int], CountingBox]]) -> int:
    return sum(len(box.closings) for _, box in boxes)


async def check_some(boxes: list[tuple[list[int], CountingBox]]) -> None:
    """In all that turmoil the answers were the right ones."""
    alone = Stage(thread_engine, concurrency=1)
    ended = [(p, box) for p, box in boxes if box.pieces and box.pieces[-1].finish_reason]
    for prompt, box in ended[::5]:
        text = await alone.text(**GREEDY, prompt_token_ids=prompt, max_new_tokens=9)
        assert box.text == text
    assert len(ended) >= 20
    alone.engine.close()


def test_an_engine_can_be_closed_twice_and_before_it_did_anything() -> None:
    stage = Stage(batching_engine)
    stage.engine.close()
    stage.engine.close()
    box = CountingBox(None)
    stage.engine.submit(stage.engine.admit(GenerateBody(prompt="a cat")), box)
    wait_for(lambda: bool(box.closings), "it is turned away", SOON)
    assert isinstance(box.closings[0], NotReady)
