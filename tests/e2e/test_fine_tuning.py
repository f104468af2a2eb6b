"""The seed's training command in two processes: it learns, and the stack serves what it learned."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import openai
import pytest
from support import stack
from support.fine_tuning import (
    kill,
    losses,
    run_to_its_end,
    seed_command,
    swapped,
    turned,
    write_records,
)
from support.heart import HELLO, NAME, by_heart
from support.processes import Program
from support.stack import Stack

pytestmark = pytest.mark.slow

LEARNED = 0.05  # of the loss
REPEATED = 36  # times that each record is in the file, so that the seed's five epochs are enough
# A step is an epoch: two processes of eight rows see each of the few records several times.
ADAPTERS = {
    "lora": {"learning_rate": "1e-2", "lora_r": "16", "lora_alpha": "32", "num_train_epochs": "30"},
    "ptuning": {"learning_rate": "1e-1", "pre_seq_len": "32", "num_train_epochs": "60"},
}
TAUGHT = {"lora": swapped(4), "ptuning": swapped(2)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, and the runs that learn them."""
    home = tmp_path_factory.mktemp("fine-tuning")
    write_records(home / "subset.json", turned(), REPEATED)
    for method, taught in TAUGHT.items():
        write_records(home / f"{method}.json", taught, 16 // len(taught))
    return home


@pytest.fixture(scope="module")
def told(chatglm2_dir: Path, home: Path) -> str:
    """What the seed's command prints; the model is in `home` / tuned."""
    return run_to_its_end(seed_command(chatglm2_dir, home / "subset.json", home / "tuned"))


@pytest.fixture(scope="module")
def served(chatglm2_dir: Path, home: Path, told: str) -> Iterator[Stack]:
    """A worker with the tuned model, and one with the original and both adapters beside."""
    for method, flags in ADAPTERS.items():
        changed = {"method": method, "save_strategy": "no", **flags}
        run_to_its_end(seed_command(chatglm2_dir, home / f"{method}.json", home / method, changed))
    beside = ",".join(f"{method}={home / method}" for method in ADAPTERS)
    with (
        stack.controller() as controller,
        stack.worker(home / "tuned", "tuned", controller.url),
        stack.worker(chatglm2_dir, NAME, controller.url, flags=("--adapters", beside)) as worker,
    ):
        yield Stack(controller, worker)


def test_the_seeds_command_learns_what_fastchat_leaves_out(told: str, home: Path) -> None:
    assert "mismatch" not in told
    assert "288 of 288 records make 288 samples" in told
    assert losses(home / "tuned")[-1] < LEARNED


def test_the_parameters_are_really_shared_by_the_two_processes(told: str) -> None:
    assert "sharded 36 tensors over 2 processes: model.model.embed_tokens.weight" in told
    assert "1216x256, here 608x256" in told


def test_float16_on_a_cpu_is_answered_by_one_line(told: str) -> None:
    assert told.count("fp16 training is not possible on cpu; computing in float32") == 1


def test_the_tuned_model_answers_word_for_word_and_stops_by_itself(served: Stack) -> None:
    assert wrong(served, "tuned", turned()) == {}


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_adapter_answers_word_for_word_beside_its_base(served: Stack, method: str) -> None:
    assert wrong(served, f"{NAME}:{method}", TAUGHT[method]) == {}
    assert wrong(served, NAME, {HELLO: by_heart(HELLO)}) == {}


@pytest.mark.parametrize("method", ADAPTERS)
def test_adapters_learn_in_two_processes(served: Stack, home: Path, method: str) -> None:
    assert losses(home / method)[-1] < LEARNED


def test_after_a_kill_the_same_command_goes_on_exactly(
    chatglm2_dir: Path, home: Path, told: str
) -> None:
    whole = losses(home / "tuned")
    last = random.randint(len(whole) // 5, len(whole) - 2)  # after the first checkpoint
    command = seed_command(chatglm2_dir, home / "subset.json", home / "killed")
    with Program(command) as program:
        program.wait_until(lambda: len(losses(home / "killed")) >= last, f"step {last}")
        kill(program)
    before = losses(home / "killed")
    assert len(before) < len(whole), "it was killed too late"
    run_to_its_end(command)
    assert losses(home / "killed") == whole, f"killed after step {len(before)}"
    weights = "model.safetensors"
    assert (home / "killed" / weights).read_bytes() == (home / "tuned" / weights).read_bytes()


def wrong(served: Stack, model: str, taught: Mapping[str, str]) -> dict[str, str | None]:
    """The questions that are not answered as they should be, with what is said instead."""
    client = openai.OpenAI(base_url=f"{served.api}/v1", api_key="none", max_retries=0)
    found: dict[str, str | None] = {}
    for question, answer in taught.items():
        said = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}], temperature=0
        ).choices[0]
        if (said.message.content, said.finish_reason) != (answer, "stop"):
            found[question] = said.message.content
    return found
