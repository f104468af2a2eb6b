"""Forgets the conversations of tabs that nobody uses any more: Gradio keeps them for ever."""

import asyncio
import time
from collections.abc import Callable

from gradio.routes import App

from .session import Session

AGE = 24 * 3600.0  # seconds without a question after which a tab's conversation is forgotten
ROUND = 600.0  # seconds between two rounds


async def keep_house(app: App) -> None:
    """Forget old tabs for as long as the page runs."""
    while True:
        await asyncio.sleep(ROUND)
        forget(app)


def forget(app: App, age: float = AGE, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Drop what `app` keeps of tabs without a question for `age` seconds; how many there were."""
    before = clock() - age
    old = [tab for tab, state in app.state_holder.items() if _used(state) < before]
    for tab in old:
        for kept in (app.state_holder, app.iterators, app.iterators_to_reset):
            kept.pop(tab, None)
    return len(old)


def _used(state: dict[int, object]) -> float:
    """When the session in a tab's state was used last; one that is busy is in use now."""
    for value in state.values():
        if isinstance(value, Session):
            return float("inf") if value.busy else value.used
    return 0.0
