"""Turns a GGUF file into a model directory and makes sure that it can talk.

A program of its own (`python -m danlu.cli.convert GGUF OUT`), so that the memory that conversion
takes is given back, and so that the rest of the command never loads torch.
"""

import os
import sys
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host.program import run

QUESTION = "What is the capital of France?"
EXPECTED = "Paris"
ENOUGH = 24  # tokens; "The capital of France is Paris." takes 7


def main() -> int:
    return run("danlu.cli.convert", lambda: convert(Path(sys.argv[1]), Path(sys.argv[2])))


def convert(gguf: Path, out: Path) -> None:
    """Write `out` and ask it a question; raises StartError if either goes wrong."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    try:
        import torch

        from ..adapters.models.gguf import load_gguf, save_as_directory
    except ImportError as exc:
        raise StartError(
            f"{exc.name} is not installed; the worker's packages come with danlu[worker]"
        ) from exc
    save_as_directory(*load_gguf(gguf, torch.float32), out)
    answer = ask(out, QUESTION)
    if EXPECTED not in answer:
        raise StartError(f"{QUESTION!r} was answered {answer!r}, without {EXPECTED}")


def ask(directory: Path, question: str) -> str:
    """The greedy answer of the model in `directory`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    ids = torch.tensor([tokenizer.encode(str(prompt), add_special_tokens=False)])
    start = ids.shape[1]
    with torch.inference_mode():
        while ids.shape[1] < start + ENOUGH and ids[0, -1] != tokenizer.eos_token_id:
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    return str(tokenizer.decode(ids[0, start:], skip_special_tokens=True))


if __name__ == "__main__":
    sys.exit(main())
