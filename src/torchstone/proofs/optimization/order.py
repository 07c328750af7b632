"""Clipping and schedules around the steps of torch.optim."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (two parameters, the gradients of their loss, the limit, a loss scale): the gradients that the step uses
Clip = Callable[[list[Tensor], list[Tensor], float, float], list[Tensor]]
_CLIP_EPSILON = 1e-6  # what torch adds to the norm that it divides by


class _Used(torch.optim.SGD):
    """Keeps a copy of the gradients that a step begins with."""

    used: list[Tensor]

    def step(self, closure: object = None) -> None:  # type: ignore[override] # no closure is given
        """Keep, then step."""
        del closure
        self.used = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        super().step()


def _scaled(parameters: list[Tensor], gradients: list[Tensor], scale: float) -> torch.amp.GradScaler:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    loss = torch.stack([(p * g).sum() for p, g in zip(parameters, gradients, strict=True)]).sum()
    torch.autograd.backward(scaler.scale(loss))
    return scaler


def _clip(*, unscale: bool = True, late: bool = False, each: bool = False, norm_type: float = 2.0) -> Clip:
    def clip(parameters: list[Tensor], gradients: list[Tensor], limit: float, scale: float) -> list[Tensor]:
        optimizer = _Used(parameters, lr=0.1)
        scaler = _scaled(parameters, gradients, scale)
        if unscale:
            scaler.unscale_(optimizer)
        groups = [[p] for p in parameters] if each else [parameters]
        for group in groups if not late else ():
            # The law's scale is what a clip that comes too early sees.
            nn.utils.clip_grad_norm_(group, limit, norm_type)
        scaler.step(optimizer)
        if late:
            nn.utils.clip_grad_norm_(parameters, limit)
        return optimizer.used

    return clip


def _part(parameters: list[Tensor], gradients: list[Tensor], limit: float, scale: float) -> list[Tensor]:
    """A scale of 1 stands for gradients that were unscaled first."""
    return _clip(unscale=scale == 1)(parameters, gradients, limit, scale if scale != 1 else 1024.0)


def _unscaled_anyway(parameters: list[Tensor], gradients: list[Tensor], limit: float, scale: float) -> list[Tensor]:
    return _clip()(parameters, gradients, limit, scale)


def _scaled_anyway(parameters: list[Tensor], gradients: list[Tensor], limit: float, scale: float) -> list[Tensor]:
    return _clip(unscale=False)(parameters, gradients, limit, 1024.0 if scale == 1 else scale)


@experiment(
    "optimization.clipped_norm",
    part=_part,
    mutants={
        "clipped after the step": _clip(late=True),
        "each tensor clipped by itself": _clip(each=True),
        "the maximum norm instead": _clip(norm_type=math.inf),
        "unscaled first, though the scale was still on": _unscaled_anyway,
        "never unscaled": _scaled_anyway,
    },
    how="float64, SGD with torch.amp.GradScaler",
)
def clipped_norm(part: Clip, draws: Draws) -> Iterator[Evidence]:
    """Gradients below and above the limit, with and without a loss scale; two tensors share the norm."""
    for size in [1, 2, *draws.integers(3, 30, 6)]:
        for limit in (0.1, 1.0, 50.0):
            for scale in (1.0, 16.0, 4096.0):
                gradients = [draws.normal(size) * 3, draws.normal(size) * 3]
                parameters = [torch.zeros(size, dtype=torch.float64, requires_grad=True) for _ in range(2)]
                used = part(parameters, gradients, limit, scale)
                norm = math.hypot(*(g.norm().item() for g in gradients))
                measured = math.hypot(*(g.norm().item() for g in used))
                # The loss scale is kept in float32; powers of two stay exact there.
                allowed = rounding(100 * size + _CLIP_EPSILON / 2.0**-52, max(1.0, limit))
                yield held("optimization.clipped_norm", {"norm": norm, "max_norm": limit, "scale": scale}, measured, allowed)


Schedule = Callable[[torch.optim.Optimizer, lr_scheduler.LRScheduler, int, int], None]
_MICRO_BATCHES = 4


def _accumulate(
    optimizer: torch.optim.Optimizer, schedule: lr_scheduler.LRScheduler, steps: int, moves_each: int, *, in_every: int = 0
) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(_MICRO_BATCHES):
            torch.autograd.backward(optimizer.param_groups[0]["params"][0].square().sum())
            for _ in range(in_every):
                schedule.step()
        optimizer.step()
        for _ in range(moves_each):
            schedule.step()


def _every_micro_batch(
    optimizer: torch.optim.Optimizer, schedule: lr_scheduler.LRScheduler, steps: int, moves_each: int
) -> None:
    _accumulate(optimizer, schedule, steps, 0, in_every=moves_each)


def _once_more(optimizer: torch.optim.Optimizer, schedule: lr_scheduler.LRScheduler, steps: int, moves_each: int) -> None:
    _accumulate(optimizer, schedule, steps, moves_each)
    schedule.step()


@experiment(
    "optimization.schedule_moves",
    part=_accumulate,
    mutants={"moved in every micro-batch": _every_micro_batch, "moved once more after the epoch": _once_more},
    how="exact, the position of three of torch's schedules",
)
def schedule_moves(part: Schedule, draws: Draws) -> Iterator[Evidence]:
    """Where a schedule stands after some steps of four micro-batches, moved once or more for each."""
    for steps in [1, 2, *draws.integers(3, 10, 3)]:
        for moves_each in (1, 2, 4):
            optimizer = torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=0.1)
            schedules = (
                lr_scheduler.LinearLR(optimizer, total_iters=5),
                lr_scheduler.CosineAnnealingLR(optimizer, T_max=7),
                lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
            )
            optimizer.step()
            for schedule in schedules:
                part(optimizer, schedule, steps, moves_each)
                given = {"steps": steps, "moves_each": moves_each}
                yield held("optimization.schedule_moves", given, schedule.last_epoch)
