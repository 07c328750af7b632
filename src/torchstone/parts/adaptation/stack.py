"""Stacks of linear layers and activations, with every task's parameters of its own: forward and gradient as batched products.

The gradient is written out in differentiable operations, so that the gradient of steps made with it needs one backward through
torch's graph and no transform. Axis letters: t tasks, n examples, i in features, o out features.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError

Parameters = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
# (gradient of an activation's output, its input, its output) -> gradient of its input, itself differentiable.
Backward = Callable[[Tensor, Tensor, Tensor], Tensor]
aten = torch.ops.aten
IGNORED = -100  # targets that torch's cross-entropy leaves out unless told otherwise


@dataclass(frozen=True)
class Linear:
    """Names of a linear layer's parameters."""

    weight: str
    bias: str | None


@dataclass(frozen=True)
class Activation:
    """An elementwise map and how gradients pass it."""

    module: nn.Module
    backward: Backward


# Exact types only: a subclass may do anything.
_BACKWARDS: dict[type[nn.Module], Callable[[Any], Backward]] = {
    nn.ReLU: lambda _: lambda gradient, _, output: aten.threshold_backward(gradient, output, 0),
    nn.Tanh: lambda _: lambda gradient, _, output: aten.tanh_backward(gradient, output),
    nn.Sigmoid: lambda _: lambda gradient, _, output: aten.sigmoid_backward(gradient, output),
    nn.LeakyReLU: lambda one: lambda gradient, x, _: aten.leaky_relu_backward(gradient, x, one.negative_slope, False),  # noqa: FBT003
    nn.GELU: lambda one: lambda gradient, x, _: aten.gelu_backward(gradient, x, approximate=one.approximate),
    nn.Softplus: lambda one: lambda gradient, x, _: aten.softplus_backward(gradient, x, one.beta, one.threshold),
    nn.Identity: lambda _: lambda gradient, _, __: gradient,
}


def read_stack(model: nn.Module) -> "Stack | None":
    """A model as a stack, if it is nn.Sequential of linear layers and activations without hooks, each with its own parameters."""
    if _hooked(model):
        return None
    flat = _flattened(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = [id(parameter) for module in flat for parameter in module.parameters(recurse=False)]
    if len({id(module) for module in flat}) != len(flat) or not any(type(module) is nn.Linear for module in flat):
        return None
    if len(set(held)) != len(held):  # a tied parameter gets a gradient from each of its places
        return None
    layers: list[Linear | Activation] = []
    for module in flat:
        if type(module) is nn.Linear:
            layers.append(Linear(names[id(module.weight)], None if module.bias is None else names[id(module.bias)]))
        elif type(module) in _BACKWARDS and not getattr(module, "inplace", False):
            layers.append(Activation(module, _BACKWARDS[type(module)](module)))
        else:
            return None
    return Stack(layers)


def _flattened(module: nn.Module) -> list[nn.Module]:
    """The modules that a sequence calls, in order, sequences inside it opened; a second use of one module appears again."""
    if type(module) is not nn.Sequential:
        return [module]
    return [found for child in module for found in _flattened(child)]


def _hooked(model: nn.Module) -> bool:
    """Whether somebody watches a module's calls, which a stack does not make."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for module in model.modules() for name in hooks)


class Stack:
    """A stack's forward and gradient, parameters (t, ...) stacked over tasks."""

    def __init__(self, layers: Sequence[Linear | Activation]) -> None:
        self.layers = layers

    def forward(self, parameters: Parameters, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs (t, n, o), and what enters each layer."""
        entering = []
        for layer in self.layers:
            entering.append(inputs)
            if isinstance(layer, Activation):
                inputs = layer.module(inputs)
            elif layer.bias is None:
                inputs = inputs @ parameters[layer.weight].mT
            else:
                inputs = torch.baddbmm(parameters[layer.bias].unsqueeze(1), inputs, parameters[layer.weight].mT)
        return inputs, entering

    def step(
        self, parameters: Parameters, inputs: Tensor, targets: Tensor, loss: Loss, rate: float, adapted: Container[str | None]
    ) -> dict[str, Tensor]:
        """Parameters after one step of gradient descent on each task's loss; those not in `adapted` stay."""
        output, entering = self.forward(parameters, inputs)
        gradient, moved = loss_gradient(loss, output, targets), dict(parameters)
        linear = [(number, layer) for number, layer in enumerate(self.layers) if isinstance(layer, Linear)]
        first = next(number for number, layer in linear if layer.weight in adapted or layer.bias in adapted)
        for number in range(len(self.layers) - 1, first - 1, -1):
            layer = self.layers[number]
            if isinstance(layer, Activation):
                following = entering[number + 1] if number + 1 < len(entering) else output
                gradient = layer.backward(gradient, entering[number], following)
                continue
            if layer.bias is not None and layer.bias in adapted:
                moved[layer.bias] = torch.sub(parameters[layer.bias], gradient.sum(1), alpha=rate)
            if layer.weight in adapted:
                moved[layer.weight] = torch.baddbmm(parameters[layer.weight], gradient.mT, entering[number], alpha=-rate)
            if number > first:
                gradient = torch.bmm(gradient, parameters[layer.weight])
        return moved


def loss_gradient(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """The gradient of every task's loss by its outputs (t, n, ...), differentiable where the outputs are."""
    if loss is functional.mse_loss and output.shape == targets.shape:
        return (output - targets) * (2.0 / output[0].numel())
    if loss is functional.cross_entropy and output.dim() == 3 and targets.dim() == 2 and not targets.is_floating_point():  # noqa: PLR2004
        counted = (targets != IGNORED).unsqueeze(-1)
        chosen = functional.one_hot(targets.masked_fill(targets == IGNORED, 0), output.shape[-1]).to(output.dtype)
        return (output.softmax(-1) - chosen) * counted / counted.sum(1, keepdim=True)
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = output if output.requires_grad else output.detach().requires_grad_()
        total = torch.func.vmap(lambda own, wanted: one_number(loss(own, wanted)))(leaf, targets).sum()
        (gradient,) = torch.autograd.grad(total, leaf, create_graph=differentiable)
    return gradient


def one_number(loss: Tensor) -> Tensor:
    """A task's loss, seen to be a scalar: the gradient of a sum, which a vector would be taken for, is not that of a mean."""
    if loss.dim():
        message = f"a loss gives one number; a tensor of shape {tuple(loss.shape)} came: give it reduction='mean'"
        raise UsageError(message)
    return loss
