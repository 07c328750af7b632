"""Tensors into a few plain numbers, without touching random numbers, gradients or the user's modes."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def is_plain(value: object) -> bool:
    """Whether a value is an ordinary tensor whose numbers may be read: no subclass, no transform, no proxy."""
    if type(value) not in {Tensor, torch.nn.Parameter}:
        return False
    tensor: Tensor = value  # type: ignore[assignment] # narrowed by the line above
    return tensor.device.type != "meta" and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001


_HAS_CUDA: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]


def may_measure() -> bool:
    """Whether our own tensor arithmetic would stay unseen: no user dispatch mode, no compilation, no graph capture."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:  # noqa: SLF001
        return False
    # Only a machine with CUDA can be capturing, and the question itself must not initialise the device.
    in_use = _HAS_CUDA and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return not (in_use and torch.cuda.is_current_stream_capturing())


@contextmanager
def unseen() -> Iterator[None]:
    """Arithmetic of ours: no gradients, no autocast, no torch-function mode of the user's."""
    with torch.no_grad(), torch._C.DisableTorchFunction():  # noqa: SLF001
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                yield
        else:
            yield


def randomness() -> tuple[Tensor, ...]:
    """Where torch's own random numbers stand, on the CPU and on devices in use."""
    generators = [torch.default_generator]
    if _HAS_CUDA and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        generators.extend(torch.cuda.default_generators)
    return tuple(generator.get_state() for generator in generators)


def has_drawn(before: tuple[Tensor, ...]) -> bool:
    """Whether torch's random numbers have gone on since they stood so; no if nothing is known."""
    return bool(before) and not all(map(torch.equal, before, randomness()))


def scalar(tensor: object) -> float | None:
    """The value of a one-element tensor, or None if it has none to read."""
    if not is_plain(tensor) or tensor.numel() != 1:  # type: ignore[attr-defined]
        return None
    return float(tensor.detach())  # type: ignore[attr-defined]


def norms(tensors: Sequence[Tensor]) -> list[float]:
    """The 2-norm of each tensor, read from the device at once."""
    if not tensors:
        return []
    found: list[Tensor] = []
    for tensor in tensors:
        dense = tensor.coalesce().values() if tensor.is_sparse else tensor
        real = torch.view_as_real(dense) if dense.is_complex() else dense
        # In float64: the squares of float32 values overflow from 1e19 on, where the values themselves are finite.
        wide = torch.float64 if real.device.type != "mps" else torch.float32
        found.append(torch.linalg.vector_norm(real, dtype=wide))
    return _read(found)


def _read(scalars: Sequence[Tensor]) -> list[float]:
    if all(value.device.type == "cpu" for value in scalars):
        return [float(value) for value in scalars]
    together = torch.stack([value.double().to(scalars[0].device) for value in scalars])
    return [float(value) for value in together.tolist()]


def fingerprints(tensors: Sequence[Tensor]) -> list[tuple[float, float]]:
    """Sum and sum of squares of each tensor in float64: a change of one element by one unit shows in them."""
    values: list[Tensor] = []
    for tensor in tensors:
        plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        values.append(plain.sum(dtype=torch.float64) if plain.device.type != "mps" else plain.sum())
        # The dot product needs no copy; its rounding repeats exactly, so equal tensors give equal numbers.
        flat = plain.reshape(-1).float() if plain.dtype not in {torch.float32, torch.float64} else plain.reshape(-1)
        values.append(torch.dot(flat, flat))
    numbers = _read(values)
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def mean_and_deviation(fingerprint: tuple[float, float], count: int) -> tuple[float, float]:
    """Mean and standard deviation from sum and sum of squares."""
    if count == 0:
        return 0.0, 0.0
    mean = fingerprint[0] / count
    variance = fingerprint[1] / count - mean**2
    return mean, math.sqrt(variance) if variance > 0 else 0.0
