"""What every optimizer here shares: numbers checked, sparse gradients refused before anything moves, the kernel chosen."""

import math
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchstone.core.errors import UsageError

Closure = Callable[[], Any]
Group = dict[str, Any]
FUSED = ("cpu", "cuda")  # where torch's fused kernels are held to the same numbers
_PLAIN = frozenset({Tensor, nn.Parameter})


def checked(named: dict[str, object], below_one: Iterable[str] = ()) -> None:
    """Numbers of a step: finite and 0 or more, those of `below_one` below 1. Raises UsageError with the name and the value."""
    for name, value in named.items():
        highest = 1.0 if name in below_one else math.inf
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < highest:
            came = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            wanted = "in [0, 1)" if name in below_one else "a number, finite and 0 or more"
            message = f"{name} is {wanted}; {came} came"
            raise UsageError(message)


def not_differentiable(*, differentiable: bool) -> None:
    """Refuse a graph through the step: these optimizers write into their parameters."""
    if differentiable:
        message = "a step that can be differentiated was asked for: this one writes in place; write the update as a function"
        raise UsageError(message)


def kernels(group: Group) -> None:
    """Check `foreach` and `fused` of a group."""
    if group["fused"] and group["foreach"]:
        message = "fused and foreach are two kernels of one step, and both were asked for: leave one of them out"
        raise UsageError(message)
    odd = [p for p in group["params"] if not _fusible(p)]
    if group["fused"] and odd:
        message = f"fused needs floating-point tensors on {' or '.join(FUSED)}; {odd[0].dtype} on {odd[0].device} came: leave out"
        raise UsageError(message)


def fused(group: Group) -> bool | None:
    """Whether a group's step is fused: as asked, else wherever torch has the kernel; None leaves foreach and loop to torch."""
    if group["fused"] is None and not group["foreach"] and group["foreach"] is None:
        return True if all(_fusible(p) for p in group["params"]) else None
    return group["fused"]  # type: ignore[no-any-return]


def _fusible(p: Tensor) -> bool:
    return type(p) in _PLAIN and p.is_floating_point() and p.device.type in FUSED


def evaluated(closure: Closure | None) -> Any:
    """What a closure returns, its backward pass allowed; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def gathered(optimizer: Optimizer) -> list[list[tuple[Tensor, Tensor]]]:
    """Parameters and gradients, by group, where there is one. Refuses sparse ones, before a step has moved anything."""
    found = []
    for group in optimizer.param_groups:
        pairs = [(p, gradient) for p in group["params"] if (gradient := p.grad) is not None]
        for _, gradient in pairs:
            if gradient.layout is not torch.strided:
                name = type(optimizer).__name__
                message = f"{name} averages every entry, and a gradient of {gradient.layout} came: use sparse=False, or SparseAdam"
                raise UsageError(message)
        found.append(pairs)
    return found
