"""A card's number finds its kind."""

import pytest

from danlu.adapters.errors import StartError
from danlu.worker.cards import numbered


def nobody_looks() -> list[str]:
    raise AssertionError("what is here decides nothing")


@pytest.mark.parametrize("name", ["auto", "cpu", "npu", "npu:1", "cuda:0"])
def test_what_is_named_whole_stays(name: str) -> None:
    assert numbered(name, nobody_looks) == name


def test_a_number_alone_is_of_the_kind_that_comes_first() -> None:
    assert numbered("auto:1", lambda: ["npu:0", "npu:1", "cuda:0", "cpu"]) == "npu:1"
    assert numbered("auto:0", lambda: ["cuda:0", "cpu"]) == "cuda:0"


def test_a_card_that_is_not_there_keeps_its_number_for_whoever_looks_for_it() -> None:
    assert numbered("auto:7", lambda: ["cuda:0", "cpu"]) == "cuda:7"


def test_where_there_are_no_cards_that_is_said() -> None:
    with pytest.raises(StartError, match="^--gpus 0 asks for a card, and this machine has none"):
        numbered("auto:0", lambda: ["cpu"])
