"""The verb `trace`: a formula or a Python function at a point, with its derivative and adjoint traces, checked against torch."""

import math
from collections.abc import Callable, Mapping, Sequence

from torchstone.core.errors import UsageError
from torchstone.traces import rules
from torchstone.traces.expression import Expression, parse, point
from torchstone.traces.sweep import Sent, Tape, sweep
from torchstone.traces.table import AdjointRow, Birth, Remark, Seed, TangentRow, Trace, ValueRow

Direction = str | Mapping[str, float]
"""A variable's name, or a number for each variable that the direction has a component along."""
MODES = ("forward", "reverse", "both")
MANY = 6  # variables: more columns than this are not shown unless they are asked for


def trace(expression: str, at: Mapping[str, float], mode: str | None = None, seed: Direction | None = None) -> Trace:
    """Differentiate a formula at a point in forward and reverse mode, in three-part notation.

    `at` has a number for each variable; its order is the order of the variables (v_-1 is the first of two).
    `mode` is "forward", "reverse" or "both" (by default both; reverse only with more than 6 variables and no seed).
    `seed` is the variable, or the direction as a mapping, along which forward mode differentiates (by default, by each variable).
    Every row is held against torch.func.jvp and vjp in float64: see `Trace.verification`.
    Where a rule is torch's convention at this point, such as |x|' = 0 at 0, `Trace.remarks` says so.
    Raises UsageError for what is no formula, a missing or superfluous variable, a mode or seed that does not exist.
    Source: Griewank and Walther 2008, sections 2.2, 3.1, 3.2; Baydin et al. 2018, section 3.

    >>> found = trace("1/(x1+x2) + x2**2 + cos(x1)", {"x1": 3, "x2": 6})
    >>> round(found.value, 4), round(found.gradient["x1"], 4), found.values[2].rule
    (35.1211, -0.1535, 'v_-1 + v_0')
    """
    parsed = parse(_text(expression))
    point(parsed, at)
    parsed = parsed.ordered(tuple(at))
    numbers = point(parsed, at)
    from torchstone.traces.verification import in_torch_at  # after what may be refused: it needs torch

    return _traced(parsed, numbers, mode, seed, in_torch_at(parsed, numbers), "the formula")


def trace_function(
    function: Callable[..., object], at: Mapping[str, float], mode: str | None = None, seed: Direction | None = None
) -> Trace:
    """Differentiate a Python function of torch scalars as `trace` does a formula.

    The parameters named in `at` are the variables, in the order of the function's parameters; the others keep their defaults.
    The function is followed symbolically, so it may loop over ranges and call others, but not branch on a tensor's value; then
    it is run as it is, and must give the same value and gradient.
    Raises UsageError for a function that cannot be followed (with the line), and as `trace` does.

    >>> trace_function(lambda x, y: x * y, {"x": 2, "y": 5}).gradient
    {'x': 5.0, 'y': 2.0}
    """
    from torchstone.traces.function import follow, run

    followed = follow(function, _names(at))
    numbers = point(followed, at)
    return _traced(followed, numbers, mode, seed, run(function, followed.variables, numbers), "the function itself")


def _text(given: object) -> str:
    if isinstance(given, str):
        return given
    message = f"a formula is a text such as 'x**2'; {given!r} came; trace_function traces a Python function"
    raise UsageError(message)


def _names(given: object) -> tuple[str, ...]:
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return tuple(given)
    message = f"the point is a mapping of parameters' names to numbers, such as {{'x': 1.0}}; {given!r} came"
    raise UsageError(message)


def _traced(
    expression: Expression,
    at: tuple[float, ...],
    mode: str | None,
    seed: Direction | None,
    whole: tuple[float, ...],
    whole_of: str,
) -> Trace:
    from torchstone.traces.verification import verify

    chosen = _mode(mode, expression, seed)
    seeds = _seeds(expression, seed) if chosen != "reverse" else ()
    tape = sweep(expression, at)
    tangents = [(one, tape.tangents(one.direction)) for one in seeds]
    sent = tape.adjoints()
    shown = sent if chosen != "forward" else []
    births = [*_value_births(tape), *_tangent_births(tape, tangents), *_adjoint_births(tape, shown)]
    found = Trace(
        expression.text,
        expression.variables,
        at,
        _values(tape),
        _tangents(tape, [numbers for _, numbers in tangents]),
        _adjoints(tape, sent) if chosen != "forward" else (),
        seeds,
        tape.gradient(),
        tuple(births),
        remarks=_remarks(tape),
    )
    return found.verified(verify(tape, tangents, sent, whole, whole_of))


def _mode(mode: str | None, expression: Expression, seed: object) -> str:
    if mode is None:
        if seed is not None:
            return "forward"
        return "both" if len(expression.variables) <= MANY else "reverse"
    if mode not in MODES:
        message = f"mode is one of {', '.join(MODES)}; {mode!r} came"
        raise UsageError(message)
    if mode == "reverse" and seed is not None:
        message = "a seed is forward mode's: reverse mode starts at the value, with the adjoint 1; leave one of the two out"
        raise UsageError(message)
    return mode


