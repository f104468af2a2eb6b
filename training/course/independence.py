"""Whether packed rows train what separate ones do; tried on the model itself, before it learns."""

import torch

from ...adapters.errors import StartError
from ..sample import Sample, Samples
from .collate import Row, collate
from .student import Student

LOOK = 12  # tokens of each of the two texts
# How far apart losses may be, as a part: what rounding does to them, and little more.
CLOSE, CLOSE_IN_HALF = 1e-3, 3e-2
# What a model's code raises where it meets what it was not made for; not what a device raises.
REFUSALS = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError)


def look_at_packing(student: Student, samples: Samples) -> None:
    """Raises StartError if a sample sees the one before it in its row. All processes call it.

    A convolution or a recurrence over the tokens, for one, looks past all masks.
    """
    before, asked = (samples[i] for i in (0, len(samples) - 1))
    silent = Sample(before.ids[:LOOK], before.trained[:LOOK] & False)
    told = Sample(asked.ids[:LOOK], torch.arange(min(LOOK, len(asked.ids))).numpy() > 0)
    try:
        alone, packed = _loss(student, [told]), _loss(student, [silent, told])
    except REFUSALS as exc:
        raise StartError(f"--packing is not possible with this model: {exc}") from exc
    close = CLOSE if student.precision.compute == torch.float32 else CLOSE_IN_HALF
    if abs(alone - packed) > close * (1 + abs(alone)):
        raise StartError(
            "--packing is not possible with this model: a sample sees the one before it in its row "
            f"(its loss is {packed:.4g} there, and {alone:.4g} alone)"
        )


def _loss(student: Student, row: Row) -> float:
    with student.examined():
        return float(student.losses(collate([row])))
