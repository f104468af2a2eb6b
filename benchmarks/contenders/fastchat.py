"""Stock FastChat's model_worker in its own environment, as it comes, over its own protocol."""

from danlu.cli.bench.dialects import DIALECTS

from ..contest import Outcome, Task
from ..lines import Missing, serve
from ..referee import ROOT
from ..servers import Server, free_port
from .http import MODEL, stream_all
from .options import Options, options

PYTHON = ROOT / ".venv-fschat" / "bin" / "python"
UNCOUNTED = 1  # FastChat 0.2.36 counts an answer's tokens from 0: the last is missing in `usage`


class FastChat:
    def __init__(self, asked: Options) -> None:
        if not PYTHON.exists():
            raise Missing(f"{PYTHON} is not there: scripts/test-needs makes it")
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        here = ("--host", "127.0.0.1", "--port", str(port), "--worker-address", self._url)
        model = ("--model-path", str(asked.model), "--model-names", MODEL, "--dtype", asked.dtype)
        argv = [str(PYTHON), "-m", "fastchat.serve.model_worker", *here, *model, "--no-register"]
        env = {"LOGDIR": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(asked.threads)}
        self._server = Server([*argv, "--device", "cpu"], env)
        try:
            self._server.wait_until_answers(f"{self._url}/worker_get_status", "POST")
        except BaseException:
            self._server.close()
            raise

    def run(self, task: Task) -> Outcome:
        """It knows no way to ignore an end token: an answer may be shorter, and is counted so."""
        return stream_all(self._url, DIALECTS["worker"], task, eos=True, uncounted=UNCOUNTED)

    def peak(self) -> int:
        return self._server.peak()

    def close(self) -> None:
        self._server.close()


if __name__ == "__main__":
    serve(lambda: FastChat(options()))
