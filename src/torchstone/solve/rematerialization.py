"""Which schedule runs a chain of layers within a memory budget: the question from plain numbers, without a model."""

from collections.abc import Sequence

from torchstone.core.errors import UsageError
from torchstone.laws.rematerialization.chain import Layer
from torchstone.laws.rematerialization.planning import Plan, planned

__all__ = ["Layer", "Plan", "memory"]


def memory(
    layers: Sequence[Layer] | int, budget: float | str, *, boundary: int = 1, saved: int = 1, strategy: str = "best"
) -> Plan:
    """A schedule with which a forward and a backward pass through a chain take at most `budget` bytes at once.

    `layers`: measured ones (`parts.rematerialization.layers_of` gives a model's), or how many there are of one kind, each with
    `boundary` bytes at its borders and `saved` bytes for its backward pass, its input among them. `budget`: bytes or "2GB".
    `strategy`: best, level, nested or uniform. Raises UsageError for a budget that is too small, with the least that is enough.
    Sources: Chen et al. 2016; Griewank and Walther 2000 (Revolve); Beaumont et al. 2019 (rotor).

    >>> plan = memory(32, 20, boundary=1, saved=4)
    >>> plan.segments, plan.predicted_peak, plan.extra_forwards
    ((5, 4, 4, 4, 4, 3, 3, 2, 3), 20, 29)
    """
    if isinstance(layers, int):
        if isinstance(layers, bool) or layers < 1 or boundary < 0 or saved < boundary:
            message = f"layers are 1 or more and save at least their input; {layers} came, boundary {boundary}, saved {saved}"
            raise UsageError(message)
        one = Layer("layer", boundary, 0, saved, saved, boundary, saved)
        layers = [one] * layers
    return planned(tuple(layers), budget, strategy)
