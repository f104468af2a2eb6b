"""What of ChatGLM2's data is learned: by stock FastChat's own `preprocess`, and here."""

import json
from pathlib import Path

import pytest
from support import stock

from benchmarks.masks import PADDED, Asked, Trained, known, ours, theirs

pytestmark = pytest.mark.slow

DIALOGUES, ANSWERS = 56, 62
FITS, CUTS = 512, 160  # tokens of which nearly every dialogue needs fewer, and nearly none
MANY = 4096  # tokens that no dialogue needs


@pytest.fixture(scope="module")
def vocabulary(chatglm2_dir: Path) -> Path:
    return chatglm2_dir / "tokenizer.model"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return known(tmp_path_factory.mktemp("data") / "dialogues.json")


@pytest.fixture(scope="module")
def fastchats(vocabulary: Path, data: Path) -> dict[tuple[int, str, bool], Trained]:
    """By tokens at most, padding side, and whether there is a `legacy`."""
    assert stock.PYTHON.exists(), "run scripts/test-needs"
    ways = [
        (longest, side, legacy)
        for longest in (CUTS, MANY)
        for side in PADDED
        for legacy in (False, True)
    ]
    found = theirs([Asked(str(vocabulary), str(data), *way) for way in ways])
    return dict(zip(ways, found, strict=True))


def test_fastchat_learns_nothing_of_what_fits(
    fastchats: dict[tuple[int, str, bool], Trained],
) -> None:
    for side in PADDED:
        for legacy in (False, True):
            found = fastchats[MANY, side, legacy]
            assert (found.records, found.samples, found.trained) == (DIALOGUES, 0, 0)


def test_fastchat_learns_what_it_cuts_off_and_never_an_end(
    fastchats: dict[tuple[int, str, bool], Trained],
) -> None:
    for side in PADDED:
        found = fastchats[CUTS, side, True]
        assert 0 < found.samples <= DIALOGUES
        assert found.trained > 0
        assert found.ends == 0


def test_fastchat_stops_at_a_second_question(
    data: Path, fastchats: dict[tuple[int, str, bool], Trained]
) -> None:
    records = json.loads(data.read_text(encoding="utf-8"))
    several = sum(len(record["conversations"]) > 2 for record in records)
    assert fastchats[MANY, "left", False].stopped.startswith(f"{several} stopped: ")
    assert "legacy" in fastchats[MANY, "left", False].stopped


@pytest.mark.parametrize("longest", [FITS, MANY])
def test_here_every_answer_is_learned_with_its_end(
    vocabulary: Path, data: Path, longest: int
) -> None:
    found = ours(vocabulary, data, longest)
    assert (found.records, found.samples, found.ends) == (DIALOGUES, ANSWERS, ANSWERS)
    assert found.trained > found.tokens / 2


def test_here_an_answer_that_is_cut_is_learned_without_an_end(vocabulary: Path, data: Path) -> None:
    found = ours(vocabulary, data, CUTS // 4)
    assert found.samples == ANSWERS
    assert 0 < found.ends < ANSWERS
