"""How recordings are asked of torch.cuda and torch.npu, which here are one that writes it down."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from danlu.adapters.devices.graphs import GraphRecorder


class FakeGraph:
    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def replay(self) -> None:
        self._calls.append("replay")


class FakeKind:
    """torch.cuda's part that is used. A recording in which something failed fails at its end, and
    then stays on its own stream, as theirs do."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.spoiled = False
        self.stream = "default"

    def graph_pool_handle(self) -> tuple[int, int]:
        self.calls.append("pool")
        return 0, 1

    def Stream(self) -> str:
        return "side"

    def current_stream(self) -> str:
        return self.stream

    def set_stream(self, stream: str) -> None:
        self.stream = stream

    @contextmanager
    def graph(
        self, graph: Any, *, pool: object, stream: str, capture_error_mode: str
    ) -> Iterator[None]:
        assert isinstance(graph, FakeGraph)
        self.calls.append(f"begin {pool} {capture_error_mode}")
        before, self.stream = self.stream, stream
        yield
        self.calls.append("end")
        if self.spoiled:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.stream = before


@pytest.fixture
def kind() -> FakeKind:
    return FakeKind()


@pytest.fixture
def recorder(kind: FakeKind) -> GraphRecorder:
    return GraphRecorder(kind, lambda: FakeGraph(kind.calls))


def test_work_is_called_once_on_the_side_and_replayed_where_the_thread_is(
    kind: FakeKind, recorder: GraphRecorder
) -> None:
    replay = recorder.record(lambda: kind.calls.append(f"work {kind.stream}"))
    assert kind.stream == "default"
    replay()
    replay()
    begin = "begin (0, 1) thread_local"
    assert kind.calls == ["pool", begin, "work side", "end", "replay", "replay"]


def test_all_recordings_share_one_pool(kind: FakeKind, recorder: GraphRecorder) -> None:
    for _ in range(3):
        recorder.record(lambda: None)
    assert kind.calls.count("pool") == 1
    assert kind.calls.count("begin (0, 1) thread_local") == 3


def failing(kind: FakeKind, spoils: bool) -> Callable[[], None]:
    def work() -> None:
        kind.spoiled = spoils
        raise ValueError("what happened")

    return work


@pytest.mark.parametrize("spoils", [True, False])
def test_what_failed_first_is_told_and_the_thread_is_back_on_its_stream(
    spoils: bool, kind: FakeKind, recorder: GraphRecorder
) -> None:
    with pytest.raises(ValueError, match="what happened"):
        recorder.record(failing(kind, spoils))
    assert kind.calls[-1] == "end"
    assert kind.stream == "default"


def test_an_end_that_fails_by_itself_is_told(kind: FakeKind, recorder: GraphRecorder) -> None:
    kind.spoiled = True
    with pytest.raises(RuntimeError, match="previous error during capture"):
        recorder.record(lambda: None)
    assert kind.stream == "default"
