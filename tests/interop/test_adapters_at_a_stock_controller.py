"""Adapters of our worker in a stock FastChat controller's registry, and through its API."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from support import stack, stock
from support.heart import HELLO, NAME
from support.processes import SOON, wait_for
from support.stack import Server, models_at, post
from support.tuned import adapters_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(
    stock_controller: Server, chatglm2_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Ours, which has `shouter` from the start."""
    home = adapters_for(chatglm2_dir, tmp_path_factory.mktemp("adapters"))
    flags = ("--adapters", f"shouter={home / 'shouter'}", "--adapter-dir", str(home))
    with stack.worker(chatglm2_dir, NAME, stock_controller.url, flags=flags) as server:
        yield server


def test_the_stock_controller_learns_of_them_without_asking(
    stock_controller: Server, worker: Server
) -> None:
    assert {NAME, f"{NAME}:shouter"} <= set(models_at(stock_controller.url))
    full = f"{NAME}:whisperer"
    loaded = post(f"{worker.url}/worker_load_adapter", {"name": "whisperer", "path": "whisperer"})
    assert full in loaded.json()["model_names"]
    wait_for(lambda: full in models_at(stock_controller.url), "the new name is listed", SOON)
    where = post(f"{stock_controller.url}/get_worker_address", {"model": full}).json()
    assert where == {"address": worker.url}
    assert post(f"{worker.url}/worker_unload_adapter", {"name": "whisperer"}).status_code == 200
    wait_for(lambda: full not in models_at(stock_controller.url), "it is listed no more", SOON)
    assert f"{NAME}:shouter" in models_at(stock_controller.url)


def test_the_stock_api_serves_them_by_name(stock_controller: Server, worker: Server) -> None:
    with stock.stock_api(stock_controller.url) as api:
        client = openai.OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0)
        said = [
            client.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": HELLO}],
                temperature=0,
                max_tokens=16,
            )
            for name in (NAME, f"{NAME}:shouter")
        ]
    plain, shouted = (answer.choices[0].message.content for answer in said)
    assert plain and shouted and plain != shouted
