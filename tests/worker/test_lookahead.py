"""With guesses an answer is the same to the last piece, in fewer steps."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.card import loading, manners
from support.stage import (
    Make,
    Stage,
    batching_engine,
    guessing,
    guessing_on_a_card,
    working_ahead,
)
from support.tries import Tries

from danlu.adapters.errors import OutOfMemory
from danlu.adapters.wire.generation import Structure
from danlu.worker.job import Piece

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
POISON = 399
PLAIN: dict[Make, Make] = {guessing: batching_engine, guessing_on_a_card: working_ahead}
# A model of random weights that may say three words only repeats itself soon.
FEW = {str(token): 50.0 for token in (7, 8, 9)}
GREEDY: dict[str, Any] = {"temperature": 0.0, "logit_bias": FEW, "max_new_tokens": 60}
DRAWN: dict[str, Any] = {
    "temperature": 0.7,
    "seed": 5,
    "logit_bias": dict.fromkeys(FEW, 20.0),
    "max_new_tokens": 60,
}
LIMITED: dict[str, Any] = {**DRAWN, "top_p": 0.8, "top_k": 40, "min_p": 0.01}
AB = Structure(regex="(ab|cd){20}")
HELD: dict[str, Any] = {**GREEDY, "ignore_eos": False, "min_tokens": 9}


@pytest.fixture(params=manners(guessing, guessing_on_a_card))
def make(request: pytest.FixtureRequest) -> Make:
    make: Make = request.param
    return make


@pytest.fixture
async def stages(make: Make) -> AsyncIterator[tuple[Stage, Stage]]:
    """One without and one with guesses."""
    pair = Stage(PLAIN[make], concurrency=4), Stage(make, concurrency=4)
    yield pair
    for stage in pair:
        stage.engine.close()


@pytest.fixture
def tries(caplog: pytest.LogCaptureFixture) -> Tries:
    return Tries(caplog)


def some_prompts(count: int, most: int = 40) -> list[list[int]]:
    chance = random.Random(count)
    return [
        [chance.choice([7, 8, 9]) for _ in range(chance.randint(1, most))] for _ in range(count)
    ]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize(
    "how", [GREEDY, DRAWN, LIMITED, HELD], ids=["greedy", "drawn", "cut", "held"]
)
async def test_pieces_are_the_same_with_and_without(
    stages: tuple[Stage, Stage], tries: Tries, how: dict[str, Any]
) -> None:
    """Alone and together; texts, their order and their counts."""
    plain, fast = stages
    bodies = [{**how, "prompt_token_ids": prompt} for prompt in some_prompts(8)]
    expected = [await plain.answer(**body) for body in bodies]
    assert [await fast.answer(**body) for body in bodies] == expected
    assert await asyncio.gather(*[fast.answer(**body) for body in bodies]) == expected
    assert tries.right > 20 and tries.wrong > 20


async def test_an_answer_that_repeats_itself_takes_fewer_steps(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    steps = []
    for stage in stages:
        count = 0

        def one(*_: object) -> None:
            nonlocal count
            count += 1

        hook = stage.model.register_forward_pre_hook(one)
        pieces = await stage.answer(**{**GREEDY, "max_new_tokens": 100}, prompt_token_ids=[7, 8])
        assert pieces[-1].usage.completion_tokens == 100
        hook.remove()
        steps.append(count)
    assert steps[0] >= 100
    assert steps[1] <= 100 - tries.right + 1
    assert tries.right > 30


@pytest.mark.slow
async def test_nobody_in_a_mixed_batch_notices_who_guesses(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    """Penalties, log-probabilities and grammars beside guesses, and prompts that are read."""
    plain, fast = stages
    kinds: list[dict[str, Any]] = [
        GREEDY,
        DRAWN,
        {**GREEDY, "repetition_penalty": 1.3},
        {**DRAWN, "frequency_penalty": 1.5, "presence_penalty": 0.5},
        {**GREEDY, "logprobs": 2},
        {"temperature": 0.0, "structured_outputs": AB, "ignore_eos": False, "max_new_tokens": 50},
        HELD,
    ]
    chance = random.Random(3)
    bodies = [
        {**chance.choice(kinds), "prompt_token_ids": prompt} for prompt in some_prompts(24, 60)
    ]
    expected = [await plain.answer(**body) for body in bodies]
    found = await asyncio.gather(*[fast.answer(**body) for body in bodies])
    for one, other in zip(found, expected, strict=True):
        assert text_of(one) == text_of(other)
        assert one[-1].usage == other[-1].usage
    assert tries.right > 20


async def test_what_forbids_guesses_has_none(stages: tuple[Stage, Stage], tries: Tries) -> None:
    for more in ({"repetition_penalty": 1.01}, {"presence_penalty": -0.1}, {"logprobs": 0}):
        await stages[1].answer(**GREEDY, **more, prompt_token_ids=[7, 8] * 20)
    assert not list(tries)
    await stages[1].answer(**GREEDY, prompt_token_ids=[7, 8] * 20)
    assert list(tries)


async def test_an_answer_ends_in_the_middle_of_right_guesses_where_it_ends_without(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    plain, fast = stages
    prompt = [7, 8] * 20
    whole = text_of(await plain.answer(**GREEDY, prompt_token_ids=prompt))
    lengths = [{**GREEDY, "max_new_tokens": count} for count in range(1, 24)]
    texts = [{**GREEDY, "stop": whole[at : at + 3]} for at in range(0, len(whole) - 3, 5)]
    for body in [*lengths, *texts, {**GREEDY, "stop": whole[-2:] + "?"}]:
        expected = await plain.answer(**body, prompt_token_ids=prompt)
        assert await fast.answer(**body, prompt_token_ids=prompt) == expected
    assert tries.right > 20


@pytest.mark.slow
async def test_an_answer_that_fills_the_context_is_the_same(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    plain, fast = stages
    for length in (90, 110, 120, 126, 127):
        body = {**GREEDY, "prompt_token_ids": ([7, 8, 9] * 50)[:length], "max_new_tokens": 99}
        expected = await plain.answer(**body)
        assert expected[-1].usage.total_tokens == 128
        assert await fast.answer(**body) == expected
    assert tries.right > 20


@pytest.mark.slow
async def test_readers_who_leave_in_the_middle_leave_good_beginnings(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    """What they have read is what the next question begins with."""
    plain, fast = stages
    for leaves_after in range(1, 12):
        prompt = some_prompts(leaves_after, 60)[-1]
        box = fast.start(**GREEDY, prompt_token_ids=prompt)
        neighbour = asyncio.create_task(fast.text(**DRAWN, prompt_token_ids=prompt[:9]))
        said = []
        async for piece in box:
            said.append(piece)
            if len(said) == leaves_after:
                break
        box.leave()
        fast.idle()
        follows = {**GREEDY, "prompt_token_ids": [*prompt, 8, 8, 9, 7], "max_new_tokens": 20}
        assert await fast.text(**follows) == await plain.text(**follows)
        assert await neighbour == await plain.text(**DRAWN, prompt_token_ids=prompt[:9])
    assert tries.right > 20


@pytest.mark.slow
async def test_the_next_turn_goes_on_from_what_was_guessed(
    stages: tuple[Stage, Stage], tries: Tries
) -> None:
    """What guesses that were right left in the slot is used, what wrong ones left is not."""
    plain, fast = stages
    for how in (GREEDY, DRAWN):
        for prompt in some_prompts(6, 30):
            talk = list(prompt)
            for _ in range(3):
                body = {**how, "prompt_token_ids": talk, "max_new_tokens": 20}
                expected = await plain.answer(**body)
                assert await fast.answer(**body) == expected
                talk = [*talk, *plain.engine.admit(plain.body(prompt=text_of(expected))).prompt_ids]
                talk = [*talk[:80], 7]
    assert tries.right > 20 and tries.wrong > 20


async def test_a_guess_that_is_no_number_harms_nobody(make: Make, tries: Tries) -> None:
    """The prompt's own entries are good ones, from before its token went bad."""
    stage = Stage(make, concurrency=2)
    bias = {**FEW, "8": 90.0, str(POISON): -100.0}
    prompt = [*range(100, 120), 6, 7, 8, POISON, 12, 13, 6, 7]
    body = {**GREEDY, "logit_bias": bias, "prompt_token_ids": prompt}
    expected = await stage.text(**body)
    before = len(list(tries))
    weight = stage.model.model.embed_tokens.weight
    loading(lambda: weight[POISON].fill_(float("nan")))
    for _ in range(3):
        assert await stage.text(**body) == expected
    others = [stage.text(**GREEDY, prompt_token_ids=[n, 7, 8]) for n in range(20, 28)]
    clean = Stage(PLAIN[make], concurrency=2)
    again = [await clean.text(**GREEDY, prompt_token_ids=[n, 7, 8]) for n in range(20, 28)]
    assert await asyncio.gather(*others) == again
    assert len(list(tries)) > before
    clean.engine.close()
    stage.engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 3, 5, 8])
