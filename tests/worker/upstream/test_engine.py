"""The engine in front of a server on a real socket: what it asks, what comes, and how it ends."""

import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import pytest
from starlette.responses import JSONResponse
from support.processes import SOON, wait_for
from support.served import served
from support.upstreams import (
    KNOWN,
    MODEL,
    TEXTS,
    Break,
    FakeUpstream,
    an_error,
    an_upstream,
    rendered,
)

from danlu.adapters.errors import (
    BadRequest,
    DeviceLost,
    NotReady,
    Overloaded,
    PromptTooLong,
    ServeError,
    StartError,
    UnknownRoute,
    WorkerLost,
    WorkerSilent,
)
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.engine import ModelCard
from danlu.worker.job import Piece
from danlu.worker.loading import Progress
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.settings import WorkerSettings
from danlu.worker.upstream.asking import Asking
from danlu.worker.upstream.client import Upstream
from danlu.worker.upstream.engine import UpstreamEngine
from danlu.worker.upstream.line import Line
from danlu.worker.upstream.loading import load_engine

pytestmark = pytest.mark.slow

T = TypeVar("T")

HI = [Message(role="user", content="Hi!")]


@contextmanager
def engine_at(url: str, **settings: Any) -> Iterator[UpstreamEngine]:
    defaults = {"engine": "upstream", "upstream_url": url, "upstream_wait": 0.0}
    engine = load_engine(WorkerSettings(**{**defaults, **settings}), Progress())
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def an_engine(
    kind: str = "vllm", settings: dict[str, Any] | None = None, **facts: Any
) -> Iterator[tuple[UpstreamEngine, FakeUpstream]]:
    with an_upstream(kind, **facts) as (url, fake), engine_at(url, **(settings or {})) as engine:
        yield engine, fake


class HastyLine(Line):
    """When `hasty`, work is over before anybody knows that it was begun."""

    hasty = False

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        future = super().start(work)
        if self.hasty:
            wait([future], 10)
        return future


def begin(engine: UpstreamEngine, **fields: Any) -> ThreadOutbox:
    fields = {"prompt": "Hi", "max_new_tokens": 9, "echo": False, **fields}
    if fields.get("messages") or fields.get("prompt_token_ids"):
        fields["prompt"] = None
    box = ThreadOutbox()
    engine.submit(engine.admit(GenerateBody(**fields)), box)
    return box


def pieces(engine: UpstreamEngine, **fields: Any) -> list[Piece]:
    return list(begin(engine, **fields))


def text(engine: UpstreamEngine, **fields: Any) -> str:
    return "".join(piece.text for piece in pieces(engine, **fields))


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("prompt", [{"messages": HI}, {"prompt": "Hi"}])
def test_every_kind_is_asked_in_its_own_words(kind: str, prompt: dict[str, Any]) -> None:
    with an_engine(kind) as (engine, _):
        found = pieces(engine, **prompt)
    assert "".join(p.text for p in found) == "".join(TEXTS)
    assert [p.finish_reason for p in found] == [None] * len(TEXTS) + ["stop"]
    counted = kind in ("llama-cpp-python", "fastchat")  # which tell nothing, but count
    tokens = 1 + len("".join(TEXTS)) if counted else len(TEXTS)
    assert found[-1].usage.completion_tokens == tokens


def test_an_answer_that_is_there_at_once_is_whole() -> None:
    line = HastyLine("hasty", {})
    with an_upstream() as (url, _):
        upstream = Upstream(line.http, url, 10)
        card = ModelCard(100, {}, frozenset(), embeddings=False)
        with closing(UpstreamEngine(upstream, line, Asking(MODEL, "vllm", 100), card)) as engine:
            line.hasty = True
            assert text(engine) == "".join(TEXTS)
            line.hasty = False


