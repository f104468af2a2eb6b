"""Records by graphs, which torch.cuda and torch.npu have under the same names. Imports neither."""

from collections.abc import Callable
from typing import Any

from .device import Replay

MODE = "thread_local"  # other threads of the program are free to use the device meanwhile


class GraphRecorder:
    """`kind` is torch.cuda or torch.npu, and `graph` its class of graphs. All that are recorded
    share one pool of memory, and one stream to be recorded on: theirs is of the card that came
    first in the process."""

    def __init__(self, kind: Any, graph: Callable[[], Any]) -> None:
        self._kind, self._graph = kind, graph
        self._pool, self._side = kind.graph_pool_handle(), kind.Stream()

    def record(self, work: Callable[[], None]) -> Replay:
        """See `Recorder`. Where `work` fails, so does the end of the recording, which tells less;
        and it leaves the thread on the stream that recordings are made on."""
        graph, stream, failed = self._graph(), self._kind.current_stream(), list[Exception]()
        try:
            with self._kind.graph(
                graph, pool=self._pool, stream=self._side, capture_error_mode=MODE
            ):
                try:
                    work()
                except Exception as exc:
                    failed.append(exc)
        except Exception as exc:
            raise (failed.pop() if failed else exc) from None
        finally:
            self._kind.set_stream(stream)
        if failed:
            raise failed.pop()
        replay: Replay = graph.replay
        return replay
