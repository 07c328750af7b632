"""Follows one optimizer's gradients across the border between its steps."""

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchstone.core.events import Event
from torchstone.core.place import NOWHERE, Place
from torchstone.core.steps import GradientCarried, GroupSeen, OptimizerSeen, ParametersExamined
from torchstone.record import measure, settings
from torchstone.record.models import ByIdentity, Models

_SAME = 1e-5


def is_sampled(step: int) -> bool:
    """Steps 0, 1, 2, 4, 8, ... are looked at in depth: early faults show early, and the cost dies out."""
    return step & (step - 1) == 0


@dataclass
class Followed:
    """One optimizer, its own step count, and what its last step consumed while that is being followed."""

    optimizer: weakref.ref[torch.optim.Optimizer]
    number: int
    steps: int = 0
    groups: tuple[GroupSeen, ...] = ()
    consumed: dict[int, float] | None = None
    carried: dict[int, float] = field(default_factory=dict)
    altered: dict[int, float] = field(default_factory=dict)
    buffers: dict[int, int] = field(default_factory=dict)
    passes: int = 0
    place: Place = NOWHERE

    def parameters(self) -> list[Tensor]:
        """Every parameter of the optimizer that has a gradient."""
        optimizer = self.optimizer()
        groups = optimizer.param_groups if optimizer is not None else []
        return [p for group in groups for p in group["params"] if p.grad is not None and measure.is_plain(p.grad)]

    def _norms(self) -> dict[int, float]:
        parameters = self.parameters()
        with measure.unseen():
            values = measure.norms([p.grad for p in parameters if p.grad is not None])
        return {id(p): value for p, value in zip(parameters, values, strict=True)}

    def step_ended(self) -> None:
        """Remember what the step consumed, if the next step is one that is looked at."""
        self.steps += 1
        self.consumed = self._norms() if is_sampled(self.steps) else None
        self.carried, self.altered, self.buffers, self.passes, self.place = {}, {}, {}, 0, NOWHERE

    def backward_begins(self, place: Place) -> None:
        """See what of the consumed gradient still lies there; what a clear removed is never carried again."""
        if self.consumed is None:
            return
        now = self._norms()
        if self.passes == 0:
            self.place = place
            self.buffers = self._buffers()
            for key, consumed in self.consumed.items():
                value = now.get(key, 0.0)
                same = abs(value - consumed) <= _SAME * consumed
                (self.carried if same else self.altered)[key] = value
        else:
            # A later pass adds to the buffer, so only a clear (nothing there) can be seen from now on.
            for kept in (self.carried, self.altered):
                for key in [key for key in kept if now.get(key, 0.0) == 0.0]:
                    kept[key] = 0.0
        self.passes += 1

    def _buffers(self) -> dict[int, int]:
        return {id(p): p.grad.data_ptr() for p in self.parameters() if p.grad is not None and not p.grad.is_sparse}

    def _drop_replaced(self) -> None:
        """backward() adds into the buffer that is there; where another tensor was assigned since, nothing is carried."""
        now = self._buffers()
        for kept in (self.carried, self.altered):
            for key in [key for key in kept if key in self.buffers and now.get(key) != self.buffers[key]]:
                kept[key] = 0.0

    def border(self, step: int, step_place: Place) -> Iterator[Event]:
        """What crossed the border, told as the next step begins."""
        if self.consumed and self.passes:
            total = _root_sum_square(self.consumed)
            self._drop_replaced()
            if total > 0:
                kept = any(self.carried.values()) or any(self.altered.values())
                used = _root_sum_square(self._norms()) if kept else 0.0
                yield GradientCarried(
                    step, self.number, total, _root_sum_square(self.carried), _root_sum_square(self.altered),
                    used, self.passes, self.place, step_place,
                )
        self.consumed = None


def _root_sum_square(values: dict[int, float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values.values()))


class Optimizers:
    """Every optimizer: those that have stepped, and those that have only been built so far."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.built: list[weakref.ref[torch.optim.Optimizer]] = []
        self.made: ByIdentity[settings.Made] = ByIdentity()
        self._followed: dict[int, Followed] = {}

    def all(self) -> list[Followed]:
        """In the order of their first step."""
        return list(self._followed.values())

    def follow(self, optimizer: torch.optim.Optimizer) -> Followed:
        """The entry of an optimizer, made at its first step."""
        known = self._followed.get(id(optimizer))
        if known is None or known.optimizer() is not optimizer:
            known = Followed(weakref.ref(optimizer), len(self._followed))
            self._followed[id(optimizer)] = known
        return known

    def describe(self, followed: Followed, step: int, place: Place) -> Iterator[Event]:
        """An OptimizerSeen event when the optimizer is new or its groups have changed."""
        optimizer = followed.optimizer()
        if optimizer is None:
            return
        if any(self._models.number(p) is None for group in optimizer.param_groups for p in group["params"]):
            yield from self._models.refresh(step)  # what a model has gained, adapters for one, has its names from there
        for group in optimizer.param_groups:
            yield from self._models.learn([(p, ()) for p in group["params"]], -1, "optimizer", step)
        groups = tuple(
            GroupSeen(
                float(group.get("lr", 0.0)), float(group.get("weight_decay", 0.0) or 0.0),
                tuple(n for p in group["params"] if (n := self._models.number(p)) is not None),
                *settings.of(optimizer, group),
            )
            for group in optimizer.param_groups
        )
        if groups != followed.groups:
            followed.groups = groups
            made = self.made.get(optimizer) or settings.UNSEEN
            yield OptimizerSeen(followed.number, type(optimizer).__name__, groups, place, step, made.place, made.words)

    def sampled(self) -> bool:
        """Whether the coming step of any optimizer is one that is looked at in depth."""
        stepped = [followed.steps for followed in self._followed.values() if followed.steps]
        return not stepped or any(is_sampled(steps) for steps in stepped)

    def unstepped(self) -> list[Followed]:
        """Optimizers that were built and still exist, and have not stepped: what they hold is not forgotten."""
        live = [optimizer for reference in self.built if (optimizer := reference()) is not None]
        return [followed for followed in map(self.follow, live) if not followed.steps]


def examine(models: Models, step: int, reached: set[int], *, final: bool = False) -> ParametersExamined:
    """The state of every known parameter that still exists."""
    live = [(number, p) for number, ref in enumerate(models.parameters) if (p := ref()) is not None and measure.is_plain(p)]
    with_gradient = [(number, p.grad) for number, p in live if p.grad is not None and measure.is_plain(p.grad)]
    with measure.unseen():
        values = measure.norms([gradient for _, gradient in with_gradient])
        prints = measure.fingerprints([p.detach() for _, p in live])
    gradients = dict(zip((number for number, _ in with_gradient), values, strict=True))
    return ParametersExamined(
        step,
        tuple(number for number, _ in live),
        tuple(gradients.get(number) for number, _ in live),
        tuple(seen != models.first_seen[number] for (number, _), seen in zip(live, prints, strict=True)),
        tuple(models.how_it_ran(p) for _, p in live),
        tuple(p.requires_grad for _, p in live),
        tuple(number in reached for number, _ in live),
        final=final,
        norm=tuple(math.sqrt(squares) if squares >= 0 else squares for _, squares in prints),
    )
