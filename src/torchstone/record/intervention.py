"""Where a change of the run can take hold: the same moments that the watcher sees."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchstone.core.place import Place
    from torchstone.record.watcher import Watcher


class Intervention:
    """Does nothing by itself; torchstone.remedy and the probes say what to do at which moment."""

    def install(self, watcher: "Watcher", stack: ExitStack) -> None:
        """Once, when the hooks go in; `stack` takes everything out again."""

    def model_seen(self, watcher: "Watcher") -> None:
        """Before the first forward pass of a model."""

    def optimizer_built(self, watcher: "Watcher", optimizer: torch.optim.Optimizer) -> None:
        """When an optimizer has been given its parameters."""

    def loss_input(self, function: str, value: Tensor, place: "Place") -> Tensor:
        """What a loss function is to be given."""
        del function, place
        return value

    def before_backward(self, watcher: "Watcher") -> None:
        """Before a backward pass."""

    def before_step(self, watcher: "Watcher", optimizer: torch.optim.Optimizer) -> None:
        """Before an optimizer step."""

    def after_step(self, watcher: "Watcher") -> None:
        """After an optimizer step."""
