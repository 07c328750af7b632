"""Layers written out in plain operations, where torch's vmap with weights for each task has a wrong second derivative.

Found with torch 2.13 by differences, first order right in all of them: layer normalisation 1 % off in the gradient of what comes
before the norm; batch and instance normalisation with a weight up to 8 %; an embedding with a padding index, whose second
derivative reaches the padding row.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class WrittenOut(TorchFunctionMode):
    """While it is entered, those layers are computed by plain operations."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _WRITTEN.get(function, function)(*args, **(kwargs or {}))


def _normalized(input: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:  # noqa: A002 - torch's name
    centred = input - input.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)


def _weighted(normalized: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    weighted = normalized if weight is None else normalized * weight.view(shape)
    return weighted if bias is None else weighted + bias.view(shape)


def _layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5  # noqa: A002
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    return _weighted(_normalized(input, axes, eps), weight, bias, normalized_shape)


def _batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,  # noqa: A002
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,  # noqa: ARG001, FBT001, FBT002
) -> Tensor:  # fmt: skip
    channels = (1, -1, *[1] * (input.dim() - 2))
    if training or running_mean is None or running_var is None:
        return _weighted(_normalized(input, (0, *range(2, input.dim())), eps), weight, bias, channels)
    known = (input - running_mean.view(channels)) * torch.rsqrt(running_var.view(channels) + eps)
    return _weighted(known, weight, bias, channels)


def _instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,  # noqa: A002
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,  # noqa: FBT001, FBT002
) -> Tensor:  # fmt: skip
    if not use_input_stats:
        return _batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)  # noqa: FBT003
    return _weighted(_normalized(input, tuple(range(2, input.dim())), eps), weight, bias, (1, -1, *[1] * (input.dim() - 2)))


def _embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,  # noqa: A002
    scale_grad_by_freq: bool = False, sparse: bool = False,  # noqa: FBT001, FBT002
) -> Tensor:  # fmt: skip
    rows = functional.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % weight.shape[0]).unsqueeze(-1)
    return torch.where(padding, rows.detach(), rows)


_WRITTEN: dict[Any, Callable[..., Tensor]] = {
    functional.layer_norm: _layer_norm,
    functional.batch_norm: _batch_norm,
    functional.instance_norm: _instance_norm,
    functional.embedding: _embedding,
}
