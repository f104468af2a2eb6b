"""A whole step of a model on the host in one call of the library, for decoders of Llama's kind."""

import ctypes
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .layers import DENSE, LANES, Linear, Misfit, Parts, parts_of
from .library import Library
from .linear import EVERY

log = logging.getLogger(__name__)

# Classes of transformers' whose layers are computed alike, and whether the channels that turn
# together lie side by side.
FAMILIES = {
    "GlmForCausalLM": True,
    "LlamaForCausalLM": False,
    "MistralForCausalLM": False,
    "Qwen2ForCausalLM": False,
    "Qwen3ForCausalLM": False,
}
FUNCTIONS = {torch.float32: "danlu_step_float32", torch.bfloat16: "danlu_step_bfloat16"}
SCALES = torch.bfloat16  # packed weights'
# Tokens up to which a step is faster than torch's, by the bytes of the processor's vectors.
MOST = {64: 64, 32: EVERY, 16: 8}
POINTER, SIZE, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class Layer(ctypes.Structure):
    """As in step.h."""

    _fields_: ClassVar = [
        *((name, POINTER) for name in ("attention_norm", "query_norm", "key_norm", "mlp_norm")),
        *((name, Linear) for name in ("query", "key", "value", "attended", "gate", "up", "down")),
        *((name, POINTER) for name in ("keys", "values")),
    ]


class Model(ctypes.Structure):
    """As in step.h."""

    _fields_: ClassVar = [
        *((name, SIZE) for name in ("layers", "hidden", "inner", "heads", "key_heads", "size")),
        *((name, SIZE) for name in ("vocabulary", "length", "rotated", "interleaved")),
        *((name, FLOAT) for name in ("epsilon", "scale")),
        ("each", ctypes.POINTER(Layer)),
        ("norm", POINTER),
        ("output", Linear),
    ]


class Step(ctypes.Structure):
    """As in step.h."""

    _fields_: ClassVar = [
        *((name, SIZE) for name in ("tokens", "count")),
        *((name, POINTER) for name in ("slots", "places", "wanted")),
        *((name, POINTER) for name in ("embedded", "cosines", "sines", "logits")),
    ]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A step's tokens, each tensor [tokens]: entry `places` of slot `slots` is where one goes, and
    it sees all up to there. `positions` are what its rotation depends on. Logits are for `wanted`,
    which count through the tokens."""

    ids: Tensor
    positions: Tensor
    slots: Tensor
    places: Tensor
    wanted: Tensor


class Decoder:
    """For steps of at most `most` tokens. The model and its cache must stay where and what they
    are; what is hooked to its layers is not called. Owned by the engine's thread."""

    def __init__(
        self, library: Library, model: nn.Module, keys: Sequence[Tensor], values: Sequence[Tensor]
    ) -> None:
        """Keys and values of each layer are [slots, heads, length, size]. Raises Misfit."""
        whole: Any = model
        self._library, self._whole, self._inside = library, whole, whole.model
        self.most = MOST[library.vector]
        self._kept: list[Tensor] = []  # what the library has addresses of
        self._dtype = self._inside.norm.weight.dtype
        if self._dtype not in FUNCTIONS:
            raise Misfit(f"numbers in {self._dtype}")
        caches = zip(keys, values, strict=True)
        pairs = zip(self._inside.layers, caches, strict=True)
        layers = [self._layer(layer, *cache) for layer, cache in pairs]
        self._layers = (Layer * len(layers))(*layers)
        self._model = self._sizes(keys[0])

    def run(self, tokens: Tokens) -> Tensor:
        """Logits [wanted, vocabulary] in float32."""
        ids, positions = tokens.ids, tokens.positions
        embedded = self._inside.embed_tokens(ids)
        cosines, sines = self._inside.rotary_emb(embedded, positions.unsqueeze(0))
        count = len(tokens.wanted)
        logits = torch.empty((count, self._model.vocabulary))
        given = (tokens.slots, tokens.places, tokens.wanted, embedded, cosines, sines)
        contiguous = [tensor.contiguous() for tensor in given]
        addresses = [tensor.data_ptr() for tensor in (*contiguous, logits)]
        step = Step(len(ids), count, *addresses)
        self._library.step(FUNCTIONS[self._dtype], self._model, step)
        return logits

    def _layer(self, layer: Any, keys: Tensor, values: Tensor) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        if hasattr(mlp, "gate_up_proj"):
            gate, up = self._parts(mlp.gate_up_proj).halves()
        else:
            gate, up = self._parts(mlp.gate_proj), self._parts(mlp.up_proj)
        norms = (
            layer.input_layernorm,
            *(getattr(attention, n, None) for n in ("q_norm", "k_norm")),
        )
        return Layer(
            *(self._address(norm.weight if norm else None) for norm in norms),
            self._address(layer.post_attention_layernorm.weight),
            *(self._linear(self._parts(part)) for part in projections),
            *map(self._linear, (gate, up, self._parts(mlp.down_proj))),
            *map(self._address, (keys, values)),
        )

    def _sizes(self, keys: Tensor) -> Model:
        config, attention = self._inside.config, self._inside.layers[0].self_attn
        _, key_heads, length, size = keys.shape
        if config.hidden_act != "silu" or size % LANES:
            raise Misfit(f"{config.hidden_act} and heads of {size} channels")
        probe = torch.zeros((1, 1), dtype=torch.long)
        cosines, _ = self._inside.rotary_emb(self._inside.norm.weight, probe)
        output = self._parts(self._whole.get_output_embeddings())
        return Model(
            *(len(self._layers), config.hidden_size, config.intermediate_size),
            *(config.num_attention_heads, key_heads, size, output.outputs, length),
            *(cosines.shape[-1], FAMILIES[type(self._whole).__name__]),
            *(self._inside.norm.variance_epsilon, attention.scaling),
            self._layers,
            self._address(self._inside.norm.weight),
            self._linear(output),
        )

    def _parts(self, layer: nn.Module) -> Parts:
        parts = parts_of(layer)
        if parts is None:
            raise Misfit(f"a {type(layer).__name__}")
        return parts

    def _linear(self, parts: Parts) -> Linear:
        weight = self._address(parts.weight, self._dtype if parts.kind == DENSE else torch.uint8)
        scales = (self._address(t, SCALES) for t in (parts.scales, parts.offsets))
        return Linear(parts.kind, weight, *scales, self._address(parts.bias))

    def _address(self, tensor: Tensor | None, dtype: torch.dtype | None = None) -> int | None:
        """Of a tensor in the model's format, or in another one."""
        if tensor is None:
            return None
        fits = tensor.dtype is (dtype or self._dtype)
        if not (fits and tensor.is_cpu and tensor.is_contiguous()):
            raise Misfit(f"a tensor of {tensor.dtype} on {tensor.device}")
        self._kept.append(tensor)
        return tensor.data_ptr()


def decoder_for(
    model: nn.Module, keys: Sequence[Tensor], values: Sequence[Tensor]
) -> Decoder | None:
    """The same model for steps of few tokens; None where the library does not know its kind."""
    own = next(filter(None, map(parts_of, model.modules())), None)
    known = type(model).__module__.startswith("transformers.") and type(model).__name__ in FAMILIES
    if own is None or not known:
        return None
    try:
        return Decoder(own.library, model, keys, values)
    except Misfit as exc:
        log.info("steps are torch's: the model has %s", exc)
        return None
