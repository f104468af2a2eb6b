"""`danlu up` on two cards, as torch_npu really binds (faithful), and one of them lost.

The same processes serve all tests of this file, in their order: the last one breaks a card.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from npusim.ledger import check_ended, check_others, check_threads
from npusim.machine import of
from support.processes import Program, free_port, wait_for

STREAMS = 16
SOON = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Stack:
    program: Program
    api: str
    controller: str
    states: Path

    def machines(self) -> dict[int, int]:
        """Process id to card, of the workers that have started, in their order."""
        told = re.findall(r"worker-(\d) +\| .*engine ready .*", self.program.output)
        pids = sorted(
            (int(file.name) for file in self.states.iterdir()),
            key=lambda pid: (self.states / str(pid)).stat().st_ctime_ns,
        )
        assert len(pids) == len(told), (pids, told)
        return {pid: self.card_of(pid) for pid in pids}

    def card_of(self, pid: int) -> int:
        users = of(self.states, pid).users()
        (card,) = {i for i in range(2) for thread in users if thread.cards & 1 << i}
        return card

    def addresses(self) -> list[str]:
        found = set()
        for _ in range(8):
            body = {"model": "tiny"}
            answer = httpx.post(
                f"{self.controller}/get_worker_address", json=body, trust_env=False
            ).json()
            found.add(answer["address"])
        return sorted(found)

    def stream(self, seed: int) -> list[str]:
        """The data lines of one streamed answer."""
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "What is in the box?"}],
            "max_tokens": 40,
            "seed": seed,
            "stream": True,
        }
        url = f"{self.api}/v1/chat/completions"
        lines = []
        with httpx.stream("POST", url, json=body, timeout=SOON, trust_env=False) as answer:
            for line in answer.iter_lines():
                lines += [line.removeprefix("data: ")] if line.startswith("data: ") else []
        return lines or [f"status {answer.status_code}"]

    def streams(self, count: int = STREAMS) -> list[list[str]]:
        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(self.stream, range(count)))


@pytest.fixture(scope="module")
def stack(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    states = tmp_path_factory.mktemp("states")
    page, api, controller, worker = (free_port() for _ in range(4))
    flags = (
        *("--model-path", str(tiny_dir), "--model-names", "tiny", "--device", "npu"),
        *("--gpus", "0,1", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(page)),
        *("--api-port", str(api), "--controller-port", str(controller)),
        *("--worker-port", str(worker), "--limit-worker-concurrency", str(STREAMS)),
    )
    env = {"NPUSIM_MODE": "faithful", "NPUSIM_STATE": str(states), "LOGDIR": ""}
    with Program.ours("danlu.cli", "up", *flags, env=env) as program:
        program.wait_until(lambda: "tiny is served" in program.output, "the stack is served")
        here = "http://127.0.0.1"
        yield Stack(program, f"{here}:{api}", f"{here}:{controller}", states)


def whole(lines: list[str]) -> bool:
    """An answer with its end, and without an error."""
    return lines[-1] == "[DONE]" and '"finish_reason": null' not in lines[-2].replace(":n", ": n")


def test_not_a_byte_of_one_cards_worker_is_on_the_other_card(stack: Stack) -> None:
    assert all(map(whole, stack.streams(2 * STREAMS)))
    machines = stack.machines()
    assert sorted(machines.values()) == [0, 1]
    for pid, card in machines.items():
        machine = of(stack.states, pid)
        assert machine.strict == 0
        assert sum(thread.name == f"npu:{card}-engine" for thread in machine.users()) == 1
        check_threads(machine.users(), card)
        check_others(machine, card)


def test_a_lost_card_ends_its_answers_and_the_service_returns(stack: Stack) -> None:
    alone = stack.streams()
    assert all(map(whole, alone))
    (victim,) = (pid for pid, card in stack.machines().items() if card == 1)
    machine = of(stack.states, victim)
    machine.card[1].lose(after=3000)
    begun = time.monotonic()
    ended = stack.streams()
    assert machine.card[1].lost
    assert time.monotonic() - begun < SOON
    short = [told for told, wanted in zip(ended, alone, strict=True) if not whole(told)]
    for told in short:
        assert any('"error"' in line for line in told) or told == ["status 502"], told
    output = stack.program
    wait_for(lambda: "worker-1 ended with exit status 74" in output.output, "it ends by itself")
    assert all(map(whole, stack.streams()))  # from the other card, or from both
    wait_for(lambda: len(stack.addresses()) == 2, "the controller knows both again")
    assert all(map(whole, stack.streams(2 * STREAMS)))
    assert sorted(stack.machines().values()) == [0, 1, 1]


def test_no_worker_left_anything_on_another_card_when_it_ended(stack: Stack) -> None:
    assert stack.program.stop() == 0
    assert "Traceback" not in stack.program.output
    for pid, card in stack.machines().items():
        check_ended(of(stack.states, pid), card)
