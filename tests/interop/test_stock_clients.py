"""FastChat's small clients, as they come: test_message, test_throughput and register_worker."""

import pytest
from support import script, stock
from support.stack import SMOL, Server, chat_body, models_at, post

pytestmark = pytest.mark.slow


def ran(module: str, *flags: str) -> str:
    """What a client printed; it must have ended well."""
    with stock.stock(module, *flags) as program:
        assert program.wait_to_end() == 0, program.output
        return program.output


@pytest.mark.parametrize("which", ["our_controller", "stock_controller"])
def test_test_message_gets_an_answer(
    which: str, request: pytest.FixtureRequest, our_worker: Server
) -> None:
    controller: Server = request.getfixturevalue(which)
    question = ("--message", "What is the capital of France?", "--max-new-tokens", "24")
    said = ran(
        "fastchat.serve.test_message",
        *("--controller-address", controller.url, "--model-name", SMOL),
        *question,
    )
    assert f"worker_addr: {our_worker.url}" in said
    assert "Assistant: " in said and "Paris" in said.split("Assistant: ")[-1]


def test_test_throughput_is_dispatched_and_answered(
    our_controller: Server, our_worker: Server
) -> None:
    said = ran(
        "fastchat.serve.test_throughput",
        *("--controller-address", our_controller.url, "--model-name", SMOL),
        *("--max-new-tokens", "8", "--n-thread", "4", "--test-dispatch"),
    )
    for thread in range(4):
        assert f"thread {thread} goes to {our_worker.url}" in said
    assert "throughput: " in said and "Traceback" not in said


def test_register_worker_enters_a_stock_worker_at_our_controller(
    our_controller: Server, stock_controller: Server
) -> None:
    with stock.scripted_worker(stock_controller.url, "by-hand") as worker:
        flags = ("--controller-address", our_controller.url, "--worker-name", worker.url)
        ran("fastchat.serve.register_worker", *flags)
        assert "by-hand" in models_at(our_controller.url)
        where = post(f"{our_controller.url}/get_worker_address", {"model": "by-hand"}).json()
        assert where == {"address": worker.url}
        answer = post(f"{our_controller.api}/v1/chat/completions", chat_body("by-hand", "Q"))
        assert script.ANSWER in answer.text


def test_register_worker_enters_our_controller_in_a_stock_one(
    our_controller: Server, our_worker: Server
) -> None:
    """FastChat's hierarchy: a controller is a worker of the controller above it."""
    with stock.stock_controller() as above:
        flags = ("--controller-address", above.url, "--worker-name", our_controller.url)
        ran("fastchat.serve.register_worker", *flags)
        assert SMOL in models_at(above.url)
        body = {"model": SMOL, "prompt": "1 2 3", "temperature": 0, "max_new_tokens": 3}
        direct = post(f"{our_worker.url}/worker_generate_stream", body)
        assert post(f"{above.url}/worker_generate_stream", body).content == direct.content
