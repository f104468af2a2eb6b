"""What comes out of a parcel is what went in."""

import pytest
import torch
from support.card import card

from danlu.worker.parcel import IDS, Parcel
from danlu.worker.sampler import Sampler

pytestmark = pytest.mark.usefixtures("bound")


def test_parts_of_every_shape_and_kind_arrive_flat_and_exact() -> None:
    parts = [
        torch.tensor([0, 1, IDS - 1]),
        torch.tensor([[0.5, -torch.inf], [2.0, 3.0]]),
        torch.empty(2, 0),
        torch.tensor([True, False]),
    ]
    assert Parcel([part.to(card()) for part in parts]).open() == [
        [0, 1, IDS - 1],
        [0.5, -float("inf"), 2.0, 3.0],
        [],
        [1.0, 0.0],
    ]


def test_a_vocabulary_whose_ids_would_not_arrive_exactly_is_not_taken() -> None:
    Sampler(1, IDS - 1, torch.device(card()))
    with pytest.raises(AssertionError):
        Sampler(1, IDS, torch.device(card()))
