"""What stands around a step: clipping before it (norms), and a schedule's move after it (steps)."""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "optimization.clipped_norm",
    Kind.BOUND,
    Unit.NORM,
    assumes=("the same tensors are clipped and stepped with", "nothing is added to the gradient between clipping and step"),
    sources=("Pascanu et al. 2013, section 3.2, algorithm 1", "torch.amp: unscale_ before gradients are clipped"),
)
def clipped_norm(norm: float, max_norm: float, scale: float = 1.0) -> float:
    """A step uses a gradient of norm min(norm, max_norm); clipped while a loss scale multiplies it, of min(norm, max_norm / scale).

    `norm` is that of the loss's own gradient, `scale` what multiplies it while it is clipped and is divided out afterwards.

    >>> clipped_norm(12.0, 1.0), clipped_norm(0.5, 1.0), clipped_norm(12.0, 1.0, scale=65536.0)
    (1.0, 0.5, 1.52587890625e-05)
    """
    if not (norm >= 0 and max_norm >= 0 and scale > 0 and math.isfinite(scale)):
        message = f"norms are zero or more and a scale is above zero; norm {norm}, max_norm {max_norm}, scale {scale} came"
        raise InvariantError(message)
    return min(norm, max_norm / scale)


@law(
    "optimization.schedule_moves",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the schedule is laid out in optimizer steps",),
    sources=("torch.optim: scheduler.step() comes after optimizer.step()", "Goyal et al. 2017, section 2.2"),
)
def schedule_moves(steps: int, moves_each: int = 1) -> int:
    """A schedule moves once for each optimizer step; moved k times for each, it runs k times too fast.

    >>> schedule_moves(100), schedule_moves(100, moves_each=4)
    (100, 400)
    """
    if steps < 0 or moves_each < 0:
        message = f"steps and moves are counted from zero; {steps} and {moves_each} came"
        raise InvariantError(message)
    return steps * moves_each