def _seeds(expression: Expression, seed: Direction | None) -> tuple[Seed, ...]:
    names = expression.variables
    if seed is None or isinstance(seed, str):
        if seed is not None and seed not in names:
            message = f"the seed {seed!r} is no variable; there are {', '.join(names)}"
            raise UsageError(message)
        units = names if seed is None else (seed,)
        return tuple(Seed(unit, tuple(float(name == unit) for name in names)) for unit in units)
    if not isinstance(seed, Mapping) or not seed:
        message = f"the seed is a variable's name or a mapping such as {{{names[0]!r}: 1.0}}; {seed!r} came"
        raise UsageError(message)
    direction = point(expression, dict.fromkeys(names, 0.0) | dict(seed))
    for name, number in zip(names, direction, strict=True):
        if not math.isfinite(number):
            message = f"the seed needs finite numbers; {name} = {number:g} came: give one such as 1 or -2"
            raise UsageError(message)
    terms = [rules.product(f"{number:g}", name) for name, number in zip(names, direction, strict=True) if number]
    return (Seed(rules.joined(terms), direction),)


def _positions(tape: Tape) -> list[tuple[str, int]]:
    names = tape.expression.variables
    return [(name, tape.expression.position(name)) for name in names]


def _values(tape: Tape) -> tuple[ValueRow, ...]:
    inputs = [ValueRow(rules.value_name(position), name, tape.numbers[position]) for name, position in _positions(tape)]
    rows = [ValueRow(rules.value_name(position), rules.value_rule(row), tape.numbers[position]) for position, row, _ in tape.rows()]
    result = tape.expression.result
    return (*inputs, *rows, ValueRow("y", rules.value_name(result), tape.numbers[result]))


def _tangents(tape: Tape, tangents: Sequence[Mapping[int, float]]) -> tuple[TangentRow, ...]:
    def numbers(position: int) -> tuple[float, ...]:
        return tuple(found[position] for found in tangents)

    if not tangents:
        return ()
    inputs = [TangentRow(rules.tangent_name(position), f"d{name}", numbers(position)) for name, position in _positions(tape)]
    rows = [TangentRow(rules.tangent_name(at), rules.tangent_rule(row, at), numbers(at)) for at, row, _ in tape.rows()]
    result = tape.expression.result
    return (*inputs, *rows, TangentRow("dy", rules.tangent_name(result), numbers(result)))


def _adjoints(tape: Tape, sent: Sequence[Sent]) -> tuple[AdjointRow, ...]:
    expression = tape.expression
    rows = [AdjointRow(rules.adjoint_name(expression.result), "bar_y", 1.0, "y")]
    for one in sent:
        rule = rules.adjoint_rule(expression.rows[one.source - 1], one.source, one.slot, first=one.first)
        rows.append(AdjointRow(rules.adjoint_name(one.position), rule, one.total, rules.value_name(one.source)))
    used = {expression.result} | {one.position for one in sent}
    for (name, position), number in zip(_positions(tape), tape.gradient(), strict=True):
        rows.append(AdjointRow(f"dy/d{name}", rules.adjoint_name(position) if position in used else "0", number, ""))
    return tuple(rows)


def _remarks(tape: Tape) -> tuple[Remark, ...]:
    """The partial derivatives that are torch's choice at this point, not what their rule comes to."""
    return tuple(
        Remark(rules.value_name(position), rules.value_rule(row), rules.partial_rule(row, position, slot), partials[slot])
        for position, row, partials in tape.rows()
        for slot, argument in enumerate(row.arguments)
        if isinstance(argument, int) and rules.by_convention(row, tape.taken(row), slot)
    )


def _value_births(tape: Tape) -> list[Birth]:
    """The first value that is not finite, and the first nan if that is another row."""
    found = []
    for position, row, _ in tape.rows():
        number, taken = tape.numbers[position], tape.taken(row)
        if _born(number, taken):
            shown = rules.value_rule_in_numbers(row, taken)
            found.append(Birth("value", rules.value_name(position), rules.value_rule(row), shown, number))
    given = [
        Birth("value", rules.value_name(position), name, "given", tape.numbers[position])
        for name, position in _positions(tape)
        if not math.isfinite(tape.numbers[position])
    ]
    return _firsts([*given, *found])


def _tangent_births(tape: Tape, tangents: Sequence[tuple[Seed, Mapping[int, float]]]) -> list[Birth]:
    for _, numbers in tangents:
        births = []
        for position, row, _ in tape.rows():
            number, taken = numbers[position], [numbers[argument] for argument in row.positions]
            if _born(number, taken):
                births.append(Birth("derivative", rules.tangent_name(position), rules.tangent_rule(row, position), "", number))
        if births:
            return _firsts(births)
    return []


def _adjoint_births(tape: Tape, sent: Sequence[Sent]) -> list[Birth]:
    births, found = [], {tape.expression.result: 1.0}
    for one in sent:
        if _born(one.total, [found[one.source], found.get(one.position, 0.0)]):
            rule = rules.adjoint_rule(tape.expression.rows[one.source - 1], one.source, one.slot, first=one.first)
            births.append(Birth("adjoint", rules.adjoint_name(one.position), rule, "", one.total))
        found[one.position] = one.total
    return _firsts(births)


def _born(number: float, taken: Sequence[float]) -> bool:
    """Whether a number is the first that is not finite, or the first nan, among what it was made from."""
    fresh = all(map(math.isfinite, taken)) or (math.isnan(number) and not any(map(math.isnan, taken)))
    return not math.isfinite(number) and fresh


def _firsts(births: Sequence[Birth]) -> list[Birth]:
    """The first birth, and the first of a nan."""
    first = births[:1]
    return [*first, *[birth for birth in births if math.isnan(birth.number) and birth not in first][:1]]
