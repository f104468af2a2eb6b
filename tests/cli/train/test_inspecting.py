"""`danlu train inspect`: what would be trained, before anything is."""

import json
from pathlib import Path

import pytest

from danlu.cli.__main__ import command

pytestmark = pytest.mark.slow


def test_the_trained_tokens_and_the_bad_records_are_shown(
    tmp_path: Path,
    chatglm2_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    turns = [{"from": "human", "value": "丹炉是什么？"}, {"from": "gpt", "value": "一个框架。"}]
    data = tmp_path / "data.jsonl"
    record = json.dumps({"conversations": turns}, ensure_ascii=False)
    data.write_text(f"{record}\n{{broken\n", encoding="utf-8")
    command(["train", "inspect", "--model-path", str(chatglm2_dir), "--data-path", str(data)])
    shown = capsys.readouterr().out
    assert "答：⟦一个框架。</s>⟧" in shown
    assert f"{data}:2 (record 2)" in shown
    assert len(list((tmp_path / "cache" / "training").iterdir())) > 0
