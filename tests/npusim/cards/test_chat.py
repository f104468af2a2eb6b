"""The original's script on each of two cards: `chat` from any thread, bound or not."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from npusim.ledger import check_threads
from npusim.machine import State
from support.glm import save_glm

import danlu

SHORT: dict[str, Any] = {"do_sample": False, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def chatglm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An original checkpoint of random weights."""
    return save_glm(tmp_path_factory.mktemp("chatglm"))


@pytest.mark.parametrize("card", [0, 1])
def test_chat_and_stream_chat_work_from_any_thread(
    card: int, chatglm_dir: Path, machine: State
) -> None:
    since = machine.threads
    tokenizer = danlu.AutoTokenizer.from_pretrained(chatglm_dir, trust_remote_code=True)
    model = danlu.AutoModel.from_pretrained(
        chatglm_dir, trust_remote_code=True, device=f"npu:{card}"
    )
    model = model.eval()
    response, history = model.chat(tokenizer, "你好", history=[], **SHORT)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(model.chat, tokenizer, "你好", **SHORT) for _ in range(8)]
        assert {one.result().response for one in asked} == {response}
    assert [*model.stream_chat(tokenizer, "你好", **SHORT)][-1][0] == response
    assert asyncio.run(_in_a_thread_of_asyncio(model, tokenizer)) == response
    assert [query for query, _ in history] == ["你好"]
    check_ledger(machine, since, card)
    model.close()


async def _in_a_thread_of_asyncio(model: Any, tokenizer: Any) -> str:
    answer = await asyncio.to_thread(model.chat, tokenizer, "你好", **SHORT)
    return str(answer.response)


def check_ledger(machine: State, since: int, card: int) -> None:
    """Only threads of ours touched a card: this one, and none of them without a context."""
    users = machine.users(since)
    assert users
    check_threads(users, card)
    for thread in users:
        assert not thread.name.startswith(("ThreadPoolExecutor", "asyncio")), thread
