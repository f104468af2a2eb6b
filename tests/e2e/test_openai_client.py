"""The clients that people have: curl and the openai SDK, against the whole stack with SmolLM2."""

import base64
import json
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from support.stack import FRANCE, SMOL, Stack, events_of, text_of

pytestmark = pytest.mark.slow


def curl(url: str, *flags: str) -> str:
    """What curl prints; it must end well."""
    asked = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60", *flags, url]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asking(**more: Any) -> str:
    body = {"model": SMOL, "messages": [{"role": "user", "content": FRANCE}], "temperature": 0}
    return json.dumps({**body, "max_tokens": 24, **more})


def test_curl_gets_an_answer(whole: Stack) -> None:
    """Without a Content-Type of JSON: curl's own default is a form."""
    answer = json.loads(curl(f"{whole.api}/v1/chat/completions", "-d", asking()))
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-")


def test_curl_gets_a_stream(whole: Stack) -> None:
    said = curl(f"{whole.api}/v1/chat/completions", "--no-buffer", "-d", asking(stream=True))
    events = events_of(said)
    assert "Paris" in text_of(events)
    assert len(events) > 5


def test_curl_hears_what_is_wrong(whole: Stack) -> None:
    url = f"{whole.api}/v1/chat/completions"
    said = curl(url, "-w", "\n%{http_code}", "-d", asking(temperature=3))
    body, status = said.rsplit("\n", 1)
    assert status == "400" and "temperature" in json.loads(body)["error"]["message"]


@pytest.fixture(scope="module")
def client(whole: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{whole.api}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_sdk_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [SMOL]
    assert client.models.retrieve(SMOL).id == SMOL


def test_the_sdk_gets_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=SMOL, messages=[{"role": "user", "content": FRANCE}], temperature=0, max_tokens=24
    )
    (choice,) = answer.choices
    assert choice.message.content is not None and "Paris" in choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_sdk_streams_the_same_answer_with_usage(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": SMOL,
        "messages": [{"role": "user", "content": [{"type": "text", "text": FRANCE}]}],
        "temperature": 0,
        "max_tokens": 24,
    }
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_sdk_gets_a_conversation_continued(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=SMOL,
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": FRANCE},
            {"role": "assistant", "content": "The capital of France is Paris."},
            {"role": "user", "content": "In which country is that city?"},
        ],
        temperature=0,
        max_completion_tokens=24,
    )
    assert "France" in (answer.choices[0].message.content or "")


def test_the_sdk_gets_several_choices_and_the_length_as_a_reason(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=SMOL, messages=[{"role": "user", "content": FRANCE}], n=2, max_tokens=3, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage is not None and answer.usage.completion_tokens == 6


def test_a_seed_repeats_an_answer(client: openai.OpenAI) -> None:
    def ask(seed: int) -> str:
        answer = client.chat.completions.create(
            model=SMOL,
            messages=[{"role": "user", "content": "Make up a name for a dragon."}],
            temperature=1,
            max_tokens=6,
            seed=seed,
        )
        return answer.choices[0].message.content or ""

    assert ask(7) == ask(7)
    assert len({ask(seed) for seed in range(3)}) > 1


def test_the_sdk_completes_text_streamed_and_not(client: openai.OpenAI) -> None:
    asked: Any = {"model": SMOL, "prompt": "The capital of France is", "temperature": 0}
    whole = client.completions.create(**asked, max_tokens=5)
    assert "Paris" in whole.choices[0].text
    chunks = client.completions.create(**asked, max_tokens=5, stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=SMOL, prompt="1, 2, 3, 4,", temperature=0, max_tokens=40, stop=[" 7"]
    )
    assert answer.choices[0].text.startswith(" 5, 6,")
    assert "7" not in answer.choices[0].text
    assert answer.choices[0].finish_reason == "stop"


def test_the_sdk_gets_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=SMOL,
        messages=[{"role": "user", "content": FRANCE}],
        temperature=0,
        max_tokens=4,
        logprobs=True,
        top_logprobs=2,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert "".join(item.token for item in logprobs.content) == answer.choices[0].message.content
    for item in logprobs.content:
        assert item.logprob == max(top.logprob for top in item.top_logprobs)


def test_the_sdk_gets_embeddings_as_it_asks_for_them(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise, and unpacks it itself."""
    packed = client.embeddings.create(model=SMOL, input=["a cat", "a dog"])
    plain = client.embeddings.create(model=SMOL, input=["a cat", "a dog"], encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(x * x for x in other.embedding) == pytest.approx(1, abs=1e-3)
    assert packed.usage.prompt_tokens > 2


def test_curl_gets_embeddings_in_base64(whole: Stack) -> None:
    body = json.dumps({"model": SMOL, "input": "a cat", "encoding_format": "base64"})
    (data,) = json.loads(curl(f"{whole.api}/v1/embeddings", "-d", body))["data"]
    raw = base64.b64decode(data["embedding"])
    vector = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-3)


def test_the_sdk_raises_its_own_errors(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": FRANCE}]
    with pytest.raises(openai.NotFoundError, match="gpt-9") as unknown:
        client.chat.completions.create(model="gpt-9", messages=messages)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=SMOL, messages=messages, temperature=3)
    with pytest.raises(openai.BadRequestError, match="maximum context length") as long:
        client.completions.create(model=SMOL, prompt="word " * 20_000)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(
            model=SMOL,
            messages=messages,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )
