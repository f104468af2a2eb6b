"""Records by graphs, which torch.cuda and torch.npu have under the same names. Imports neither."""

from collections.abc import Callable
from typing import Any

from .device import Replay

MODE = "thread_local"  # other threads of the program are free to use the device meanwhile


class GraphRecorder:
    """`kind` is torch.cuda or torch.npu, and `graph` its class of graphs. All that are recorded
    share one pool of memory."""

    def __init__(self, kind: Any, graph: Callable[[], Any]) -> None:
        self._kind, self._graph = kind, graph
        self._pool = kind.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Replay:
        """See `Recorder`. A recording that fails would leave the thread on the stream that it is
        made on."""
        graph, stream = self._graph(), self._kind.current_stream()
        try:
            with self._kind.graph(graph, pool=self._pool, capture_error_mode=MODE):
                work()
        finally:
            self._kind.set_stream(stream)
        replay: Replay = graph.replay
        return replay
