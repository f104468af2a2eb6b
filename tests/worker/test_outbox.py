"""The box between an engine's thread and the event loop: nothing lost, nobody left waiting."""

import asyncio
import threading

import pytest
from hypothesis import given, settings, strategies as st
from support.processes import SOON

from danlu.adapters.errors import OutOfMemory, ServeError
from danlu.adapters.wire.generation import Usage
from danlu.worker.job import Piece
from danlu.worker.outbox import Outbox, ThreadOutbox

pytestmark = pytest.mark.anyio


def a_piece(text: str) -> Piece:
    return Piece(text, Usage())


async def read(box: Outbox) -> list[str]:
    return [piece.text async for piece in box]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(max_size=3), max_size=30),
    failing=st.booleans(),
    pauses=st.sets(st.integers(0, 30)),
)
def test_every_piece_arrives_once_in_order_then_the_end(
    texts: list[str], failing: bool, pauses: set[int]
) -> None:
    """Whatever the two sides' pace: `pauses` are the pieces before which the reader catches up."""

    async def story() -> tuple[list[str], ServeError | None]:
        box = Outbox(asyncio.get_running_loop())
        caught_up = threading.Event()

        def write() -> None:
            for index, text in enumerate(texts):
                if index in pauses:
                    caught_up.wait(0.001)
                box.put(a_piece(text))
            box.close(OutOfMemory("full") if failing else None)

        thread = threading.Thread(target=write)
        thread.start()
        got, error = [], None
        try:
            async for piece in box:
                got.append(piece.text)
                caught_up.set()
        except ServeError as exc:
            error = exc
        thread.join()
        return got, error

    got, error = asyncio.run(story())
    assert got == texts
    assert isinstance(error, OutOfMemory) is failing


async def test_a_reader_that_waits_is_woken_by_the_close() -> None:
    box = Outbox(asyncio.get_running_loop())
    reading = asyncio.create_task(read(box))
    await asyncio.sleep(0)
    threading.Thread(target=box.close).start()
    assert await asyncio.wait_for(reading, SOON) == []


async def test_a_reader_that_has_read_all_waits_and_lets_the_loop_go_on() -> None:
    box = Outbox(asyncio.get_running_loop())
    box.put(a_piece("a"))
    reading = asyncio.create_task(read(box))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    box.close()
    assert await reading == ["a"]


async def test_pieces_before_an_error_are_delivered_first() -> None:
    box = Outbox(asyncio.get_running_loop())
    box.put(a_piece("a"))
    box.close(ServeError("broken"))
    got = []
    with pytest.raises(ServeError, match="broken"):
        async for piece in box:
            got.append(piece.text)
    assert got == ["a"]


async def test_who_leaves_is_seen_from_the_engines_side() -> None:
    box = Outbox(asyncio.get_running_loop())
    assert not box.abandoned
    box.leave()
    assert box.abandoned and not box.closed


async def test_a_box_is_closed_once_and_takes_nothing_after() -> None:
    box = Outbox(asyncio.get_running_loop())
    box.close()
    with pytest.raises(AssertionError, match="closed once"):
        box.close()
    with pytest.raises(AssertionError, match="closed box"):
        box.put(a_piece("late"))


def test_an_engine_survives_a_loop_that_is_gone() -> None:
    loop = asyncio.new_event_loop()
    box = Outbox(loop)
    loop.close()
    box.put(a_piece("a"))
    box.close()
    assert box.closed


def test_a_thread_reads_every_piece_then_the_end() -> None:
    box = ThreadOutbox()
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(piece.text for piece in box))
    reader.start()
    box.put(a_piece("a"))
    box.put(a_piece("b"))
    box.close()
    reader.join(SOON)
    assert got == ["a", "b"]


def test_a_thread_reads_the_error_after_the_last_piece() -> None:
    box = ThreadOutbox()
    box.put(a_piece("a"))
    box.close(OutOfMemory("full"))
    pieces = iter(box)
    assert next(pieces).text == "a"
    with pytest.raises(OutOfMemory, match="full"):
        next(pieces)


def test_a_thread_that_leaves_is_seen() -> None:
    box = ThreadOutbox()
    assert not box.abandoned
    box.leave()
    assert box.abandoned
