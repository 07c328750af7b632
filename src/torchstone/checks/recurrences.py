"""What the findings about recurrences share: whether a script has one, where to look at it, how its gradient changes over time."""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.events import BackwardCalled, ParameterSeen
from torchstone.core.evidence import Site
from torchstone.core.finding import Change
from torchstone.core.looks import RecurrenceSeen
from torchstone.core.quantity import Amount, Tolerance
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, ParametersExamined
from torchstone.laws import recurrence

_PRODUCTS = {"addmm", "mm", "mv", "addmv", "bmm", "baddbmm", "linear"}
_MORE = 8  # products than weights: the same number of steps that a probe takes for a recurrence
_PLAIN = {"SGD"}  # the step is the gradient times the rate; others divide by its size
_FLOAT32 = 2.0**-23
OVERWRITES = Tolerance(model=Amount(1.0, "saturation may take growth back; a step that moves a weight by all of itself overwrites it"))


def has_recurrence(recording: Recording) -> bool:
    """Whether a model has recurrent weights, or multiplies by some of its weights again and again."""
    weights = [seen for seen in recording.of(ParameterSeen) if seen.trainable and len(seen.shape) > 1]
    if any("weight_hh" in name for seen in weights for name in seen.names):
        return True
    counts = [
        sum(one.count for one in called.operations if one.operation in _PRODUCTS) for called in recording.of(BackwardCalled)
    ]
    return max(counts, default=0) >= len(weights) + _MORE


def deep_steps(recording: Recording) -> list[int]:
    """The steps that were looked at in depth, as far as steps were finished."""
    return sorted({seen.step for seen in recording.of(ParametersExamined) if not seen.final and seen.step < recording.steps})


def seen_by_number(recording: Recording) -> dict[int, ParameterSeen]:
    """Every parameter by its number."""
    return {seen.parameter: seen for seen in recording.of(ParameterSeen)}


def carrying(event: RecurrenceSeen, recording: Recording) -> list[ParameterSeen]:
    """The weights that carry the state from step to step: by torch's names, else the square ones, else all."""
    known = seen_by_number(recording)
    weights = [known[number] for number in event.parameters if number in known]
    named = [seen for seen in weights if any("weight_hh" in name for name in seen.names)]
    square = [seen for seen in weights if len(seen.shape) == 2 and seen.shape[0] == seen.shape[1]]  # noqa: PLR2004
    return named or square or weights


def site_of(event: RecurrenceSeen, recording: Recording) -> Site:
    """The user's line that runs the recurrence, and its module's path."""
    weights = carrying(event, recording)
    name = weights[0].names[0] if weights and weights[0].names else ""
    place = event.place or (weights[0].constructed if weights else event.place)
    return Site(name.rpartition(".")[0] or name, place.file, place.line, event.step, "train")


def events_by_site(recording: Recording) -> dict[Site, RecurrenceSeen]:
    """One event a site: of several looks at the same step, the first; of several weights of one loop, the first."""
    found: dict[Site, RecurrenceSeen] = {}
    for event in recording.of(RecurrenceSeen):
        if event.largest > 0 and event.gradients:
            found.setdefault(site_of(event, recording), event)
    return found


def resolution_of(event: RecurrenceSeen) -> float:
    """Sums over time are kept in float32 also where weights have fewer digits."""
    return min(event.resolution, _FLOAT32)


def times(event: RecurrenceSeen) -> list[int]:
    """The time steps, counted from 0, that the sampled gradients belong to."""
    count = len(event.gradients)
    return [round(i * (event.length - 1) / (count - 1)) for i in range(count)] if count > 1 else [0]


def factor_a_step(event: RecurrenceSeen) -> float | None:
    """By what the gradient is multiplied from one step to the one before it: a straight line through its logarithm."""
    points = [(t, math.log(norm)) for t, norm in zip(times(event), event.gradients, strict=True) if norm > 0]
    if len(points) < 2:  # noqa: PLR2004 - a line needs two
        return None
    centre = math.fsum(t for t, _ in points) / len(points), math.fsum(y for _, y in points) / len(points)
    across = math.fsum((t - centre[0]) ** 2 for t, _ in points)
    return math.exp(-math.fsum((t - centre[0]) * (y - centre[1]) for t, y in points) / across)


def growth_of(event: RecurrenceSeen) -> float | None:
    """How much larger the first step's gradient is than any of the last quarter; None where none arrives there."""
    late = max(event.gradients[-max(len(event.gradients) // 4, 1) :])
    return event.gradients[0] / late if late > 0 else None


def is_overwritten(event: RecurrenceSeen) -> bool:
    """Whether the gradient grows beyond what T steps add up to, and the step then moved the weights by more than themselves."""
    growth = growth_of(event)
    most = recurrence.compounded_share(event.length) + OVERWRITES.total
    return growth is not None and growth > recurrence.summed_gradient(1.0, event.length) and event.moved > most


def shares_of_steps(recording: Recording) -> Iterator[tuple[int, float]]:
    """By what share of itself each sampled step of plain descent moved the matrix that it moved most."""
    known, steps = seen_by_number(recording), set(deep_steps(recording))
    rates: dict[int, float] = {}
    for event in recording.events:
        if isinstance(event, OptimizerSeen):
            plain = event.class_name in _PLAIN
            rates |= {number: group.learning_rate if plain else 0.0 for group in event.groups for number in group.parameters}
        if isinstance(event, ParametersExamined) and event.step in steps and not event.final:
            gradients = zip(event.parameters, event.gradient, strict=True)
            matrices = [(number, g) for number, g in gradients if g is not None and len(known[number].shape) > 1]
            sizes = {n: math.sqrt(math.prod(known[n].shape) * (known[n].mean**2 + known[n].deviation**2)) for n, _ in matrices}
            yield event.step, max((rates.get(n, 0.0) * g / sizes[n] for n, g in matrices if sizes[n] > 0), default=0.0)


def overwriting_step(recording: Recording) -> int | None:
    """The first sampled step of plain descent that moved a matrix by more than its own norm: what follows starts from ruins."""
    return next((step for step, share in shares_of_steps(recording) if share > 1), None)


def places_in_optimizer(recording: Recording, wanted: Sequence[ParameterSeen]) -> list[int]:
    """Where weights that are in no module stand in the only optimizer; nothing for those of a model."""
    optimizers = {seen.optimizer: seen for seen in recording.of(OptimizerSeen)}
    if len(optimizers) != 1 or any(seen.model >= 0 for seen in wanted):
        return []
    order = [number for seen in optimizers.values() for group in seen.groups for number in group.parameters]
    return [order.index(seen.parameter) for seen in wanted if seen.parameter in order]


def orthogonal(event: RecurrenceSeen, recording: Recording) -> Change | None:
    """Square matrices that carry the state, made orthogonal."""
    square = [seen for seen in carrying(event, recording) if len(seen.shape) == 2 and seen.shape[0] == seen.shape[1]]  # noqa: PLR2004
    if not square:
        return None
    return Change(
        "orthogonal-recurrence", "begin with orthogonal recurrent weights",
        "; ".join(f"nn.init.orthogonal_({seen.names[0] if seen.names else 'the recurrent matrix'})" for seen in square),
        {"numbers": [seen.parameter for seen in square], "places": places_in_optimizer(recording, square)},
    )
