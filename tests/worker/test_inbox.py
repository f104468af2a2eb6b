"""Whatever is put into an engine's inbox is settled, once, whoever looks into it last."""

from concurrent.futures import Future
from queue import Empty
from typing import Any

import pytest

from danlu.adapters.errors import DeviceLost, NotReady
from danlu.worker.adapter import Adapter
from danlu.worker.engine import Embeddings
from danlu.worker.inbox import Arrival, Change, Errand, Inbox
from danlu.worker.job import Job
from danlu.worker.outbox import ThreadOutbox

JOB = Job(prompt_ids=(5,), max_new_tokens=1)


def put(inbox: Inbox) -> tuple[ThreadOutbox, "Future[Embeddings]", "Future[None]"]:
    """One of each."""
    box = ThreadOutbox()
    inbox.arrive(JOB, box)
    return box, inbox.embed(["a cat"]), inbox.change(Adapter("poet"), None)


def check_told(error: type[Exception], box: ThreadOutbox, *promises: "Future[Any]") -> None:
    for promise in promises:  # first, since they do not wait
        with pytest.raises(error):
            promise.result(0)
    with pytest.raises(error):
        list(box)


def test_what_is_put_is_taken_in_its_order() -> None:
    inbox = Inbox()
    put(inbox)
    assert [type(inbox.take(0.0)) for _ in range(3)] == [Arrival, Errand, Change]
    with pytest.raises(Empty):
        inbox.take(0.0)


def test_what_is_taken_counts_until_it_is_over() -> None:
    inbox = Inbox()
    box, vectors, _ = put(inbox)
    for _ in range(3):
        inbox.take(0.0)
    assert len(inbox) == 2
    vectors.cancel()
    assert len(inbox) == 1
    inbox.settle(box, None)
    assert len(inbox) == 0


def test_a_job_whose_reader_has_left_does_not_count() -> None:
    inbox = Inbox()
    box, *_ = put(inbox)
    box.leave()
    assert len(inbox) == 1


def test_a_box_is_closed_once_whoever_comes_second() -> None:
    inbox = Inbox()
    box, *_ = put(inbox)
    inbox.settle(box, NotReady("first"))
    inbox.settle(box, DeviceLost("second"))
    with pytest.raises(NotReady, match="first"):
        list(box)


def test_who_waits_is_woken_by_the_end() -> None:
    inbox = Inbox()
    inbox.close()
    assert inbox.take(None) is None


def test_the_end_is_told_to_what_was_taken_and_to_what_was_not() -> None:
    inbox = Inbox()
    taken = put(inbox)
    assert isinstance(inbox.take(0.0), Arrival) and isinstance(inbox.take(0.0), Errand)
    inbox.take(0.0)
    left = put(inbox)
    inbox.settle_all(DeviceLost("gone"))
    check_told(DeviceLost, taken[0], taken[1])
    check_told(DeviceLost, left[0], left[1])
    with pytest.raises(NotReady):  # nobody has begun it
        left[2].result(0)
    assert len(inbox) == 0


def test_what_comes_after_the_end_is_turned_away_by_who_brings_it() -> None:
    inbox = Inbox()
    inbox.close()
    check_told(NotReady, *put(inbox))
    assert len(inbox) == 0
