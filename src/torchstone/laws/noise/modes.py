"""Training and evaluation mode: in which passes a model draws noise (counts of passes)."""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "noise.noisy_passes",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("dropout in evaluation, or statistics frozen in training, is not what the method asks for",),
    sources=("Srivastava et al. 2014, section 4", "Ioffe and Szegedy 2015, algorithm 2"),
)
def noisy_passes(training: int, evaluation: int) -> int:
    """Dropout draws masks, and BatchNorm takes in batch statistics, in every training pass and in no evaluation pass.

    >>> noisy_passes(training=100, evaluation=40)
    100
    """
    if training < 0 or evaluation < 0:
        message = f"passes are counted from zero; {training} in training and {evaluation} in evaluation came"
        raise InvariantError(message)
    return training
