"""Tensors into whole numbers that differ where a single bit does: exact, whatever the order of the sums or the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_CHUNK = 1 << 22  # elements: our own copies stay small beside a large parameter
_ODD = 0x9E3779B1  # an odd factor keeps every bit of a place; sums wrap around at 64 bits, the same everywhere
_BITS = (1 << 48) - 1  # JSON keeps whole numbers up to 2^53


def digest(tensor: Tensor) -> Tensor:
    """Two sums of a tensor's bits on its own device, (2,) int64: plain, and weighted by place."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    bits = real.detach().reshape(-1).view(_WHOLE[real.element_size()])
    sums = torch.zeros(2, dtype=torch.int64, device=tensor.device)
    for number, chunk in enumerate(torch.split(bits, _CHUNK)):
        wide = chunk.to(torch.int64)
        places = torch.arange(1 + number * _CHUNK, 1 + number * _CHUNK + len(wide), device=tensor.device)
        sums[0] += wide.sum()
        sums[1] += (wide * (places * _ODD)).sum()
    return sums


def read(digests: Sequence[Tensor]) -> list[int]:
    """One whole number of 48 bits for each digest, read from the device at once."""
    if not digests:
        return []
    home = digests[0].device
    return [(plain * 31 + placed) & _BITS for plain, placed in torch.stack([one.to(home) for one in digests]).tolist()]
