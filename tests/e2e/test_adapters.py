"""A ChatGLM2 with adapters, served by the whole stack: listed, asked for by name, loaded anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from support import stack
from support.heart import HELLO, NAME, by_heart
from support.processes import SOON, wait_for
from support.stack import Stack, models_at, post
from support.tuned import adapters_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Tuned:
    """The stack, and the directory from which its worker loads adapters."""

    stack: Stack
    home: Path

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.stack.api}/v1", api_key="none", max_retries=0)

    def listed(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def says(self, model: str) -> str | None:
        answer = self.client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": HELLO}],
            temperature=0,
            max_tokens=40,
        )
        assert answer.model == model
        return answer.choices[0].message.content


@pytest.fixture(scope="module")
def tuned(chatglm2_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    """The worker has `shouter` from the start."""
    home = adapters_for(chatglm2_dir, tmp_path_factory.mktemp("adapters"))
    flags = ("--adapters", f"shouter={home / 'shouter'}", "--adapter-dir", str(home))
    with (
        stack.controller() as controller,
        stack.worker(chatglm2_dir, NAME, controller.url, flags=flags) as worker,
    ):
        yield Tuned(Stack(controller, worker), home)


def test_an_adapter_is_listed_and_says_something_else(tuned: Tuned) -> None:
    assert tuned.listed() == [NAME, f"{NAME}:shouter"]
    assert tuned.client.models.retrieve(f"{NAME}:shouter").id == f"{NAME}:shouter"
    plain, shouted = tuned.says(NAME), tuned.says(f"{NAME}:shouter")
    assert plain is not None and by_heart(HELLO).startswith(plain[:20])
    assert shouted and shouted != plain


def test_an_adapter_that_nobody_has_is_a_404(tuned: Tuned) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        tuned.says(f"{NAME}:nobody")
    assert caught.value.code == "model_not_found"
    body = {"model": f"{NAME}:nobody", "prompt": "x", "echo": False}
    assert post(f"{tuned.stack.worker.url}/worker_generate", body).status_code == 404


@pytest.mark.parametrize("name", ["whisperer", "mood"])
def test_adapters_come_and_go_while_everything_runs(tuned: Tuned, name: str) -> None:
    worker, full = tuned.stack.worker.url, f"{NAME}:{name}"
    answer = post(f"{worker}/worker_load_adapter", {"name": name, "path": name})
    assert answer.status_code == 200, answer.text
    wait_for(lambda: full in models_at(tuned.stack.controller.url), "the controller knows it", SOON)
    assert full in tuned.listed()
    plain, shouted = tuned.says(NAME), tuned.says(f"{NAME}:shouter")
    assert tuned.says(full) not in (plain, shouted)
    assert post(f"{worker}/worker_unload_adapter", {"name": name}).status_code == 200
    wait_for(lambda: full not in tuned.listed(), "the controller forgets it", SOON)
    with pytest.raises(openai.NotFoundError):
        tuned.says(full)
    assert (tuned.says(NAME), tuned.says(f"{NAME}:shouter")) == (plain, shouted)


def test_nothing_outside_its_directory_is_read(tuned: Tuned) -> None:
    body = {"name": "passwords", "path": "/etc"}
    answer = post(f"{tuned.stack.worker.url}/worker_load_adapter", body)
    assert answer.status_code == 400 and "does not lie below" in answer.json()["message"]
