"""The original's script, over the engine, on tiny models of random weights."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.card import card, twin
from support.devices import FakeDevice
from support.glm import glm_config, glm_loaded, glm_model, glm_tokenizer, save_glm
from support.tiny import byte_level_tokenizer, random_model, save_tiny, tiny_loaded

import danlu
from danlu.adapters.errors import BadRequest, PromptTooLong, ServeError, StartError
from danlu.worker.chat_model import ChatModel

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"do_sample": False, "max_new_tokens": 12}
SCRIPT = """
from danlu import AutoTokenizer, AutoModel
tokenizer = AutoTokenizer.from_pretrained(PATH, trust_remote_code=True)
model = AutoModel.from_pretrained(PATH, trust_remote_code=True, device=DEVICE)
model = model.eval()
response, history = model.chat(tokenizer, "你好", history=[])
print(response)
response, history = model.chat(tokenizer, "NPU和GPU有什么区别", history=history)
print(response)
assert [query for query, _ in history] == ["你好", "NPU和GPU有什么区别"]
response = model.chat(tokenizer, [{"role": "user", "content": "你好"}])
print(response)
"""


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def model(device: FakeDevice) -> Iterator[ChatModel]:
    chatting = ChatModel(glm_loaded(), device)
    yield chatting
    chatting.close()


def of_third_generation() -> ChatModel:
    return ChatModel(glm_loaded(3), FakeDevice())


def generated(prompt: list[int], count: int = 12) -> str:
    """What transformers' own loop says, finished as the original finishes it."""
    ids: Any = glm_model().generate(  # type: ignore[operator]
        torch.tensor([prompt]), max_new_tokens=count, do_sample=False
    )
    return str(glm_tokenizer().decode(ids[0, len(prompt) :].tolist())).strip()


