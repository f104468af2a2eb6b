"""What an upstream is, as far as it tells; what waiting mends is waited for, the rest said."""

from collections.abc import Callable
from typing import Any

import pytest

from danlu.adapters.errors import (
    BadRequest,
    NotReady,
    ServeError,
    StartError,
    UnknownRoute,
    WorkerSilent,
    WorkerUnreachable,
)
from danlu.worker.loading import Progress
from danlu.worker.upstream.facts import DEFAULT_CONTEXT, Facts, Wanted
from danlu.worker.upstream.finding import found

URL = "http://up/v1"


class Server:
    """Answers by path; an answer that is an error is raised, a list is played answer by answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {f"/{path.replace('__', '/')}": answer for path, answer in answers.items()}

    def ask(self, path: str, body: Any = None, **_: Any) -> Any:
        answer = self.answers.get(path, UnknownRoute(f"no {path}"))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Waiting:
    """A clock that only sleep moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


def models(*names: str, **card: Any) -> dict[str, Any]:
    return {"data": [{"id": name, **card} for name in names]}


def look(
    server: Server,
    progress: Progress | None = None,
    alive: Callable[[], str] = lambda: "",
    **wanted: Any,
) -> Facts:
    waiting = Waiting()
    return found(
        Wanted(URL, **wanted),
        server.ask,
        progress or Progress(),
        alive=alive,
        sleep=waiting.sleep,
        clock=waiting.clock,
    )


def refusal(server: Server, **wanted: Any) -> str:
    with pytest.raises(StartError) as caught:
        look(server, **wanted)
    return str(caught.value)


VLLM = Server(models=models("cat", owned_by="vllm", max_model_len=64))


def test_its_only_model_is_the_model() -> None:
    assert look(VLLM) == Facts("cat", "vllm", 64, embeddings=False)


def test_one_of_several_is_chosen_by_name() -> None:
    server = Server(models=models("cat", "dog"))
    assert look(server, model="dog").model == "dog"
    assert look(server, names=("dog", "alias")).model == "dog"
    assert refusal(server) == "the upstream serves cat, dog; choose one with --upstream-model"


def test_a_model_that_is_not_there_is_named_with_those_that_are() -> None:
    said = refusal(Server(models=models("cat", "dog")), model="cow")
    assert said == "--upstream-model 'cow' is not served by the upstream; one of cat, dog"


def test_ollamas_latest_goes_without_saying() -> None:
    assert look(Server(models=models("cat:latest")), model="cat").model == "cat:latest"


@pytest.mark.parametrize(
    ("owner", "more", "dialect"),
    [
        ("vllm", {}, "vllm"),
        ("sglang", {}, "sglang"),
        ("MindIE Server", {}, "mindie"),
        ("llamacpp", {}, "llama.cpp"),
        ("me", {}, "llama-cpp-python"),
        ("library", {}, "ollama"),
        ("somebody", {"api__version": {"version": "0.9"}}, "ollama"),
        ("somebody", {"openapi.json": {"paths": {"/load_model": {}}}}, "openai"),
        ("fastchat", {"openapi.json": {"info": {"title": "danlu"}}}, "danlu"),
        ("fastchat", {"openapi.json": {"info": {"title": "FastAPI"}}}, "fastchat"),
        ("fastchat", {}, "fastchat"),
        ("openai", {}, "openai"),
        ("", {}, "openai"),
    ],
)
def test_the_kind_is_told_by_who_owns_the_models(
    owner: str, more: dict[str, Any], dialect: str
) -> None:
    assert look(Server(models=models("cat", owned_by=owner), **more)).dialect == dialect


TRANSFORMERS: dict[str, Any] = {
    "openapi.json": {"paths": {"/load_model": {}, "/reset": {}}},
    "completions": {},
}
BROKEN = ServeError("the upstream says: Internal Server Error")


@pytest.mark.parametrize("listed", [models("dog"), {"data": []}, BROKEN])
def test_transformers_serves_what_it_does_not_list(listed: Any) -> None:
    """Its list is what lies in its cache; without a cache it fails."""
    found = look(Server(models=listed, **TRANSFORMERS), model="./cat")
    assert (found.model, found.dialect) == ("./cat", "transformers")
    said = look(Server(models=listed, completions={}), model="./cat", dialect="transformers")
    assert said.model == "./cat"


def test_a_model_of_transformers_cache_is_taken_from_its_list() -> None:
    server = Server(models=models("cat", owned_by="somebody"), **TRANSFORMERS)
    assert look(server) == Facts("cat", "transformers", DEFAULT_CONTEXT, embeddings=False)


def test_transformers_is_to_be_told_a_model_that_it_does_not_list() -> None:
    said = refusal(Server(models={"data": []}, **TRANSFORMERS))
    assert "does not list a model from outside its cache" in said and "--upstream-model" in said


def test_transformers_says_itself_whether_it_has_the_model() -> None:
    pinned = BadRequest("Server is pinned to './cat'; requested 'dog'.")
    server = Server(models=models("dog"), **{**TRANSFORMERS, "completions": pinned})
    assert refusal(server) == (
        "--upstream-model 'dog' is not served: Server is pinned to './cat'; requested 'dog'."
    )


