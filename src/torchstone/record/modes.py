"""In which mode each model runs: training or evaluation, with gradients or without."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from torchstone.core.events import Event
from torchstone.core.place import NOWHERE, Place
from torchstone.core.steps import ModesSeen
from torchstone.record.models import Models
from torchstone.record.source import user_place

_NAMED = 4


@dataclass
class Mode:
    """What one model did so far; the fields of `ModesSeen`, and what they are counted with."""

    layers: tuple[str, ...] = ()
    training: bool = True
    switches: int = 0
    left_training_at: int = -1
    evaluated_at: int = -1
    steps_in_evaluation: int = 0
    unguarded_passes: int = 0
    unguarded_gaps: int = 0
    unguarded_step: int = -1
    unguarded_most: int = 0
    unguarded_place: Place = NOWHERE
    evaluation_step: int = -1  # the last step counted among steps_in_evaluation
    gap: int = -1  # between which steps the last unguarded call came
    in_gap: int = 0

    def ran(self, step: int, *, training: bool, gradients: bool) -> None:
        """The model was called."""
        if training is not self.training:
            self.training = training
            self.switches += 1
            if not training and self.left_training_at < 0:
                self.left_training_at = step
        if not training and not gradients and self.evaluated_at < 0:
            self.evaluated_at = step
        if not training and gradients and self.evaluation_step != step:
            self.evaluation_step = step
            self.steps_in_evaluation += 1
        if training and not gradients:
            self._unguarded(step)

    def _unguarded(self, step: int) -> None:
        self.unguarded_passes += 1
        if self.gap != step:
            self.gap, self.in_gap = step, 0
            self.unguarded_gaps += 1
        self.in_gap += 1
        if self.in_gap > self.unguarded_most:
            if self.unguarded_step != step:
                self.unguarded_step, self.unguarded_place = step, user_place(5)
            self.unguarded_most = self.in_gap


class Modes:
    """Every model by its number."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._modes: dict[int, Mode] = {}
        self._told: dict[int, Event] = {}

    def ran(self, number: int, module: nn.Module, step: int) -> None:
        """A model was called; its parts, called by themselves, are not it."""
        if self._models.top(module) is not module:
            return
        mode = self._modes.get(number)
        if mode is None:
            mode = self._modes[number] = Mode(noisy_layers(module), training=module.training)
        mode.ran(step, training=module.training, gradients=torch.is_grad_enabled())

    def told(self, step: int) -> Iterator[Event]:
        """What is new."""
        shared = [field.name for field in fields(ModesSeen) if field.name not in {"model", "step"}]
        for number, mode in self._modes.items():
            event = ModesSeen(number, **{name: getattr(mode, name) for name in shared})
            if self._told.get(number) != event:
                self._told[number] = event
                yield ModesSeen(number, step, **{name: getattr(mode, name) for name in shared})


def noisy_layers(model: nn.Module) -> tuple[str, ...]:
    """Layers that do something else in training than in evaluation, by path and class; a few of them."""
    found = (f"{path} ({type(module).__name__})" if path else type(module).__name__ for path, module in _noisy(model))
    return tuple(name for name, _ in zip(found, range(_NAMED), strict=False))


def _noisy(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in model.named_modules():
        if isinstance(module, _DropoutNd):
            differs = module.p > 0
        elif isinstance(module, _NormBase):
            differs = module.track_running_stats
        elif type(module).__module__.startswith("torch."):
            dropout = getattr(module, "dropout", 0)  # recurrent layers and attention keep a number
            differs = isinstance(dropout, float) and dropout > 0
        else:
            code = getattr(type(module).forward, "__code__", None)
            differs = code is not None and "training" in code.co_names
        if differs:
            yield path, module
