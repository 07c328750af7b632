"""Rematerialisation at work: a model's chain or modules measured, planned for a budget and run so; activations on disk; counts."""

from torchstone.laws.rematerialization.chain import Layer, Segment
from torchstone.laws.rematerialization.planning import Plan
from torchstone.parts.rematerialization.disk import store_on_disk
from torchstone.parts.rematerialization.keeping import Counted, backward_from_kept
from torchstone.parts.rematerialization.metering import Meter
from torchstone.parts.rematerialization.planning import Schedule, layers_of, plan
from torchstone.parts.rematerialization.scheduling import GraphSchedule

__all__ = [
    "Counted", "GraphSchedule", "Layer", "Meter", "Plan", "Schedule", "Segment", "backward_from_kept", "layers_of", "plan",
    "store_on_disk",
]  # fmt: skip
