"""What second looks at a run (probes) tell: events that are added to the recording of the first."""

from dataclasses import dataclass

from torchstone.core.place import NOWHERE, Place


@dataclass(frozen=True, slots=True)
class NonFiniteBorn:
    """Probe: where the value that made it so was born.

    kind: forward, backward, update (the optimizer's own arithmetic), data, parameter. largest: the largest finite
    magnitude among the inputs.
    """

    step: int
    kind: str
    operation: str
    value: str
    place: Place = NOWHERE
    module: str = ""
    inputs: tuple[str, ...] = ()
    largest: float = 0.0
    shows_in: str = ""
    shows_at: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class GradientCut:
    """Probe: an operation that autograd does not follow, on a value that depends on these parameters."""

    operation: str
    place: Place = NOWHERE
    parameters: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    step: int = 0


Probed = NonFiniteBorn | GradientCut
