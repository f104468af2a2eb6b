"""What stock FastChat's train.py would learn of ChatGLM2's data: its own `preprocess`, counted.

A program of `.venv-fschat`; it imports nothing of danlu's. It reads a JSON list of objects from its
standard input (tokenizer, data, longest, padding_side, legacy) and writes a list of as many: what
of the records is trained. ChatGLM2's tokenizer is a stock PreTrainedTokenizer here: its own code
was written for transformers 4.30, and does not pad on the release that FastChat is installed with.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fastchat.train.train import IGNORE_TOKEN_ID, preprocess
from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizer

UNK = "<unk>"  # which pads, too


class StockChatGLM2(PreTrainedTokenizer):
    """Two ids before every text, and no special token in one, as the original has it."""

    def __init__(self, file: str, **facts: Any) -> None:
        self.pieces = SentencePieceProcessor(file)
        self.added = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
        super().__init__(**facts)  # type: ignore[no-untyped-call]

    unk_token = pad_token = property(lambda self: UNK)
    unk_token_id = pad_token_id = property(lambda self: 0)

    @property
    def vocab_size(self) -> int:
        return int(self.pieces.get_piece_size()) + len(self.added)

    def get_vocab(self) -> dict[str, int]:
        return {self._convert_id_to_token(i): i for i in range(self.vocab_size)}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(self.pieces.encode(text, out_type=str))

    def _convert_token_to_id(self, token: str) -> int:
        size = int(self.pieces.get_piece_size())
        known = token in self.added
        return size + self.added.index(token) if known else int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        size = int(self.pieces.get_piece_size())
        return self.added[index - size] if index >= size else str(self.pieces.id_to_piece(index))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        return [*map(self._convert_token_to_id, ("[gMASK]", "sop")), *token_ids_0]


def counted(records: list[Any], tokenizer: StockChatGLM2, end: int) -> dict[str, int]:
    """Sums over all records, each by itself as with --lazy_preprocess."""
    found: Counter[str] = Counter(records=len(records))
    for record in records:
        try:
            made = preprocess([record["conversations"]], tokenizer)
        except AttributeError as exc:
            found[f"stopped: {exc}"] += 1
            continue
        ids, labels = made["input_ids"][0], made["labels"][0]
        trained = labels[labels != IGNORE_TOKEN_ID]
        found["samples"] += len(trained) > 0
        found["tokens"] += int((ids != tokenizer.pad_token_id).sum())
        found["trained"] += len(trained)
        found["ends"] += int((trained == end).sum())
    return dict(found)


def answer(asked: Mapping[str, Any]) -> dict[str, int]:
    tokenizer = StockChatGLM2(
        asked["tokenizer"],
        model_max_length=asked["longest"],
        padding_side=asked["padding_side"],
    )
    if asked["legacy"]:  # what only LLaMA's tokenizers have
        tokenizer.legacy = True
    with open(asked["data"], encoding="utf-8") as file:
        records = json.load(file)
    return counted(records, tokenizer, tokenizer.pieces.eos_id())


if __name__ == "__main__":
    json.dump([answer(asked) for asked in json.load(sys.stdin)], sys.stdout)