@pytest.mark.parametrize("kind", KNOWN)
def test_every_kind_is_known_when_it_is_met(kind: str) -> None:
    settings = {"upstream_dialect": kind} if kind == "mindie" else {}
    with an_engine(kind, settings) as (engine, _):
        assert engine.admit(GenerateBody(prompt="Hi")).body["model"] == MODEL
        with pytest.raises(BadRequest, match="which is taken for " + kind.replace(".", r"\.")):
            engine.admit(GenerateBody(messages=HI, echo=True))
        assert engine.card.names == (MODEL,)
        told = kind not in ("openai", "mindie", "llama-cpp-python", "transformers")
        assert engine.card.context_length == (100 if told else 2048)


def test_what_is_told_of_the_model_is_what_can_be_asked() -> None:
    with an_engine("llama.cpp") as (engine, _):
        assert "repetition_penalty" in engine.card.parameters
        assert not {"min_tokens", "stop_token_ids"} & engine.card.parameters


def test_a_template_that_writes_as_the_upstream_does_is_told_to_others() -> None:
    for kind in ("vllm", "llama.cpp"):
        with an_engine(kind) as (engine, _):
            assert "<|im_start|>" in engine.card.conversation["roles"][0]
    with an_engine("ollama") as (engine, _):
        assert engine.card.conversation["name"] == "one_shot"


@pytest.mark.parametrize("prompt", [{"messages": HI}, {"prompt": "Hi"}])
def test_log_probabilities_come_through(prompt: dict[str, Any]) -> None:
    with an_engine() as (engine, _):
        first = pieces(engine, logprobs=2, **prompt)[0]
    assert first.logprobs is not None
    assert first.logprobs.top_logprobs == [{"The ": -0.5, "dog ": -1.5}]


def test_the_echo_comes_first_whoever_makes_it() -> None:
    with an_engine() as (engine, _):
        assert text(engine, echo=True) == "Hi" + "".join(TEXTS)
        scored = pieces(engine, echo=True, logprobs=0)
    assert "".join(p.text for p in scored) == "Hi" + "".join(TEXTS)
    assert scored[0].logprobs is not None and scored[0].logprobs.tokens == ["<prompt>"]


def test_an_upstream_with_a_key_gets_it(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    with an_engine(settings={"upstream_key_file": str(file)}, key="secret") as (engine, _):
        assert text(engine) == "".join(TEXTS)
    with (
        an_upstream(key="secret") as (url, _),
        pytest.raises(StartError, match="refuses this worker's key.*--upstream-key-file"),
        engine_at(url, upstream_key="wrong"),
    ):
        pass


def test_a_key_that_is_refused_later_is_the_logs_to_tell(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = "Received API Key = sk-...cret"
    with an_engine(settings={"upstream_key": "secret"}, key="secret") as (engine, fake):
        fake.refuse = an_error(401, words)
        with pytest.raises(ServeError) as caught:
            pieces(engine)
        assert str(caught.value) == f"the upstream of {MODEL} refuses this worker's key"
        assert "/completions refuses this worker's key with status 401: Received" in caplog.text
        fake.key = "another"
        with pytest.raises(ServeError, match=f"the upstream of {MODEL} refuses"):
            engine.embed(["a"]).result(SOON)
        with pytest.raises(ServeError, match=f"the upstream of {MODEL} refuses"):
            engine.count("abc")
    assert [f"/{path} refuses" in caplog.text for path in ("embeddings", "tokenize")] == [True] * 2
    assert "cret" not in caplog.text


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (an_error(400, "top_p is 7"), BadRequest),
        (an_error(429, "busy", **{"Retry-After": "7"}), Overloaded),
        (an_error(500, "kaboom"), ServeError),
        (an_error(503, "loading"), NotReady),
    ],
)
def test_a_refusal_is_an_error_of_ours(refusal: Any, kind: type[ServeError]) -> None:
    with an_engine(refuse=refusal) as (engine, _), pytest.raises(kind) as caught:
        pieces(engine)
    assert type(caught.value) is kind
    assert caught.value.retry_after == (7 if kind is Overloaded else None)


