"""The flags of FastChat's openai_api_server, from flags and environment, checked at the door."""

import pytest

from danlu.adapters.errors import StartError
from danlu.controller.api.settings import ApiKeys, ApiSettings, Words, api_settings


def test_defaults_are_fastchats() -> None:
    plain = api_settings([], {})
    assert (plain.host, plain.port) == ("localhost", 8000)
    assert plain.controller_address == "http://localhost:21001"
    assert plain.allowed_origins == plain.allowed_methods == plain.allowed_headers == ("*",)
    assert not plain.allow_credentials and not plain.ssl and not plain.api_keys
    assert (plain.worker_timeout, plain.embedding_batch_size) == (100.0, 4)


def test_fastchats_flags_and_their_prefixes_are_taken() -> None:
    told = api_settings(
        [
            *("--host", "0.0.0.0", "--port", "8001", "--controller", "http://c"),
            *("--allow-credentials", "--allowed-origins", '["http://a", "http://b"]'),
            *("--allowed-methods", '["GET"]', "--allowed-headers", "[]", "--api-keys", "a,b"),
        ],
        {},
    )
    assert (told.host, told.port, told.controller_address) == ("0.0.0.0", 8001, "http://c")
    assert told.allow_credentials and told.allowed_origins == ("http://a", "http://b")
    assert told.allowed_methods == ("GET",) and told.allowed_headers == ()
    assert "a" in told.api_keys and "b" in told.api_keys and "c" not in told.api_keys


def test_fastchats_variables_are_read() -> None:
    told = api_settings(
        [],
        {
            "CONTROLLER_ADDRESS": "http://c",
            "API_KEYS": "k",
            "FASTCHAT_WORKER_API_TIMEOUT": "7",
            "FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE": "9",
            "SSL_KEYFILE": "key.pem",
        },
    )
    assert told.controller_address == "http://c" and "k" in told.api_keys
    assert (told.worker_timeout, told.embedding_batch_size) == (7, 9)
    assert told.ssl_keyfile == "key.pem"


def test_our_variables_win_over_fastchats_and_flags_over_both() -> None:
    environ = {"CONTROLLER_ADDRESS": "http://a", "DANLU_API_CONTROLLER_ADDRESS": "http://b"}
    assert api_settings([], environ).controller_address == "http://b"
    flags = ["--controller-address", "http://c"]
    assert api_settings(flags, environ).controller_address == "http://c"


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--controller-address", "somewhere"], "wants a URL such as http://10.0.0.1:21001"),
        (["--port", "many"], "many"),
        (["--port", "70000"], "70000"),
        (["--allowed-origins", "*"], r"--allowed-origins: '\*' is not a JSON list"),
        (["--allowed-origins", "[5]"], r"\[5\]"),
        (["--embedding-batch-size", "0"], "0"),
        (["--worker-timeout", "0"], "0"),
        (["--api-keys", " , "], "--api-keys: there is no key in it"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_what_is_wrong_ends_the_program_with_a_sentence(flags: list[str], wrong: str) -> None:
    with pytest.raises(StartError, match=wrong):
        api_settings(flags, {})


def test_keys_are_known_but_cannot_be_read_out() -> None:
    keys = ApiKeys(" sk-one ,, sk-two")
    assert "sk-one" in keys and "sk-two" in keys
    assert "" not in keys and "sk" not in keys and "sk-one,sk-two" not in keys
    shown = repr(keys) + str(keys) + repr(vars(keys)) + repr(ApiSettings(api_keys=keys))
    assert "sk-" not in shown
    assert not ApiKeys("")


def test_words_are_a_json_list() -> None:
    assert Words('["a", "b"]') == ("a", "b")
