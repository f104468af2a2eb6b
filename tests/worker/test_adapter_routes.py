"""The worker's routes about adapters, and what its other routes say of a model with one."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.engines import FakeEngine, a_card, says
from support.workers import MODEL, an_app, ask, client_of

from danlu.adapters.errors import OutOfMemory, StartError
from danlu.worker.adapter import Adapter
from danlu.worker.shelf import Shelf

pytestmark = pytest.mark.anyio

LOAD, UNLOAD = "/worker_load_adapter", "/worker_unload_adapter"


def load(name: str, path: Path) -> tuple[Adapter, "Future[None]"]:
    """An adapter by what its directory is called."""
    if path.name == "broken":
        raise StartError("it is broken")
    promise: Future[None] = Future()
    if path.name == "large":
        promise.set_exception(OutOfMemory("cpu is out of memory"))
    else:
        promise.set_result(None)
    return Adapter(name, 7 if path.name == "prefix" else 0), promise


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    shelf = Shelf((MODEL,), load, lambda adapter: None)
    made = FakeEngine(says("Hi"), card=a_card(200), adapters=shelf)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("lora", "prefix", "broken", "large"):
        (tmp_path / name).mkdir()
    return tmp_path


async def asked(engine: FakeEngine, path: str, body: Any, home: Path | str = "") -> httpx.Response:
    async with client_of(an_app(engine, adapter_dir=str(home))) as client:
        return await client.post(path, json=body)


async def test_a_loaded_adapter_is_served_until_it_is_unloaded(
    engine: FakeEngine, home: Path
) -> None:
    answer = await asked(engine, LOAD, {"name": "poet", "path": "lora"}, home)
    assert answer.json() == {"model_names": [MODEL, f"{MODEL}:poet"]}
    status = await asked(engine, "/worker_get_status", {}, home)
    assert status.json()["model_names"] == [MODEL, f"{MODEL}:poet"]
    body = {"model": f"{MODEL}:poet", "prompt": "Q"}
    assert (await asked(engine, "/worker_generate", body)).json()["text"] == "Hi"
    answer = await asked(engine, UNLOAD, {"name": "poet"}, home)
    assert answer.json() == {"model_names": [MODEL]}
    gone = await asked(engine, "/worker_generate", body)
    assert gone.status_code == 404 and "not" in gone.json()["text"]


async def test_without_a_directory_nobody_loads_or_unloads(engine: FakeEngine, home: Path) -> None:
    for path, body in ((LOAD, {"name": "poet", "path": str(home)}), (UNLOAD, {"name": "poet"})):
        answer = await asked(engine, path, body)
        assert answer.status_code == 400
        assert "start it with --adapter-dir" in answer.json()["message"]


async def test_an_engine_without_adapters_loads_none(home: Path) -> None:
    engine = FakeEngine(says("Hi"))
    answer = await asked(engine, LOAD, {"name": "poet", "path": "lora"}, home)
    engine.close()
    assert answer.status_code == 400 and "loads no adapters" in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "x", "path": "../x"}, 400, "does not lie below"),
        ({"name": "x", "path": "broken"}, 400, "it is broken"),
        ({"name": "x", "path": "large"}, 503, "out of memory"),
        ({"name": "x:y", "path": "lora"}, 400, "cannot be an adapter's name"),
        ({"name": "x"}, 400, "'path'"),
        ({"name": 1, "path": "lora"}, 400, "'name'"),
        ({"name": "x", "path": "lora", "more": 1}, 400, "'more'"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_in_a_sentence(
    engine: FakeEngine, home: Path, body: Any, status: int, words: str
) -> None:
    answer = await asked(engine, LOAD, body, home)
    assert answer.status_code == status and words in answer.json()["message"]
    assert engine.adapters is not None and engine.adapters.names == (MODEL,)


async def test_what_is_not_there_cannot_be_unloaded(engine: FakeEngine, home: Path) -> None:
    answer = await asked(engine, UNLOAD, {"name": "poet"}, home)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_a_prefix_takes_its_part_of_the_context(engine: FakeEngine, home: Path) -> None:
    await asked(engine, LOAD, {"name": "p", "path": "prefix"}, home)
    for path in ("/model_details", "/worker_get_capabilities"):
        lengths = [
            (await asked(engine, path, {"model": name})).json()["context_length"]
            for name in (MODEL, f"{MODEL}:p")
        ]
        assert lengths == [200, 193]


async def test_embeddings_are_the_models_own(engine: FakeEngine, home: Path) -> None:
    await asked(engine, LOAD, {"name": "poet", "path": "lora"}, home)
    offered = await asked(engine, "/worker_get_capabilities", {"model": f"{MODEL}:poet"})
    assert offered.json()["embeddings"] is False
    body = {"model": f"{MODEL}:poet", "input": ["x"]}
    refused = await asked(engine, "/worker_get_embeddings", body)
    assert refused.status_code == 400
    assert f"embeddings are made without adapters; ask for {MODEL}" in refused.text


async def test_the_engine_is_given_the_name_that_was_asked_for(
    engine: FakeEngine, home: Path
) -> None:
    await asked(engine, LOAD, {"name": "poet", "path": "lora"}, home)
    async with client_of(an_app(engine)) as client:
        await client.post("/worker_generate", content=ask("Q", model=f"{MODEL}:poet"))
    assert engine.bodies[-1].model == f"{MODEL}:poet"
