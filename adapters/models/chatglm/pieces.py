"""A SentencePiece vocabulary with special ids appended to it, as ChatGLM has one.

Knows nothing of transformers, of prompts and of padding.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from ...errors import StartError

SPACE = "▁"  # SentencePiece's sign for one


class Pieces:
    """`appended` are the names of the ids after the last piece's. Read by any thread.

    Raises StartError for a file that is missing, damaged or cut short.
    """

    def __init__(self, file: Path, appended: Sequence[str]) -> None:
        self._model = SentencePieceProcessor(model_proto=_checked(file))
        self._size: int = self._model.get_piece_size()
        self._appended = tuple(appended)
        self._ids = {name: self._size + i for i, name in enumerate(appended)}
        self.unk, self.bos, self.eos = (
            str(self._model.id_to_piece(i))
            for i in (self._model.unk_id(), self._model.bos_id(), self._model.eos_id())
        )
        self.special = frozenset(
            [*map(self.id, (self.unk, self.bos, self.eos)), *self._ids.values()]
        )

    def __len__(self) -> int:
        return self._size + len(self._appended)

    def encode(self, text: str) -> list[int]:
        """The ids of a text: never a special one, and a space before it that `decode` drops."""
        ids: list[int] = self._model.encode(text)
        return ids

    def split(self, text: str) -> list[str]:
        """The names of those ids."""
        names: list[str] = self._model.encode(text, out_type=str)
        return names

    def decode(self, ids: Iterable[int], shown: bool = False) -> str:
        """Their text; what is no character is shown as U+FFFD, a byte at a time.

        A special id has no text, but ends a run of bytes. With `shown` those that are appended
        have their names for a text.
        """
        text: str = self._model.decode_pieces([self._piece(i, shown) for i in ids])
        return text

    def id(self, name: str) -> int:
        """The id of a piece or of what is appended; that of <unk> if there is no such one."""
        return self._ids[name] if name in self._ids else int(self._model.piece_to_id(name))

    def name(self, number: int) -> str:
        """What the id is called, empty for one that the vocabulary does not have."""
        if 0 <= number < self._size:
            return str(self._model.id_to_piece(number))
        return self._appended[number - self._size] if self._size <= number < len(self) else ""

    def spelled(self, number: int) -> bytes:
        """What the id adds to a text that has begun; nothing for a special or an unknown one."""
        if number in self.special or not 0 <= number < self._size:
            return b""
        name = self.name(number)
        if self._model.is_byte(number):
            return bytes([int(name[len("<0x") : -len(">")], 16)])
        return name.replace(SPACE, " ").encode()

    def _piece(self, number: int, shown: bool) -> str:
        if shown and number >= self._size:
            return self.name(number)
        return "" if number in self.special else self.name(number)


def _checked(file: Path) -> bytes:
    """The file's content. One that was cut between two pieces could still be read, as another."""
    try:
        content = file.read_bytes()
        model = sentencepiece_model_pb2.ModelProto.FromString(content)
    except OSError as exc:
        raise StartError(f"{file} cannot be read: {exc.strerror}") from exc
    except DecodeError:
        raise StartError(
            f"{file} is no SentencePiece model or a damaged one; fetch it again"
        ) from None
    if not (model.pieces and model.HasField("trainer_spec") and model.HasField("normalizer_spec")):
        raise StartError(f"{file} was cut short; fetch it again")
    return content
