"""Changes around an optimizer's step: its gradients and its learning rate."""

import torch

from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, number


class ClearGradients(Applied):
    """Clear an optimizer's gradients before the first backward pass after each of its steps."""

    KIND = "clear-gradients"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._cleared_for = 0

    def before_backward(self, watcher: Watcher) -> None:
        """Clear, once a step."""
        for followed in watcher.optimizers.all():
            optimizer = followed.optimizer()
            if followed.number == self.arguments["optimizer"] and optimizer is not None and followed.steps != self._cleared_for:
                self._cleared_for = followed.steps
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.grad = None
                self.applied(watcher)


class ClipGradients(Applied):
    """Clip the norm of an optimizer's gradients before every step."""

    KIND = "clip-gradients"

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Clip."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, number(self.arguments["norm"]))
        self.applied(watcher)


class ScaleLearningRate(Applied):
    """Step with a scaled learning rate; the script's own schedule goes on underneath."""

    KIND = "scale-learning-rate"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._kept: list[tuple[dict[str, object], object]] = []

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Scale for this step."""
        for group in optimizer.param_groups:
            self._kept.append((group, group["lr"]))
            group["lr"] = group["lr"] * number(self.arguments["factor"])
        self.applied(watcher)

    def after_step(self, watcher: Watcher) -> None:
        """Put back what the schedule knows of."""
        del watcher
        for group, rate in self._kept:
            group["lr"] = rate
        self._kept.clear()
