"""What packed weights cost in accuracy and gain in speed; prints two tables.

    python -m benchmarks.quantisation [--model DIR] [--threads 2] [--rounds 8] [--text FILE]
                                      [--cpu-kernels torch]

Accuracy is measured on a trained model of the Llama family: perplexity of a text, and beside the
float32 model's predictions the mean KL divergence and the share of equal most probable tokens. The
demo's SmolLM2 comes from a file of 4 bits in groups of 32, which another rounding to 4 bits in
groups of 32 would find again: so its channels are shuffled first, which changes nothing of what it
computes and takes the numbers off that grid.

Kernels are danlu's own where they can be made, unless it is told to take torch's.

Speed is measured on a synthetic ChatGLM2 of 288 million weights: a bare loop of single steps over a
static cache, the kinds taking turns. Steps are as long as the quickest tenth of them, because other
programs lengthen the rest.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, StaticCache

from danlu.adapters.kernels.library import Library, library
from danlu.adapters.kernels.linear import use
from danlu.adapters.models.weight_only.packing import packing_for, quantise, size

from .models import synthetic_glm

KINDS = ("float32", "bfloat16", "int8", "int4")
HERE = Path(__file__).parent.parent
PROMPT, ROOM = 64, 512  # tokens in the cache before the first step, and at most
STEPS = {1: 8, 8: 4, 16: 4}  # of a turn, by batch


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    own = library(os.environ) if args.cpu_kernels == "auto" else None
    if not args.speed_only:
        accuracy(Path(args.model).expanduser(), Path(args.text), args.tokens, own)
    if not args.accuracy_only:
        speed(args.rounds, own)


def accuracy(path: Path, text: Path, tokens: int, own: Library | None) -> None:
    print("| weights | perplexity | KL to float32 | same first choice | bytes, MB |")
    print("|---|---|---|---|---|")
    ids = AutoTokenizer.from_pretrained(path)(text.read_text("utf-8"), return_tensors="pt")
    ids = ids["input_ids"][:, :tokens]
    exact = _log_odds(_of_kind("float32", path, None), ids)
    for kind in KINDS:
        model = _of_kind(kind, path, own)
        found = _log_odds(model, ids)
        perplexity = torch.nn.functional.nll_loss(found[:-1], ids[0, 1:]).exp()
        apart = (exact.exp() * (exact - found)).sum(-1).mean()
        same = (found.argmax(-1) == exact.argmax(-1)).float().mean()
        megabytes = size(model) / 1e6
        print(f"| {kind} | {perplexity:.2f} | {apart:.4f} | {same:.1%} | {megabytes:.0f} |")


def _of_kind(kind: str, path: Path, own: Library | None) -> PreTrainedModel:
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    _shuffle(model)
    return _as(kind, model, own)


def _as(kind: str, model: Any, own: Library | None) -> PreTrainedModel:
    if kind != "float32":
        model.to(torch.bfloat16)
    if kind.startswith("int"):
        packing = packing_for(kind, "cpu", library=own)
        assert packing is not None
        quantise(model, packing, "cpu")
    if own is not None:
        use(own, model)
    changed: PreTrainedModel = model.eval()
    return changed


def _log_odds(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids).logits[0].float().log_softmax(-1)
    return found


def _shuffle(model: Any) -> None:
    """Put the channels of a Llama in another order, everywhere alike."""
    torch.manual_seed(0)
    config, body = model.config, model.model
    hidden, inner = (torch.randperm(n) for n in (config.hidden_size, config.intermediate_size))
    head = torch.randperm(body.layers[0].self_attn.head_dim)
    values = _in_heads(head, config.num_key_value_heads)
    read = _in_heads(head, config.num_attention_heads)
    _reorder(body.embed_tokens, hidden, 1)
    _reorder(body.norm, hidden, 0)
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            _reorder(norm, hidden, 0)
        for taking in (attention.q_proj, attention.k_proj, attention.v_proj):
            _reorder(taking, hidden, 1)
        for inward in (mlp.gate_proj, mlp.up_proj):
            _reorder(inward, hidden, 1)
            _reorder(inward, inner, 0)
        for giving, within in ((attention.o_proj, read), (mlp.down_proj, inner)):
            _reorder(giving, hidden, 0)
            _reorder(giving, within, 1)
        _reorder(attention.v_proj, values, 0)
    if not config.tie_word_embeddings:
        _reorder(model.lm_head, hidden, 1)


def _in_heads(order: torch.Tensor, heads: int) -> torch.Tensor:
    return torch.cat([order + len(order) * head for head in range(heads)])


def _reorder(layer: Any, order: torch.Tensor, dim: int) -> None:
    layer.weight.data = layer.weight.data.index_select(dim, order)


def speed(rounds: int, own: Library | None) -> None:
    models: dict[str, Any] = {}
    for kind in KINDS:
        models[kind] = _as(kind, synthetic_glm(dtype=torch.float32), own)
    print("\n| batch | weights | tokens/s | of bfloat16's | bytes, MB |\n|---|---|---|---|---|")
    for batch in STEPS:
        loops = {kind: Loop(model, batch) for kind, model in models.items()}
        for _ in range(rounds):
            for loop in loops.values():
                loop.run(STEPS[batch])
        whole = loops["bfloat16"].rate()
        for kind, loop in loops.items():
            part, megabytes = loop.rate() / whole, size(models[kind]) / 1e6
            print(f"| {batch} | {kind} | {loop.rate():.1f} | {part:.2f} | {megabytes:.0f} |")


class Loop:
    """Greedy single steps of one model with rows of random prompts."""

    def __init__(self, model: Any, batch: int) -> None:
        self._model, self._batch = model, batch
        self._cache: Any = StaticCache(config=model.config, max_cache_len=ROOM)
        self._seconds: list[float] = []
        prompts = torch.randint(0, model.config.vocab_size, (batch, PROMPT))
        with torch.inference_mode():
            self._ids = self._step(prompts)

    def run(self, steps: int) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                started = time.perf_counter()
                self._ids = self._step(self._ids)
                self._seconds.append(time.perf_counter() - started)

    def rate(self) -> float:
        """Tokens a second of the quickest tenth of the steps."""
        return self._batch / sorted(self._seconds)[len(self._seconds) // 10]

    def _step(self, ids: torch.Tensor) -> torch.Tensor:
        out = self._model(input_ids=ids, past_key_values=self._cache, logits_to_keep=1)
        chosen: torch.Tensor = out.logits[:, -1:].argmax(-1)
        return chosen


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    demo = "~/.cache/danlu/smollm2-135m-instruct"
    parser.add_argument("--model", default=demo, help="directory; danlu up --demo makes the usual")
    parser.add_argument("--text", default=str(HERE / "docs" / "architecture.md"))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cpu-kernels", choices=("auto", "torch"), default="auto")
    parser.add_argument("--accuracy-only", action="store_true")
    parser.add_argument("--speed-only", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
