"""Trains the vocabulary, with the settings that ChatGLM2's tokenizer.model records of its own."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence

import sentencepiece

from .dialogues import Dialogue

PIECES = 1200  # a word or so each; with more, whole sentences would become pieces
# Single bytes spell what is kept out of the training: the original has no pieces for these either.
EMOJI = re.compile("[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")


def vocabulary(known: Sequence[Dialogue]) -> bytes:
    """The content of a tokenizer.model for `known`, the same for the same dialogues."""
    return trained(_lines(known), PIECES)


def trained(lines: Iterable[str], pieces: int, coverage: float = 0.9999) -> bytes:
    """The content of a tokenizer.model of so many pieces, with all but a rest of the characters."""
    out = io.BytesIO()
    trainer = sentencepiece.SentencePieceTrainer
    trainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        vocab_size=pieces,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=coverage,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        max_sentencepiece_length=16,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


def _lines(known: Iterable[Dialogue]) -> Iterator[str]:
    """Each text once, without line ends: the original spells those in bytes, too."""
    texts = [f"[Round {number}]" for number in range(1, 4)]
    for dialogue in known:
        for question, answer in dialogue:
            texts += [f"问：{question}", "答：", answer]
    for text in dict.fromkeys(texts):
        yield from (line for line in EMOJI.sub("", text).split("\n") if line)
