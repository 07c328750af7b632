"""The rules that a trace shows are those that its numbers come from."""

import itertools
import math
import re

import pytest

from torchstone.laws.autodiff import ELEMENTALS, elemental_derivative, elemental_value
from torchstone.traces import rules
from torchstone.traces.expression import Row, evaluate, parse

POINTS = [(0.3, 0.8), (0.7, 0.2), (0.5, 0.45)]
READABLE = [name for name in ELEMENTALS if name not in {">", ">=", "<", "<=", "where"}]


def read(rule, numbers):
    """A shown rule, evaluated: v_0 and v_1 are its arguments, v_9 its value; H and [ ] are steps."""
    step = re.sub(r"H\((v_\d+) - (v_\d+)\)", r"(0.5 + 0.5*(\1 - \2)/abs(\1 - \2))", rule)
    step = re.sub(r"\[(v_\d+) > 0\]|sign\((v_\d+)\)", "1", step)
    parsed = parse(f"{step} + 0*v_0")
    return evaluate(parsed, {name: numbers[name] for name in parsed.variables})


@pytest.mark.parametrize("operation", READABLE)
@pytest.mark.parametrize("point", POINTS)
def test_rules_of_value_and_derivative_have_the_numbers_of_the_table(operation, point):
    count = ELEMENTALS[operation]
    row = Row(operation, tuple(range(count)))
    value = elemental_value(operation, point[:count])
    numbers = {"v_0": point[0], "v_1": point[1], "v_9": value}
    assert read(rules.value_rule(row), numbers) == pytest.approx(value, rel=1e-12)
    for slot, partial in enumerate(elemental_derivative(operation, point[:count])):
        assert read(rules.partial_rule(row, 9, slot), numbers) == pytest.approx(partial, rel=1e-12), rules.partial_rule(row, 9, slot)


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "**", "max"])
@pytest.mark.parametrize("constant", [2.0, -3.0, 0.5, 1.0, -1.0, 0.0])
@pytest.mark.parametrize("slot", [0, 1])
def test_rules_with_a_constant(operation, constant, slot):
    if (operation, slot, constant) in {("/", 0, 0.0), ("**", 1, 0.0)}:
        return  # a pole, and torch's convention for 0**y
    arguments = [0, 0]
    arguments[1 - slot] = constant
    taken = [0.7 if isinstance(one, int) else one for one in arguments]
    value, partials = elemental_value(operation, taken), elemental_derivative(operation, taken)
    if operation == "max" or not all(map(math.isfinite, (value, partials[slot]))):
        return
    row = Row(operation, tuple(arguments))
    numbers = {"v_0": 0.7, "v_9": value}
    assert read(rules.value_rule(row), numbers) == pytest.approx(value, rel=1e-6)
    assert read(rules.partial_rule(row, 9, slot), numbers) == pytest.approx(partials[slot], rel=1e-6)
    shown = rules.tangent_rule(row, 9).replace("dv_0", "(1*v_8)")
    assert read(shown, numbers | {"v_8": 1.5}) == pytest.approx(1.5 * partials[slot], rel=1e-6)


def test_conditions_are_shown():
    assert rules.value_rule(Row(">", (0, 1.0))) == "v_0 > 1"
    assert rules.value_rule(Row("where", (1, 0, 2.0))) == "where(v_1, v_0, 2)"
    assert rules.tangent_rule(Row("where", (1, 0, -1)), 2) == "0*dv_1 + v_1*dv_0 + (1 - v_1)*dv_-1"


@pytest.mark.parametrize("operation", [name for name in READABLE if name not in {"/", "abs", "relu", "max", "min"}])
def test_no_rule_without_a_number_hides_a_finite_derivative(operation):
    count = ELEMENTALS[operation]
    row = Row(operation, tuple(range(count)))
    for point in itertools.product([0.0, 1.0, -1.0, 2.0, 0.5, -2.5, 40.0], repeat=count):
        numbers = dict(zip(("v_0", "v_1"), point, strict=False)) | {"v_9": elemental_value(operation, point)}
        for slot, partial in enumerate(elemental_derivative(operation, point)):
            hidden = math.isfinite(partial) and not math.isfinite(read(rules.partial_rule(row, 9, slot), numbers))
            assert hidden == rules.by_convention(row, point, slot), (point, slot)
