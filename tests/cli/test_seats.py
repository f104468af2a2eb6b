"""Which cards get a worker, and on which ports."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.seats import cards_of, seats
from danlu.cli.stack import Seat, UpSettings

ANY = UpSettings(model_path="/models/glm", worker_host="127.0.0.1")


@pytest.mark.parametrize(
    ("gpus", "count", "cards"),
    [
        ("", None, ()),
        ("", 1, ()),
        ("", 2, (0, 1)),
        ("3", None, (3,)),
        ("3", 1, (3,)),
        ("2,0", None, (2, 0)),
        ("2,0", 2, (2, 0)),
    ],
)
def test_cards_are_named_or_counted(gpus: str, count: int | None, cards: tuple[int, ...]) -> None:
    assert cards_of(gpus, count) == cards


@pytest.mark.parametrize(
    ("gpus", "count", "sentence"),
    [
        ("npu:0", None, "^--gpus 'npu:0' is no list of cards; it is written 0 or 0,1$"),
        ("0,,1", None, "^--gpus '0,,1' is no list"),
        ("0,1,0", None, "^--gpus 0,1,0 names a card twice; a card serves one worker$"),
        ("0,1", 3, "^--num-gpus 3 does not fit --gpus 0,1; leave one of them out$"),
        ("0,1", 1, "^--num-gpus 1 does not fit --gpus 0,1;"),
    ],
)
def test_cards_that_cannot_be_are_refused(gpus: str, count: int | None, sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        cards_of(gpus, count)


def test_without_cards_there_is_one_worker_that_chooses_by_its_own_flags() -> None:
    assert seats(ANY) == (Seat("worker", ANY.worker_port),)


def test_a_single_card_is_the_workers() -> None:
    assert seats(replace(ANY, gpus="5")) == (Seat("worker", ANY.worker_port, ("--gpus", "5")),)


def test_further_workers_take_the_next_free_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        settings = replace(ANY, gpus="0,1", worker_port=number - 2, api_port=number - 1)
        first, other = seats(settings)
    assert first.port == number - 2
    assert other.port > number


def test_ports_end_somewhere() -> None:
    with pytest.raises(StartError, match="^--worker-port 65535 has too few free ports above it$"):
        seats(replace(ANY, gpus="0,1", worker_port=65535))


@pytest.mark.parametrize("flags", [{"gpus": "0"}, {"num_gpus": 1}, {"num_gpus": 2}])
def test_an_upstream_has_cards_of_its_own(flags: dict[str, Any]) -> None:
    settings = replace(ANY, model_path="", upstream_url="http://up/v1", **flags)
    (flag,) = (f"--{name.replace('_', '-')} {value}" for name, value in flags.items())
    with pytest.raises(StartError, match=f"^{flag} is not honoured with --upstream-url"):
        seats(settings)
