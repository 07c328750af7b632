"""True convolution: the kernel is flipped, as in mathematics and signal processing and unlike torch.nn.Conv.

Axis letters: n output positions, m positions of the signal, k positions of the kernel.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Num
from torch import Tensor
from torch.nn import functional

from torchstone.core.errors import UsageError

Mode = Literal["full", "valid", "same"]
Convention = Literal["numpy", "scipy", "torch"]
CORRELATIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONVENTIONS = ("numpy", "scipy", "torch")


def convolve(
    signal: Num[Tensor, "*signal"], kernel: Num[Tensor, "*kernel"], mode: Mode = "full", convention: Convention = "numpy"
) -> Num[Tensor, "*output"]:
    """True convolution, y[n] = sum over m of signal[m] kernel[n - m], over the last axes, as many as the kernel has (1 to 3).

    signal: (*batch, *positions); kernel: (*taps). The result has the batch axes of the signal; per axis of M positions and K taps:

    - "full": M + K - 1 values, wherever the two overlap.
    - "valid": abs(M - K) + 1 values, where the shorter lies wholly inside the longer.
    - "same": the centre of "full". Libraries differ on it, so `convention` says whose centre; F is the first index into "full":

      | convention | values    | F                   | [1, 2, 3, 4] with [1, 10]               |
      |------------|-----------|---------------------|-----------------------------------------|
      | "numpy"    | max(M, K) | (min(M, K) - 1) // 2 | 1, 12, 23, 34: as numpy.convolve        |
      | "scipy"    | M         | (K - 1) // 2        | 1, 12, 23, 34: as scipy.signal.convolve |
      | "torch"    | M         | K // 2              | 12, 23, 34, 40: as padding='same'       |

      They agree for odd kernels no longer than the signal. "numpy" is the default: `convolve` is numpy's word.

    Differentiable in both. Whole numbers stay whole. Direct summation: M K products per axis. Raises UsageError for an unknown
    mode, empty or too few axes, and for "valid" where neither lies inside the other along every axis.
    Sources: Oppenheim and Schafer 2010, section 2.3; the documentation of numpy.convolve, scipy.signal.convolve, torch.nn.Conv2d.

    >>> convolve(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 2]), "same").tolist()
    [2, 5, 8, 6]
    """
    _check(signal, kernel, mode, convention)
    axes = kernel.ndim
    batch, sizes = signal.shape[: signal.ndim - axes], signal.shape[signal.ndim - axes :]
    pairs = list(zip(sizes, kernel.shape, strict=True))
    windows = [_window(size, taps, mode, convention) for size, taps in pairs]
    # Zeros on either side so that exactly the window's outputs are computed; torch.nn.functional.pad names the last axis first.
    ends = [(taps - 1 - first, first + count - size) for (size, taps), (first, count) in zip(pairs, windows, strict=True)]
    dtype = torch.promote_types(signal.dtype, kernel.dtype)
    flat = signal.to(dtype).reshape(math.prod(batch), 1, *sizes)
    padded = functional.pad(flat, [end for pair in reversed(ends) for end in pair])
    flipped = kernel.to(dtype).flip(tuple(range(axes)))
    return CORRELATIONS[axes](padded, flipped[None, None]).reshape(*batch, *(count for _, count in windows))


def _window(size: int, taps: int, mode: Mode, convention: Convention) -> tuple[int, int]:
    """The first index into the full convolution, and how many values are kept."""
    shorter, longer = min(size, taps), max(size, taps)
    if mode == "full":
        return 0, size + taps - 1
    if mode == "valid":
        return shorter - 1, longer - shorter + 1
    if convention == "numpy":
        return (shorter - 1) // 2, longer
    return ((taps - 1) // 2 if convention == "scipy" else taps // 2), size


def _check(signal: Tensor, kernel: Tensor, mode: str, convention: str) -> None:
    named: dict[str, object] = {"signal": signal, "kernel": kernel}
    for name, given in named.items():
        if not isinstance(given, Tensor):
            message = f"convolve takes tensors; the {name} came as {type(given).__name__}: make it one with torch.tensor(...)"
            raise UsageError(message)
    if mode not in {"full", "valid", "same"} or convention not in _CONVENTIONS:
        message = f"mode is full, valid or same and convention one of {', '.join(_CONVENTIONS)}; {mode!r}, {convention!r} came"
        raise UsageError(message)
    axes, sizes = kernel.ndim, tuple(signal.shape[max(signal.ndim - kernel.ndim, 0) :])
    if axes not in CORRELATIONS or signal.ndim < axes or 0 in kernel.shape or 0 in sizes:
        message = (
            f"a kernel of 1 to 3 axes and a signal with at least as many, none of them empty, are needed; "
            f"signal {tuple(signal.shape)} and kernel {tuple(kernel.shape)} came"
        )
        raise UsageError(message)
    if mode == "valid" and not (_inside(kernel.shape, sizes) or _inside(sizes, kernel.shape)):
        came = f"positions {sizes} and taps {tuple(kernel.shape)} came"
        message = f"'valid' needs one of the two to lie inside the other along every axis; {came}"
        raise UsageError(message)


def _inside(smaller: Sequence[int], larger: Sequence[int]) -> bool:
    return all(one <= other for one, other in zip(smaller, larger, strict=True))
