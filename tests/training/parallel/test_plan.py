"""What `--fsdp` asks for."""

import pytest

from danlu.adapters.errors import StartError
from danlu.training.parallel.plan import Plan, plan_of


@pytest.mark.parametrize(
    ("fsdp", "plan"),
    [
        ("", Plan()),
        ("false", Plan()),
        ("no_shard", Plan()),
        ("full_shard auto_wrap", Plan(sharded=True)),
        ("full_shard,auto_wrap", Plan(sharded=True)),
        ("True", Plan(sharded=True)),
        ("shard_grad_op", Plan(sharded=True, regather=False)),
        ("full_shard offload auto_wrap", Plan(sharded=True, offloaded=True)),
    ],
)
def test_transformers_words_say_how_to_share(fsdp: str, plan: Plan) -> None:
    assert plan_of(fsdp) == plan


@pytest.mark.parametrize(
    ("fsdp", "said"),
    [
        ("hybrid_shard auto_wrap", "--fsdp hybrid_shard is not supported; full_shard, "),
        ("full_shard shard_grad_op", "asks for full_shard and shard_grad_op"),
        ("auto_wrap", "does not say how to shard; add full_shard"),
        ("no_shard offload", "asks for no_shard and offload"),
    ],
)
def test_words_that_cannot_be_honoured_are_refused_by_name(fsdp: str, said: str) -> None:
    with pytest.raises(StartError) as caught:
        plan_of(fsdp)
    assert said in str(caught.value)
