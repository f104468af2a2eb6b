"""Tabs that nobody uses any more."""

from collections import defaultdict
from types import SimpleNamespace

from danlu.webui.session import Session
from danlu.webui.tabs import forget


def a_tab(used: float, *, busy: bool = False) -> dict[int, object]:
    session = Session(used=used)
    if busy:
        session.ask("hi")
    return {3: session}


def test_only_tabs_without_a_question_for_long_are_forgotten() -> None:
    tabs = {"old": a_tab(10), "new": a_tab(95), "busy": a_tab(10, busy=True), "empty": {}}
    iterators = defaultdict(dict, {"old": {1: None}, "new": {1: None}})
    app = SimpleNamespace(
        state_holder=tabs, iterators=iterators, iterators_to_reset=defaultdict(set)
    )
    assert forget(app, 50, clock=lambda: 100) == 2
    assert sorted(tabs) == ["busy", "new"]
    assert sorted(iterators) == ["new"]
