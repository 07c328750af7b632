"""The events of a recording: frozen, plain, small. `step` counts optimizer steps finished before the event."""

from dataclasses import dataclass
from typing import get_args

from torchstone.core.looks import Probed
from torchstone.core.place import NOWHERE, Place
from torchstone.core.steps import (
    GradientCarried,
    GradientsClipped,
    ModesSeen,
    OptimizerSeen,
    ParametersExamined,
    ScheduleFollowed,
    StepTaken,
)

SCHEMA_AT_WRITING = 1


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The header: what was run, by what, and the seed given to generators that the script left unseeded."""

    script: str
    arguments: tuple[str, ...] = ()
    as_module: bool = False
    python: str = ""
    platform: str = ""
    working_directory: str = ""
    seed: int = 0
    step_limit: int | None = None
    purpose: str = "watch"
    schema: int = SCHEMA_AT_WRITING


@dataclass(frozen=True, slots=True)
class TorchLoaded:
    """The script imported torch; hooks are in from here on."""

    version: str = ""
    threads: int = 0
    cuda: bool = False


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """A module called from outside every other module, first seen at `step`."""

    model: int
    name: str
    class_name: str
    place: Place = NOWHERE
    step: int = 0
    training: bool = True


@dataclass(frozen=True, slots=True)
class PhaseSeen:
    """A model ran in a mode for the first time: training or evaluating, with gradients on or off."""

    model: int
    training: bool
    gradients: bool
    step: int = 0
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class ParameterSeen:
    """A parameter (or a leaf that the gradient reaches). `names` holds every path to it, tied ones too.

    origin: `registered` in a model, `unregistered-module` (its module is in no model's tree),
    `attribute` (a tensor kept on a module but not registered), `optimizer` (known to an optimizer only), `free` (in no
    module: weights of a functional program). owner: the class of the module that holds it, where one does.
    """

    parameter: int
    names: tuple[str, ...]
    model: int = -1
    shape: tuple[int, ...] = ()
    dtype: str = ""
    trainable: bool = True
    origin: str = "registered"
    constructed: Place = NOWHERE
    initialized: Place = NOWHERE
    mean: float = 0.0
    deviation: float = 0.0
    loaded: bool = False
    step: int = 0
    owner: str = ""


@dataclass(frozen=True, slots=True)
class CopiedToken:
    """The logit of the token that the model just read, for heads over the vocabulary that feeds the model.

    logit: its mean over rows; nats_without: the mean loss with that logit taken out of the softmax; embedding: the
    number of the matrix that the token was looked up in (the head itself, where the two are tied).
    """

    logit: float
    nats_without: float
    rows: int
    embedding: int | None = None


@dataclass(frozen=True, slots=True)
class LossComputed:
    """A call of a loss function. With gradients on it is measured, on up to a few hundred of its rows; else noted only.

    phase: that of the module called last from outside, `train` or `eval`, and `no_grad` where gradients are off.
    loss: what the call returned, if it is one number. nats: mean over counted rows, no weights, no
    smoothing; nats_deviation: standard deviation of one row. spread: standard deviation of a row's logits,
    mean over rows. row_sum_error: the largest distance of a row's sum from 1. produced_by: the operation that
    made the input, shape changes left out. head: the parameter that the input is a product with.
    """

    function: str
    step: int = 0
    phase: str = "train"
    place: Place = NOWHERE
    rows: int = 0
    rows_measured: int = 0
    classes: int = 0
    loss: float | None = None
    nats: float | None = None
    nats_deviation: float = 0.0
    spread: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    row_sum_error: float | None = None
    resolution: float = 0.0
    produced_by: str = ""
    head: int | None = None
    positives: float | None = None
    target_mean: float | None = None
    target_variance: float | None = None
    copied: CopiedToken | None = None


@dataclass(frozen=True, slots=True)
class OperationCount:
    """How often an operation stands in a graph: lower case, as autograd names it (`softmax`, `mkldnnrnnlayer`)."""

    operation: str
    count: int


@dataclass(frozen=True, slots=True)
class BackwardCalled:
    """A backward pass began (sampled steps only). operations: what its graph is made of, in the first steps.

    drawn: whether torch's random numbers have gone on since the optimizer step before (after the first two steps).
    """

    step: int
    place: Place = NOWHERE
    value: float | None = None
    operations: tuple[OperationCount, ...] = ()
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class RecomputedSeen:
    """A backward pass ran a part of the forward pass again (sampled steps; once)."""

    step: int


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A rank's parameters and gradients before an optimizer step, or at the end: digests, equal where every bit is.

    ranks: those that hold the same parameters, if a data-parallel wrapper says so (`wrapped`), else all. parameters: the
    first one of each piece; digests, gradients: of the pieces. wrappers: how many were built so far; called: whether the newest
    was seen to run with gradients on; syncs: whether its last forward pass was to be averaged; hook: what averages in its
    place. sharded: parameters are spread over the ranks. recent: before the steps `at`, since the last state, a digest of a few.
    """

    step: int
    rank: int
    optimizer: int = 0
    ranks: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()
    digests: tuple[int, ...] = ()
    gradients: tuple[int, ...] = ()
    place: Place = NOWHERE
    wrapped: bool = False
    wrappers: int = 0
    called: bool = False
    syncs: bool = True
    hook: str = ""
    sharded: bool = False
    at: tuple[int, ...] = ()
    recent: tuple[int, ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointWithoutGradient:
    """A reentrant checkpoint ran while gradients were on, and none of its inputs asked for one: nothing inside is trained."""

    step: int
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class NonFiniteSeen:
    """The first loss, gradient or parameter that was NaN or infinite."""

    step: int
    what: str
    name: str = ""
    value: float = 0.0
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class WritesDiverted:
    """Trial or probe: the user's paths whose writes went to a scratch folder instead."""

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeApplied:
    """Trial: an intervention took effect."""

    kind: str
    detail: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class FaultRecorded:
    """Something inside torchstone failed while watching. The script was not disturbed."""

    where: str
    error: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class RunEnded:
    """How it ended. reason: finished, steps, time, exit, exception, interrupted, probed."""

    reason: str
    exit_code: int = 0
    steps: int = 0
    backward_passes: int = 0
    seconds: float = 0.0
    detail: str = ""
    dropped: int = 0


Event = (
    RunStarted
    | TorchLoaded
    | ModelSeen
    | PhaseSeen
    | ParameterSeen
    | OptimizerSeen
    | LossComputed
    | BackwardCalled
    | RecomputedSeen
    | ReplicaState
    | GradientCarried
    | ParametersExamined
    | CheckpointWithoutGradient
    | StepTaken
    | GradientsClipped
    | ScheduleFollowed
    | ModesSeen
    | NonFiniteSeen
    | WritesDiverted
    | ChangeApplied
    | FaultRecorded
    | RunEnded
    | Probed
)
EVENTS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}
