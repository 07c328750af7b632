"""What a gradient buffer holds at a step, and which parameters a step moves."""

from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "optimization.carried_gradient",
    Kind.GRADIENT,
    Unit.RATIO,
    assumes=("gradients of one optimizer", "the share is a ratio of norms: carried over consumed"),
    sources=("torch.autograd: backward adds into .grad; Bottou et al. 2018, section 4.1: a step uses fresh gradients",),
)
def carried_gradient(kept: float) -> float:
    """A gradient that a step has used is gone before the next: the share of it that is carried over is 0.

    `kept` is what clearing leaves of the buffer: 0 for `zero_grad`. Without clearing (kept = 1) the buffer
    is the sum of all gradients so far, a momentum of 1 that never forgets.

    >>> carried_gradient(0.0), carried_gradient(1.0)
    (0.0, 1.0)
    """
    if not kept >= 0:
        message = f"clearing leaves a share of zero or more; {kept} came"
        raise InvariantError(message)
    return kept


@law(
    "optimization.uncleared_gradient",
    Kind.GRADIENT,
    Unit.NORM,
    assumes=("scalars, or one coordinate of the gradient",),
    sources=("the sum that backward() accumulates",),
)
def uncleared_gradient(gradients: Sequence[float]) -> float:
    """A buffer that is never cleared holds the sum of every gradient since the start.

    >>> uncleared_gradient([1.0, 1.0, 1.0])
    3.0
    """
    return float(sum(gradients))


@law(
    "optimization.updates_received",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the parameter is trainable, takes part in the loss and was not loaded to stay fixed",),
    sources=("Robbins and Monro 1951: every coordinate of the iterate moves along its gradient",),
)
def updates_received(steps: int, *, in_optimizer: bool, has_gradient: bool) -> int:
    """A trainable parameter receives one update a step if an optimizer holds it and a gradient arrives.

    >>> updates_received(60, in_optimizer=True, has_gradient=True)
    60
    >>> updates_received(60, in_optimizer=False, has_gradient=True)
    0
    """
    if steps < 0:
        message = f"steps are counted from zero; {steps} came"
        raise InvariantError(message)
    return steps if in_optimizer and has_gradient else 0
