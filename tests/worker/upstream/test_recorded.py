"""Real servers, by what they answered: each is met as what it is, its answers are read whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.recorded import Case, Recording, Replay, facts_of, names, outcome_of, recording
from support.served import served

from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings
from danlu.worker.upstream.engine import UpstreamEngine
from danlu.worker.upstream.loading import load_engine

pytestmark = pytest.mark.slow

RECORDINGS = {name: recording(name) for name in names()}
CASES = [(name, case.name) for name, one in RECORDINGS.items() for case in one.cases]


@dataclass(frozen=True, slots=True)
class Met:
    """A server that was met: what it is, and the engine in front of what it said."""

    recorded: Recording
    engine: UpstreamEngine
    replay: Replay

    def case(self, name: str) -> Case:
        return next(case for case in self.recorded.cases if case.name == name)


@pytest.fixture(scope="module", params=RECORDINGS)
def met(request: pytest.FixtureRequest) -> Iterator[Met]:
    one = RECORDINGS[request.param]
    replay = Replay(list(one.exchanges))
    with served(replay.app()) as url:
        settings = WorkerSettings(
            engine="upstream", upstream_url=f"{url}/v1", upstream_wait=0.0, **one.settings
        )
        engine = load_engine(settings, Progress())
        yield Met(one, engine, replay)
        engine.close()


def test_it_is_met_as_what_it_is(met: Met) -> None:
    assert facts_of(met.engine) == met.recorded.facts
    assert met.replay.strange == []


@pytest.mark.parametrize(("met", "name"), CASES, indirect=["met"])
def test_it_is_asked_in_its_words_and_its_answer_is_read(met: Met, name: str) -> None:
    case = met.case(name)
    met.replay.exchanges[:] = case.exchanges
    outcome = outcome_of(met.engine, case.asked)
    assert met.replay.strange == [], "it was not asked so"
    assert _nowhere(outcome) == _nowhere(case.outcome)


def _nowhere(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without the port of a server."""
    said = outcome.get("sentence", "")
    return {**outcome, "sentence": re.sub(r"127\.0\.0\.1:\d+", "up", said)}
