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
    odd = next((p for p in group["params"] if not _fusible(p)), None)
    if group["fused"] and odd is not None:
        gaps = odd.layout is torch.strided and not _is_dense(odd)
        came = f"{odd.dtype} on {odd.device}{f' with strides {odd.stride()}' if gaps else ''}"
        message = f"fused needs floating-point tensors without gaps on {' or '.join(FUSED)}; {came} came: leave fused out"
        raise UsageError(message)


def fused(group: Group) -> bool | None:
    """Whether a group's step is fused: as asked, else wherever torch has the kernel; None leaves foreach and loop to torch."""
    if group["fused"] is None and not group["foreach"] and group["foreach"] is None:
        return True if all(_fusible(p) for p in group["params"]) else None
    return group["fused"]  # type: ignore[no-any-return]


def _fusible(p: Tensor) -> bool:
    return type(p) in _PLAIN and p.is_floating_point() and p.device.type in FUSED and p.layout is torch.strided and _is_dense(p)


def _is_dense(p: Tensor) -> bool:
    """Whether a tensor's numbers lie side by side in some order: then, and only then, a tensor like it has its strides."""
    return p.is_contiguous() or torch.empty_like(p, device="meta").stride() == p.stride()


def evaluated(closure: Closure | None) -> Any:
    """What a closure returns, its backward pass allowed; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def gathered(optimizer: Optimizer) -> list[list[tuple[Tensor, Tensor]]]:
    """Parameters and gradients, by group, where there is one, laid out as the group's kernel reads them.

    Raises UsageError for sparse ones, before a step has moved anything.
    """
    found = []
    for group in optimizer.param_groups:
        pairs = [(p, gradient) for p in group["params"] if (gradient := p.grad) is not None]
        for _, gradient in pairs:
            if gradient.layout is not torch.strided:
                name = type(optimizer).__name__
                message = f"{name} averages every entry, and a gradient of {gradient.layout} came: use sparse=False, or SparseAdam"
                raise UsageError(message)
        found.append([(p, _laid(optimizer, p, gradient)) for p, gradient in pairs] if group.get("fused") else pairs)
    return found


def _laid(optimizer: Optimizer, p: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a fused step, which is laid out as its parameter afterwards, and so is the parameter's state.

    torch's fused kernels on the CPU read all of them in the order of memory, and give wrong numbers without a word where one is
    row-major and another channels_last: found with torch 2.13. Autograd lays gradients out as parameters; whoever sets them by
    hand, or loads a state from before `model.to(memory_format=...)`, may not.
    """
    strides = p.stride()
    if gradient.stride() != strides:
        gradient = p.grad = torch.empty_like(p).copy_(gradient.detach())
    state = optimizer.state.get(p)
    if not state:
        return gradient
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != strides:
            state[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
    return gradient
