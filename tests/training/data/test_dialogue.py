"""Which turns make a dialogue that can be trained on."""

import pytest

from danlu.training.data.dialogue import (
    LARGEST_TURN,
    Dialogue,
    Origin,
    Turn,
    Unusable,
    dialogue,
    last_only,
)

ORIGIN = Origin("here.json", 7, 3)
ROLES = {"s": "system", "u": "user", "a": "assistant"}


def said(roles: str, text: str = "x") -> Dialogue:
    """A dialogue of turns of which `roles` gives the first letters."""
    return dialogue([Turn(ROLES[role], text) for role in roles], ORIGIN)


def roles(whole: Dialogue) -> str:
    return "".join(turn.role[0] for turn in whole.turns)


@pytest.mark.parametrize("order", ["ua", "sua", "uaua", "suaua"])
def test_questions_and_answers_in_turns_are_a_dialogue(order: str) -> None:
    whole = said(order)
    assert (roles(whole), whole.notes) == (order, ())


def test_an_empty_system_turn_is_as_good_as_none() -> None:
    asked = [Turn("user", "q"), Turn("assistant", "a")]
    assert dialogue([Turn("system", " \n"), *asked], ORIGIN) == dialogue(asked, ORIGIN)
    with pytest.raises(Unusable, match="turn 3 is empty"):
        dialogue([Turn("system", ""), asked[0], Turn("assistant", "")], ORIGIN)


def test_a_first_answer_without_a_question_is_left_out_with_a_note() -> None:
    whole = said("saua")
    assert roles(whole) == "sua"
    assert whole.notes == ("first answer without a question left out",)


def test_a_last_question_without_an_answer_is_left_out_with_a_note() -> None:
    whole = said("uau")
    assert roles(whole) == "ua"
    assert whole.notes == ("last question without an answer left out",)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("uua", "turns 1 and 2 are both the user's; they must take turns"),
        ("suaa", "turns 3 and 4 are both the assistant's; they must take turns"),
        ("aaua", "turns 1 and 2 are both the assistant's; they must take turns"),
        ("usa", "turn 2 is a system turn; only the first may be"),
        ("ssua", "turn 2 is a system turn; only the first may be"),
        ("", "no turn of it is an answer to a question"),
        ("s", "no turn of it is an answer to a question"),
        ("su", "no turn of it is an answer to a question"),
        ("a", "no turn of it is an answer to a question"),
    ],
)
def test_another_order_is_refused(order: str, reason: str) -> None:
    with pytest.raises(Unusable) as raised:
        said(order)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "turn 1 is empty"),
        (" \n\u3000", "turn 1 is empty"),
        ("a\0b", "turn 1 holds a NUL character"),
        ("ab\ud83d", "turn 1 holds half a surrogate pair at character 3"),
        ("ab\udcff", "turn 1 holds bytes that are no text at character 3"),
        ("x" * LARGEST_TURN, "turn 1 has 1.0 MB; a turn has less than 1 MB"),
        ("丹" * 700_000, "turn 1 has 2.1 MB; a turn has less than 1 MB"),
    ],
)
def test_a_text_that_nobody_can_have_meant_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Unusable) as raised:
        said("ua", text)
    assert str(raised.value) == reason


def test_the_largest_turn_is_taken() -> None:
    assert roles(said("ua", "x" * (LARGEST_TURN - 1))) == "ua"


def test_a_dialogue_without_a_trained_answer_is_refused() -> None:
    turns = [Turn("user", "a"), Turn("assistant", "b", trained=False)]
    with pytest.raises(Unusable, match="all of its answers have weight 0"):
        dialogue(turns, ORIGIN)


def test_only_the_last_answer_may_be_trained() -> None:
    assert [turn.trained for turn in last_only(said("uaua")).turns] == [False, False, False, True]


def test_a_last_answer_of_weight_0_is_not_the_only_one_to_train() -> None:
    turns = [*said("uau").turns, Turn("user", "c"), Turn("assistant", "d", trained=False)]
    with pytest.raises(Unusable, match="its last answer has weight 0"):
        last_only(dialogue(turns, ORIGIN))


def test_a_place_is_written_as_editors_read_it() -> None:
    assert ORIGIN.where == "here.json:7 (record 3)"
