"""Quantities compare within a unit; a tolerance is a sum of amounts, each with a reason."""

import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.core.quantity import EXACT, NOTHING, Amount, Quantity, Tolerance, Unit, format_number


@pytest.mark.parametrize("act", [lambda a, b: a - b, lambda a, b: a < b, lambda a, b: b > a])
def test_quantities_of_two_units_do_not_mix(act):
    with pytest.raises(InvariantError) as refused:
        act(Quantity(1.0, Unit.NATS), Quantity(1.0, Unit.LOGITS))
    assert str(refused.value) == "quantities compare only within one unit, not nats with logits"


def test_quantities_of_one_unit_subtract_and_order():
    assert Quantity(5.0, Unit.BYTES) - Quantity(2.0, Unit.BYTES) == Quantity(3.0, Unit.BYTES)
    assert Quantity(2.0, Unit.BYTES) < Quantity(5.0, Unit.BYTES)
    assert not Quantity(5.0, Unit.BYTES) < Quantity(2.0, Unit.BYTES)


@pytest.mark.parametrize(("value", "finite"), [(0.0, True), (1e308, True), (math.inf, False), (-math.inf, False), (math.nan, False)])
def test_a_quantity_knows_whether_it_is_finite(value, finite):
    assert Quantity(value, Unit.NORM).is_finite is finite


def test_a_quantity_is_printed_with_its_unit():
    assert str(Quantity(8.98719, Unit.NATS)) == "8.987 nats"
    assert str(Quantity(math.nan, Unit.NATS)) == "nan nats"


@pytest.mark.parametrize("value", [-1e-12, -1.0, math.nan, math.inf, -math.inf])
def test_an_amount_is_finite_and_not_negative(value):
    with pytest.raises(InvariantError) as refused:
        Amount(value, "float32")
    assert str(refused.value) == f"a tolerance is a finite number, zero or more; {value} came (float32)"


def test_an_amount_above_zero_needs_a_reason():
    with pytest.raises(InvariantError, match=r"^a tolerance of 0\.5 needs a reason$"):
        Amount(0.5, "")
    assert Amount(0.0, "") == NOTHING


def test_a_tolerance_is_the_sum_of_its_three_amounts_and_says_them():
    parts = Tolerance(Amount(0.5, "spread 1"), Amount(0.25, "3 standard errors"), Amount(0.125, "float32"))
    assert parts.total == 0.875
    assert str(parts) == "model 0.5 (spread 1) + sampling 0.25 (3 standard errors) + rounding 0.125 (float32)"


@pytest.mark.parametrize("which", ["model", "sampling", "rounding"])
def test_each_amount_counts_alone(which):
    tolerance = Tolerance(**{which: Amount(0.5, "said")})
    assert tolerance.total == 0.5
    assert str(tolerance) == f"{which} 0.5 (said)"


def test_an_exact_tolerance_allows_nothing():
    assert EXACT.total == 0
    assert str(EXACT) == "exact"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-3.0, "-3"), (999_999_999, "999999999"), (1e9, "1e+09"), (0.12345, "0.1235"), (163.7961, "163.8"),
        (1.2e-7, "1.2e-07"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)
def test_numbers_are_printed_whole_or_to_four_digits(value, text):
    assert format_number(value) == text
