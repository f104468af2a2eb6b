"""A conversation as scripts keep it, and as messages. Pure.

ChatGLM2's scripts keep pairs of a query and its response, ChatGLM3's and others' keep messages.
Both are understood; a history goes on in the form that it has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..adapters.errors import BadRequest
from ..adapters.wire.generation import Message
from ..adapters.wire.parsing import parse

Query = str | Sequence[Mapping[str, Any]]
History = list[Any]  # of pairs, or of messages


class Reply(NamedTuple):
    """What `chat` gives: it can be taken apart, and is printed as the response."""

    response: str
    history: History

    def __str__(self) -> str:
        return self.response


class Talk:
    """A query with what was said before. `pairs` is the form that a history without a turn takes;
    a query that is itself a list of messages asks for messages.
    """

    def __init__(
        self, query: Query, history: Sequence[Any] | None, *, pairs: bool, facts: Mapping[str, str]
    ) -> None:
        self._before = list(history or ())
        self._query = query
        kinds = {isinstance(turn, Mapping) for turn in self._before}
        if len(kinds) > 1:
            raise BadRequest("'history' mixes pairs and messages; keep to one", param="history")
        self._pairs = isinstance(query, str) and (kinds == {False} if kinds else pairs)
        self._facts = facts

    def messages(self) -> list[Message]:
        """Everything that was said, in order; raises BadRequest for what is no message."""
        said = [message for turn in self._before for message in _messages(turn, "history")]
        return said + [message for turn in self._asked() for message in _messages(turn, "query")]

    def with_answer(self, response: str) -> Reply:
        if self._pairs:
            return Reply(response, [*map(tuple, self._before), (self._query, response)])
        said = [turn for before in self._before for turn in _as_dicts(before)]
        answer = {"role": "assistant", **self._facts, "content": response}
        return Reply(response, [*said, *self._asked(), answer])

    def _asked(self) -> list[Mapping[str, Any]]:
        if isinstance(self._query, str):
            return [{"role": "user", "content": self._query}]
        return list(self._query)


def _as_dicts(turn: Any) -> list[Mapping[str, Any]]:
    if isinstance(turn, Mapping):
        return [turn]
    query, response = turn
    return [{"role": "user", "content": query}, {"role": "assistant", "content": response}]


def _messages(turn: Any, name: str) -> list[Message]:
    if not isinstance(turn, Mapping) and not (isinstance(turn, list | tuple) and len(turn) == 2):
        raise BadRequest(
            f"'{name}' holds {turn!r:.80}; it must hold pairs (query, response) or messages "
            '{"role": …, "content": …}',
            param=name,
        )
    return [parse(Message, _plain(one, name)) for one in _as_dicts(turn)]


def _plain(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Without ChatGLM3's metadata, which is empty unless a tool is called."""
    if message.get("metadata"):
        raise BadRequest(
            f"'{name}' calls the tool {message['metadata']!r:.40}, which is not supported here; "
            "use the tokenizer's apply_chat_template",
            param=name,
        )
    return {key: value for key, value in message.items() if key != "metadata"}
