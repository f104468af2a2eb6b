"""`danlu up`: the whole stack in one command, from a model's directory to a page in a browser.

By default only the web page is open to the network, as FastChat's is; the API, the controller and
the worker listen on this machine alone until they are told otherwise.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
from rich.console import Console

from ..adapters.cache import cache_root
from ..adapters.errors import StartError
from ..adapters.host.addresses import WILDCARDS
from ..adapters.host.settings import settings_from
from .demo import demo_model
from .demo_chatglm2 import chatglm2_model
from .display import Display
from .readiness import look
from .seats import seats
from .stack import REFUSED, UpSettings, check_variables, claim_ports, programs, split_flags
from .supervisor import LOOK_EVERY, GaveUp, Supervisor

PREFIX = "DANLU_UP_"
CLOSING = 10.0  # seconds beyond draining; the worker takes five to say goodbye


def main(argv: Sequence[str]) -> None:
    check_variables(os.environ)
    own, worker_flags = split_flags(argv)
    settings = settings_from(UpSettings, own, os.environ, PREFIX, prog="danlu up", refused=REFUSED)
    demos = (settings.demo, settings.demo_chatglm2)
    if sum(map(bool, (*demos, settings.model_path, settings.upstream_url))) != 1:
        raise StartError(
            "give --model-path DIR to serve your model, or --demo or --demo-chatglm2 for a small "
            "one, or --upstream-url for a server that has one, and only one of them"
        )
    settings = claim_ports(settings)
    console = Console()
    with Display(console) as display:
        if any(demos):
            make = demo_model if settings.demo else chatglm2_model
            found = make(cache_root(os.environ), say=display.note)
            settings = replace(settings, model_path=str(found))
        asyncio.run(up(settings, worker_flags, display))


async def up(settings: UpSettings, worker_flags: Sequence[str], display: Display) -> None:
    """Serve until SIGINT or SIGTERM; raises StartError or SystemExit for what cannot go on."""
    async with httpx.AsyncClient(trust_env=False) as client:
        supervisor = Supervisor(
            programs(settings, worker_flags, seats(settings)),
            display,
            partial(look, client),
            grace=settings.drain_seconds + CLOSING,
        )
        with _stop_signals(supervisor, display):
            announcing = asyncio.create_task(_announce(settings, supervisor, client, display))
            try:
                await supervisor.run()
            except GaveUp as exc:
                display.note(str(exc))
                raise SystemExit(1) from exc
            finally:
                announcing.cancel()
    display.note("everything has ended")


async def _announce(
    settings: UpSettings, supervisor: Supervisor, client: httpx.AsyncClient, display: Display
) -> None:
    """Say where everything is, once all of it is ready and the model can be asked for."""
    await supervisor.ready()
    while not (await look(client, f"{settings.api_url}/ready")).ready:
        await asyncio.sleep(LOOK_EVERY)
    status = await client.post(f"{settings.worker_url}/worker_get_status")
    for line in announcement(settings, status.json()["model_names"][0]):
        display.note(line)


def announcement(settings: UpSettings, model: str) -> list[str]:
    """The addresses, who may reach them, and something to try."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    return [
        f"{model} is served",
        f"  page  {settings.page_url}{_reach(settings.host, '--host')}",
        f"  API   {settings.api_url}/v1{_reach(settings.api_host, '--api-host')}",
        f"  try   curl {settings.api_url}/v1/chat/completions -d '{json.dumps(body)}'",
        "  Ctrl-C stops everything",
    ]


def _reach(host: str, flag: str) -> str:
    if host not in WILDCARDS:
        return ""
    return f"  (open to every network of this machine; {flag} 127.0.0.1 closes it)"


@contextlib.contextmanager
def _stop_signals(supervisor: Supervisor, display: Display) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    asked = False

    def stop() -> None:
        nonlocal asked
        display.note("ending at once" if asked else "stopping; once more ends it at once")
        asked = True
        supervisor.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
