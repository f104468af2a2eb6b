"""Who says what several processes have to say alike."""

import pytest

from danlu.adapters.errors import StartError
from danlu.training.peers import Alone, Repeated, alike


class Second:
    """A process beside the first one."""

    rank, count, first = 1, 2, False

    def total(self, *numbers: float) -> tuple[float, ...]:
        return numbers


def test_what_all_come_to_alike_is_said_by_the_first_one() -> None:
    with pytest.raises(StartError) as said, alike(Alone().first):
        raise StartError("the loss is no number")
    assert type(said.value) is StartError
    with pytest.raises(Repeated, match="the loss is no number"), alike(Second().first):
        raise StartError("the loss is no number")


def test_any_other_error_is_each_ones_own() -> None:
    with pytest.raises(ZeroDivisionError), alike(Second().first):
        raise ZeroDivisionError
