"""Settings: flags over variables over defaults, and one sentence for what is wrong."""

from dataclasses import dataclass

import pytest

from danlu.adapters.errors import StartError
from danlu.adapters.host.settings import flags_table, given_settings, knob, settings_from


@dataclass(frozen=True, slots=True)
class Sample:
    """A program for tests."""

    host: str = knob("localhost", "address to listen on")
    port: int = knob(21001, "port to listen on", low=0, high=65535)
    dispatch_method: str = knob("shortest_queue", "policy", choices=("lottery", "shortest_queue"))
    heart_beat: float = knob(90.0, "seconds", env=("FASTCHAT_HEART_BEAT",))
    no_register: bool = knob(False, "stay alone")
    model_names: tuple[str, ...] = knob((), "names", aliases=("--model_names",))
    seed: int | None = knob(None, "seed of every request")


def settings(*argv: str, **environ: str) -> Sample:
    return settings_from(
        Sample, argv, environ, "DANLU_", refused={"--gptq-ckpt": "use a GGUF file instead"}
    )


def test_nothing_given_is_all_defaults() -> None:
    assert settings() == Sample()


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default() -> None:
    assert settings(DANLU_PORT="5").port == 5
    assert settings("--port", "6", DANLU_PORT="5").port == 6


def test_fastchats_own_variable_names_are_read() -> None:
    assert settings(FASTCHAT_HEART_BEAT="6").heart_beat == 6.0
    assert settings(FASTCHAT_HEART_BEAT="6", DANLU_HEART_BEAT="7").heart_beat == 7.0


def test_a_prefix_of_a_flag_is_enough() -> None:
    assert settings("--dispatch", "lottery").dispatch_method == "lottery"


def test_another_spelling_of_a_flag_is_the_same_flag() -> None:
    assert settings("--model_names", "a").model_names == ("a",)


@pytest.mark.parametrize(
    ("argv", "value"),
    [(["--no-register"], True), (["--no-register", "true"], True), (["--no-register=0"], False)],
)
def test_a_switch_is_on_alone_or_says_which(argv: list[str], value: bool) -> None:
    assert settings(*argv).no_register is value


def test_a_list_is_separated_by_commas() -> None:
    assert settings("--model-names", "a, b,").model_names == ("a", "b")


def test_a_list_that_is_given_again_is_added_to() -> None:
    assert settings("--model-names", "a", "--model_names", "b,c").model_names == ("a", "b", "c")
    assert as_transformers("--model_names", "a", "b", "--model-names", "c")[0].model_names == (
        "a",
        "b",
        "c",
    )
    assert settings("--port", "5", "--port", "6").port == 6


def test_whole_texts_are_not_cut_and_have_a_flag_each() -> None:
    @dataclass(frozen=True, slots=True)
    class Asking:
        """For one test."""

        question: tuple[str, ...] = knob((), "questions", whole=True)

    def asked(*argv: str, **environ: str) -> tuple[str, ...]:
        return settings_from(Asking, argv, environ, "DANLU_", as_transformers=True).question

    assert asked("--question", "Who, or what?", "--question=a_b\n") == ("Who, or what?", "a_b")
    assert asked(DANLU_QUESTION="Who, or what?") == ("Who, or what?",)
    with pytest.raises(StartError, match="unrecognized arguments: or"):
        asked("--question", "who", "or", "what")


def test_an_optional_value_may_be_given_or_emptied() -> None:
    assert settings("--seed", "3").seed == 3
    assert settings("--seed", "").seed is None


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--port", "many"], "--port wants an integer, not 'many'"),
        (["--port", "70000"], "--port wants at most 65535, not 70000"),
        (["--port", "-1"], "--port wants at least 0, not -1"),
        (["--heart-beat", "nan"], "--heart-beat wants a finite number, not nan"),
        (["--heart-beat=-inf"], "--heart-beat wants a finite number, not -inf"),
        (["--dispatch-method", "best"], "wants one of lottery, shortest_queue, not 'best'"),
        (["--no-register", "maybe"], "--no-register wants true or false, not 'maybe'"),
        (["--gptq-ckpt", "x"], "--gptq-ckpt is not supported: use a GGUF file instead"),
        (["--color"], "--color"),
    ],
)
def test_what_is_wrong_is_one_sentence(argv: list[str], sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        settings(*argv)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_that_is_wrong_is_named() -> None:
    with pytest.raises(StartError, match="DANLU_PORT wants an integer"):
        settings(DANLU_PORT="x")


def test_the_table_of_flags_comes_from_the_same_fields() -> None:
    table = flags_table(Sample, "DANLU_")
    assert "| `--port` | `21001` | port to listen on · `DANLU_PORT` |" in table
    assert "`DANLU_HEART_BEAT, FASTCHAT_HEART_BEAT`" in table
    assert table.count("\n") == 2 + 7


def as_transformers(*argv: str) -> tuple[Sample, dict[str, str]]:
    return given_settings(
        Sample,
        argv,
        {"DANLU_PORT": "7"},
        "DANLU_",
        refused={"--push-to-hub": "nothing is sent", "--deep-speed": "no"},
        off={"--push-to-hub": ("false",)},
        idle=("--data-workers",),
        as_transformers=True,
    )


def test_underscores_are_hyphens_where_transformers_users_come_from() -> None:
    assert as_transformers("--no_register=true")[0].no_register
    assert as_transformers("--dispatch_m", "lottery")[0].dispatch_method == "lottery"
    assert as_transformers("--host=a_b=c")[0].host == "a_b=c"
    with pytest.raises(StartError, match="--no_register"):
        settings("--no_register")


def test_values_of_a_list_may_follow_one_by_one() -> None:
    assert as_transformers("--model_names", "a", "b,c", "--seed", "1")[0].model_names == (
        "a",
        "b",
        "c",
    )


def test_what_was_given_is_told_wherever_it_stood() -> None:
    assert as_transformers("--push_to_hub", "False", "--data_workers", "4", "--seed", "3")[1] == {
        "--push-to-hub": "False",
        "--data-workers": "4",
        "port": "7",
        "seed": "3",
    }


@pytest.mark.parametrize("value", [["True"], [], ["x", "y"]])
def test_a_refused_flag_is_refused_alone_and_with_several_values(value: list[str]) -> None:
    with pytest.raises(StartError, match="--push-to-hub is not supported: nothing is sent"):
        as_transformers("--push_to_hub", *value)


def test_each_word_of_a_list_must_be_one_of_its_choices() -> None:
    @dataclass(frozen=True, slots=True)
    class Listing:
        """For one test."""

        report_to: tuple[str, ...] = knob((), "places", choices=("none", "board"))

    def listed(text: str) -> tuple[str, ...]:
        return settings_from(Listing, ["--report-to", text], {}, "DANLU_").report_to

    assert listed("none,board") == ("none", "board")
    with pytest.raises(StartError, match="wants one of none, board, not 'cloud'"):
        listed("board,cloud")
