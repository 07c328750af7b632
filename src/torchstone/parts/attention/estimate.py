"""The estimate by positive features as one differentiable operation, eager and under torch.compile.

Eager it is an autograd.Function, whose products torch's counters see. A compiler gets it as one opaque operator instead: its loop
over chunks would otherwise be unrolled into thousands of nodes.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from torchstone.parts.attention.landmarks import landmark_backward, landmark_forward
from torchstone.parts.attention.prefixes import chunk_count, prefix_backward, prefix_forward

Four = tuple[Tensor, Tensor, Tensor, Tensor]
Three = tuple[Tensor, Tensor, Tensor]


def estimate(
    query: Tensor, key: Tensor, value: Tensor, directions: Tensor, scale: float, padding: Tensor | None, *, is_causal: bool
) -> Tensor:
    """Attention by positive features along `directions`, constants that hold the root of the scale: (b, h, t, e)."""
    inputs = [query, key, value, directions]
    if torch.compiler.is_compiling():
        compiled: Four = _opaque(inputs, scale, padding, is_causal)
        return compiled[0]
    output: Tensor = _Estimate.apply(*inputs, scale, padding, is_causal)  # type: ignore[no-untyped-call]
    return output


def _in_full(device: torch.device) -> AbstractContextManager[object]:
    """No autocast, where the device has one: the meta device has none."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def _forward(inputs: list[Tensor], scale: float, padding: Tensor | None, is_causal: bool) -> Four:  # noqa: FBT001 - an operator's
    """The output, a number for each query, and two sums over the keys. Autocast would round the exponents."""
    query, key, value, directions = inputs
    with _in_full(query.device):
        return (prefix_forward if is_causal else landmark_forward)(query, key, value, directions, scale, padding)


def _backward(
    gradient: Tensor, inputs: list[Tensor], scale: float, padding: Tensor | None, kept: list[Tensor], is_causal: bool  # noqa: FBT001
) -> Three:  # fmt: skip
    """Gradients of query, key and value."""
    with _in_full(gradient.device):
        return (prefix_backward if is_causal else landmark_backward)(gradient, tuple(inputs), scale, padding, tuple(kept))


class _Estimate(torch.autograd.Function):
    """(query, key, value, directions, scale, padding, is_causal) to the output."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *inputs, scale, padding, is_causal = arguments
        kept = _forward(inputs, scale, padding, is_causal)
        ctx.save_for_backward(*inputs, padding, *kept)
        ctx.scale, ctx.is_causal = scale, is_causal
        return kept[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, padding = ctx.saved_tensors[:5]
        found = _backward(gradients[0], inputs, ctx.scale, padding, ctx.saved_tensors[5:], ctx.is_causal)
        return *found, None, None, None, None


def _made(inputs: list[Tensor], scale: float, padding: Tensor | None, is_causal: bool) -> Four:  # noqa: ARG001, FBT001
    """Shapes of what `_forward` gives, for a compiler."""
    query, _, value, directions = inputs
    batch, heads, length, _ = query.shape
    features, width = directions.shape[0], value.shape[-1]
    output, sums = value.new_empty(batch, heads, length, width), directions.new_empty(batch, heads, length, 1)
    if not is_causal:
        return output, sums, directions.new_empty(batch, heads, features, width), directions.new_empty(batch, heads, 1, features)
    count = chunk_count(length, features)
    states = directions.new_empty(count, batch, heads, features, width + 1)
    return output, sums, states, directions.new_empty(count, batch, heads, 1, features)


def _made_backward(gradient: Tensor, inputs: list[Tensor], *_: Any) -> Three:  # noqa: ARG001
    """Shapes of what `_backward` gives, for a compiler."""
    return torch.empty_like(inputs[0]), torch.empty_like(inputs[1]), torch.empty_like(inputs[2])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Four) -> None:
    tensors, ctx.scale, padding, ctx.is_causal = inputs
    ctx.save_for_backward(*tensors, padding, *output)


def _differentiate(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Any, ...]:
    *inputs, padding = ctx.saved_tensors[:5]
    found = _opaque_backward(gradient, inputs, ctx.scale, padding, list(ctx.saved_tensors[5:]), ctx.is_causal)
    return [*found, None], None, None, None


_opaque = torch.library.custom_op("torchstone::random_feature_attention", _forward, mutates_args=())
_opaque_backward = torch.library.custom_op("torchstone::random_feature_attention_backward", _backward, mutates_args=())
_opaque.register_fake(_made)
_opaque_backward.register_fake(_made_backward)
_opaque.register_autograd(_differentiate, setup_context=_keep)
