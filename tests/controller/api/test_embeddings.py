"""Embeddings in batches, as floats or base64, from workers of both kinds."""

import base64
import struct
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.api import api_of
from support.generators import OurWorker, StockWorker, Worker, refusal
from support.script import NAME, VECTOR

from danlu.adapters.errors import BadRequest
from danlu.controller.api.settings import ApiSettings

pytestmark = pytest.mark.slow

PACKED = base64.b64encode(struct.pack("<2f", *VECTOR)).decode()


class Packing(OurWorker):
    """Gives base64 where that is asked for."""

    def embed(self, body: dict[str, Any]) -> Response:
        answer = super().embed(body)
        if body.get("encoding_format") != "base64":
            return answer
        return JSONResponse({"embedding": [PACKED for _ in body["input"]], "token_num": 4})


class Short(StockWorker):
    def embed(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"embedding": [], "token_num": 0})


class Choosy(OurWorker):
    """Refuses empty texts by their place in what it was sent."""

    def embed(self, body: dict[str, Any]) -> Response:
        if "" not in body["input"]:
            return super().embed(body)
        return refusal(BadRequest(f"'input[{body['input'].index('')}]' is empty"))


class Without(StockWorker):
    """FastChat's vllm_worker has no such route."""

    def routes(self) -> list[Route]:
        return [route for route in super().routes() if "embeddings" not in route.path]


def ask(url: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/embeddings", json={"model": NAME, **fields}, trust_env=False)


@pytest.mark.parametrize("kind", [Packing, StockWorker])
def test_base64_is_of_little_endian_32_bit_floats(kind: type[Worker]) -> None:
    with api_of(kind()) as (url, _):
        floats = ask(url, input="a").json()["data"][0]["embedding"]
        packed = ask(url, input="a", encoding_format="base64").json()["data"][0]["embedding"]
    assert floats == list(VECTOR)
    assert packed == PACKED


def test_a_stock_worker_is_never_asked_for_base64() -> None:
    """Its base64 is of the model's own number format, which may be half floats."""
    worker, ours = StockWorker(), Packing()
    for one in (worker, ours):
        with api_of(one) as (url, _):
            ask(url, input="a", encoding_format="base64")
    assert "encoding_format" not in worker.bodies[-1]
    assert ours.bodies[-1]["encoding_format"] == "base64"


def test_texts_go_to_the_worker_in_batches() -> None:
    worker = OurWorker()
    with api_of(worker, settings=ApiSettings(embedding_batch_size=2)) as (url, _):
        told = ask(url, input=["a", "b", "c"]).json()
    assert [body["input"] for body in worker.bodies] == [["a", "b"], ["c"]]
    assert [one["index"] for one in told["data"]] == [0, 1, 2]
    assert told["usage"] == {"prompt_tokens": 8, "total_tokens": 8}


def test_a_text_that_is_refused_is_named_by_its_place_in_the_request() -> None:
    with api_of(Choosy(), settings=ApiSettings(embedding_batch_size=2)) as (url, _):
        answer = ask(url, input=["a", "b", "c", ""])
    error = answer.json()["error"]
    assert (answer.status_code, error["message"]) == (400, "'input[3]' is empty")
    assert error["param"] == "input[3]"


def test_a_worker_without_embeddings_is_said_to_have_none() -> None:
    with api_of(Without()) as (url, backend):
        answer = ask(url, input="a")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert backend.open_leases == 0


def test_a_worker_that_loses_vectors_is_at_fault() -> None:
    with api_of(Short()) as (url, _):
        assert ask(url, input="a").status_code == 502


def test_the_model_may_be_called_engine_or_be_in_the_path() -> None:
    with api_of(OurWorker()) as (url, _):
        for path, body in (
            ("/v1/embeddings", {"engine": NAME, "input": "a"}),
            (f"/v1/engines/{NAME}/embeddings", {"input": "a"}),
        ):
            assert httpx.post(url + path, json=body, trust_env=False).json()["model"] == NAME
