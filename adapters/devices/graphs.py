"""Records by graphs, which torch.cuda and torch.npu have under the same names. Imports neither."""

from collections.abc import Callable
from typing import Any

from .device import Replay

MODE = "thread_local"  # other threads of the program are free to use the device meanwhile


class GraphRecorder:
    """`kind` is torch.cuda or torch.npu, and `graph` its class of graphs. All that are recorded
    share one pool of memory, and one stream to be recorded on.

    Their own `with graph(…)` is not used: it gives back the allocator's memory each time, waits for
    other cards at that, and leaves the thread on another stream where a recording fails.
    """

    def __init__(self, kind: Any, graph: Callable[[], Any]) -> None:
        self._kind, self._graph = kind, graph
        self._pool, self._side = kind.graph_pool_handle(), kind.Stream()

    def record(self, work: Callable[[], None]) -> Replay:
        """See `Recorder`. Where `work` fails, so does the recording's end, with less to tell."""
        graph, failed = self._graph(), list[Exception]()
        self._kind.synchronize()
        with self._kind.stream(self._side):
            graph.capture_begin(pool=self._pool, capture_error_mode=MODE)
            try:
                work()
            except Exception as exc:
                failed.append(exc)
            try:
                graph.capture_end()
            except Exception as exc:
                failed = failed or [exc]
        if failed:
            raise failed.pop()  # no name may keep it: it would keep this frame, and that the name
        replay: Replay = graph.replay
        return replay
