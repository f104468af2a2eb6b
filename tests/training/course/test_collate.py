"""Batches: what stands where, and that packing changes nothing but speed."""

import pytest
from hypothesis import given, strategies as st
from support.courses import a_sample, sentences
from support.families import a_model, assert_same, learned
from support.tiny_glm import tiny_glm

from danlu.training.course.collate import collate
from danlu.training.learner import IGNORED, Learner


def test_rows_are_padded_on_the_right_with_nothing_to_learn() -> None:
    batch = collate([[a_sample(5, 6, 7, asked=2)], [a_sample(8, 9, asked=1)]])
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7], [IGNORED, 9, IGNORED]]
    assert batch.positions.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert batch.mask is None


def test_rows_are_as_long_as_a_multiple_of_what_is_asked_for() -> None:
    assert collate([[a_sample(5, 6, 7)]], multiple=8).ids.shape == (1, 8)
    assert collate([[a_sample(*range(8))]], multiple=8).ids.shape == (1, 8)


def test_samples_of_a_row_begin_anew_and_see_only_themselves() -> None:
    batch = collate([[a_sample(5, 6), a_sample(7, 8, 9)], [a_sample(4)]])
    assert batch.ids.tolist() == [[5, 6, 7, 8, 9], [4, 0, 0, 0, 0]]
    assert batch.labels[0].tolist() == [IGNORED, 6, IGNORED, 8, 9]
    assert batch.positions[0].tolist() == [0, 1, 0, 1, 2]
    assert batch.mask is not None
    assert batch.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


def test_a_process_without_rows_gets_one_that_teaches_nothing() -> None:
    batch = collate([])
    model = tiny_glm().requires_grad_(True)
    loss = Learner(model)(batch)
    loss.backward()
    assert loss.item() == 0
    grads = [p.grad for p in model.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_a_first_token_that_is_learned_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="first token"):
        collate([[a_sample(5, 6, asked=0)]])


@given(st.lists(st.lists(st.integers(2, 6), min_size=1, max_size=3), min_size=1, max_size=3))
def test_every_token_sees_itself_so_that_no_row_of_attention_is_empty(
    lengths: list[list[int]],
) -> None:
    batch = collate([[a_sample(*range(n)) for n in row] for row in lengths])
    if batch.mask is not None:
        assert batch.mask.diagonal(dim1=-2, dim2=-1).all()
        assert not batch.mask.triu(1).any()


@pytest.mark.parametrize("family", ["glm", "llama", "gemma2", "mistral"])
def test_a_packed_row_trains_what_separate_rows_do(family: str) -> None:
    """Gemma 2 adds its mask up, and it and Mistral look through windows."""
    samples, model = sentences(4), a_model(family)
    packed, packed_gradients = learned(model, collate([samples[:3], samples[3:]]))
    apart, apart_gradients = learned(model, collate([[sample] for sample in samples]))
    assert packed == pytest.approx(apart, rel=1e-5)
    assert_same(packed_gradients, apart_gradients)
