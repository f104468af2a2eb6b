"""What the page can be told on its command line."""

from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.adapters.host.settings import settings_from
from danlu.webui.settings import PREFIX, REFUSED, WebuiSettings, check, credentials


def told(*argv: str, **environ: str) -> WebuiSettings:
    return check(settings_from(WebuiSettings, argv, environ, PREFIX, refused=REFUSED))


def test_the_defaults_are_fastchats() -> None:
    settings = told()
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    assert settings.controller_url == "http://localhost:21001"
    assert (settings.concurrency_count, settings.model_list_mode) == (10, "once")
    assert settings.input_char_len_limit == 12000
    assert settings.log_dir == ""


def test_fastchats_variables_are_read() -> None:
    settings = told(
        GRADIO_SERVER_PORT="7999", FASTCHAT_INPUT_CHAR_LEN_LIMIT="99", LOGDIR="/var/log/danlu"
    )
    assert (settings.port, settings.input_char_len_limit) == (7999, 99)
    assert settings.log_dir == "/var/log/danlu"


def test_prefixes_of_flags_are_enough() -> None:
    assert told("--controller", "http://c:1").controller_url == "http://c:1"


@pytest.mark.parametrize("flag", sorted(REFUSED))
def test_a_flag_of_fastchats_that_is_not_honoured_is_refused_by_name(flag: str) -> None:
    with pytest.raises(StartError, match=f"{flag} is not supported: "):
        told(flag)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--model-list-mode", "twice"], "wants one of once, reload, not 'twice'"),
        (["--controller-url", "localhost:21001"], "--controller-url wants a URL such as"),
        (["--api-url", "localhost"], "--api-url wants a URL such as"),
        (["--controller-url", ""], "give --controller-url or --api-url"),
        (["--gradio-root-path", "danlu"], "--gradio-root-path wants a path such as /danlu"),
        (["--gradio-root-path", "/danlu/"], "not '/danlu/'"),
        (["--concurrency-count", "0"], "--concurrency-count wants at least 1"),
        (["--port", "eighty"], "--port wants an integer"),
    ],
)
def test_a_value_that_makes_no_sense_stops_the_program(argv: list[str], sentence: str) -> None:
    with pytest.raises(StartError) as error:
        told(*argv)
    assert sentence in str(error.value)


def test_an_auth_file_holds_pairs_by_commas_or_lines(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("ada:one,bob:two:three\n 小明:密码 \n")
    assert credentials(str(file)) == {"ada": "one", "bob": "two:three", "小明": "密码"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("ada", "wants user:password pairs"), (":x", "wants user:password"), (" , ", "names no user")],
)
def test_an_auth_file_that_opens_the_page_to_all_is_refused(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "users"
    file.write_text(text)
    with pytest.raises(StartError, match=sentence):
        credentials(str(file))


def test_an_auth_file_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match="'/nowhere/users' cannot be read"):
        credentials("/nowhere/users")
