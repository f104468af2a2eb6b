"""How weights are read: what a device cannot compute with is found out before."""

import pytest
from support.card import card
from support.devices import FakeDevice

from danlu.adapters.errors import StartError
from danlu.worker.weights import dtype_for


@pytest.mark.parametrize(
    ("wanted", "bfloat16", "expected"),
    [(None, True, None), (None, False, "float16"), ("float32", False, "float32")],
)
def test_a_device_without_bfloat16_computes_in_float16(
    wanted: str | None, bfloat16: bool, expected: str | None
) -> None:
    assert dtype_for(wanted, FakeDevice(bfloat16=bfloat16)) == expected


def test_bfloat16_that_the_device_has_not_is_refused() -> None:
    said = f"^--dtype bfloat16 is nothing that {card()} computes with"
    with pytest.raises(StartError, match=said):
        dtype_for("bfloat16", FakeDevice(bfloat16=False))
