"""How recordings are asked of torch.cuda and torch.npu, which here are one that writes it down."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from danlu.adapters.devices.graphs import GraphRecorder


class FakeKind:
    """torch.cuda's part that is used. The end of a recording in which something failed fails."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.spoiled = False
        self.stream_now = "default"

    def graph_pool_handle(self) -> tuple[int, int]:
        self.calls.append("pool")
        return 0, 1

    def Stream(self) -> str:
        return "side"

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    @contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before, self.stream_now = self.stream_now, stream
        try:
            yield
        finally:
            self.stream_now = before


class FakeGraph:
    def __init__(self, kind: FakeKind) -> None:
        self._kind = kind

    def capture_begin(self, *, pool: object, capture_error_mode: str) -> None:
        self._kind.calls.append(f"begin {pool} {capture_error_mode} {self._kind.stream_now}")

    def capture_end(self) -> None:
        self._kind.calls.append(f"end {self._kind.stream_now}")
        if self._kind.spoiled:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        self._kind.calls.append(f"replay {self._kind.stream_now}")


BEGIN = "begin (0, 1) thread_local side"


@pytest.fixture
def kind() -> FakeKind:
    return FakeKind()


@pytest.fixture
def recorder(kind: FakeKind) -> GraphRecorder:
    return GraphRecorder(kind, lambda: FakeGraph(kind))


def test_work_is_called_once_on_the_side_and_replayed_where_the_thread_is(
    kind: FakeKind, recorder: GraphRecorder
) -> None:
    replay = recorder.record(lambda: kind.calls.append(f"work {kind.stream_now}"))
    replay()
    replay()
    recorded = ["pool", "synchronize", BEGIN, "work side", "end side"]
    assert kind.calls == [*recorded, "replay default", "replay default"]


def test_all_recordings_share_one_pool(kind: FakeKind, recorder: GraphRecorder) -> None:
    for _ in range(3):
        recorder.record(lambda: None)
    assert kind.calls.count("pool") == 1
    assert kind.calls.count(BEGIN) == 3


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
    assert kind.calls[-1] == "end side"
    assert kind.stream_now == "default"


def test_an_end_that_fails_by_itself_is_told(kind: FakeKind, recorder: GraphRecorder) -> None:
    kind.spoiled = True
    with pytest.raises(RuntimeError, match="previous error during capture"):
        recorder.record(lambda: None)
    assert kind.stream_now == "default"
