"""The controller's settings: FastChat's flags, prefixes and variables, and the API's beside."""

import pytest

from danlu.adapters.errors import StartError
from danlu.controller.settings import ControllerSettings, controller_settings


def spelled(*argv: str, **environ: str) -> ControllerSettings:
    return controller_settings(argv, environ)


def test_without_flags_it_is_what_fastchats_controller_is() -> None:
    settings = spelled()
    assert (settings.host, settings.port) == ("localhost", 21001)
    assert settings.dispatch_method == "shortest_queue"
    assert settings.heart_beat_expiration == 90
    assert settings.worker_timeout == 100
    assert not settings.ssl and settings.log_dir == ""


def test_fastchats_flags_may_be_cut_short() -> None:
    settings = spelled("--host", "0.0.0.0", "--po", "1", "--dispatch", "lottery")
    assert (settings.host, settings.port, settings.dispatch_method) == ("0.0.0.0", 1, "lottery")


def test_fastchats_variables_are_read() -> None:
    settings = spelled(
        FASTCHAT_CONTROLLER_HEART_BEAT_EXPIRATION="6",
        FASTCHAT_WORKER_API_TIMEOUT="7",
        FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE="8",
        LOGDIR="logs",
        SSL_KEYFILE="key.pem",
        SSL_CERTFILE="cert.pem",
    )
    assert (settings.heart_beat_expiration, settings.worker_timeout) == (6, 7)
    assert (settings.embedding_batch_size, settings.log_dir) == (8, "logs")
    assert (settings.ssl_keyfile, settings.ssl_certfile) == ("key.pem", "cert.pem")


def test_our_variables_win_over_fastchats() -> None:
    settings = spelled(DANLU_CONTROLLER_WORKER_TIMEOUT="1", FASTCHAT_WORKER_API_TIMEOUT="7")
    assert settings.worker_timeout == 1


def test_the_api_of_this_process_gets_what_was_set_for_it() -> None:
    flags = ("--api-host", "0.0.0.0", "--api-port", "1", "--api-keys", "k", "--allow-credentials")
    api = spelled(*flags, "--allowed-origins", '["http://page"]', "--worker-timeout", "9").api()
    assert (api.host, api.port, api.allow_credentials) == ("0.0.0.0", 1, True)
    assert "k" in api.api_keys and api.allowed_origins == ("http://page",)
    assert api.worker_timeout == 9


def test_every_flag_of_the_api_reaches_it() -> None:
    """Whatever the API can be told alone, it can be told here, under the same name."""
    alone = set(ControllerSettings().api().__dataclass_fields__)
    here = set(ControllerSettings.__dataclass_fields__)
    assert alone - here == {"controller_address"}


def test_keys_are_never_shown() -> None:
    assert "secret" not in repr(spelled("--api-keys", "secret"))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--dispatch-method", "random"], "wants one of lottery, shortest_queue, not 'random'"),
        (["--port", "70000"], "--port wants at most 65535, not 70000"),
        (["--port", "x"], "--port wants an integer, not 'x'"),
        (["--heart-beat-expiration", "0"], "wants at least 0.1, not 0.0"),
        (["--allowed-origins", "*"], "is not a JSON list of strings"),
        (["--model-path", "m"], "unrecognized arguments: --model-path m"),
    ],
)
def test_what_is_illegal_is_one_sentence(argv: list[str], sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        spelled(*argv)
