"""What is seen around an optimizer's step: groups, gradients, clipping, schedules, modes. `step` counts steps finished before."""

from dataclasses import dataclass

from torchstone.core.place import NOWHERE, Place


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A parameter group of an optimizer.

    decay: where a torch optimizer puts its weight decay, `l2` (into the gradient) or `decoupled`; empty if unknown.
    """

    learning_rate: float = 0.0
    weight_decay: float = 0.0
    parameters: tuple[int, ...] = ()
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    decay: str = ""


@dataclass(frozen=True, slots=True)
class OptimizerSeen:
    """An optimizer at its first step, or again when its groups changed.

    place: the line that steps it; built: that which made it. words: names of norm layers among the strings of the code that
    made it, as filters by name hold them.
    """

    optimizer: int
    class_name: str
    groups: tuple[GroupSeen, ...] = ()
    place: Place = NOWHERE
    step: int = 0
    built: Place = NOWHERE
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GradientCarried:
    """Norms of one optimizer's gradients across the border of a step.

    consumed: right after its last step. carried: what of it still lay, unaltered, in the buffers when every
    backward pass since had begun. altered: what lay there but had been changed in between. used: at this step, if
    anything was carried.
    """

    step: int
    optimizer: int
    consumed: float = 0.0
    carried: float = 0.0
    altered: float = 0.0
    used: float = 0.0
    backward_passes: int = 0
    place: Place = NOWHERE
    step_place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class ParametersExamined:
    """The state of parameters just before an optimizer step, in columns.

    gradient: its norm, or None where there is no gradient. changed: since the run began. ran: whether the
    owning module ran with gradients on (2), without (1), or not at all (0) so far. reached: by a backward pass of the
    first steps, whatever became of the gradient since. norm: that of the parameter itself.
    """

    step: int
    parameters: tuple[int, ...] = ()
    gradient: tuple[float | None, ...] = ()
    changed: tuple[bool, ...] = ()
    ran: tuple[int, ...] = ()
    trainable: tuple[bool, ...] = ()
    reached: tuple[bool, ...] = ()
    final: bool = False
    norm: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StepTaken:
    """An optimizer step ended. loss: the last backward root's value; seconds: since torch was imported."""

    step: int
    optimizer: int = 0
    loss: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GradientsClipped:
    """One call that clips gradients, and what the optimizer's next step used of the same tensors (sampled steps only).

    total: the norm over all of the call's tensors, before it. fresh: over those of them that this optimizer holds, what no
    step had used yet; None where that was not followed. used: over the same tensors, when the step began. scale: what a
    gradient scaler had multiplied them by and not yet taken back; scaler: whether one is at work. norm: 2, another p-norm,
    or infinity; by_value: each element is clamped. passes: backward passes between the call and the step.
    """

    step: int
    optimizer: int = 0
    place: Place = NOWHERE
    step_place: Place = NOWHERE
    max_norm: float = 0.0
    norm: float = 2.0
    by_value: bool = False
    total: float = 0.0
    fresh: float | None = None
    used: float = 0.0
    scale: float = 1.0
    scaler: bool = False
    passes: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleFollowed:
    """How a learning rate schedule moved between the steps (or a scaler's attempts at one) of its optimizer.

    advanced: by how much, from the first step to the last. moved, doubled: between how many pairs of steps it moved at
    all, and by more than one. usual: the most frequent of these moves. jumps: it was set to a position. shared: another
    optimizer stepped in between. horizon: the length it was built for, -1 where it does not say.
    """

    schedule: int
    optimizer: int = 0
    class_name: str = ""
    place: Place = NOWHERE
    step: int = 0
    advanced: int = 0
    moved: int = 0
    doubled: int = 0
    usual: int = 0
    jumps: int = 0
    shared: int = 0
    horizon: int = -1


@dataclass(frozen=True, slots=True)
class ModesSeen:
    """In which mode a model has run so far; `layers` names what differs between training and evaluation in it.

    switches: changes of mode between calls. left_training_at: the step of the first to evaluation, -1 without. evaluated_at:
    the step of the first evaluation without gradients. steps_in_evaluation: steps with a pass in evaluation mode whose
    gradients were on. unguarded_passes: calls in training mode with gradients off; unguarded_gaps: between how many pairs
    of steps; unguarded_step, unguarded_most, unguarded_place: where they were most.
    """

    model: int
    step: int = 0
    training: bool = True
    layers: tuple[str, ...] = ()
    switches: int = 0
    left_training_at: int = -1
    evaluated_at: int = -1
    steps_in_evaluation: int = 0
    unguarded_passes: int = 0
    unguarded_gaps: int = 0
    unguarded_step: int = -1
    unguarded_most: int = 0
    unguarded_place: Place = NOWHERE
