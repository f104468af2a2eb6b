"""Which way of talking fits the controller."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest
from support.chatservers import FakeDanlu, FakeStock

from danlu.adapters.errors import WorkerUnreachable
from danlu.adapters.wire.generation import Message
from danlu.webui.backend import Question
from danlu.webui.calls import open_client
from danlu.webui.client import KEEP, Client
from danlu.webui.settings import WebuiSettings

pytestmark = pytest.mark.anyio

HELLO = Question("fake-model", (Message(role="user", content="hello"),))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as client:
        yield client


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def text(client: Client) -> str:
    async with aclosing(client.stream(HELLO)) as stream:
        return [answer async for answer in stream][-1].text


async def test_our_controller_names_its_api(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.key = "secret"
        client = Client(http, WebuiSettings(controller_url=f"{fake.url}/", api_key="secret"))
        assert await client.models() == ["fake-model"]
        assert await text(client) == "Hello, world."
        assert len(fake.bodies("/get_api_address")) == 1


async def test_a_stock_controller_is_spoken_to_in_fastchats_wire(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        client = Client(http, WebuiSettings(controller_url=fake.url))
        assert await client.models() == ["fake-model"]
        assert await text(client) == "Hello, world."
        assert len(fake.bodies("/worker_generate_stream")) == 1


async def test_our_controller_without_an_api_speaks_fastchats_wire(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.danlu = True
        client = Client(http, WebuiSettings(controller_url=fake.url))
        assert await text(client) == "Hello, world."


async def test_an_api_that_is_named_is_not_asked_for(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        settings = WebuiSettings(controller_url="http://127.0.0.1:9", api_url=fake.url)
        assert await Client(http, settings).models() == ["fake-model"]
        assert fake.bodies("/get_api_address") == []


async def test_a_controller_that_is_replaced_is_asked_again(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        clock = Clock()
        client = Client(http, WebuiSettings(controller_url=fake.url), clock=clock)
        await client.models()
        clock.now = KEEP + 1
        with FakeDanlu() as other:
            fake.danlu, fake.api_address = True, other.url
            other.models = ["new"]
            assert await client.models() == ["new"]


async def test_a_list_that_failed_is_asked_for_anew(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.danlu, fake.api_address = True, "http://127.0.0.1:9"
        client = Client(http, WebuiSettings(controller_url=fake.url))
        with pytest.raises(WorkerUnreachable):
            await client.models()
        fake.api_address = ""
        assert await client.models() == ["fake-model"]
