"""Asks a server which models it has, for a load that names none."""

from typing import Any

import httpx

from ...adapters.errors import StartError

PATIENCE = 10.0  # seconds for an answer that needs no generation


def first_model(url: str, api: str, key: str = "") -> str:
    """The first model of an API, or of a FastChat worker; raises StartError."""
    base = url.rstrip("/")
    try:
        if api == "worker":
            names = _json("POST", f"{base}/worker_get_status", key)["model_names"]
        else:
            names = [model["id"] for model in _json("GET", f"{base}/models", key)["data"]]
        return str(names[0])
    except httpx.HTTPStatusError as exc:
        raise StartError(f"--url {url} {_refusal(exc.response.status_code)}") from exc
    except httpx.HTTPError as exc:
        raise StartError(f"--url {url} cannot be asked for its models: {exc}") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise StartError(f"--url {url} lists its models in no way we know; give --model") from exc
    except IndexError:
        raise StartError(f"--url {url} serves no model yet") from None


def _refusal(status: int) -> str:
    """What a server's status in place of its models means."""
    if status in (401, 403):
        return f"answers {status}: give the key that it wants with --api-key, or in OPENAI_API_KEY"
    return (
        f"answers {status} in place of its models; give an API's base, such as "
        "http://host:8000/v1, or a worker's with --api worker"
    )


def _json(method: str, url: str, key: str) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = httpx.request(method, url, headers=headers, timeout=PATIENCE, trust_env=False)
    return answer.raise_for_status().json()