def test_the_original_script_works_with_one_import_changed(tmp_path: Path) -> None:
    path = save_glm(tmp_path / "chatglm2-tiny")
    script = SCRIPT.replace("PATH", repr(str(path))).replace("DEVICE", repr(card()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_it_says_what_generate_says(model: ChatModel) -> None:
    tokenizer = glm_tokenizer()
    response, history = model.chat(tokenizer, "你好", history=[], **SHORT)
    assert response == generated(tokenizer.encode("[Round 1]\n\n问：你好\n\n答："))
    assert history == [("你好", response)]
    again, history = model.chat(tokenizer, "再见", history=history, **SHORT)
    text = f"[Round 1]\n\n问：你好\n\n答：{response}\n\n[Round 2]\n\n问：再见\n\n答："
    assert again == generated(tokenizer.encode(text))
    assert len(history) == 2


def test_messages_ask_the_same(model: ChatModel) -> None:
    said = [{"role": "user", "content": "你好"}]
    reply = model.chat(glm_tokenizer(), said, **SHORT)
    assert reply.response == model.chat(glm_tokenizer(), "你好", **SHORT).response
    assert reply.history == [*said, {"role": "assistant", "content": reply.response}]


def test_the_third_generation_keeps_messages() -> None:
    model = of_third_generation()
    response, history = model.chat(glm_tokenizer(3), "你好", history=[], **SHORT)
    assert history[-1] == {"role": "assistant", "metadata": "", "content": response}
    _, history = model.chat(glm_tokenizer(3), "再见", history=history, **SHORT)
    assert [turn["role"] for turn in history] == ["user", "assistant"] * 2
    model.close()


def test_a_stream_only_grows_and_ends_with_what_chat_says(model: ChatModel) -> None:
    replies = list(model.stream_chat(glm_tokenizer(), "你好", [("a", "b")], **SHORT))
    texts = [response for response, _ in replies]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    assert len(set(texts)) > 2
    assert replies[-1] == model.chat(glm_tokenizer(), "你好", [("a", "b")], **SHORT)
    assert [history[-1] for _, history in replies] == [("你好", text) for text in texts]


def test_a_reader_who_stops_ends_the_generation(model: ChatModel) -> None:
    """It stands before its third step while the reader goes, and then is not among what runs."""
    steps, gone = 0, threading.Event()

    def wait(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps > 2:
            assert gone.wait(60)

    hook = twin(glm_model).register_forward_pre_hook(wait)
    stream: Any = model.stream_chat(glm_tokenizer(), "你好", **SHORT)
    while not next(stream).response:
        pass
    assert model.running() == 1
    stream.close()
    assert model.running() == 0
    gone.set()
    hook.remove()


def test_every_thread_may_ask_and_only_bound_ones_touch_the_device(device: FakeDevice) -> None:
    weights = random_model(glm_config())  # which no other test runs
    device.watch(weights)
    model = ChatModel(glm_loaded(model=weights), device)
    ask = partial(model.chat, glm_tokenizer(), **SHORT)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(ask, ["你好"] * 8))
    assert len({response for response, _ in replies}) == 1
    assert device.users <= set(device.bound)
    assert threading.get_ident() not in device.users
    model.close()


def test_a_seed_makes_the_same_answer_again(model: ChatModel) -> None:
    ask = partial(model.chat, glm_tokenizer(), "你好", max_new_tokens=12)
    assert ask(seed=1) == ask(seed=1) != ask(seed=2)


def test_it_samples_as_the_original_does_by_default(model: ChatModel) -> None:
    ask = partial(model.chat, glm_tokenizer(), "你好", max_new_tokens=12)
    for seed in range(4):
        assert ask(seed=seed) == ask(seed=seed, temperature=0.8, top_p=0.8, top_k=50)


def test_max_length_counts_prompt_and_answer(model: ChatModel) -> None:
    prompt = glm_tokenizer().encode("[Round 1]\n\n问：你好\n\n答：")
    length = len(prompt) + 3
    response, _ = model.chat(glm_tokenizer(), "你好", do_sample=False, max_length=length)
    assert response == generated(prompt, 3)
    with pytest.raises(PromptTooLong, match=f"max_length is {len(prompt)}"):
        model.chat(glm_tokenizer(), "你好", max_length=len(prompt))


def test_logits_that_are_no_numbers_are_an_error_and_no_text() -> None:
    """The original answers with control characters until it is full."""
    loaded = glm_loaded(model=_broken())
    model = ChatModel(loaded, FakeDevice())
    with pytest.raises(ServeError, match="not a number at token 1"):
        model.chat(glm_tokenizer(), "你好")
    model.close()


def test_another_models_tokenizer_is_refused(model: ChatModel) -> None:
    with pytest.raises(BadRequest, match="load both from the same directory"):
        model.chat(byte_level_tokenizer(), "你好")


def test_any_model_of_the_workers_chats() -> None:
    model = ChatModel(tiny_loaded(), FakeDevice())
    response, history = model.chat(byte_level_tokenizer(), "Hello", **SHORT)
    assert history == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": response},
    ]
    model.close()


def test_a_directory_of_another_family_is_found_by_the_same_names(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    tokenizer = danlu.AutoTokenizer.from_pretrained(tmp_path)
    model = danlu.AutoModel.from_pretrained(tmp_path, device=card())
    assert model.eval().chat(tokenizer, "Hello", **SHORT).response
    model.close()


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not exist"):
        danlu.AutoModel.from_pretrained("THUDM/chatglm2-6b", trust_remote_code=True)
    with pytest.raises(StartError, match="does not exist"):
        danlu.AutoTokenizer.from_pretrained("THUDM/chatglm2-6b")
    with pytest.raises(StartError, match="'abacus' is not supported"):
        danlu.AutoModel.from_pretrained(save_glm(tmp_path / "glm"), device="abacus")


def test_a_name_that_the_package_lacks_is_missing() -> None:
    with pytest.raises(AttributeError, match="no attribute 'AutoConfig'"):
        danlu.AutoConfig  # noqa: B018


def _broken() -> Any:
    model: Any = random_model(glm_config())
    model.lm_head.weight[7] = torch.nan
    return model
