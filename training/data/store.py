"""From files to samples, once: what was made of the same files in the same way is taken again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ...adapters.cache import kept
from ...adapters.errors import StartError
from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from ..sample import Samples
from ..settings import TrainingSettings
from .dialogue import Bad, Dialogue, Unusable, last_only
from .glm_form import GlmForm
from .keeping import NAME, hold, sweep
from .mapped import Stored, Writer
from .prompts import Form, Written, written
from .reading import dialogues
from .report import BAD_FILE, Report, Say, Tally, bad_lines, save_counts
from .split import split
from .template_form import TemplateForm

VERSION = 2  # another for everything that makes other samples of the same files
BLOCK = 1 << 20  # bytes of a file that are hashed at a time


@dataclass(frozen=True, slots=True)
class Tokenised:
    """The samples, and what became of the records that they were made of."""

    samples: Stored
    report: Report

    def split(self, share: float, seed: int) -> tuple[Samples, Samples]:
        """Those to train on and those kept for evaluation, as `split` says."""
        return split(self.samples, share, seed, records=self.samples.records)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How samples are made of dialogues."""

    form: Form
    longest: int
    answers: str

    @property
    def key(self) -> str:
        return f"{VERSION} {self.longest} {self.answers} {self.form.key}"

    def samples(self, dialogue: Dialogue) -> list[Written]:
        chosen = last_only(dialogue) if self.answers == "last" else dialogue
        return list(written(self.form, chosen, self.longest))


def samples_of(
    settings: TrainingSettings,
    tokenizer: PreTrainedTokenizerBase,
    files: Sequence[str],
    *,
    root: Path,
    say: Say,
) -> Tokenised:
    """The files' samples, below `root`: found there, else made. Where they are made, samples that
    were not used for long make room.

    Raises StartError for files that cannot be read or hold no good record.
    """
    recipe = Recipe(form_for(tokenizer), settings.model_max_length, settings.answers)
    paths = [Path(file) for file in files]
    name = f"{NAME}{_digest(recipe, paths)}"

    def make(folder: Path) -> Path:
        for gone in sweep(root):
            say(f"deleted {gone}, which was not used for long")
        try:
            return _make(recipe, paths, folder)
        except OSError as exc:
            raise StartError(
                f"the samples cannot be written below {root} ({exc.strerror}); "
                "name another folder with DANLU_CACHE"
            ) from exc

    while (held := hold(folder := kept(root, name, make, say=say))) is None:
        say(f"{folder} was deleted in the meantime, and is made once more")
    return Tokenised(Stored(folder, held), Report(folder))


def form_for(tokenizer: PreTrainedTokenizerBase) -> Form:
    """How a model with this tokenizer is asked; raises StartError where it does not tell."""
    if isinstance(tokenizer, ChatGLMTokenizer):
        return GlmForm(tokenizer)
    return TemplateForm(tokenizer)


def _make(recipe: Recipe, files: Sequence[Path], folder: Path) -> Path:
    with (folder / BAD_FILE).open("w", encoding="utf-8") as bad, Writer(folder) as writer:
        tally = Tally(bad)
        for file in files:
            for found in dialogues(file, say=tally.counts.remarks.append):
                _add(recipe, found, writer, tally)
    if not tally.counts.good:
        raise StartError("; ".join(_why_none(tally, files)))
    save_counts(tally.counts, folder)
    return folder


def _add(recipe: Recipe, found: Dialogue | Bad, writer: Writer, tally: Tally) -> None:
    if isinstance(found, Bad):
        tally.bad(found)
        return
    try:
        samples = recipe.samples(found)
    except Unusable as exc:
        tally.bad(Bad(found.origin, exc.kind, str(exc)))
        return
    for one in samples:
        writer.add(one.sample, tally.counts.records)
    tally.good(found, samples)


def _why_none(tally: Tally, files: Sequence[Path]) -> list[str]:
    names = ", ".join(map(str, files))
    return [f"no record of {names} can be trained on", *bad_lines(tally.counts)]


def _digest(recipe: Recipe, files: Sequence[Path]) -> str:
    """Of all that the samples are made of, and of the files' names, which the report gives."""
    found = hashlib.sha256(recipe.key.encode())
    for file in files:
        found.update(f"\0{file}\0".encode())
        try:
            with file.open("rb") as content:
                while block := content.read(BLOCK):
                    found.update(block)
        except OSError as exc:
            raise StartError(f"{file} cannot be read: {exc.strerror}") from exc
    return found.hexdigest()[:16]