async def test_want_of_memory_in_a_step_with_guesses_ends_the_newest_only(
    stages: tuple[Stage, Stage], tries: Tries, at: int
) -> None:
    plain, fast = stages
    prompts = [[7, 8] * 6, [8, 9] * 6, [9, 7] * 6]
    expected = [await plain.text(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
    with fast.held() as go, fast.failing(RuntimeError("out of memory"), at=at + 1):
        first = fast.start(max_new_tokens=1)
        boxes = [fast.start(**GREEDY, prompt_token_ids=prompt) for prompt in prompts]
        go.set()
        assert [piece async for piece in first]
        texts = []
        for box in boxes:
            try:
                texts.append("".join([piece.text async for piece in box]))
            except OutOfMemory:
                texts.append("out of memory")
    assert sum(one != other for one, other in zip(texts, expected, strict=True)) == 1
    assert "out of memory" in texts
    assert [await fast.text(**GREEDY, prompt_token_ids=p) for p in prompts] == expected
    assert tries.right > 20


async def test_a_step_that_fails_leaves_nothing_of_its_guesses_behind() -> None:
    """What was guessed is no number, and the same step wants more memory than there is."""
    few = {str(token): 50.0 for token in (7, 8, 9)}
    only = {**few, "8": 90.0, str(POISON): -100.0}
    prompt = [*range(100, 120), 6, 7, 8, POISON, 12, 13, 6, 7]
    stage = Stage(guessing, concurrency=2)
    body = {"temperature": 0.0, "max_new_tokens": 30}
    weights = stage.model.model.embed_tokens.weight
    await stage.text(**body, logit_bias=only, prompt_token_ids=prompt)
    loading(lambda: weights[POISON].fill_(float("nan")))
    failed: list[bool] = []

    def fail_once(_: object, __: object, out: Any) -> None:
        if not failed and out.logits.isnan().any():
            failed.append(True)
            raise RuntimeError("out of memory")

    hook = stage.model.register_forward_hook(fail_once)
    with pytest.raises(OutOfMemory):
        await stage.text(**body, logit_bias=only, prompt_token_ids=prompt)
    hook.remove()
    assert failed
    for number in range(4):  # every slot is used
        assert await stage.text(**body, logit_bias=few, prompt_token_ids=[20 + number, 7, 8])
    stage.engine.close()
