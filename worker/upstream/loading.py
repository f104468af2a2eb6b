"""Makes the engine for --engine upstream."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ...adapters.errors import StartError
from ...adapters.wire.conversation import template_named
from ..engine import ModelCard
from ..loading import Progress
from ..settings import WorkerSettings, last_part
from .asking import Asking
from .client import Upstream
from .dialects import DIALECTS
from .engine import UpstreamEngine
from .facts import Facts, Wanted
from .finding import Alive, found
from .line import Line
from .templating import conversation_of

CONCURRENCY = 16  # requests at the upstream at a time, where nothing is said


def load_engine(settings: WorkerSettings, progress: Progress) -> UpstreamEngine:
    """Waits for the upstream while it starts; raises StartError."""
    wanted = Wanted(
        url=settings.upstream_url,
        model=settings.upstream_model,
        names=settings.model_names,
        dialect=settings.upstream_dialect,
        context_length=settings.context_length,
        wait=settings.upstream_wait,
    )
    return connected(settings, wanted, key_of(settings), progress)


def connected(
    settings: WorkerSettings,
    wanted: Wanted,
    key: str,
    progress: Progress,
    *,
    alive: Alive = lambda: "",
    on_close: Callable[[], None] = lambda: None,
) -> UpstreamEngine:
    """The engine in front of the upstream that is `wanted`, once that is there."""
    line = Line("upstream", {"Authorization": f"Bearer {key}"} if key else {})
    try:
        silence = settings.upstream_silence
        upstream = Upstream(line.http, wanted.url, silence, key=key)

        def ask(path: str, body: Any = None, **how: Any) -> Any:
            asked: Future[Any] = line.start(upstream.ask(path, body, **how))
            return asked.result()

        facts = found(wanted, ask, progress, alive=alive)
        asking = _asking(settings, facts)
        card = ModelCard(
            context_length=facts.context_length,
            conversation=conversation_of(facts, ask, settings.conv_template),
            parameters=asking.parameters,
            embeddings=facts.embeddings,
            names=(name_of(facts.model),),
        )
        name = f"the upstream of {(settings.names or card.names)[0]}"
        return UpstreamEngine(
            Upstream(line.http, wanted.url, silence, name=name, key=key),
            line,
            asking,
            card,
            concurrency=settings.limit_worker_concurrency or CONCURRENCY,
            interval=settings.heart_beat_interval,
            on_close=on_close,
        )
    except BaseException:
        line.close()
        raise


def key_of(settings: WorkerSettings) -> str:
    """The key for the upstream, empty for none; raises StartError."""
    if not settings.upstream_key_file:
        return settings.upstream_key
    try:
        lines = Path(settings.upstream_key_file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise StartError(
            f"--upstream-key-file {settings.upstream_key_file!r} cannot be read: {exc}"
        ) from exc
    key = lines[0].strip() if lines else ""
    if not key:
        raise StartError(f"--upstream-key-file {settings.upstream_key_file!r} has no first line")
    return key


def name_of(model: str) -> str:
    """What to serve an upstream's model as: of a path its last part, as FastChat does."""
    return (
        last_part(model) if model.startswith(("/", "./", "../")) else model.removesuffix(":latest")
    )


def _asking(settings: WorkerSettings, facts: Facts) -> Asking:
    if settings.seed is not None and not DIALECTS[facts.dialect].knows("seed"):
        raise StartError(
            f"--seed {settings.seed} cannot be honoured: the upstream, "
            f"which is taken for {facts.dialect}, knows no seeds"
        )
    template = settings.conv_template
    return Asking(
        facts.model,
        facts.dialect,
        facts.context_length,
        None if template is None else template_named(template),
        settings.seed,
    )
