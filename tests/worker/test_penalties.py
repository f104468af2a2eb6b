"""Penalties and the memory they need, against a dense count of every token."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples
from torch import Tensor

from danlu.worker.job import Sampling
from danlu.worker.penalties import LEAST, Memory, Penalties

pytestmark = pytest.mark.usefixtures("bound")

HERE = torch.device(card())
VOCABULARY = 20
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)
FACTORS = st.sampled_from([1.0, 0.5, 1.3])
TERMS = st.sampled_from([0.0, -0.5, 0.75])


def expected(how: Sampling, scores: Tensor, prompt: list[int], answer: list[int]) -> Tensor:
    counts = torch.bincount(torch.tensor(answer, dtype=torch.long), minlength=VOCABULARY)
    seen = counts + torch.bincount(torch.tensor(prompt, dtype=torch.long), minlength=VOCABULARY) > 0
    r = how.repetition_penalty
    scores = torch.where(seen, torch.where(scores < 0, scores * r, scores / r), scores)
    scores = scores - how.presence_penalty * (counts > 0)
    return scores - how.frequency_penalty * counts


@given(st.lists(st.tuples(TOKENS, TOKENS, FACTORS, TERMS, TERMS), min_size=1, max_size=4))
@settings(deadline=None, max_examples=examples(100))
def test_each_row_gets_its_own_penalties(
    rows: list[tuple[list[int], list[int], float, float, float]],
) -> None:
    slots = list(range(len(rows)))[::-1]
    prompts, answers = (Memory(len(rows), VOCABULARY, HERE) for _ in range(2))
    hows = [
        Sampling(repetition_penalty=r, presence_penalty=p, frequency_penalty=f)
        for _, _, r, p, f in rows
    ]
    for slot, (prompt, answer, *_) in zip(slots, rows, strict=True):
        prompts.write(slot, prompt)
        answers.write(slot, answer)
    scores = torch.nn.functional.pad(torch.randn(len(rows), VOCABULARY), (0, 4), value=-torch.inf)
    wanted = [
        expected(how, row[:VOCABULARY], prompt, answer)
        for how, row, (prompt, answer, *_) in zip(hows, scores, rows, strict=True)
    ]
    where, scores = torch.tensor(slots, device=HERE), scores.to(HERE)
    Penalties(hows, HERE).apply(scores, prompts.of(where, 12), answers.of(where, 12))
    scores = scores.cpu()
    assert torch.allclose(scores[:, :VOCABULARY], torch.stack(wanted), atol=1e-5)
    assert bool((scores[:, VOCABULARY:] == -torch.inf).all())


def test_a_memory_grows_with_its_longest_row_and_forgets_what_is_overwritten() -> None:
    memory = Memory(3, VOCABULARY, HERE)
    both = torch.tensor([2, 0], device=HERE)
    memory.write(2, [5, 6])
    for length in range(3 * LEAST):
        memory.append(both, torch.tensor([7, 8], device=HERE), longest=length + 2)
    rows = memory.of(both, 3 * LEAST + 2)
    assert rows[0, :3].tolist() == [5, 6, 7]
    assert [int((row != VOCABULARY).sum()) for row in rows] == [3 * LEAST + 2, 3 * LEAST]
    memory.write(2, [])
    assert bool((memory.of(torch.tensor([2], device=HERE), 3 * LEAST) == VOCABULARY).all())


def test_a_token_can_be_put_right_after_others_have_come() -> None:
    memory = Memory(1, VOCABULARY, HERE)
    for length, token in enumerate([3, 4, 5]):
        memory.append(
            torch.tensor([0], device=HERE), torch.tensor([token], device=HERE), longest=length
        )
    memory.amend(0, 1, 9)
    assert memory.of(torch.tensor([0], device=HERE), 3)[0, :3].tolist() == [3, 9, 5]