def test_an_older_transformers_has_chats_only() -> None:
    older = {**TRANSFORMERS, "completions": UnknownRoute("no /completions")}
    assert look(Server(models=models("cat"), **older)).dialect == "transformers"


def test_transformers_may_take_its_time_to_load_the_model() -> None:
    slow = {**TRANSFORMERS, "completions": [WorkerSilent("loading"), {}]}
    assert look(Server(models=models("cat"), **slow)).model == "cat"


def test_the_kind_can_be_said() -> None:
    assert look(VLLM, dialect="ollama").dialect == "ollama"


@pytest.mark.parametrize(
    ("card", "more"),
    [
        ({"owned_by": "vllm", "max_model_len": 64}, {}),
        ({"owned_by": "openai", "max_input_tokens": 64}, {}),
        ({"owned_by": "llamacpp", "meta": {"n_ctx": 64, "n_ctx_train": 999}}, {}),
        ({"owned_by": "llamacpp", "meta": {"n_ctx_train": 64}}, {}),
        (
            {"owned_by": "llamacpp", "meta": {"n_ctx_train": 999}},
            {"props": {"default_generation_settings": {"n_ctx": 64}}},
        ),
        ({"owned_by": "fastchat"}, {"api__v1__token_check": {"prompts": [{"contextLength": 64}]}}),
        (
            {"owned_by": "library"},
            {"api__ps": {"models": [{"name": "cat", "context_length": 64}]}},
        ),
    ],
)
def test_every_kind_tells_its_context_at_another_place(
    card: dict[str, Any], more: dict[str, Any]
) -> None:
    assert look(Server(models=models("cat", **card), **more)).context_length == 64


def test_a_context_that_is_not_told_is_fastchats() -> None:
    assert look(Server(models=models("cat"))).context_length == DEFAULT_CONTEXT
    assert look(Server(models=models("cat")), context_length=512).context_length == 512


def test_a_context_may_be_less_than_the_upstreams_but_not_more() -> None:
    assert look(VLLM, context_length=32).context_length == 32
    said = refusal(VLLM, context_length=65)
    assert said == "--context-length 65 is more than the upstream's own, 64; leave it out"


def test_vectors_are_asked_for_once() -> None:
    server = Server(models=models("cat"), embeddings={"data": [{"embedding": [1.0]}]})
    assert look(server).embeddings


@pytest.mark.parametrize("answer", [{"data": []}, {"data": [{"embedding": [[1.0], [2.0]]}]}, {}])
def test_what_is_no_vector_for_a_text_is_none(answer: Any) -> None:
    """llama-cpp-python gives a vector for each token, if the model makes no other."""
    assert not look(Server(models=models("cat"), embeddings=answer)).embeddings


@pytest.mark.parametrize(("mode", "vectors"), [("embedding", True), ("chat", False), (None, False)])
def test_litellm_is_not_tried_but_asked_for_vectors(mode: str | None, vectors: bool) -> None:
    """It would take a model that gives none for one that is out of order."""
    info = {"data": [{"model_name": "cat", "model_info": {"mode": mode}}]}
    tried: dict[str, Any] = {"model__info": info, "embeddings": AssertionError("it was tried")}
    assert look(Server(models=models("cat"), **tried)).embeddings is vectors


def test_an_upstream_that_is_starting_is_waited_for() -> None:
    progress = Progress()
    answers = [WorkerUnreachable("nobody listens"), NotReady("loading"), {"data": []}]
    assert look(Server(models=[*answers, models("cat")]), progress).model == "cat"
    assert progress.detail == "waiting for the upstream: it serves no model yet"


def test_the_wait_has_an_end() -> None:
    server = Server(models=WorkerUnreachable("nobody listens"))
    said = refusal(server, wait=5)
    assert said == f"the upstream {URL} was not there within 5 s: nobody listens"


def test_while_it_waits_it_shows_what_the_upstreams_starter_says() -> None:
    progress = Progress()
    look(Server(models=[NotReady("x"), models("cat")]), progress, alive=lambda: "shard 1 of 2")
    assert progress.detail == "shard 1 of 2"


def test_an_upstream_that_has_died_is_not_waited_for() -> None:
    def dead() -> str:
        raise StartError("it died")

    with pytest.raises(StartError, match="it died"):
        look(Server(models=NotReady("x")), alive=dead)


def test_a_key_that_is_refused_is_said_with_where_to_give_it() -> None:
    said = refusal(Server(models=ServeError("refuses this worker's key with status 401: no")))
    assert "status 401" in said and "--upstream-key-file" in said


@pytest.mark.parametrize("answer", [UnknownRoute("no"), {}, [[]], {"data": [{}]}, {"data": 1}])
def test_what_is_no_such_server_is_said_with_the_usual_ending(answer: Any) -> None:
    said = refusal(Server(models=answer))
    assert URL in said and said.endswith("most such addresses end in /v1")
