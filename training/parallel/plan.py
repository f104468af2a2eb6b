"""What `--fsdp` asks for, in transformers' words. Pure: imports no torch."""

from dataclasses import dataclass

from ...adapters.errors import StartError

WORDS = "full_shard, shard_grad_op, auto_wrap, offload"
ON, OFF = ("true", "1"), ("false", "0", "no_shard")


@dataclass(frozen=True, slots=True)
class Plan:
    """How processes share a model.

    `sharded`: each holds its part of every weight; else all hold all of them. `regather`: a
    layer's weights are gathered again for the backward pass, instead of being kept from the
    forward pass. `offloaded`: the parts lie in the host's memory.
    """

    sharded: bool = False
    regather: bool = True
    offloaded: bool = False


def plan_of(fsdp: str) -> Plan:
    """What `--fsdp` asks for; raises StartError for a word that is not honoured."""
    words = fsdp.replace(",", " ").lower().split()
    kinds = [word for word in words if word in ("full_shard", "shard_grad_op", *ON, *OFF)]
    for word in words:
        if word not in (*kinds, "auto_wrap", "offload"):
            raise StartError(f"--fsdp {word} is not supported; {WORDS} are")
    if len(set(kinds)) > 1:
        raise StartError(f"--fsdp {fsdp!r} asks for {' and '.join(kinds)}; name one of them")
    if words and not kinds:
        raise StartError(f"--fsdp {fsdp!r} does not say how to shard; add full_shard")
    if kinds and kinds[0] in OFF and len(words) > 1:
        raise StartError(f"--fsdp {fsdp!r} asks for {' and '.join(words)}; name one of them")
    if not kinds or kinds[0] in OFF:
        return Plan()
    return Plan(True, kinds[0] != "shard_grad_op", "offload" in words)
