"""The conversation log in FastChat's schema."""

import json
from pathlib import Path

import pytest

from danlu.webui.backend import Sampling
from danlu.webui.journal import Journal, Talk
from danlu.webui.session import Phase, Turn

NOON = 1_700_000_000.25


def a_talk() -> Talk:
    turns = (
        Turn("你好", answer="hi", phase=Phase.ENDED),
        Turn("again", error="no worker", phase=Phase.ENDED),
    )
    return Talk("c" * 32, "m", "be kind", "10.0.0.1", turns)


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    journal = Journal("")
    journal.chat(a_talk(), Sampling(), 1.0)
    assert not journal.kept
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    journal = Journal(str(tmp_path / "file"), now=lambda: NOON)
    journal.chat(a_talk(), Sampling(), NOON)
    assert f"conversation not logged path={tmp_path}/file/" in caplog.text


def test_a_chat_is_one_line_with_fastchats_fields(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "logs"), now=lambda: NOON)
    journal.chat(a_talk(), Sampling(temperature=0.5, top_p=0.9, max_tokens=64), NOON - 2)
    [file] = (tmp_path / "logs").iterdir()
    assert file.name.endswith("-conv.json")
    raw = file.read_bytes()
    assert raw.isascii() and raw.count(b"\n") == 1
    line = json.loads(raw)
    assert list(line) == [
        "tstamp",
        "type",
        "model",
        "gen_params",
        "start",
        "finish",
        "state",
        "ip",
    ]
    assert (line["type"], line["model"], line["ip"]) == ("chat", "m", "10.0.0.1")
    assert line["gen_params"] == {"temperature": 0.5, "top_p": 0.9, "max_new_tokens": 64}
    assert (line["start"], line["finish"]) == (NOON - 2, NOON)
    assert line["state"] == {
        "template_name": "danlu",
        "system_message": "be kind",
        "roles": ["user", "assistant"],
        "messages": [
            ["user", "你好"],
            ["assistant", "hi"],
            ["user", "again"],
            ["assistant", "no worker"],
        ],
        "offset": 0,
        "conv_id": "c" * 32,
        "model_name": "m",
    }


def test_votes_follow_in_the_same_file(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), now=lambda: NOON)
    journal.chat(a_talk(), Sampling(), NOON)
    journal.vote("upvote", a_talk())
    [file] = tmp_path.iterdir()
    line = json.loads(file.read_text().splitlines()[1])
    assert list(line) == ["tstamp", "type", "model", "state", "ip"]
    assert line["type"] == "upvote"
