"""The worker's flags: FastChat's spellings, its variables, and what is refused by name."""

import pytest

from danlu.adapters.errors import StartError
from danlu.worker.settings import OFF, REFUSED, WorkerSettings, worker_settings


def given(*argv: str, **environ: str) -> WorkerSettings:
    return worker_settings(argv, environ)


def test_the_defaults_are_fastchats() -> None:
    settings = given("--model-path", "/models/chatglm2-6b/")
    assert (settings.host, settings.port) == ("localhost", 21002)
    assert settings.controller_address == ("http://localhost:21001",)
    assert (settings.limit_worker_concurrency, settings.heart_beat_interval) == (None, 45)


def test_fastchats_command_lines_are_understood() -> None:
    settings = given(
        *("--model-path", "lmsys/vicuna", "--model-names", "vicuna,gpt-4", "--num-gpus", "1"),
        *("--controller", "http://c:1", "--worker", "http://w:2", "--stream-interval", "2"),
        *("--limit-worker-concurrency", "9", "--no-register", "--seed", "7", "--debug", "True"),
        *("--device", "npu", "--dtype", "float16", "--conv-template", "chatglm2", "--ssl"),
        *("--embed-in-truncate", "--revision", "main", "--gpus", "0"),
    )
    assert settings.model_names == ("vicuna", "gpt-4")
    assert settings.controller_address == ("http://c:1",)
    assert settings.worker_address == "http://w:2"
    assert (settings.stream_interval, settings.limit_worker_concurrency) == (2, 9)
    assert (settings.no_register, settings.seed, settings.debug) == (True, 7, True)
    assert settings.ssl and settings.embed_in_truncate


def test_several_controllers_are_separated_by_commas() -> None:
    settings = given("--controller-address", "http://a:1, http://b:2")
    assert settings.controller_address == ("http://a:1", "http://b:2")


def test_fastchats_variables_are_read() -> None:
    settings = given(
        FASTCHAT_WORKER_HEART_BEAT_INTERVAL="3",
        SSL_KEYFILE="k.pem",
        SSL_CERTFILE="c.pem",
        LOGDIR="/logs",
        DANLU_WORKER_PORT="4",
    )
    assert (settings.heart_beat_interval, settings.port, settings.log_dir) == (3, 4, "/logs")
    assert (settings.ssl_keyfile, settings.ssl_certfile) == ("k.pem", "c.pem")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/chatglm2-6b", "chatglm2-6b"),
        ("/models/chatglm2-6b/", "chatglm2-6b"),
        ("/models/smol.q8_0.gguf", "smol.q8_0"),
        ("/models/Qwen2.5", "Qwen2.5"),
    ],
)
def test_a_model_is_named_after_its_path(path: str, name: str) -> None:
    assert given("--model-path", path).names == (name,)


def test_names_that_are_given_are_the_names() -> None:
    assert given("--model-path", "/m", "--model-names", "a,b").names == ("a", "b")


@pytest.mark.parametrize("flag", sorted(REFUSED))
def test_a_flag_that_cannot_be_honoured_is_refused_by_name(flag: str) -> None:
    with pytest.raises(StartError, match=f"^{flag} is not supported: .+"):
        given(flag, "4")


@pytest.mark.parametrize("flag", ["--cpu-offloading", "--gptq-act-order"])
def test_a_switch_without_a_value_is_refused(flag: str) -> None:
    with pytest.raises(StartError, match=f"^{flag} is not supported"):
        given(flag)


@pytest.mark.parametrize("flag", sorted(OFF))
def test_a_flag_that_asks_for_nothing_is_let_through(flag: str) -> None:
    assert given(flag, OFF[flag][0]) == WorkerSettings()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--port", "x"), "--port wants an integer, not 'x'"),
        (("--limit-worker-concurrency", "0"), "wants at least 1, not 0"),
        (("--dtype", "int8"), "wants one of float32, float16, bfloat16, not 'int8'"),
        (("--quantization", "8bit"), "--quantization wants one of int8, int4, not '8bit'"),
        (("--chatglm-generation", "4"), "wants at most 3, not 4"),
        (("--no-such-flag",), "unrecognized arguments: --no-such-flag"),
        (("--heart-beat-interval", "0"), "wants at least 0.1, not 0"),
    ],
)
def test_an_illegal_value_is_one_sentence(argv: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        given(*argv)
    assert sentence in str(caught.value)
