"""Shows what a training would read: its records, its samples' lengths, and which tokens it learns.

No weights are loaded. Learned tokens are coloured, and stand in ⟦⟧ where there is no colour.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.rule import Rule
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from ...adapters.models.spellings import special_ids
from ...adapters.models.tokenizers import tokenizer_at
from ..sample import Sample
from ..settings import TrainingSettings
from .store import Tokenised, samples_of

BINS = 10  # rows of the histogram
BAR = 40  # characters of its longest bar
LEARNED = "bold green"
OPEN, CLOSE = "⟦", "⟧"
PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {
    code: 0x2421 if code == 127 else 0xFFFD
    for code in range(127, 160)  # some terminals obey these, too
}


def inspected(
    settings: TrainingSettings, console: Console, *, root: Path | None = None, show: int = 3
) -> None:
    """Tokenises the settings' data as a training would, and shows it; kept if there is a `root`.

    Raises StartError for a model or data that a training would refuse.
    """
    tokenizer = tokenizer_at(
        Path(settings.model_name_or_path),
        trust_remote_code=settings.trust_remote_code,
        chatglm_generation=settings.chatglm_generation,
    )
    with TemporaryDirectory() as passing:
        files, place = settings.data_path, root or Path(passing)
        made = samples_of(settings, tokenizer, files, root=place, say=_ignored)
        inspect(tokenizer, made, console, show=show)
        if settings.eval_share and not settings.eval_data_path:
            train, kept = made.split(settings.eval_share, settings.seed)
            console.print(f"{len(train)} samples are trained, {len(kept)} kept for evaluation")


def inspect(
    tokenizer: PreTrainedTokenizerBase, made: Tokenised, console: Console, *, show: int = 3
) -> None:
    """Counts and bad records, a histogram of lengths, and the first `show` samples."""
    for line in made.report.lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(Rule("tokens of a sample", align="left"))
    for line in histogram(made.samples.lengths):
        console.print(line, markup=False, highlight=False)
    for index in range(min(show, len(made.samples))):
        sample = made.samples[index]
        facts = f"{len(sample.ids)} tokens, {int(sample.trained.sum())} learned"
        console.print(Rule(f"sample {index + 1}: {facts}", align="left"))
        marked = console.color_system is None
        console.print(shown(tokenizer, sample, marked=marked), soft_wrap=True)


def histogram(lengths: NDArray[np.int64]) -> Iterator[str]:
    """How many samples have from how many to how many tokens, as bars."""
    least, most = int(lengths.min()), int(lengths.max())
    width = -(-(most - least + 1) // BINS)  # tokens of a row, rounded up
    counts = np.bincount((lengths - least) // width)
    room, digits = len(str(most)), len(str(counts.max()))
    for row, count in enumerate(counts.tolist()):
        first, last = least + row * width, min(least + (row + 1) * width - 1, most)
        bar = "█" * round(BAR * count / int(counts.max())) or ("▏" if count else "")
        yield f"{first:>{room}} to {last:>{room}}  {count:>{digits}}  {bar}".rstrip()


def shown(tokenizer: PreTrainedTokenizerBase, sample: Sample, *, marked: bool) -> Text:
    """A sample's text, in which what is learned has another colour, and with `marked` brackets."""
    text = Text()
    pairs = zip(sample.ids.tolist(), sample.trained.tolist(), strict=True)
    for learned, run in groupby(pairs, key=lambda pair: pair[1]):
        spelled = _spelled(tokenizer, [each for each, _ in run])
        if learned and marked:
            spelled = f"{OPEN}{spelled}{CLOSE}"
        text.append(spelled, style=LEARNED if learned else "")
    return text


def _spelled(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Their text, special tokens by name, and nothing that a terminal would obey."""
    glm = isinstance(tokenizer, ChatGLMTokenizer)
    special = tokenizer.special_ids if glm else special_ids(tokenizer)
    parts: list[str] = []
    for by_name, run in groupby(ids, key=special.__contains__):
        each = list(run)
        parts += tokenizer.convert_ids_to_tokens(each) if by_name else [str(tokenizer.decode(each))]
    return "".join(parts).translate(PICTURES)


def _ignored(_: str) -> None:
    return None
