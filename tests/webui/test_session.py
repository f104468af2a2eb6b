"""One tab's conversation."""

from danlu.webui.session import Phase, Session, Turn


def a_session(*answers: str) -> Session:
    session = Session()
    for number, answer in enumerate(answers):
        turn = session.ask(f"q{number}")
        assert session.take() is turn
        turn.answer, turn.phase = answer, Phase.ENDED
    return session


def roles(session: Session, system: str = "") -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in session.messages(system)]


def test_a_question_is_handed_out_once() -> None:
    session = Session()
    turn = session.ask("hello")
    assert session.busy
    assert session.take() is turn
    assert session.take() is None
    assert session.busy


def test_the_model_is_told_everything_that_was_said() -> None:
    session = a_session("a0")
    session.ask("q1")
    assert roles(session, "be brief") == [
        ("system", "be brief"),
        ("user", "q0"),
        ("assistant", "a0"),
        ("user", "q1"),
    ]


def test_a_blank_system_prompt_is_not_sent() -> None:
    assert roles(a_session("a0"), "  ")[0][0] == "user"


def test_a_turn_that_failed_without_a_word_is_not_told() -> None:
    session = a_session("a0", "")
    session.ask("q2")
    assert [text for _, text in roles(session)] == ["q0", "a0", "q2"]


def test_the_last_question_is_asked_again_without_its_answer() -> None:
    session = a_session("a0", "a1")
    assert session.again()
    assert roles(session) == [("user", "q0"), ("assistant", "a0"), ("user", "q1")]


def test_nothing_is_asked_again_while_an_answer_is_written() -> None:
    session = a_session("a0")
    session.ask("q1")
    assert not session.again()
    assert not Session().again()


def test_a_question_that_nobody_took_ends_when_it_is_stopped() -> None:
    session = Session()
    turn = session.ask("hello")
    session.stop()
    assert not session.busy
    assert turn.stop.is_set()
    assert session.take() is None


def test_an_answer_that_is_written_is_asked_to_stop_and_ends_by_itself() -> None:
    session = Session()
    turn = session.ask("hello")
    session.take()
    session.stop()
    assert turn.stop.is_set()
    assert session.busy


def test_a_cleared_session_is_a_new_conversation() -> None:
    session = a_session("a0")
    before = session.conv_id
    running: Turn = session.ask("q1")
    session.clear()
    assert running.stop.is_set()
    assert session.turns == []
    session.ask("again")
    assert session.conv_id not in ("", before)
