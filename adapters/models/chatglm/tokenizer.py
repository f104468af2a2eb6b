"""ChatGLM2's and ChatGLM3's tokenizer, exact, from the tokenizer.model of their checkpoints.

Ids and texts are those of the original implementation. A text never yields a special token,
whatever it spells; those are put around it by id.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizer

from ...errors import StartError
from .pieces import Pieces
from .rounds import ROLES, Conversation, Marker, Turn, as_segments, as_text, as_turns, conversation

VOCAB_FILE = "tokenizer.model"
SPECIAL = (
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "sop",
    "eop",
)  # ids after the last piece's, in this order
BEFORE = "\ue000"  # means nothing, so no piece has it; spelled in bytes, it ends where it ends
# A checkpoint's tokenizer_config.json may repeat what this class knows by itself.
KNOWN = (
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
    "bos_token",
    "eos_token",
    "pad_token",
    "unk_token",
)


class ChatGLMTokenizer(PreTrainedTokenizer):
    """`generation` is 2 or 3: ChatGLM3 has a special token for each role, and shows all when asked.

    It is transformers' tokenizer for everything but reading and writing: nothing is registered as
    an added or a special token there, because that one would look for those in every text. Raises
    StartError for a file that is damaged.
    """

    vocab_files_names = {"vocab_file": VOCAB_FILE}
    model_input_names = ["input_ids", "attention_mask", "position_ids"]
    padding_side = "left"

    def __init__(self, vocab_file: str | Path, generation: int = 2, **facts: Any) -> None:
        if generation not in (2, 3):
            raise StartError(f"there is no ChatGLM{generation} tokenizer; generation is 2 or 3")
        if facts.pop("encode_special_tokens", False):
            raise StartError(
                "encode_special_tokens is not for serving: a user's text could hold one"
            )
        self.vocab_file = str(vocab_file)
        self.generation = generation
        roles = [str(Marker(role)) for role in ROLES] if generation == 3 else []
        self._pieces = Pieces(Path(vocab_file), (*SPECIAL, *roles))
        facts = {name: fact for name, fact in facts.items() if name not in KNOWN}
        super().__init__(generation=generation, **facts)  # type: ignore[no-untyped-call]
        self._special_tokens_map.update(
            bos_token=self._pieces.bos,
            eos_token=self._pieces.eos,
            unk_token=self._pieces.unk,
            pad_token=self._pieces.unk,
        )

    # What follows is asked for by transformers.

    @property
    def vocab_size(self) -> int:
        return len(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def get_vocab(self) -> dict[str, int]:
        return {self._pieces.name(i): i for i in range(len(self._pieces))}

    @property
    def all_special_tokens(self) -> list[str]:
        """None: transformers would look for them in texts. `special_ids` are the ids."""
        return []

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """None: the original tokenizer refuses a saved configuration that names its own tokens."""
        return {}

    @property
    def special_ids(self) -> frozenset[int]:
        """Every id that no text has."""
        return self._pieces.special

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        """The names of the pieces; special tokens are not looked for, so there is none to split."""
        return self._pieces.split(text)

    def _encode_plus(  # type: ignore[override]
        self,
        text: Any,
        text_pair: Any = None,
        *,
        padding_strategy: Any = False,
        truncation_strategy: Any = False,
        **how: Any,
    ) -> BatchEncoding:
        """Texts become ids here, by no name on the way: a piece may be called like a special token.

        Batches are taken apart by transformers, which asks again for each text.
        """
        if isinstance(text, str) and (text_pair is None or isinstance(text_pair, str)):
            return self.prepare_for_model(
                self._pieces.encode(text),
                None if text_pair is None else self._pieces.encode(text_pair),
                padding=padding_strategy,
                truncation=truncation_strategy,
                prepend_batch_axis=True,
                **how,
            )
        return super()._encode_plus(
            text,
            text_pair,
            padding_strategy=padding_strategy,
            truncation_strategy=truncation_strategy,
            **how,
        )

    def convert_ids_to_tokens(
        self, ids: int | Sequence[int], skip_special_tokens: bool = False
    ) -> Any:
        if isinstance(ids, int):
            return self._pieces.name(ids)
        skipped = self.special_ids if skip_special_tokens else frozenset()
        return [self._pieces.name(i) for i in ids if i not in skipped]

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        end = [] if token_ids_1 is None else [*token_ids_1, self._pieces.id(self._pieces.eos)]
        return [*self.prefix, *token_ids_0, *end]

    def _convert_token_to_id(self, token: str) -> int:
        return self._pieces.id(token)

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        if new_tokens:
            raise ValueError("the vocabulary of a ChatGLM model is fixed; it takes no new tokens")
        return 0

    def _decode(
        self,
        token_ids: int | Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        shown = self.generation == 3 and not skip_special_tokens
        text = self._pieces.decode(ids, shown=shown)
        wanted = clean_up_tokenization_spaces
        tidied = self.clean_up_tokenization_spaces if wanted is None else wanted
        return self.clean_up_tokenization(text) if tidied else text

    def _pad(self, encoded_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Positions count from the first token that is no padding; padding has position 0."""
        before = len(encoded_inputs["input_ids"])
        positions = encoded_inputs.get("position_ids", list(range(before)))
        padded = super()._pad(encoded_inputs, *args, **kwargs)
        more = [0] * (len(padded["input_ids"]) - before)
        left = (kwargs.get("padding_side") or self.padding_side) == "left"
        padded["position_ids"] = [*more, *positions] if left else [*positions, *more]
        return padded

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        ids = token_ids_0
        if not already_has_special_tokens:
            ids = self.build_inputs_with_special_tokens(token_ids_0, token_ids_1)
        return [int(i in self.special_ids) for i in ids]

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        name = f"{filename_prefix}-{VOCAB_FILE}" if filename_prefix else VOCAB_FILE
        target = Path(save_directory) / name
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)

    def apply_chat_template(  # type: ignore[override]  # refuses by name what it does not list
        self,
        conversation: Sequence[Any],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> Any:
        """One conversation or several, as ids with their mask and positions, or as text.

        Messages are mappings of role and content, for ChatGLM3 with metadata too. A last message of
        the assistant's is an answer to continue, unless both flags are off.
        """
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        asked = add_generation_prompt or continue_final_message
        chats = [self._chat(one) for one in (conversation if batched else [conversation])]
        if not tokenize:
            texts = [self.text_of(chat, open_answer=asked) for chat in chats]
            return texts if batched else texts[0]
        rows = [self.ids_of(chat, open_answer=asked) for chat in chats]
        out: BatchEncoding = self(
            rows if batched else rows[0],
            add_special_tokens=False,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
        )
        return out if return_dict else out["input_ids"]

    def _chat(self, messages: Sequence[Mapping[str, Any]]) -> Conversation:
        known = ROLES if self.generation == 3 else ROLES[:3]
        for message in messages:
            if message["role"] not in known:
                raise ValueError(f"role is {message['role']!r}; use one of {', '.join(known)}")
            if not isinstance(message["content"], str):
                raise ValueError(f"content is {message['content']!r:.80}; it must be a text")
        return conversation(
            Turn(m["role"], m["content"], m.get("metadata") or "") for m in messages
        )

    # What follows is ChatGLM's own.

    @property
    def prefix(self) -> list[int]:
        """What stands before every text."""
        return [self._pieces.id("[gMASK]"), self._pieces.id("sop")]

    @property
    def end_ids(self) -> tuple[int, ...]:
        """What ends an answer: with ChatGLM3 also the role whose turn comes next."""
        roles = ("user", "observation") if self.generation == 3 else ()
        return (
            *(self._pieces.id(str(Marker(r))) for r in roles),
            self._pieces.id(self._pieces.eos),
        )

    def spelled(self, number: int) -> bytes:
        """What the id adds to a text that has begun; nothing for one that has no text."""
        return self._pieces.spelled(number)

    def ids_within(self, text: str) -> list[int]:
        """The ids of a text that follows another one, without the space that begins a text."""
        before = self._pieces.encode(BEFORE)
        ids = self._pieces.encode(BEFORE + text)
        return ids[len(before) :]

    def ids_of(self, spoken: Conversation, *, open_answer: bool = True) -> list[int]:
        """A conversation with the prefix, up to where the answer begins or goes on."""
        if self.generation == 3:
            return self.ids_of_turns(as_turns(spoken), open_answer=open_answer)
        return [*self.prefix, *self._pieces.encode(self.text_of(spoken, open_answer=open_answer))]

    def ids_of_turns(self, turns: Sequence[Turn], *, open_answer: bool = True) -> list[int]:
        """ChatGLM3's roles, with the prefix."""
        ids = self.prefix
        for segment in as_segments(turns, open_answer=open_answer):
            if isinstance(segment, Marker):
                ids.append(self._pieces.id(str(segment)))
            else:
                ids += self._pieces.encode(segment)
        return ids

    def text_of(self, spoken: Conversation, *, open_answer: bool = True) -> str:
        """A conversation as it is shown, without the prefix."""
        if self.generation == 3:
            return "".join(map(str, as_segments(as_turns(spoken), open_answer=open_answer)))
        text = as_text(spoken)
        if open_answer:
            return text
        return f"{text}\n\n" if spoken.continues else text.removesuffix("答：")
