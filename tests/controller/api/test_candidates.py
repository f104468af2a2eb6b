"""Which answers of many are told: the most probable ones, whatever their length."""

from typing import Any

import pytest

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.openai_answers import Choice
from danlu.controller.api.candidates import told


def an_answer(text: str, *values: float, **facts: Any) -> Choice:
    return Choice(0, text, {"token_logprobs": list(values)}, **facts)


def texts(choices: list[Choice]) -> list[str]:
    return [choice.text for choice in choices]


def test_the_best_come_first_and_are_numbered_anew() -> None:
    made = [an_answer("c", -3.0), an_answer("a", -1.0), an_answer("b", -2.0)]
    best = told(made, 2, 3)
    assert texts(best) == ["a", "b"]
    assert [choice.index for choice in best] == [0, 1]


def test_a_long_answer_is_not_worse_for_its_length() -> None:
    made = [an_answer("short", -1.0), an_answer("long", -0.5, -0.5, -0.5, -0.5)]
    assert texts(told(made, 1, 2)) == ["long"]


def test_each_prompt_has_its_own_best() -> None:
    made = [an_answer("a", -2.0), an_answer("b", -1.0), an_answer("c", -3.0), an_answer("d", -4.0)]
    best = told(made, 1, 2)
    assert texts(best) == ["b", "c"]
    assert [choice.index for choice in best] == [0, 1]


def test_answers_of_which_none_is_left_out_stay_in_their_order() -> None:
    made = [an_answer("c", -3.0), an_answer("a", -1.0)]
    assert texts(told(made, 2, 2)) == ["c", "a"]
    assert texts(told([Choice(0, "x")], 1, 1)) == ["x"], "no log-probabilities are needed"


def test_an_answer_without_a_token_comes_last() -> None:
    made = [an_answer(""), Choice(1, ""), an_answer("a", -9.0)]
    assert texts(told(made, 1, 3)) == ["a"]


def test_an_echoed_prompt_has_no_say() -> None:
    made = [
        an_answer("Pa", -1.0, -3.0, prompt_tokens=1, echo=True),
        an_answer("Pb", -9.0, -2.0, prompt_tokens=1, echo=True),
    ]
    assert texts(told(made, 1, 2)) == ["Pb"]


def test_a_worker_that_gives_no_log_probabilities_is_an_error_that_names_best_of() -> None:
    with pytest.raises(BadRequest, match="'best_of' chooses") as caught:
        told([Choice(0, "a"), Choice(1, "b")], 1, 2)
    assert caught.value.param == "best_of"


def test_what_was_made_of_the_prompt_is_said_of_all_answers_to_it() -> None:
    made = [an_answer("a", -2.0, prompt_logprobs=[None]), an_answer("b", -1.0)]
    (best,) = told(made, 1, 2)
    assert (best.text, best.prompt_logprobs) == ("b", [None])
