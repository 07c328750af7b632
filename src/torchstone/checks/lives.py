"""What happened to each parameter over a run, put together from a recording's events."""

from dataclasses import dataclass

from torchstone.core.events import ParameterSeen
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, ParametersExamined


@dataclass
class Life:
    """What happened to one parameter over the run.

    `gradient` is the largest norm that its gradient was seen with. `trainable` at any time; `frozen` when it was seen last.
    """

    seen: ParameterSeen
    in_optimizer: bool = False
    held_to_move: bool = False
    has_gradient: bool = False
    gradient: float = 0.0
    changed: bool = False
    ran: int = 0
    trainable: bool = False
    frozen: bool = False
    looks: int = 0
    final: bool = False
    reached: bool = False


def lives_of(recording: Recording) -> list[Life]:
    """The life of every parameter, in the order of their numbers."""
    lives = {seen.parameter: Life(seen) for seen in recording.of(ParameterSeen)}
    for optimizer in recording.of(OptimizerSeen):
        for group in optimizer.groups:
            for number in group.parameters:
                if number in lives:
                    lives[number].in_optimizer = True
                    lives[number].held_to_move |= group.learning_rate != 0
    for look in recording.of(ParametersExamined):
        reached = look.reached or (False,) * len(look.parameters)
        rows = zip(look.parameters, look.gradient, look.changed, look.ran, look.trainable, reached, strict=True)
        for number, gradient, changed, ran, trainable, was_reached in rows:
            life = lives.get(number)
            if life is None:
                continue
            life.looks += 1
            life.final |= look.final
            life.reached |= was_reached
            life.has_gradient |= gradient is not None
            if gradient is not None and not gradient <= life.gradient:  # NaN as well
                life.gradient = gradient
            life.changed |= changed
            life.ran = max(life.ran, ran)
            life.trainable |= trainable
            life.frozen = not trainable
    return list(lives.values())
