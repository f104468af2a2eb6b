"""A structure on its way through the plane: to workers that know it, and no others."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from support.api import api_of
from support.generators import OUR_PARAMETERS, OurWorker, StockWorker, Worker, refusal
from support.script import NAME

from danlu.adapters.errors import BadRequest

pytestmark = pytest.mark.slow

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SCHEMA = {"type": "object"}
WAYS: list[dict[str, Any]] = [
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
    {"structured_outputs": {"json": SCHEMA}},
    {"guided_json": SCHEMA},
    {"guided_choice": ["a", "b"]},
]


class Plane:
    """The API in front of one worker."""

    def __init__(self, url: str, worker: Worker) -> None:
        self.url, self.worker = url, worker

    def ask(self, path: str = CHAT, **fields: Any) -> httpx.Response:
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Q"}]}
        body = {"model": NAME, **(asked if path == CHAT else {"prompt": "Q"}), **fields}
        return httpx.post(self.url + path, json=body, trust_env=False, timeout=30)


class RefusingWorker(OurWorker):
    """Finds something in every structure that it cannot follow."""

    def generate(self, body: dict[str, Any]) -> Response:
        (field,) = body["structured_outputs"]
        return refusal(
            BadRequest(f"'structured_outputs.{field}' cannot be followed: it is too complex")
        )


@pytest.fixture(scope="module")
def ours() -> Iterator[Plane]:
    worker = OurWorker()
    with api_of(worker) as (url, _):
        yield Plane(url, worker)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_it_reaches_our_worker(ours: Plane, path: str) -> None:
    assert ours.ask(path, **WAYS[1]).status_code == 200
    assert ours.worker.bodies[-1]["structured_outputs"] == {"json": SCHEMA}
    assert ours.ask(path, n=2, **WAYS[4]).status_code == 200
    wanted = {"choice": ["a", "b"]}
    assert [body["structured_outputs"] for body in ours.worker.bodies[-2:]] == [wanted] * 2


def test_two_ways_at_once_are_a_400_that_names_both(ours: Plane) -> None:
    answer = ours.ask(**WAYS[0], **WAYS[3])
    assert answer.status_code == 400
    assert "'response_format' and 'guided_json'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "worker", [StockWorker(), OurWorker(sorted({*OUR_PARAMETERS} - {"structured_outputs"}))]
)
def test_a_worker_that_cannot_is_not_asked(worker: Worker, way: dict[str, Any]) -> None:
    (name,) = way
    with api_of(worker) as (url, _):
        answer = Plane(url, worker).ask(**way)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
    assert f"'{name}' is not supported by the worker" in answer.json()["error"]["message"]
    assert worker.bodies == []


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (WAYS[0], "response_format"),
        (WAYS[1], "response_format.json_schema.schema"),
        (WAYS[2], "structured_outputs.json"),
        (WAYS[3], "guided_json"),
    ],
)
def test_what_the_worker_refuses_is_called_as_the_client_called_it(
    way: dict[str, Any], name: str
) -> None:
    worker = RefusingWorker()
    with api_of(worker) as (url, _):
        error = Plane(url, worker).ask(**way).json()["error"]
    assert error["message"] == f"'{name}' cannot be followed: it is too complex"
    assert error["param"] == name
