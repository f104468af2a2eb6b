"""Names of adapters: which are served, what a request's name means, who may have which."""

import asyncio
from concurrent.futures import Future
from pathlib import Path

import pytest

from danlu.adapters.errors import BadRequest, OutOfMemory, StartError, UnknownModel
from danlu.worker.adapter import BASE, Adapter
from danlu.worker.shelf import Shelf

HERE = Path("/adapters/one")


class Store:
    """Reads what it is told to; the promises are the test's to keep."""

    def __init__(self) -> None:
        self.promises: list[Future[None]] = []
        self.retired: list[Adapter] = []

    def load(self, name: str, path: Path) -> tuple[Adapter, "Future[None]"]:
        if path != HERE:
            raise StartError(f"{path} holds no adapter")
        self.promises.append(Future())
        return Adapter(name), self.promises[-1]


def a_shelf(*bases: str) -> tuple[Shelf, Store]:
    store = Store()
    return Shelf(bases or ("tiny",), store.load, store.retired.append), store


def put(shelf: Shelf, store: Store, name: str) -> Adapter:
    served = shelf.load(name, HERE)
    store.promises[-1].set_result(None)
    assert served.done()
    return shelf.adapter(f"tiny:{name}")


def test_every_name_of_the_model_has_every_adapter() -> None:
    shelf, store = a_shelf("tiny", "gpt-4")
    put(shelf, store, "poet")
    put(shelf, store, "clerk")
    assert shelf.names == (
        *("tiny", "gpt-4"),
        *("tiny:clerk", "gpt-4:clerk", "tiny:poet", "gpt-4:poet"),
    )
    assert shelf.adapter("gpt-4:poet") is shelf.adapter("tiny:poet")


def test_a_request_without_a_name_or_with_the_models_own_means_no_adapter() -> None:
    shelf, store = a_shelf("tiny", "a:b")
    put(shelf, store, "poet")
    assert [shelf.adapter(name) for name in (None, "tiny", "a:b")] == [BASE] * 3
    assert shelf.adapter("a:b:poet").name == "poet"


@pytest.mark.parametrize(
    "name", ["tiny:nobody", "other:poet", "poet", "tiny:", ":poet", "TINY:poet"]
)
def test_any_other_name_is_nobodys(name: str) -> None:
    shelf, store = a_shelf()
    put(shelf, store, "poet")
    with pytest.raises(UnknownModel, match="this worker serves tiny, tiny:poet, not"):
        shelf.adapter(name)


def test_it_is_asked_for_in_vain_until_it_is_on_the_device() -> None:
    shelf, store = a_shelf()
    served = shelf.load("poet", HERE)
    assert not served.done() and list(shelf.names) == ["tiny"]
    store.promises[0].set_result(None)
    assert served.done() and list(shelf.names) == ["tiny", "tiny:poet"]


def test_a_name_is_given_once_even_while_its_adapter_is_on_the_way() -> None:
    shelf, store = a_shelf()
    shelf.load("poet", HERE)
    with pytest.raises(BadRequest, match="'poet' is loaded already; unload it first"):
        shelf.load("poet", HERE)
    store.promises[0].set_result(None)
    with pytest.raises(BadRequest, match="loaded already"):
        shelf.load("poet", HERE)


def test_what_cannot_be_read_or_placed_leaves_its_name_free() -> None:
    shelf, store = a_shelf()
    with pytest.raises(StartError, match="holds no adapter"):
        shelf.load("poet", Path("/elsewhere"))
    served = shelf.load("poet", HERE)
    store.promises[0].set_exception(OutOfMemory("npu:0 is out of memory"))
    with pytest.raises(OutOfMemory):
        served.result()
    assert shelf.names == ("tiny",)
    put(shelf, store, "poet")


def test_one_who_waits_no_more_does_not_keep_it_from_being_served() -> None:
    shelf, store = a_shelf()
    shelf.load("poet", HERE).cancel()
    store.promises[0].set_result(None)
    assert shelf.names == ("tiny", "tiny:poet")


def test_unloaded_it_is_asked_for_in_vain_and_let_go() -> None:
    shelf, store = a_shelf()
    old = put(shelf, store, "poet")
    shelf.unload("poet")
    assert store.retired == [old] and shelf.names == ("tiny",)
    with pytest.raises(UnknownModel):
        shelf.adapter("tiny:poet")
    assert put(shelf, store, "poet") is not old


def test_what_is_not_there_cannot_be_unloaded() -> None:
    shelf, store = a_shelf()
    put(shelf, store, "poet")
    with pytest.raises(UnknownModel, match="no adapter 'clerk' is loaded; there is poet"):
        shelf.unload("clerk")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "../x", "a,b", "-x", "诗", "x" * 65])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    shelf, _ = a_shelf()
    with pytest.raises(BadRequest, match="cannot be an adapter's name"):
        shelf.load(name, HERE)


def test_a_name_of_the_models_own_is_refused() -> None:
    shelf, _ = a_shelf("a", "a:b")
    with pytest.raises(BadRequest, match="a:b is the model itself"):
        shelf.load("b", HERE)


def test_who_listens_is_told_of_each_change() -> None:
    shelf, store = a_shelf()
    told: list[tuple[str, ...]] = []
    shelf.listen(lambda: told.append(shelf.names))
    put(shelf, store, "poet")
    shelf.unload("poet")
    assert told == [("tiny", "tiny:poet"), ("tiny",)]


def test_a_listener_whose_loop_has_ended_disturbs_nobody() -> None:
    shelf, store = a_shelf()
    loop = asyncio.new_event_loop()
    loop.close()
    shelf.listen(lambda: loop.call_soon_threadsafe(lambda: None))
    put(shelf, store, "poet")
