"""What a training reads: samples to learn, samples to evaluate on, and the reports on both."""

import logging
from dataclasses import dataclass
from pathlib import Path

from ..adapters.models.tokenizers import tokenizer_at
from .data.report import BAD_FILE, Report
from .data.store import Tokenised, samples_of
from .parallel.launch import Ranks
from .sample import Samples
from .settings import TrainingSettings

log = logging.getLogger(__name__)

BAD_EVALUATION = "bad-evaluation-records.jsonl"


@dataclass(frozen=True, slots=True)
class Supply:
    samples: Samples
    evaluation: Samples | None
    reports: dict[str, Report]  # by what the file of bad records is called


def supply(settings: TrainingSettings, ranks: Ranks, root: Path) -> Supply:
    """Tokenised by the first process, below `root`, and read by all; raises StartError in all."""
    made: list[tuple[Tokenised, Tokenised | None]] = []
    # Nothing is handed round: the others find the files.
    ranks.by_first(lambda: made.append(_both(settings, root)))
    data, evaluation = made[0] if made else _both(settings, root)
    reports = {BAD_FILE: data.report}
    for line in data.report.lines:
        log.info("%s", line)
    if evaluation is not None:
        for line in evaluation.report.lines:
            log.info("evaluation: %s", line)
        return Supply(
            data.samples, evaluation.samples, {**reports, BAD_EVALUATION: evaluation.report}
        )
    if settings.eval_share:
        return Supply(*data.split(settings.eval_share, settings.seed), reports)
    return Supply(data.samples, None, reports)


def _both(settings: TrainingSettings, root: Path) -> tuple[Tokenised, Tokenised | None]:
    tokenizer = tokenizer_at(
        Path(settings.model_name_or_path),
        trust_remote_code=settings.trust_remote_code,
        chatglm_generation=settings.chatglm_generation,
    )

    def made_of(files: tuple[str, ...]) -> Tokenised:
        return samples_of(settings, tokenizer, files, root=root, say=log.info)

    wanted = settings.eval_data_path and settings.eval_strategy != "no"
    return made_of(settings.data_path), made_of(settings.eval_data_path) if wanted else None
