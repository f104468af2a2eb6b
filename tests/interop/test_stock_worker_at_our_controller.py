"""A stock FastChat worker in our controller's registry: listed, dispatched to, kept, dropped."""

import signal
from collections.abc import Iterator

import httpx
import pytest
from support import script, stack, stock
from support.processes import SOON, wait_for
from support.script import ANSWER, NAME
from support.stack import EXPIRY, Server, chat_body, models_at, post

pytestmark = pytest.mark.slow


def test_it_is_listed_and_dispatched_to(our_controller: Server, worker_at_ours: Server) -> None:
    url = our_controller.url
    assert NAME in models_at(url)
    assert NAME in post(f"{url}/list_language_models").json()["models"]
    assert NAME not in post(f"{url}/list_multimodal_models").json()["models"]
    assert post(f"{url}/get_worker_address", {"model": NAME}).json() == {
        "address": worker_at_ours.url
    }


def test_its_frames_pass_our_relay_byte_for_byte(
    our_controller: Server, worker_at_ours: Server
) -> None:
    body = {"model": NAME, "prompt": "hi"}
    direct = post(f"{worker_at_ours.url}/worker_generate_stream", body)
    relayed = post(f"{our_controller.url}/worker_generate_stream", body)
    assert relayed.status_code == 200
    assert relayed.content == direct.content
    assert len(stack.frames_of(direct.content)) == len(script.TEXTS) + 2
    assert "content-type" not in relayed.headers


def test_its_error_frame_passes_our_relay(our_controller: Server, worker_at_ours: Server) -> None:
    body = {"model": NAME, "prompt": "BOOM"}
    direct = post(f"{worker_at_ours.url}/worker_generate_stream", body)
    assert post(f"{our_controller.url}/worker_generate_stream", body).content == direct.content


def test_asking_all_workers_anew_loses_none(our_controller: Server, worker_at_ours: Server) -> None:
    assert post(f"{our_controller.url}/refresh_all_workers").json() is None
    assert NAME in models_at(our_controller.url)


@pytest.fixture(scope="module")
def short_lived() -> Iterator[tuple[Server, Server]]:
    """A controller of ours that may be killed, and a stock worker at it."""
    with (
        stack.controller() as controller,
        stock.scripted_worker(controller.url, NAME) as worker,
    ):
        yield controller, worker


def test_its_heart_beats_arrive(short_lived: tuple[Server, Server]) -> None:
    """It says what comes back only when something is wrong."""
    controller, worker = short_lived
    wait_for(
        lambda: worker.program.output.count("Send heart beat.") >= 3, "three heart-beats", SOON
    )
    assert "heart beat error" not in worker.program.output
    assert worker.program.output.count("Register to controller") == 1
    assert models_at(controller.url) == [NAME]


def test_it_registers_again_with_our_restarted_controller(
    short_lived: tuple[Server, Server],
) -> None:
    controller, worker = short_lived
    controller.program.stop(signal.SIGKILL)
    port = httpx.URL(controller.url).port
    with stack.controller(port=port) as successor:
        stack.wait_until_served(successor.url, NAME, worker.program, SOON)
        answer = post(f"{successor.api}/v1/chat/completions", chat_body(NAME, "Q"))
        assert ANSWER in answer.text


def test_one_that_died_is_out_at_the_first_refused_connection() -> None:
    """A stock controller would send requests to it for up to two expiries."""
    with stack.controller() as controller, stock.scripted_worker(controller.url, NAME) as worker:
        worker.program.stop(signal.SIGKILL)
        answer = post(f"{controller.api}/v1/chat/completions", chat_body(NAME, "Q"))
        assert answer.status_code in (404, 502, 503), answer.text
        assert models_at(controller.url) == []


def test_one_that_died_is_dropped_after_its_silence() -> None:
    with stack.controller() as controller, stock.scripted_worker(controller.url, NAME) as worker:
        worker.program.stop(signal.SIGKILL)
        wait_for(lambda: not models_at(controller.url), "it is dropped", 3 * EXPIRY)


def test_another_worker_takes_over_from_one_that_died() -> None:
    with (
        stack.controller() as controller,
        stock.scripted_worker(controller.url, NAME) as first,
        stock.scripted_worker(controller.url, NAME),
    ):
        both = f"{controller.url}/worker_get_status"
        wait_for(lambda: post(both).json()["speed"] == 2, "two workers", SOON)
        first.program.stop(signal.SIGKILL)
        for _ in range(4):
            answer = post(f"{controller.api}/v1/chat/completions", chat_body(NAME, "Q"))
            assert answer.status_code == 200, answer.text
            assert ANSWER in answer.text
