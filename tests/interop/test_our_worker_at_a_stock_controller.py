"""Our worker in a stock FastChat controller's registry: listed, dispatched to, kept, dropped."""

import signal
from collections.abc import Iterator

import httpx
import pytest
from support import script, stack, stock
from support.processes import SOON, free_port, wait_for
from support.stack import EXPIRY, SMOL, Server, models_at, post

pytestmark = pytest.mark.slow

PROMPT = "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n"


def test_it_is_listed_and_dispatched_to(stock_controller: Server, our_worker: Server) -> None:
    assert SMOL in models_at(stock_controller.url)
    language = post(f"{stock_controller.url}/list_language_models").json()["models"]
    assert SMOL in language
    where = post(f"{stock_controller.url}/get_worker_address", {"model": SMOL}).json()
    assert where == {"address": our_worker.url}


def test_it_stays_when_the_stock_controller_asks_all_workers_anew(
    stock_controller: Server, our_worker: Server
) -> None:
    assert post(f"{stock_controller.url}/refresh_all_workers").json() is None
    assert SMOL in models_at(stock_controller.url)


def test_its_frames_pass_the_stock_relay_byte_for_byte(
    stock_controller: Server, our_worker: Server
) -> None:
    body = {"model": SMOL, "prompt": PROMPT, "temperature": 0, "max_new_tokens": 12, "echo": False}
    direct = post(f"{our_worker.url}/worker_generate_stream", body)
    relayed = post(f"{stock_controller.url}/worker_generate_stream", body)
    assert direct.status_code == relayed.status_code == 200
    assert relayed.content == direct.content
    assert "content-type" not in direct.headers and "content-encoding" not in direct.headers
    assert stack.frames_of(direct.content)[-1]["finish_reason"] in ("stop", "length")


def test_its_refusals_pass_the_stock_relay(stock_controller: Server, our_worker: Server) -> None:
    body = {"model": SMOL, "prompt": PROMPT, "temperature": -1}
    (frame,) = stack.frames_of(post(f"{stock_controller.url}/worker_generate_stream", body).content)
    assert frame["error_code"] == 40302
    assert "temperature" in frame["text"]


@pytest.fixture(scope="module")
def short_lived() -> Iterator[tuple[Server, Server]]:
    """A stock controller that may be killed, and a worker of ours at it."""
    with stock.stock_controller() as controller, stack.golden_worker(controller.url) as worker:
        yield controller, worker


def test_its_heart_beats_arrive(short_lived: tuple[Server, Server]) -> None:
    controller, worker = short_lived
    beat = f"Receive heart beat. {worker.url}"
    wait_for(lambda: controller.program.output.count(beat) >= 3, "three heart-beats", SOON)
    assert "Receive unknown heart beat" not in controller.program.output


def test_it_registers_again_by_itself_with_a_restarted_controller(
    short_lived: tuple[Server, Server],
) -> None:
    controller, worker = short_lived
    controller.program.stop(signal.SIGKILL)
    port = httpx.URL(controller.url).port
    with stock.stock_controller(port) as successor:
        stack.wait_until_served(successor.url, script.NAME, worker.program, SOON)
        where = post(f"{successor.url}/get_worker_address", {"model": script.NAME}).json()
        assert where == {"address": worker.url}


def test_it_waits_for_a_controller_that_starts_later() -> None:
    """A stock worker dies of this, after minutes of loading."""
    port = free_port()
    with stack.golden_worker(f"http://127.0.0.1:{port}") as worker:
        assert post(f"{worker.url}/worker_get_status").status_code == 200
        with stock.stock_controller(port) as controller:
            stack.wait_until_served(controller.url, script.NAME, worker.program, SOON)


def test_one_that_was_stopped_is_dropped_after_its_silence() -> None:
    """A stock controller knows no goodbye (404): it notices by the missing heart-beats."""
    with stock.stock_controller() as controller:
        with stack.golden_worker(controller.url) as worker:
            wait_for(lambda: models_at(controller.url) == [script.NAME], "it is listed", SOON)
            assert worker.program.stop() == 0
        wait_for(lambda: not models_at(controller.url), "the worker is dropped", 4 * EXPIRY)
