"""The openai SDK against the plane: what it sends is taken, what it gets it understands."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from support.api import api_of
from support.generators import OurWorker
from support.script import NAME, VECTOR

from danlu.controller.api.settings import ApiKeys, ApiSettings

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    settings = ApiSettings(api_keys=ApiKeys("sk-test"))
    with (
        api_of(OurWorker(), settings=settings) as (url, _),
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0) as client,
    ):
        yield client


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "fastchat"


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    told = client.chat.completions.create(
        model=NAME, messages=HI, n=2, seed=5, logprobs=True, top_logprobs=1, max_tokens=9
    )
    assert [choice.message.content for choice in told.choices] == ["All is well."] * 2
    assert told.usage is not None and told.usage.prompt_tokens == 4
    assert told.choices[0].logprobs is not None


def test_an_answer_can_be_sent_back_as_it_came(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model=NAME, messages=HI).choices[0].message
    turns: list[Any] = [*HI, first.model_dump(), *HI]
    again = client.chat.completions.create(model=NAME, messages=turns)
    assert again.choices[0].message.content == "All is well."


def test_a_chat_is_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=NAME, messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "All is well."
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert last.usage is not None and last.usage.completion_tokens == 3


def test_the_sdks_own_reading_of_streams_agrees(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=NAME, messages=HI) as stream:
        for _ in stream:
            pass
        told = stream.get_final_completion()
    assert told.choices[0].message.content == "All is well."


def test_completions_are_answered_and_streamed(client: openai.OpenAI) -> None:
    told = client.completions.create(model=NAME, prompt=["a", "b"], logprobs=1, max_tokens=4)
    assert [choice.text for choice in told.choices] == ["All is well."] * 2
    stream = client.completions.create(model=NAME, prompt=[1, 2], stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "All is well."


def test_embeddings_are_given(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise."""
    told = client.embeddings.create(model=NAME, input=["a", "b"])
    assert [one.embedding for one in told.data] == [pytest.approx(list(VECTOR))] * 2
    floats = client.embeddings.create(model=NAME, input="a", encoding_format="float")
    assert floats.data[0].embedding == list(VECTOR)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"model": "nope", "messages": HI}, openai.NotFoundError),
        ({"model": NAME, "messages": HI, "temperature": 3}, openai.BadRequestError),
        ({"model": NAME, "messages": HI, "tools": [{"type": "function"}]}, openai.BadRequestError),
        ({"model": NAME, "messages": "BUSY"}, openai.RateLimitError),
        ({"model": NAME, "messages": "boom"}, openai.InternalServerError),
        ({"model": NAME, "messages": "boom", "stream": True}, openai.InternalServerError),
        ({"model": NAME, "messages": "DIE"}, openai.InternalServerError),
    ],
)
def test_an_error_is_the_sdks_exception_for_it(
    client: openai.OpenAI, asked: dict[str, Any], kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**asked)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] in str(caught.value)


def test_a_wrong_key_is_an_authentication_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").models.list()


def test_a_stream_that_breaks_raises_in_the_middle(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": NAME, "messages": "DIE", "stream": True}
    heard: list[str] = []
    with pytest.raises(openai.APIError, match="the worker of model .* broke"):
        for chunk in client.chat.completions.create(**asked):
            heard.append(chunk.choices[0].delta.content or "")
    assert "".join(heard) == "All is "
