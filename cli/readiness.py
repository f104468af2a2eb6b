"""Whether a program of ours is ready, asked over HTTP; it never raises."""

from dataclasses import dataclass
from typing import Any

import httpx

PATIENCE = 5.0  # seconds; a program that loads a model can be slow to answer


@dataclass(frozen=True, slots=True)
class Readiness:
    """What one look saw; `loading` if the program said how far it is (`progress`: 0 to 1)."""

    ready: bool
    loading: bool = False
    progress: float = 0.0
    detail: str = ""


SILENT = Readiness(ready=False)


async def look(client: httpx.AsyncClient, url: str) -> Readiness:
    """Ready is a 200; a 503 may carry {"state", "progress", "detail"}; all else is silence."""
    try:
        answer = await client.get(url, timeout=PATIENCE)
        if answer.status_code == 200:
            return Readiness(ready=True)
        body = answer.json() if answer.status_code == 503 else None
    except (httpx.HTTPError, ValueError):
        return SILENT
    return _loading(body) if isinstance(body, dict) else SILENT


def _loading(body: dict[str, Any]) -> Readiness:
    progress, detail = body.get("progress"), body.get("detail", "")
    if body.get("state") != "loading" or not isinstance(progress, int | float):
        return SILENT
    return Readiness(False, True, min(1.0, max(0.0, progress)), str(detail))
