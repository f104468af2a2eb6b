"""Models by name, even by names with slashes; readiness is that one is served."""

from collections.abc import Iterator

import httpx
import pytest
from support.api import FakeBackend, housed
from support.served import served

SLASHED = "org/chat glm/6b"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        served(housed(FakeBackend("http://127.0.0.1:9", model=SLASHED))) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


def test_a_model_has_the_card_of_the_list(client: httpx.Client) -> None:
    (card,) = client.get("/v1/models").json()["data"]
    one = client.get(f"/v1/models/{SLASHED}").json()
    assert card["id"] == one["id"] == SLASHED
    assert client.get("/v1/models/org%2Fchat%20glm%2F6b").json()["id"] == SLASHED


def test_a_model_that_nobody_serves_is_a_404(client: httpx.Client) -> None:
    answer = client.get("/v1/models/nope")
    assert answer.status_code == 404
    assert answer.json()["message"] == f"Only {SLASHED} allowed now, your model nope"


def test_ready_means_that_a_model_is_served(client: httpx.Client) -> None:
    assert client.get("/ready").json() == {"status": "ready", "models": [SLASHED]}


def test_an_engine_may_have_slashes_too(client: httpx.Client) -> None:
    answer = client.post(f"/v1/engines/{SLASHED}/embeddings", json={"input": "a"})
    assert answer.status_code == 502, "found, and its worker is not there"
