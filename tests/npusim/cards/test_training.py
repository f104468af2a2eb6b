"""The seed's training command on two cards, in float16 as it asks; a card serves its model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from npusim.ledger import check_others
from npusim.machine import State, of
from support import stack
from support.fine_tuning import losses, run_to_its_end, seed_command, swapped, write_records
from support.stack import chat_body

TAUGHT = swapped(4)
STEPS = "12"


@dataclass(frozen=True, slots=True)
class Trained:
    out: Path
    told: str
    machines: list[State]  # of the processes that used a card


@pytest.fixture(scope="module")
def trained(chatglm2_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    home, states = tmp_path_factory.mktemp("training"), tmp_path_factory.mktemp("states")
    data = write_records(home / "subset.json", TAUGHT, 4)  # a step is an epoch
    changed = {"num_train_epochs": STEPS, "save_strategy": "no"}
    command = seed_command(chatglm2_dir, data, home / "out", changed)
    told = run_to_its_end(command, {"NPUSIM_MODE": "strict", "NPUSIM_STATE": str(states)})
    machines = [of(states, int(file.name)) for file in states.iterdir()]
    yield Trained(home / "out", told, [machine for machine in machines if machine.users()])


def test_it_learns_in_float16(trained: Trained) -> None:
    assert "mismatch" not in trained.told
    assert "float32" not in trained.told.replace("dtype=torch.float32 device=cpu", "")
    assert len(losses(trained.out)) == int(STEPS)
    assert losses(trained.out)[-1] < 0.05


def test_each_process_has_its_half_on_its_own_card(trained: Trained) -> None:
    assert "sharded 36 tensors over 2 processes" in trained.told
    assert "1216x256, here 608x256" in trained.told
    used = [
        card
        for machine in trained.machines
        for card in range(machine.cards)
        if machine.card[card].peak
    ]
    assert sorted(used) == [0, 1]
    for machine in trained.machines:
        (card,) = {card for card in used if machine.card[card].peak}
        check_others(machine, card)
        for thread in machine.users():  # autograd's, too
            assert thread.astray == thread.defaulted == 0, f"without a context: {thread}"
            assert thread.cards == 1 << card, f"not on card {card} alone: {thread}"


def test_the_model_answers_word_for_word_from_a_card(trained: Trained) -> None:
    with (
        stack.controller() as controller,
        stack.npu_worker(trained.out, "tuned", controller.url),
    ):
        for question, answer in TAUGHT.items():
            said = httpx.post(
                f"{controller.api}/v1/chat/completions",
                json=chat_body("tuned", question, max_tokens=64),
                timeout=60,
                trust_env=False,
            ).json()["choices"][0]
            assert said["message"]["content"] == answer
            assert said["finish_reason"] == "stop"
