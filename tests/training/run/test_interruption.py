"""A signal ends a training after its step; insisting ends it at once."""

import signal

import pytest

from danlu.training.run.interruption import SAME, SIGNALS, Interruption


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_told_and_heard(number: signal.Signals) -> None:
    said: list[str] = []
    with Interruption(said.append) as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()
    assert interrupted.status == 128 + number
    assert said == [
        f"{number.name}: this step is finished and a checkpoint written; once more ends it at once"
    ]


def test_the_same_wish_from_two_sides_counts_once_and_a_later_one_ends_it() -> None:
    clock = [0.0]
    with Interruption(lambda _: None, lambda: clock[0]) as interrupted:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        clock[0] = SAME + 0.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interrupted.status == 128 + signal.SIGINT


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption(lambda _: None):
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before
