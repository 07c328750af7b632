"""Adam that says which decay it has, and an Adam whose lines can be altered."""

import inspect
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from torchstone.core.errors import UsageError
from torchstone.laws.optimization.adaptive import FORMS, LINES
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

Form = Literal["l2", "decoupled"]
Line = Literal["gradient", "first moment", "second moment", "parameter update"]
# Without the wrapper that torch puts around a step for its hooks: ours has its own, and a hook must run once.
_torch_step = inspect.unwrap(torch.optim.Adam.step)


def _numbers(group: Group) -> None:
    """Check a group's numbers."""
    betas = group["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != 2:  # noqa: PLR2004 - one a moment
        message = f"betas are two numbers, one a moment; {betas!r} came"
        raise UsageError(message)
    named = {"eps": group["eps"], "weight_decay": group["weight_decay"], "betas[0]": betas[0], "betas[1]": betas[1]}
    if not isinstance(group["lr"], Tensor):
        named["lr"] = group["lr"]
    checked(named, below_one=("betas[0]", "betas[1]"))


class Adam(torch.optim.Adam):
    """Adam with the decay named: "decoupled" (theta <- (1 - lr weight_decay) theta, AdamW) or "l2" (g <- g + weight_decay theta).

    There is no default: `decay` must be said wherever weight_decay is above 0, since both are called weight decay and differ.
    With the same kernel it is bit for bit torch.optim.Adam or torch.optim.AdamW, and loads their state dicts (which then say the
    form). `decay` is also an option of a param group. By default the step is fused where torch can; every other argument, hook and
    method is torch.optim.Adam's: lr may be a tensor, `capturable` lets a step be captured in a CUDA graph.

    Raises UsageError for an unnamed or unknown decay, numbers out of range, sparse gradients (before anything moves) and
    differentiable=True. Sources: Kingma and Ba 2015; Loshchilov and Hutter 2019, algorithm 2; assignment C4.2, final exam D4b.

    >>> weight = torch.nn.Parameter(torch.ones(()))
    >>> optimizer = Adam([weight], lr=0.5, weight_decay=0.5, decay="decoupled")
    >>> weight.grad = torch.zeros(())
    >>> optimizer.step()
    >>> weight.item()
    0.75
    """

    def __init__(  # noqa: PLR0913 - torch.optim.Adam's arguments
        self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, decay: Form | None = None, *, amsgrad: bool = False, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        not_differentiable(differentiable=differentiable)
        _numbers({"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._decay = decay
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable, fused=fused,
            decoupled_weight_decay=decay == "decoupled",
        )  # fmt: skip
        self.defaults["decay"] = decay
        self._unscales()

    def add_param_group(self, param_group: Group) -> None:
        """A further group; it may have its own "decay". Raises UsageError for numbers or a form that no step has."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _numbers(group)
            kernels(group)
            group.setdefault("decay", self._decay)
            _form(group)
        except UsageError:
            self.param_groups.pop()
            raise
        group["fused"] = fused(group)
        self._unscales()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups from elsewhere: torch's say the form by `decoupled_weight_decay`; where no kernel was asked for, one is chosen.

        Raises UsageError for the state of an optimizer without two moments, before anything is loaded.
        """
        if any("betas" not in group for group in state["param_groups"]):
            message = "the state of another optimizer came (without betas): Adam cannot go on from it; start anew"
            raise UsageError(message)
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.__dict__.setdefault("_decay", None)
        for group in self.param_groups:
            if "decay" not in group:
                group["decay"] = "decoupled" if group["decoupled_weight_decay"] else "l2"
            group["fused"] = fused(group)
            for p in group["params"] if group["fused"] else ():
                if "step" in self.state.get(p, {}):
                    self.state[p]["step"] = self.state[p]["step"].to(p.device, torch.float32)
        self._unscales()

    def _unscales(self) -> None:
        """Tell GradScaler whether the kernel unscales: only if all groups are fused."""
        self._step_supports_amp_scaling = all(group["fused"] for group in self.param_groups)

    def step(self, closure: Closure | None = None) -> Any:
        """One step of every parameter that has a gradient; `closure` computes the loss anew, which is returned."""
        loss = evaluated(closure)
        gathered(self)
        for group in self.param_groups:
            _form(group)
        with torch.no_grad():
            _torch_step(self)
        return loss


def _form(group: Group) -> None:
    """The group's form, told to torch's kernel. Raises UsageError where it is not said or not known."""
    said = group["decay"]
    if said not in FORMS and not (said is None and group["weight_decay"] == 0):
        message = f'decay is "l2" (in the gradient) or "decoupled" (beside the step, AdamW); {said!r} came: say one of them'
        raise UsageError(message)
    group["decoupled_weight_decay"] = said == "decoupled"


class AdamByLine(Optimizer):
    """Adam written line by line, its decay term put into the line that you name: to see which line makes which form. Slow.

    `line` is "gradient", "first moment", "second moment" or "parameter update"; the term weight_decay·theta is added to the
    gradient of that line alone (the first line: of all lines), in the last lr·weight_decay·theta leaves the parameter beside the
    step. Each line is the law `optimization.adam_step` on tensors. Raises UsageError for an unknown line, numbers out of range, and
    sparse gradients. Source: Kingma and Ba 2015, algorithm 1; final exam D4b, assignment C4.2.

    >>> AdamByLine([torch.nn.Parameter(torch.ones(2))], weight_decay=0.1, line="gradient").param_groups[0]["line"]
    'gradient'
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, line: Line = "gradient", *, maximize: bool = False,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "line": line, "maximize": maximize}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """A further group; it may have its own line."""
        super().add_param_group(param_group)
        try:
            _numbers(self.param_groups[-1])
            _line(self.param_groups[-1]["line"])
        except UsageError:
            self.param_groups.pop()
            raise

    def step(self, closure: Closure | None = None) -> Any:
        """One step of every parameter that has a gradient; `closure` computes the loss anew, which is returned."""
        loss = evaluated(closure)
        pairs = gathered(self)
        with torch.no_grad():
            for group, found in zip(self.param_groups, pairs, strict=True):
                for p, gradient in found:
                    self._move(group, p, -gradient if group["maximize"] else gradient)
        return loss

    def _move(self, group: Group, p: Tensor, gradient: Tensor) -> None:
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        state["step"] += 1
        (beta1, beta2), line = group["betas"], group["line"]
        term = group["weight_decay"] * p
        shared = gradient + term if line == "gradient" else gradient
        first, second = (shared + term if line == name else shared for name in ("first moment", "second moment"))
        state["exp_avg"].mul_(beta1).add_(first, alpha=1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(second, second, value=1 - beta2)
        mean = state["exp_avg"] / (1 - beta1 ** state["step"])
        root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt()
        if line == "parameter update":
            p.sub_(term, alpha=group["lr"])
        p.addcdiv_(mean, root + group["eps"], value=-group["lr"])


def _line(line: object) -> None:
    if line not in LINES:
        message = f"a line of Adam is one of {', '.join(LINES)}; {line!r} came"
        raise UsageError(message)
