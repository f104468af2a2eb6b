"""Our whole stack on loopback: controller with its API and a worker, each a process; streams."""

import sys

from danlu.adapters.errors import StartError
from danlu.cli.bench.dialects import DIALECTS
from danlu.worker.settings import worker_settings

from ..contest import Outcome, Task
from ..lines import Missing, serve
from ..servers import Server, free_port
from .http import MODEL, stream_all
from .options import Options, options, unfix_threads
from .seam import worker_flags


class Stack:
    """Controller and worker, both answering. Closes whatever it started, also when that fails."""

    def __init__(self, asked: Options) -> None:
        self._servers: list[Server] = []
        flags = [*worker_flags(asked), "--model-names", MODEL]
        try:
            worker_settings(flags, {})
        except StartError as exc:
            raise Missing(str(exc)) from exc
        unfix_threads(asked)
        try:
            self._url = self._start(flags)
        except BaseException:
            self.close()
            raise

    def _start(self, flags: list[str]) -> str:
        registry, api, worker = free_port(), free_port(), free_port()
        local = ("--host", "127.0.0.1", "--port")
        controller = f"http://127.0.0.1:{registry}"
        where = (*local, str(registry), "--api-host", "127.0.0.1", "--api-port", str(api))
        self._servers.append(Server(ours("danlu.controller", *where), {}))
        self._servers[-1].wait_until_answers(f"{controller}/test_connection")
        here = (*local, str(worker), "--controller-address", controller)
        self._servers.append(Server(ours("danlu.worker", *here, *flags), {}))
        self._servers[-1].wait_until_answers(f"{controller}/list_models", "POST", f'"{MODEL}"')
        return f"http://127.0.0.1:{api}/v1"

    def run(self, task: Task) -> Outcome:
        return stream_all(self._url, DIALECTS["completions"], task)

    def peak(self) -> int:
        return sum(server.peak() for server in self._servers)

    def close(self) -> None:
        for server in reversed(self._servers):
            server.close()


def ours(module: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", module, *flags]


if __name__ == "__main__":
    serve(lambda: Stack(options()))
