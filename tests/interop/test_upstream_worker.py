"""FastChat's client and a stock FastChat API before a worker of ours that asks an upstream."""

from collections.abc import Iterator

import pytest
from support import stack, stock
from support.processes import Program, free_port
from support.stack import FRANCE, SMOL, Server, chat_body, post, wait_until_served

pytestmark = pytest.mark.slow

NAME = "smollm2-upstream"


@pytest.fixture(scope="module")
def asking(
    our_controller: Server, stock_controller: Server, our_worker: Server
) -> Iterator[Server]:
    """A worker that asks our API for the real model, at our controller and at a stock one."""
    port = free_port()
    controllers = f"{our_controller.url},{stock_controller.url}"
    program = Program.ours(
        "danlu.worker",
        *("--engine", "upstream", "--upstream-url", f"{our_controller.api}/v1"),
        *("--upstream-model", SMOL, "--model-names", NAME, "--fastchat-version", "0.2.36"),
        *("--host", "127.0.0.1", "--port", str(port), "--controller-address", controllers),
        env=stack.ENV,
    )
    with stack.clean(program):
        wait_until_served(our_controller.url, NAME, program)
        wait_until_served(stock_controller.url, NAME, program)
        yield Server(f"http://127.0.0.1:{port}", program)


@pytest.mark.parametrize("which", ["our_controller", "stock_controller"])
def test_test_message_gets_the_same_answer_as_from_the_model_itself(
    which: str, request: pytest.FixtureRequest, asking: Server
) -> None:
    controller: Server = request.getfixturevalue(which)
    said = {name: message(controller, name) for name in (NAME, SMOL)}
    assert "Paris" in said[NAME]
    assert said[NAME] == said[SMOL]


def test_a_stock_api_serves_it(stock_controller: Server, asking: Server) -> None:
    with stock.stock_api(stock_controller.url) as api:
        answer = post(f"{api.url}/v1/chat/completions", chat_body(NAME, FRANCE, max_tokens=24))
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer.json()["usage"]["completion_tokens"] > 1


def message(controller: Server, name: str) -> str:
    """What FastChat's test_message says that the model said."""
    flags = ("--controller-address", controller.url, "--model-name", name)
    question = ("--message", FRANCE, "--max-new-tokens", "24", "--temperature", "0")
    with stock.stock("fastchat.serve.test_message", *flags, *question) as program:
        assert program.wait_to_end() == 0, program.output
        return program.output.split("Assistant: ")[-1]
