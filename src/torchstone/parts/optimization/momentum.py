"""Momentum in its two forms, as torch optimizers over torch's own SGD kernels (fused where torch has one)."""

from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT
from torch.optim.sgd import sgd

from torchstone.core.errors import UsageError
from torchstone.parts.optimization.stepping import (
    Closure,
    Group,
    checked,
    evaluated,
    fused,
    gathered,
    kernels,
    not_differentiable,
)

Coefficients = tuple[float, float, float]  # momentum, dampening, learning rate of torch's kernel
Batch = tuple[list[Tensor], list[Tensor], list[Tensor | None]]  # parameters, gradients, buffers


_OTHERS = ("nesterov", "betas")  # options of other forms, where they are on
_SGD = ("dampening", "nesterov")  # SGD's options, which a form has chosen for good


class Hyperparameters(TypedDict):
    """Arguments of an optimizer here."""

    lr: float
    momentum: float


class _Averaging(Optimizer):
    """Both forms: torch's buffer b = momentum b + (1 - dampening) g, theta -= lr b, begun at 0; a form chooses these."""

    def __init__(self, params: ParamsT, lr: float, momentum: float, weight_decay: float, **flags: Any) -> None:
        not_differentiable(differentiable=flags.pop("differentiable"))
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, **flags})

    def add_param_group(self, param_group: Group) -> None:
        """A further group, its numbers checked first. Raises UsageError for numbers that no step has."""
        super().add_param_group(param_group)
        try:
            group = self.param_groups[-1]
            checked({name: group[name] for name in ("lr", "momentum", "weight_decay")}, below_one=("momentum",))
            kernels(group)
        except UsageError:
            self.param_groups.pop()
            raise
        group["fused"] = fused(group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups from elsewhere, SGD's too: where no kernel was asked for, one is chosen.

        Raises UsageError for the state of another form, before anything is loaded: its buffer is another average.
        """
        averages = isinstance(self, RunningAverage)
        for group in state["param_groups"]:
            strange = [name for name in _OTHERS if group.get(name, False) is not False]
            strange += ["bias_correction"] if "bias_correction" in group and not averages else []
            strange += ["dampening"] if group.get("dampening", 0) not in (0, group["momentum"] if averages else 0) else []
            if strange or (averages and "bias_correction" not in group):
                came = f"with {strange[0]}={group[strange[0]]}" if strange else "without bias_correction"
                message = f"the state of another optimizer came ({came}): {type(self).__name__} cannot go on from it; start anew"
                raise UsageError(message)
        super().__setstate__(state)
        for group in self.param_groups:
            for name in _SGD:
                group.pop(name, None)
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            group["fused"] = fused(group)

    def state_dict(self) -> dict[str, Any]:
        """torch's, with the dampening that makes SGD this form: torch.optim.SGD loads it too, unless the bias is corrected."""
        saved: dict[str, Any] = super().state_dict()
        for group in saved["param_groups"]:
            if not group.get("bias_correction"):
                group["dampening"] = group["momentum"] if isinstance(self, RunningAverage) else 0.0
        return saved

    def _coefficients(self, group: Group, state: dict[str, Any]) -> Coefficients:
        raise NotImplementedError

    def step(self, closure: Closure | None = None) -> Any:
        """One step of every parameter that has a gradient; `closure` computes the loss anew, which is returned.

        Raises UsageError for sparse gradients, before anything has moved.
        """
        loss = evaluated(closure)
        pairs = gathered(self)
        with torch.no_grad():
            for group, found in zip(self.param_groups, pairs, strict=True):
                self._move(group, found)
        return loss

    def _move(self, group: Group, pairs: list[tuple[Tensor, Tensor]]) -> None:
        """One kernel call for all parameters with the same coefficients: all of them, unless some had no gradient before."""
        for (momentum, dampening, rate), (params, grads, buffers) in self._alike(group, pairs).items():
            sgd(
                params, grads, buffers, foreach=group["foreach"], fused=group["fused"], weight_decay=group["weight_decay"],
                momentum=momentum, lr=rate, dampening=dampening, nesterov=False, maximize=group["maximize"],
            )  # fmt: skip

    def _alike(self, group: Group, pairs: list[tuple[Tensor, Tensor]]) -> dict[Coefficients, Batch]:
        """Parameters, gradients and buffers by coefficients; plain descent keeps no buffers."""
        if not group["momentum"]:
            for p, _ in pairs if self.state else ():
                self.state.pop(p, None)
            return {(0.0, 0.0, group["lr"]): ([p for p, _ in pairs], [gradient for _, gradient in pairs], [])}
        alike: dict[Coefficients, Batch] = {}
        for p, gradient in pairs:
            state = self.state[p]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            coefficients = self._coefficients(group, state)
            batch = alike.get(coefficients)
            if batch is None:
                batch = alike[coefficients] = ([], [], [])
            batch[0].append(p)
            batch[1].append(gradient)
            batch[2].append(state["momentum_buffer"])
        return alike


class Momentum(_Averaging):
    """Momentum: v = momentum v + lr g, theta -= v; v begins at 0 and holds the learning rates of its own gradients.

    `momentum` is the documents' alpha, `lr` their eps. With a constant lr it is bit for bit torch.optim.SGD(momentum=...). When a
    scheduler changes lr, SGD multiplies the whole buffer by the new rate; here each gradient keeps the rate that it came with.
    `weight_decay` is torch's (added to the gradient: an L2 penalty); `maximize`, `foreach`, `fused`, param groups, closures, hooks,
    schedulers and state dicts are torch.optim's; SGD's own state dicts load, and SGD loads these. By default the step is fused
    where torch can. With momentum 0 it is plain descent and keeps no buffer. GradScaler unscales before the step (no fused
    unscaling).

    Raises UsageError for numbers out of range, sparse gradients, and differentiable=True. Source: Polyak 1964; assignment C2.1.

    >>> weight = torch.nn.Parameter(torch.zeros(()))
    >>> optimizer = Momentum([weight], lr=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     weight.grad = torch.ones(())
    ...     optimizer.step()
    >>> weight.item(), optimizer.velocity(weight).item()
    (-1.25, 0.75)
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 0.0, *,
        maximize: bool = False, foreach: bool | None = None, fused: bool | None = None, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, momentum, weight_decay, maximize=maximize, foreach=foreach, fused=fused, differentiable=differentiable
        )

    def _coefficients(self, group: Group, state: dict[str, Any]) -> Coefficients:
        """The buffer is v in units of the last rate: torch's own buffer while the rate stays, converted where it changes."""
        rate: float = group["lr"]
        unit: float = state.get("rate", rate)
        if rate == 0:  # no gradient joins, and the velocity still moves
            return group["momentum"], 1.0, unit
        state["rate"] = rate
        return group["momentum"] if unit == rate else group["momentum"] * (unit / rate), 0.0, rate

    def velocity(self, parameter: Tensor) -> Tensor:
        """The v of a parameter, of its shape: what it moved by at its last step. Zeros before the first, or with momentum 0."""
        state = self.state.get(parameter, {})
        if state.get("momentum_buffer") is None:
            return torch.zeros_like(parameter)
        return state["momentum_buffer"] * state.get("rate", 0.0)  # type: ignore[no-any-return]


class RunningAverage(_Averaging):
    """A running average of the gradients: v = momentum v + (1 - momentum) g, theta -= lr v; v begins at 0.

    `momentum` is the documents' beta, `lr` their delta. The average is too small by the factor 1 - beta^t at first;
    `bias_correction=True` divides the step by it (with a changing beta: by 1 minus the product of all betas so far), as Adam's
    first moment does. Unlike torch.optim.SGD(dampening=momentum), the first gradient is damped too. The other arguments are
    `Momentum`'s.

    Raises UsageError as `Momentum`. Source: Kingma and Ba 2015, section 3; assignment C2.

    >>> weight = torch.nn.Parameter(torch.zeros(()))
    >>> optimizer = RunningAverage([weight], lr=1.0, momentum=0.75, bias_correction=True)
    >>> weight.grad = torch.ones(())
    >>> optimizer.step()
    >>> weight.item(), optimizer.average(weight).item()
    (-1.0, 0.25)
    """

    def __init__(  # noqa: PLR0913 - torch.optim's arguments
        self, params: ParamsT, lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 0.0, *,
        bias_correction: bool = False, maximize: bool = False, foreach: bool | None = None, fused: bool | None = None,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, momentum, weight_decay, bias_correction=bias_correction, maximize=maximize, foreach=foreach, fused=fused,
            differentiable=differentiable,
        )  # fmt: skip

    def _coefficients(self, group: Group, state: dict[str, Any]) -> Coefficients:
        beta = group["momentum"]
        # The share of the average that is still its start, 0: beta^t while beta stays.
        missing = state["missing"] = state.get("missing", 1.0) * beta
        return beta, beta, group["lr"] / (1 - missing) if group["bias_correction"] else group["lr"]

    def average(self, parameter: Tensor, *, corrected: bool = False) -> Tensor:
        """The v of a parameter, of its shape; `corrected`: without its bias. Zeros before the first step, or with momentum 0."""
        state = self.state.get(parameter, {})
        if state.get("momentum_buffer") is None:
            return torch.zeros_like(parameter)
        return state["momentum_buffer"] / (1 - state["missing"] if corrected else 1.0)  # type: ignore[no-any-return]


def to_running_average(lr: float, momentum: float) -> Hyperparameters:
    """Arguments of the `RunningAverage` that takes the steps of `Momentum(lr=lr, momentum=momentum)`: delta = eps / (1 - alpha).

    Raises UsageError for numbers out of range. Source: assignment C2.1; law `optimization.averaged_hyperparameters`.

    >>> to_running_average(lr=0.5, momentum=0.75)
    {'lr': 2.0, 'momentum': 0.75}
    """
    checked({"lr": lr, "momentum": momentum}, below_one=("momentum",))
    return {"lr": lr / (1 - momentum), "momentum": momentum}


def to_momentum(lr: float, momentum: float) -> Hyperparameters:
    """Arguments of the `Momentum` that takes the steps of `RunningAverage(lr=lr, momentum=momentum)`: eps = delta (1 - beta).

    Raises UsageError for numbers out of range. Source: assignment C2.1; law `optimization.momentum_hyperparameters`.

    >>> to_momentum(lr=2.0, momentum=0.75)
    {'lr': 0.5, 'momentum': 0.75}
    """
    checked({"lr": lr, "momentum": momentum}, below_one=("momentum",))
    return {"lr": lr * (1 - momentum), "momentum": momentum}
