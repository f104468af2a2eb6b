"""Structured output through the whole stack and the openai client: real models keep to a schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict
from support import stack
from support.heart import NAME
from support.stack import SMOL, Stack

pytestmark = pytest.mark.slow

ROOM = 300  # tokens, more than any answer here takes


class Weather(BaseModel):
    """What the openai client sends as a schema, and reads the answer with."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["北京", "上海", "Paris"]
    degrees: int
    dry: bool


FORMAT: Any = {
    "type": "json_schema",
    "json_schema": {"name": "weather", "strict": True, "schema": Weather.model_json_schema()},
}
ASKED: Any = [{"role": "user", "content": "北京天气怎么样？ What is the weather? Answer in JSON."}]


class Served:
    """A model by its name, at an API."""

    def __init__(self, api: str, model: str) -> None:
        self.model = model
        self.client = openai.OpenAI(base_url=f"{api}/v1", api_key="none", max_retries=0)

    def ask(self, **fields: Any) -> Any:
        asked = {"messages": ASKED, "max_tokens": ROOM, "temperature": 0, **fields}
        return self.client.chat.completions.create(model=self.model, **asked)

    def said(self, **fields: Any) -> str:
        (choice,) = self.ask(**fields).choices
        assert choice.finish_reason == "stop"
        return str(choice.message.content)


@pytest.fixture(scope="module")
def glm(chatglm2_dir: Path) -> Iterator[Stack]:
    with (
        stack.controller() as controller,
        stack.worker(chatglm2_dir, NAME, controller.url) as worker,
    ):
        yield Stack(controller, worker)


@pytest.fixture(scope="module", params=[SMOL, NAME])
def served(request: pytest.FixtureRequest) -> Served:
    at: Stack = request.getfixturevalue("whole" if request.param == SMOL else "glm")
    return Served(at.api, request.param)


def test_an_answer_keeps_to_the_schema(served: Served) -> None:
    assert Weather.model_validate_json(served.said(response_format=FORMAT))


def test_a_stream_is_the_same_answer(served: Served) -> None:
    chunks = list(served.ask(response_format=FORMAT, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == served.said(response_format=FORMAT)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_clients_own_parsing_works_sampled_and_several_times(served: Served) -> None:
    answer = served.client.chat.completions.parse(
        model=served.model, messages=ASKED, response_format=Weather, n=3, seed=1, max_tokens=ROOM
    )
    assert [type(choice.message.parsed) for choice in answer.choices] == [Weather] * 3


def test_vllms_words_are_understood(served: Served) -> None:
    colours = ["赤", "橙", "green"]
    for extra in ({"guided_choice": colours}, {"structured_outputs": {"choice": colours}}):
        assert served.said(extra_body=extra) in colours
    assert served.said(extra_body={"guided_regex": r"[0-9]{4}年"})[4:] == "年"
    assert served.said(extra_body={"guided_grammar": 'root ::= "好" "!"'}) == "好!"


def test_an_answer_that_is_cut_is_no_json_and_says_so(served: Served) -> None:
    (choice,) = served.ask(response_format=FORMAT, max_tokens=3).choices
    assert choice.finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)


def test_what_cannot_be_followed_is_the_clients_own_error(served: Served) -> None:
    schema: Any = {"name": "n", "schema": {"type": "strin"}}
    with pytest.raises(openai.BadRequestError, match="Invalid type: strin") as refused:
        served.ask(response_format={"type": "json_schema", "json_schema": schema})
    assert refused.value.param == "response_format.json_schema.schema"
    with pytest.raises(openai.BadRequestError, match="'response_format' and 'guided_choice'"):
        served.ask(response_format=FORMAT, extra_body={"guided_choice": ["a"]})
    with pytest.raises(openai.BadRequestError, match="'response_format' says where"):
        served.ask(response_format=FORMAT, extra_body={"min_tokens": 2})
