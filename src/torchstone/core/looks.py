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


@dataclass(frozen=True, slots=True)
class CurvatureSeen:
    """Probe: the sharpest direction of one batch's loss, as the optimizer steps along it.

    product: the largest eigenvalue of the Hessian, scaled by each group's learning rate (an L2 decay is part of the loss): at least
    this much. learning_rate: the largest of the groups.
    """

    step: int
    optimizer: int = 0
    product: float = 0.0
    learning_rate: float = 0.0
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    iterations: int = 0
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class RecurrenceSeen:
    """Probe: gradients over the time steps of one recurrence, as one backward pass made them.

    kind: lstm, gru, rnn_tanh, rnn_relu, the same with _cell, or loop for one written by hand. gradients: norms by what goes
    into each step (by the state, in a loop), first to last, at up to 64 of the `length` steps; largest: of all of them.
    parameters: its weights. moved: the largest share of itself by which the optimizer then moved one of them.
    resolution: eps of the weights' type.
    """

    step: int
    kind: str
    length: int
    gradients: tuple[float, ...] = ()
    largest: float = 0.0
    parameters: tuple[int, ...] = ()
    moved: float = 0.0
    resolution: float = 0.0
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class DepthSeen:
    """Probe: gradients over the layers of one chain, in the order in which they ran, each used once in it.

    gradients: norms by each layer's output before its activation. moved: the share of itself by which the optimizer then
    moved each layer's weight.
    """

    step: int
    parameters: tuple[int, ...] = ()
    gradients: tuple[float, ...] = ()
    moved: tuple[float, ...] = ()
    resolution: float = 0.0
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class Reader:
    """Probe: an operation that brings together what a law keeps apart.

    kind: attention, recurrent, view. module: its path. layers: every module whose setting would have to change. sizes: the
    leading sizes of what it was given; into: those that a view made of them. batch_first: the setting of its module.
    """

    kind: str
    operation: str
    place: Place = NOWHERE
    module: str = ""
    layers: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    into: tuple[int, ...] = ()
    batch_first: bool = False


