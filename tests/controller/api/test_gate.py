"""With keys, every route but the probes needs one; browsers may ask whether they may ask."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from support.api import api_of
from support.generators import OurWorker

from danlu.controller.api.settings import ApiKeys, ApiSettings, Words

SETTINGS = ApiSettings(api_keys=ApiKeys("first, second"), allowed_origins=Words('["http://page"]'))


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        api_of(OurWorker(), settings=SETTINGS) as (url, _),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


ROUTES = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/chatglm2-6b"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/engines/chatglm2-6b/embeddings"),
    ("POST", "/api/v1/chat/completions"),
    ("POST", "/api/v1/token_check"),
    ("GET", "/openapi.json"),
    ("GET", "/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "header", [None, "Bearer third", "Bearer", "Basic first", "first", "Bearer firs"]
)
def test_without_a_key_nothing_is_answered(
    client: httpx.Client, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.json()["code"] == 40101


@pytest.mark.parametrize("header", ["Bearer first", "Bearer second", "bearer first"])
def test_with_any_of_the_keys_it_is(client: httpx.Client, header: str) -> None:
    assert client.get("/v1/models", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_need_no_key(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_browser_may_ask_without_a_key_whether_it_may_ask(client: httpx.Client) -> None:
    asking = {
        "Origin": "http://page",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = client.options("/v1/chat/completions", headers=asking)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://page"
    asking["Origin"] = "http://other"
    assert client.options("/v1/chat/completions", headers=asking).status_code == 400


def test_a_browsers_page_can_read_why_it_was_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/models", headers={"Origin": "http://page"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "http://page"


def test_a_key_is_never_logged(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get("/v1/models", headers={"Authorization": "Bearer first"})
        client.get("/v1/models", headers={"Authorization": "Bearer wrong-one"})
    ours = [record for record in caplog.records if record.name.startswith("danlu")]
    assert [r for r in ours if "first" in r.getMessage() or "wrong" in r.getMessage()] == []
    assert "first" not in repr(SETTINGS) and "second" not in str(SETTINGS.api_keys)
