"""The linear layers of a native model by the names that adapters have for them: its own, and those
of the original ChatGLM."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import StartError
from ..chatglm.config import NATIVE
from ..chatglm.names import parts, split
from ..chatglm.native import description_of

ORIGINAL = "transformer."  # what all names of the original ChatGLM begin with


class Names:
    """The modules of one model that LoRA may add to."""

    def __init__(self, model: PreTrainedModel) -> None:
        own: Any = model  # not annotated throughout
        self._modules = dict(model.named_modules())
        self._untouched = {
            id(own.get_input_embeddings()): "embeddings",
            id(own.get_output_embeddings()): "head",
        }
        self._model = model

    def native(self, module: str, up: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The native modules that `module` stands for, and the rows of `up` [out, rank] of each.

        Raises StartError for one that this model has not.
        """
        if module in self._modules:
            yield self._checked(module), up
        elif module.startswith(ORIGINAL) and hasattr(self._model.config, NATIVE):
            yield from self._translated(module, up)
        else:
            raise self._unknown(module)

    def size(self, native: str) -> tuple[int, int]:
        """Numbers that come out of a module, and that go in."""
        module = self._modules[native]
        rows, columns = getattr(module, "out_features", None), getattr(module, "in_features", None)
        if not isinstance(rows, int) or not isinstance(columns, int):
            raise StartError(
                f"{native} is a {type(module).__name__} in this model, and LoRA is served on linear"
                " layers only"
            )
        return rows, columns

    def _translated(self, module: str, up: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The original's q, k and v are one matrix: all three share what goes in."""
        described = description_of(self._model.config)  # type: ignore[arg-type]
        part = parts(described).get(f"{module}.weight")
        if part is None:
            raise self._unknown(module)
        natives = [name.removesuffix(".weight") for name in part.natives]
        if len(natives) == 1:
            yield self._checked(natives[0]), up
            return
        rows = sum(self.size(native)[0] for native in natives)
        if up.shape[0] != rows:
            raise StartError(
                f"the adapter's {module} gives {up.shape[0]} numbers, and this model's gives {rows}"
            )
        yield from zip(natives, split(up, described), strict=True)

    def _checked(self, native: str) -> str:
        found: nn.Module = self._modules[native]
        kind = self._untouched.get(id(found))
        if kind is not None:
            raise StartError(f"{native} is the model's {kind}; LoRA on it is not served")
        return native

    def _unknown(self, module: str) -> StartError:
        kind = self._model.config.model_type
        return StartError(f"the adapter is for another model: this {kind} has no {module}")