@dataclass(frozen=True, slots=True)
class DependenceRead:
    """Probe: what some rows of a loss depend on, by gradient, although a law says that they do not.

    what: future (later tokens), padding (padded positions), samples (other samples of the batch). read: the most of them
    that a row depends on, of the number that there are; share: of that row's gradient. sizes: the leading sizes of the
    tensor read at `source`. known_by: how the law is known to apply. padding: the token that pads. readers: what lets it
    through. reason: why nothing can be said.
    """

    what: str
    function: str
    place: Place = NOWHERE
    step: int = 0
    read: int = 0
    of: int = 0
    rows: int = 0
    share: float = 0.0
    sizes: tuple[int, ...] = ()
    source: Place = NOWHERE
    known_by: str = ""
    padding: int | None = None
    readers: tuple[Reader, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AttentionMasked:
    """Probe: attention of T positions among themselves under a mask, at one line of a step.

    left, right: how far the mask lets a query see, T - 1 where it sets no limit. computed: scores of one head that were
    computed. banded: whether what may be seen is the band left..right and nothing else, up to padded positions. heads:
    with those of every sequence of the batch; calls: how many such calls the line made. function: who computed the
    scores, `softmax` where the script did so itself; through: the module of torch's that called it, where one did. features:
    of a query. weighted: FLOP of all products with weights in the same forward passes.
    """

    function: str
    place: Place = NOWHERE
    step: int = 0
    length: int = 0
    left: int = 0
    right: int = 0
    computed: int = 0
    banded: bool = False
    heads: int = 1
    features: int = 0
    weighted: int = 0
    calls: int = 1
    through: str = ""


@dataclass(frozen=True, slots=True)
class LatentsSeen:
    """Probe: a code z = mu + sigma e that was drawn in a step (samples, latents), and how the loss weighs its divergence.

    kl_weight: w of the pull w mu on the means that does not come through z; residual: the share of that pull that is not w mu.
    likelihood_weight: of each of its `elements` numbers a sample, by the loss at `likelihood`; squared: whether it is of squared
    errors. reduction: what that loss does with them. averaged: over how many numbers means of the divergence were taken, at
    averaged_at. reason: why nothing can be said.
    """

    step: int
    place: Place = NOWHERE
    samples: int = 0
    latents: int = 0
    elements: int = 0
    kl_weight: float = 0.0
    residual: float = 0.0
    likelihood_weight: float = 0.0
    function: str = ""
    squared: bool = False
    likelihood: Place = NOWHERE
    reduction: str = ""
    averaged: tuple[int, ...] = ()
    averaged_at: Place = NOWHERE
    resolution: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CodesHeld:
    """Probe: codes z = mu + sigma e of one line (samples, latents) at a step, what they tell, and what the decoder asks of them.

    nats: mean divergence from the normal that fits them all best, which bounds what they tell of their samples; divergence:
    from N(0, 1). weight: w of the pull w mu on the means that does not come through z, `residual` the share of that pull that
    is not w mu. slope: of the loss by one sample's code, root mean square over samples. told: what the reconstruction loses to
    first order, a sample, where codes are exchanged. rest: the loss without the divergence as it is weighed.
    """

    step: int
    place: Place = NOWHERE
    samples: int = 0
    latents: int = 0
    nats: float = 0.0
    divergence: float = 0.0
    weight: float = 0.0
    residual: float = 0.0
    slope: float = 0.0
    told: float = 0.0
    rest: float = 0.0
    resolution: float = 0.0


@dataclass(frozen=True, slots=True)
class NoiseMixed:
    """Probe: x_t = a x + b e with a factor for each of the samples, e drawn at random, and no gradient to any of them.

    function, drawn: who drew e, where. draws: samples of e of their own. preserving: the largest |a² + b² - 1|. steps: the
    length of the table that a was looked up in, 0 if none was seen; terminal: the smallest a² in it. agreement: correlation
    of e with the noise that the loss is against, drawn at `target`, where it is against one.
    """

    step: int
    place: Place = NOWHERE
    function: str = ""
    drawn: Place = NOWHERE
    samples: int = 0
    elements: int = 0
    draws: int = 0
    mean: float = 0.0
    variance: float = 0.0
    preserving: float = 0.0
    steps: int = 0
    terminal: float = 0.0
    loss: Place = NOWHERE
    target: Place = NOWHERE
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class RecomputationSeen:
    """Probe: parts of a forward pass that a backward pass ran again, by the line that had them kept for it; the worst of them.

    by: `checkpoint` (torch's), or the class of an autograd function written by hand. parts: how many ran again; values: how many
    results of theirs were compared. share: of one result's elements, those that differ; difference: the largest; largest:
    magnitude there was. operation, at: where the results part first; instead: what ran there the second time, if not the same.
    generators: those that were drawn from and began elsewhere the second time. preserved: whether torch's was to be restored.
    """

    step: int
    by: str
    place: Place = NOWHERE
    module: str = ""
    parts: int = 0
    values: int = 0
    share: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    resolution: float = 0.0
    operation: str = ""
    at: Place = NOWHERE
    instead: str = ""
    generators: tuple[str, ...] = ()
    preserved: bool = True


@dataclass(frozen=True, slots=True)
class ScheduleCalled:
    """Probe: a schedule moved a second time since its optimizer's last step. horizon: where its factors stop changing, or -1."""

    schedule: int
    place: Place = NOWHERE
    step: int = 0
    horizon: int = -1


@dataclass(frozen=True, slots=True)
class EvaluationSeen:
    """Probe: calls of a model without gradients between two steps.

    noisy: calls that drew dropout or took in batch statistics. compared: calls whose output met something else in a
    comparison or a loss. repeated: calls on an input seen before in the window, also in training.
    """

    model: int
    step: int = 0
    passes: int = 0
    noisy: int = 0
    compared: int = 0
    repeated: int = 0


Probed = (
    NonFiniteBorn
    | GradientCut
    | CurvatureSeen
    | RecurrenceSeen
    | DepthSeen
    | DependenceRead
    | AttentionMasked
    | LatentsSeen
    | CodesHeld
    | NoiseMixed
    | RecomputationSeen
    | ScheduleCalled
    | EvaluationSeen
)