@pytest.mark.parametrize(
    ("script", "finish"),
    [
        (("a", Break()), "stop"),
        (("a",), None),
        (("a", b"data: {nonsense\n\n"), "stop"),
        (("a", b"data: {"), None),
        ((Break(),), "stop"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error_after_what_came(
    script: tuple[Any, ...], finish: str | None
) -> None:
    with an_engine(script=script, finish=finish) as (engine, _):
        came: list[str] = []
        with pytest.raises(WorkerLost):
            came += (piece.text for piece in begin(engine))
        assert engine.queue_length() == 0


def test_a_stream_without_a_word_is_asked_why() -> None:
    """llama-cpp-python's server says it only where no stream is wanted, and hangs up after one."""
    long = an_error(400, "This model's maximum context length is 9 tokens")
    with (
        an_engine("llama-cpp-python", mute=True, refuse=long, hangs_up=True) as (engine, fake),
        pytest.raises(PromptTooLong, match="context length is 9"),
    ):
        pieces(engine)
    assert fake.last("/completions")["max_tokens"] == 1
    with (
        an_engine(mute=True) as (engine, fake),
        pytest.raises(WorkerLost, match="in the middle of an answer"),
    ):
        pieces(engine)
    assert "stream_options" not in fake.last("/completions")


def test_a_stop_text_that_the_upstream_leaves_is_cut_off() -> None:
    with an_engine("transformers", script=("The ", "cat", " sat.")) as (engine, fake):
        assert text(engine, stop=["at s"]) == "The c"
        assert fake.last("/completions")["stop"] == ["at s"]
        assert text(engine, stop=["at sad"]) == "The cat sat."


def test_what_counts_the_tokens_of_an_answer_may_fail() -> None:
    with an_engine("fastchat") as (engine, fake):
        fake.counting = 1  # for the prompt's
        assert pieces(engine)[-1].usage.completion_tokens == len(TEXTS)


def test_an_error_in_the_stream_ends_it() -> None:
    script = ("a", b'data: {"error": {"message": "kaboom", "code": 500}}\n\n')
    with an_engine(script=script) as (engine, _), pytest.raises(ServeError, match="kaboom"):
        pieces(engine)


def test_an_upstream_that_says_nothing_is_not_waited_for() -> None:
    never = threading.Event()
    settings = {"upstream_silence": 0.2}
    with an_engine(settings=settings, script=("a", never)) as (engine, _):
        with pytest.raises(WorkerSilent):
            pieces(engine)
        never.set()


def test_an_upstream_that_has_gone_is_an_error_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with an_upstream() as (url, fake):
        settings = WorkerSettings(engine="upstream", upstream_url=url, model_names=("tiger",))
        engine = load_engine(settings, Progress())
    with closing(engine):
        with pytest.raises(WorkerLost) as caught:
            pieces(engine)
        assert str(caught.value) == "the upstream of tiger cannot be reached"
        assert f"upstream failed: {url}/completions cannot be reached: " in caplog.text
        with served(fake.app(), int(url.removesuffix("/v1").rpartition(":")[2])):
            assert text(engine) == "".join(TEXTS)


@pytest.mark.parametrize("script", [("a", threading.Event()), (threading.Event(),)])
def test_a_reader_who_leaves_ends_the_answer_at_the_upstream(script: tuple[Any, ...]) -> None:
    with an_engine(script=script) as (engine, fake):
        box = begin(engine)
        wait_for(lambda: fake.running == 1, "the upstream answers")
        box.leave()
        assert engine.queue_length() == 0
        assert fake.left.wait(SOON)
        assert list(box)[1:] == []
        for step in script:
            if isinstance(step, threading.Event):
                step.set()


def test_so_many_are_asked_at_a_time_and_the_rest_wait() -> None:
    go = threading.Event()
    with an_engine(settings={"limit_worker_concurrency": 2}, script=(go, "a")) as (engine, fake):
        boxes = [begin(engine) for _ in range(5)]
        wait_for(lambda: fake.running == 2, "two of them run")
        assert engine.queue_length() == 5
        boxes[4].leave()
        assert engine.queue_length() == 4
        go.set()
        assert [[p.text for p in box] for box in boxes[:4]] == [["a", ""]] * 4
        assert list(boxes[4]) == []
        assert fake.most == 2
    assert len([path for path, _ in fake.asked if path.endswith("/completions")]) == 4


def test_an_upstream_that_breaks_answers_off_is_asked_for_one_at_a_time() -> None:
    go = threading.Event()
    with an_engine("llama-cpp-python", script=(go, "a")) as (engine, fake):
        boxes = [begin(engine) for _ in range(3)]
        wait_for(lambda: fake.running == 1, "one of them runs")
        before = len(fake.asked)
        assert engine.count("abcdef") == 2
        assert len(fake.asked) == before
        go.set()
        assert [[p.text for p in box] for box in boxes] == [["a", ""]] * 3
        assert fake.most == 1


@pytest.mark.parametrize(
    ("kind", "prompt", "tokens"),
    [
        ("vllm", {"prompt": "abc"}, 4),
        ("ollama", {"messages": HI}, len(rendered([m.model_dump() for m in HI]))),
        ("llama-cpp-python", {"prompt": "abc"}, 4),
        ("llama-cpp-python", {"messages": HI}, 1),
        ("fastchat", {"prompt": "abc"}, 4),
    ],
)
def test_the_prompts_tokens_are_told_counted_or_estimated(
    kind: str, prompt: dict[str, Any], tokens: int
) -> None:
    with an_engine(kind) as (engine, _):
        assert pieces(engine, **prompt)[-1].usage.prompt_tokens == tokens


def test_the_end_of_the_engine_is_told_to_everybody() -> None:
    go = threading.Event()
    with an_engine(settings={"limit_worker_concurrency": 1}, script=(go, "a")) as (engine, fake):
        boxes = [begin(engine) for _ in range(3)]
        wait_for(lambda: fake.running == 1, "one of them runs")
        vectors = engine.embed(["a"])
        engine.close()
        for box in boxes:
            with pytest.raises(NotReady, match="this worker is stopping"):
                list(box)
        with pytest.raises(NotReady):
            vectors.result(SOON)
        assert fake.left.wait(SOON)
        with pytest.raises(NotReady):
            pieces(engine)
        with pytest.raises(NotReady):
            engine.count("a")
        with pytest.raises(NotReady):
            engine.embed(["a"]).result(SOON)
        assert engine.queue_length() == 0
        go.set()


def test_the_loss_of_the_upstream_ends_everything_as_a_lost_device() -> None:
    go = threading.Event()
    with an_engine(settings={"limit_worker_concurrency": 1}, script=(go, "a")) as (engine, fake):
        boxes = [begin(engine) for _ in range(2)]
        wait_for(lambda: fake.running == 1, "one of them runs")
        vectors = engine.embed(["a"])
        engine.lose("vllm died")
        assert engine.lost.done()
        for box in boxes:
            with pytest.raises(DeviceLost, match="vllm died"):
                list(box)
        with pytest.raises(DeviceLost):
            vectors.result(SOON)
        with pytest.raises(DeviceLost):
            pieces(engine)
        go.set()


def test_vectors_come_in_their_order_and_of_length_one() -> None:
    with an_engine() as (engine, _):
        made = engine.embed(["a", "bb"]).result(SOON)
    assert made.vectors == [[0.6, 0.8], [0.6, 0.8]] and made.tokens == 7
    with an_engine(embeddings=False) as (engine, _):
        assert not engine.card.embeddings
        with pytest.raises(UnknownRoute):
            engine.embed(["a"]).result(SOON)


def test_vectors_that_cannot_be_read_are_shown_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = {"data": [{"embedding": [1]}], "usage": {"prompt_tokens": "*me*"}}
    with an_engine() as (engine, fake):
        fake.vectors = JSONResponse(said)
        with pytest.raises(WorkerLost) as caught:
            engine.embed(["a"]).result(SOON)
    assert str(caught.value) == f"the vectors of the upstream of {MODEL} cannot be read"
    assert "invalid literal for int() with base 10: '*me*'" in caplog.text


def test_nobody_who_waits_for_vectors_leaves_no_work() -> None:
    go = threading.Event()
    with an_engine(settings={"limit_worker_concurrency": 1}, script=(go,)) as (engine, fake):
        box = begin(engine)
        wait_for(lambda: fake.running == 1, "an answer holds the only place")
        vectors = engine.embed(["a"])
        assert engine.queue_length() == 2
        vectors.cancel()
        assert engine.queue_length() == 1
        go.set()
        list(box)
    assert sum(path.endswith("/embeddings") for path, _ in fake.asked) == 1  # that of the loading


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        *(("vllm", 4), ("sglang", 4), ("llama.cpp", 4), ("llama-cpp-python", 1)),
        *(("danlu", 4), ("fastchat", 4), ("ollama", 1), ("openai", 1)),
    ],
)
def test_tokens_are_counted_by_the_upstream_or_estimated(kind: str, count: int) -> None:
    with an_engine(kind) as (engine, _):
        assert engine.count("abc") == count
        assert engine.count("") == 0


def test_a_limit_beyond_the_context_is_fitted_into_it() -> None:
    with an_engine() as (engine, fake):
        assert text(engine, prompt="x" * 60, max_new_tokens=99) == "".join(TEXTS)
        assert fake.last("/completions")["max_tokens"] == 100 - 61
        text(engine, messages=HI, max_new_tokens=100)
        assert "max_tokens" not in fake.last("/chat/completions")
        text(engine, messages=HI, max_new_tokens=90)
        assert fake.last("/chat/completions")["max_tokens"] < 90


def test_a_prompt_that_fills_the_context_is_refused_in_fastchats_words() -> None:
    with an_engine() as (engine, fake), pytest.raises(PromptTooLong, match="maximum context"):
        pieces(engine, prompt="x" * 99)
    assert not any(path.endswith("/completions") for path, _ in fake.asked)


def test_a_conversation_too_long_for_an_upstream_that_counts_none_is_its_own_to_refuse() -> None:
    long = [Message(role="user", content="x" * 200)]
    with (
        an_engine("sglang") as (engine, _),
        pytest.raises(PromptTooLong, match="the upstream says"),
    ):
        pieces(engine, messages=long)


def test_the_answers_to_one_request_differ_though_its_upstream_has_a_seed() -> None:
    with an_engine("danlu", seed=7) as (engine, _):
        alone, *others = (text(engine, choice=choice) for choice in range(4))
        assert alone == "7 " + "".join(TEXTS)
        assert len({alone, *others}) == 4
        given = [text(engine, choice=choice, seed=20 + choice) for choice in range(2)]
        assert given == ["20 " + "".join(TEXTS), "21 " + "".join(TEXTS)]


def test_a_seed_for_all_needs_an_upstream_that_knows_seeds() -> None:
    with an_engine(settings={"seed": 4}) as (engine, fake):
        text(engine)
        assert fake.last("/completions")["seed"] == 4
    with (
        an_upstream("fastchat") as (url, _),
        pytest.raises(StartError, match="--seed 4 cannot be honoured: .* fastchat, knows no seeds"),
        engine_at(url, seed=4),
    ):
        pass


@pytest.mark.parametrize("path", ["/models/chatglm2-6b", "./chatglm2-6b", "../chatglm2-6b/"])
def test_a_path_is_served_under_its_last_part(path: str) -> None:
    with an_engine(models=(path,)) as (engine, fake):
        assert engine.card.names == ("chatglm2-6b",)
        text(engine)
        assert fake.last("/completions")["model"] == path
