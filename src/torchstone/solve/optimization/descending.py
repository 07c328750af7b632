"""The inverse questions of descent: which learning rate or momentum reaches a minimum, and which converges fastest."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.core.quantity import format_number
from torchstone.laws import optimization
from torchstone.solve.optimization.asking import Asked, Start, ask
from torchstone.solve.optimization.basin import basin
from torchstone.solve.optimization.minima import complete, local, minima
from torchstone.solve.optimization.numbers import DIGITS, digits, exact, rational
from torchstone.solve.optimization.planning import TOLERANCE, plan, plans
from torchstone.solve.optimization.quadratic import Quadratic
from torchstone.solve.optimization.reaching import curvatures_met, nearest_steps, roots
from torchstone.solve.optimization.running import run, times
from torchstone.solve.optimization.solution import DescentSolution, Minimum, Plan, Setting

_LONG_RUN = 300  # the most steps of a run whose number of steps nobody gave
_SHORT_RUN = 20
_NEARLY = "no quadratic: rates, thresholds and predicted steps hold near this minimum, where the function is nearly one"

Point = tuple[Any, ...]


def descent(
    function: str,
    start: Start = None,
    steps: int | None = None,
    optimizer: str = "gradient",
    learning_rate: object = None,
    momentum: object = None,
) -> DescentSolution:
    """Solve for what is not given: the learning rate, the momentum, or the best settings; with all given, say what they do.

    `function` is a formula in any variables; its minimum is to be reached from `start` (a number, a sequence in the order in which
    the variables occur, or a mapping by name) in `steps`. `optimizer` is gradient, momentum (V = beta V + g, x = x - eta V,
    V_0 = 0), averaged (V = beta V + (1 - beta) g) or nesterov (torch's nesterov=True). Numbers are exact: 0.1 is 1/10, and "1/3" is
    a third.

    On a quadratic all real solutions are found, exactly, and each is run. Any function of one variable has its one-step learning
    rate; others are answered near their minimum. Raises UsageError, with the nearest question that has an answer, if there is none.

    >>> str(descent("x**2/4", start=1, steps=1).learning_rate)
    '2'
    >>> str(descent("x**2/4", start=1, steps=2, optimizer="momentum", learning_rate=1).momentum)
    '1/2 = 0.5'
    """
    asked = ask(function, start, steps, optimizer, learning_rate, momentum)
    quadratic = asked.objective.quadratic
    if quadratic is None:
        return _curved(asked)
    _has_moved(asked)
    found = (quadratic.minimum(),)
    remarks = _about(quadratic)
    if asked.unknown == "settings":
        made = plans(quadratic, _some_start(asked, quadratic))
        return _solution(asked, found, [_chosen(asked, made, quadratic)], made, [*remarks, *_about_plans(quadratic)])
    if not asked.unknown:
        return _solution(asked, found, [_given(asked, quadratic)], (), remarks)
    values = _reaching(asked, quadratic)
    if values is None:
        remarks.append(f"every momentum does: the learning rate {asked.rate} arrives in the first step, which no momentum changes")
        values = [asked.rate * 0]
    settings = [_setting(asked, value, quadratic) for value in values]
    return _solution(asked, found, settings, (), remarks)


def _solution(
    asked: Asked, found: Sequence[Minimum], settings: Iterable[Setting], made: tuple[Plan, ...], remarks: Sequence[str]
) -> DescentSolution:
    names = tuple(str(variable) for variable in asked.objective.variables)
    start = None if asked.start is None else tuple(exact(x) for x in asked.start)
    ordered = tuple(sorted(settings, key=lambda setting: bool(setting.unusual)))
    return DescentSolution(
        asked.objective.text, names, asked.optimizer, asked.unknown, asked.steps, start, tuple(found), ordered, made, tuple(remarks)
    )


def _has_moved(asked: Asked) -> None:
    """A start on the minimum asks for nothing."""
    quadratic = asked.objective.quadratic
    if quadratic is not None and asked.start is not None and not any(times(quadratic.matrix, asked.start, quadratic.linear)):
        other = ",".join(str(x + 1) for x in asked.start)
        message = f"the start is a minimum already: every setting stays there; start elsewhere, for example at {other}"
        raise UsageError(message)


def _about(quadratic: Quadratic) -> list[str]:
    said = []
    if quadratic.flat:
        said.append(f"the minimum is not unique: it extends along {quadratic.flat} flat direction{'s' * (quadratic.flat > 1)}")
    if not quadratic.known:
        said.append("a coefficient is not rational: answers are right to 30 digits and shown as decimals")
    return said


def _about_plans(quadratic: Quadratic) -> list[str]:
    low, high = quadratic.curvatures[0], quadratic.curvatures[-1]
    if low == high:
        return ["all curvatures are equal: gradient descent arrives in one step, and momentum has nothing to add"]
    distinct = list(dict.fromkeys(quadratic.curvatures))
    rates = ", ".join(str(exact(1 / curvature)) for curvature in distinct)
    return [f"with a rate for each step gradient descent arrives in {len(distinct)}: {rates}"]


def _setting(asked: Asked, value: Any, quadratic: Quadratic) -> Setting:
    """A value of the unknown, with the run that shows that it arrives."""
    rate, momentum = (value, asked.momentum) if asked.unknown == "learning_rate" else (asked.rate, value)
    start = _some_start(asked, quadratic)
    done = run(asked.objective, asked.optimizer, rate, momentum, start, asked.steps or 1)
    return Setting(exact(rate), exact(momentum), _radius(asked, rate, momentum, quadratic), done, _unusual(rate, momentum))


def _some_start(asked: Asked, quadratic: Quadratic) -> Sequence[Any]:
    """The start, or one away from the minimum along every direction."""
    return asked.start if asked.start is not None else [x + 1 + k for k, x in enumerate(quadratic.minimiser)]


def _radius(asked: Asked, rate: Any, momentum: Any, quadratic: Quadratic) -> float:
    curvatures = [float(curvature) for curvature in quadratic.curvatures]
    radius = float(optimization.spectral_radius(asked.optimizer, float(rate), float(momentum), curvatures))
    usual = 0 <= momentum < 1 and rate > 0
    if radius == 1 and usual and rate < optimization.divergence_threshold(asked.optimizer, momentum, quadratic.curvatures[-1]):
        return math.nextafter(1.0, 0.0)  # below 1 by less than float64 sees: every curvature is positive, so each error shrinks
    return radius


def _unusual(rate: Any, momentum: Any) -> str:
    if rate <= 0:
        return "a negative learning rate climbs: torch refuses it"
    if momentum < 0:
        return "a negative momentum works against the last step: torch refuses it"
    return "a momentum of 1 or more forgets nothing: outside the usual [0, 1)" if momentum >= 1 else ""


def _given(asked: Asked, quadratic: Quadratic) -> Setting:
    """What the given settings do: the run and its long-run rate."""
    radius = _radius(asked, asked.rate, asked.momentum, quadratic)
    length = asked.steps
    if length is None:
        shrinks = 0 <= radius < 1
        length = min(_LONG_RUN, optimization.steps_to_tolerance(radius, TOLERANCE)) if shrinks else _SHORT_RUN
    done = run(asked.objective, asked.optimizer, asked.rate, asked.momentum, _some_start(asked, quadratic), length)
    return Setting(exact(asked.rate), exact(asked.momentum), radius, done, _unusual(asked.rate, asked.momentum))


def _chosen(asked: Asked, made: tuple[Plan, ...], quadratic: Quadratic) -> Setting:
    """The best setting of the optimizer that was named, run from the start if there is one."""
    best = next(plan for plan in made if plan.optimizer == asked.optimizer)
    rate, momentum = optimization.best_hyperparameters(asked.optimizer, quadratic.curvatures[0], quadratic.curvatures[-1])
    length = min(_LONG_RUN, best.taken or best.predicted or _LONG_RUN)
    done = run(asked.objective, asked.optimizer, rate, momentum, _some_start(asked, quadratic), length)
    return Setting(best.learning_rate, best.momentum, best.convergence.value, done)


def _reaching(asked: Asked, quadratic: Quadratic) -> list[Any] | None:
    """All real values of the unknown that arrive; None if every one does. Raises UsageError if none does."""
    given = (quadratic, asked.optimizer, asked.rate, asked.momentum, asked.start)
    steps = asked.steps or 1
    found = roots(*given, steps)
    if found is None or found:
        return found
    one = "no single learning rate" if asked.unknown == "learning_rate" else "no momentum"
    where = "from this start" if asked.start is not None else "from every start"
    met = curvatures_met(quadratic, asked.start)
    if len(met) > 1:
        message = f"{one} reaches the minimum in {steps} step{'s' * (steps > 1)} {where}: {_several(asked, quadratic, met)}"
        raise UsageError(message)
    if asked.unknown == "momentum" and steps == 1:
        message = (
            f"the first step does not depend on the momentum, and the learning rate {asked.rate} does not arrive in it; nearest: "
            f"the learning rate {exact(1 / met[0])}, or {nearest_steps(*given, steps) or 'two steps'}"
        )
        raise UsageError(message)
    near = nearest_steps(*given, steps) or f"the best fixed pair (leave the steps out), or gradient descent at {exact(1 / met[0])}"
    message = f"{one} reaches the minimum in {steps} step{'s' * (steps > 1)}: the condition has no real root; nearest: {near}"
    raise UsageError(message)


def _several(asked: Asked, quadratic: Quadratic, met: Sequence[Any]) -> str:
    """Why several curvatures are too many, and what does arrive."""
    shown = ", ".join(str(exact(curvature)) for curvature in met)
    rates = ", ".join(str(exact(1 / curvature)) for curvature in met)
    fixed = plan(asked.optimizer, quadratic, None)
    best = f"learning rate {fixed.learning_rate}" + (f", momentum {fixed.momentum}" if fixed.momentum.value else "")
    return (
        f"the error has parts along {len(met)} curvatures ({shown}), and each asks for its own; nearest: gradient descent with a "
        f"rate for each of {len(met)} steps ({rates}), conjugate gradients (as many steps), or the best fixed setting ({best}), "
        f"which leaves {format_number(fixed.convergence.value)} of the error a step (leave the steps out)"
    )


def _curved(asked: Asked) -> DescentSolution:
    """A function that is no quadratic."""
    points = minima(asked.objective, asked.start)
    single = len(asked.objective.variables) == 1 and asked.optimizer == "gradient"
    if asked.unknown == "learning_rate" and asked.steps == 1 and single:
        return _one_step(asked, points)
    if asked.unknown in {"learning_rate", "momentum"}:
        arrives = f"arrives in {asked.steps} step{'s' * (asked.steps != 1)}"
        message = (
            f"{asked.objective.text} is no quadratic: which setting {arrives} is solved for quadratics, and "
            "for one step of gradient descent in one variable; nearest: that one step, the best settings near the minimum (leave "
            "steps, learning rate and momentum out), or a run (give them all)"
        )
        raise UsageError(message)
    return _settled(asked, points) if asked.unknown == "settings" else _followed(asked, points)


def _settled(asked: Asked, points: Sequence[Point]) -> DescentSolution:
    """The best settings near the minimum downhill from the start; without a start, near the lowest that was found."""
    point = _downhill(asked, asked.start, points)
    near = local(asked.objective, point)
    made = plans(near, None)
    rate, momentum = optimization.best_hyperparameters(asked.optimizer, near.curvatures[0], near.curvatures[-1])
    done = None
    if asked.start is not None:
        done = run(asked.objective, asked.optimizer, rate, momentum, asked.start, asked.steps or _SHORT_RUN, [point, *points])
    setting = Setting(exact(rate), exact(momentum), _radius(asked, rate, momentum, near), done, _unusual(rate, momentum))
    return _solution(asked, [_minimum(asked, point)], [setting], made, [_NEARLY, *_about_others(asked, point, points)])


def _followed(asked: Asked, points: Sequence[Point]) -> DescentSolution:
    """What given settings do: the minimum that is named is the one in whose basin the run ends."""
    named = [_downhill(asked, asked.start, points)]
    done = None

    def ending(end: Sequence[Any] | None) -> list[Point]:
        if end is not None:
            named.append(_downhill(asked, end, points))
        return named[-1:]

    if asked.start is not None:
        done = run(asked.objective, asked.optimizer, asked.rate, asked.momentum, asked.start, asked.steps or _SHORT_RUN, ending)
    point, radius, remarks = named[-1], None, [_NEARLY]
    try:
        radius = _radius(asked, asked.rate, asked.momentum, local(asked.objective, point))
    except UsageError as none:
        remarks = [str(none)]
    if named[0] != point:
        downhill = ", ".join(str(exact(x)) for x in named[0])
        remarks.append(f"these steps leave the basin of the minimum that lies downhill from the start, {downhill}")
    setting = Setting(exact(asked.rate), exact(asked.momentum), radius, done, _unusual(asked.rate, asked.momentum))
    return _solution(asked, [_minimum(asked, point)], [setting], (), remarks + _about_others(asked, point, points))


def _downhill(asked: Asked, begun: Sequence[Any] | None, points: Sequence[Point]) -> Point:
    """The minimum downhill from a point; the nearest if the way ends nowhere; from no point, the lowest."""
    if begun is None:
        return points[0]
    found = basin(asked.objective, begun, points, complete=complete(asked.objective))
    return found or min(points, key=lambda point: sum((rational(x) - rational(y)) ** 2 for x, y in zip(point, begun, strict=True)))


def _about_others(asked: Asked, named: Point, points: Sequence[Point]) -> list[str]:
    """That there are, or may be, minima that are not named, and that no run was made without a start."""
    said = [] if asked.start is not None else ["no run was made: it needs a start"]
    others = "; ".join(", ".join(str(exact(x)) for x in point) for point in points if point != named)
    if others:
        said.append(f"the function has other minima: {others}" + ("" if complete(asked.objective) else "; and may have more"))
    elif not complete(asked.objective):
        said.append("the function may have other minima: they were not searched for everywhere")
    return said


def _minimum(asked: Asked, point: Sequence[Any]) -> Minimum:
    """As plain numbers; without curvatures where there is none."""
    value = asked.objective.at(asked.objective.expression, point)
    try:
        near = local(asked.objective, point).minimum()
    except UsageError:
        return Minimum(tuple(exact(x) for x in point), exact(value), None, None)
    size = max((abs(digits(x)) for x in point), default=0)
    if near.largest and abs(digits(value)) <= near.largest.value * size**2 * 10.0 ** (10 - DIGITS):
        value *= 0  # what the rounding of the point leaves
    return Minimum(tuple(exact(x) for x in point), exact(value), near.smallest, near.largest, near.flat)


def _one_step(asked: Asked, points: Sequence[tuple[Any, ...]]) -> DescentSolution:
    """The learning rate to each minimum of a function of one variable, by the law's own formula on exact numbers."""
    if asked.start is None:
        message = f"{asked.objective.text} is no quadratic: its one-step learning rate depends on the start; give one"
        raise UsageError(message)
    (start,) = asked.start
    slope = asked.objective.gradient[0].subs(asked.objective.variables[0], start)
    if asked.objective.slope(asked.start)[0] == 0:
        message = f"the gradient at the start {start} is 0: no learning rate moves it; start elsewhere, for example at {start + 1}"
        raise UsageError(message)
    settings, uphill = [], []
    for (point,) in points:
        rate = optimization.one_step_learning_rate(start, point, slope)
        if digits(rate) <= 0:
            uphill.append(f"the minimum at {exact(point)} lies uphill of the start: no learning rate goes there in one step")
            continue
        done = run(asked.objective, asked.optimizer, rate, asked.momentum, asked.start, 1, [(point,)])
        settings.append(Setting(exact(rate), exact(asked.momentum), None, done))
    if not settings:
        message = f"{uphill[0]}; nearest: a start on the other side of the maximum between"
        raise UsageError(message)
    if not complete(asked.objective):
        uphill.append("only the nearest minimum on either side of the start is listed: the function may have more")
    return _solution(asked, [_minimum(asked, point) for point in points], settings, (), uphill)
