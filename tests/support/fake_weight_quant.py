"""What torch_npu's documentation says of its two operators for packed weights, in plain torch."""

import torch
from torch import Tensor

NUMBERS = 8  # of 4 bits, in an int32


def npu_convert_weight_to_int4pack(weight: Tensor) -> Tensor:
    """int32 [k, n] from -8 to 7 as int32 [k, n / 8]."""
    assert weight.dtype == torch.int32 and weight.is_contiguous()
    assert weight.shape[1] % NUMBERS == 0 and weight.min() >= -8 and weight.max() <= 7
    places = torch.arange(NUMBERS, device=weight.device) * 4
    packed = ((weight.view(len(weight), -1, NUMBERS).long() & 15) << places).sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def npu_weight_quant_batchmatmul(
    x: Tensor,
    weight: Tensor,
    antiquant_scale: Tensor,
    antiquant_offset: Tensor | None = None,
    antiquant_group_size: int = 0,
) -> Tensor:
    """x [m, k] by (weight + offset) * scale; scale and offset are [k / group, n]."""
    k, n = x.shape[1], antiquant_scale.shape[1]
    numbers = weight if weight.dtype == torch.int8 else _unpacked(weight)
    assert numbers.shape == (k, n)
    assert antiquant_scale.dtype == x.dtype in (torch.float16, torch.bfloat16)
    group = antiquant_group_size or k
    if antiquant_group_size:
        assert group % 32 == 0 and 32 <= group < k
    assert len(antiquant_scale) == k // group
    grouped = numbers.to(torch.float32).view(-1, group, n)
    if antiquant_offset is not None:
        assert antiquant_offset.shape == antiquant_scale.shape
        grouped = grouped + antiquant_offset.to(torch.float32)[:, None]
    dense = (grouped * antiquant_scale.to(torch.float32)[:, None]).view(k, n)
    return (x.to(torch.float32) @ dense).to(x.dtype)


def _unpacked(weight: Tensor) -> Tensor:
    places = torch.arange(NUMBERS, dtype=torch.int32, device=weight.device) * 4
    numbers = (weight[..., None] >> places) & 15
    return torch.where(numbers >= 8, numbers - 16, numbers).flatten(1)
