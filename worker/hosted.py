"""A loaded model as an engine is asked about it: how it is prompted, spelled and described."""

from collections.abc import Callable
from dataclasses import dataclass

from ..adapters.errors import Overloaded
from ..adapters.models.loading import LoadedModel
from .adapter import Adapter
from .admission import HONOURED, PRIORITY, Admission, only_the_model
from .embedding import Embedder
from .engine import ModelCard
from .glm_prompting import prompting_for
from .grammar import FIELD, Grammar, Grammars
from .job import Job
from .vocabulary import Vocabulary

RETRY = 2  # seconds after which one who was turned away may try again


@dataclass(frozen=True, slots=True)
class Manner:
    """How an engine serves its model.

    `concurrency` requests run at a time, None for what suits the engine; of the rest, `waiting`
    may wait, None for any number. `names` are those that the model is asked for by. At most
    `lookahead` tokens are guessed for an answer's step. `graphs` says whether a card's decode steps
    are recorded, see --graphs.
    """

    names: tuple[str, ...] = ()
    concurrency: int | None = None
    waiting: int | None = None
    stream_interval: int = 1
    lookahead: int = 0
    graphs: str = "auto"
    conv_template: str | None = None
    embed_in_truncate: bool = False
    seed: int | None = None


class Hosted:
    """What all engines make of a model in the same way. Read by any thread.

    `adapter` finds the one that a request's model name means, or raises UnknownModel. An engine
    that is `ordered` serves those who wait by their priority.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        manner: Manner,
        adapter: Callable[[str | None], Adapter] = only_the_model,
        *,
        ordered: bool = True,
    ) -> None:
        self.model = loaded.model
        self.context_length = loaded.context_length
        self.vocabulary = Vocabulary(loaded.tokenizer)
        self.prompting = prompting_for(
            loaded.tokenizer, self.vocabulary, manner.conv_template, loaded.context_length
        )
        self._grammars = Grammars(loaded.tokenizer, loaded.vocabulary, loaded.end_ids)
        self.admission = Admission(
            self.prompting,
            self._grammars,
            context_length=loaded.context_length,
            vocabulary=loaded.vocabulary,
            end_ids=loaded.end_ids,
            seed=manner.seed,
            adapter=adapter,
            ordered=ordered,
        )
        self.embedder = Embedder(
            loaded.model,
            self.prompting.encode,
            loaded.context_length,
            manner.embed_in_truncate,
        )
        able = {FIELD: self._grammars.possible, PRIORITY: ordered}
        self.card = ModelCard(
            context_length=loaded.context_length,
            conversation=self.prompting.conversation,
            parameters=HONOURED - {field for field, can in able.items() if not can},
            embeddings=True,
        )

    def begun(self, job: Job) -> Grammar | None:
        """The beginning of the grammar that the job's answer must follow."""
        return None if job.grammar is None else self._grammars.begin(job.grammar)

    def count(self, text: str) -> int:
        """Tokens of `text`, special prefix tokens included."""
        return self.prompting.count(text) if text else 0


def crowded(manner: Manner, concurrency: int, queue: int) -> Overloaded | None:
    """The refusal of one more request, where so many run and wait that no more may wait."""
    if manner.waiting is None or queue < concurrency + manner.waiting:
        return None
    return Overloaded(
        f"{concurrency} requests run and {queue - concurrency} wait; try again later",
        retry_after=RETRY,
    )
