"""`solve.descent` names the minimum that a run goes to, and is honest about kinks and extreme scales."""

import math

import pytest
import torch

from torchstone.core.errors import UsageError
from torchstone.solve import descent

HIMMELBLAU = "(x**2+y-11)**2+(x+y**2-7)**2"


@pytest.mark.parametrize(
    ("function", "start", "rate", "steps", "end"),
    [
        ("sin(x)+x**2/50", 8, 0.5, 30, [4.530175336]),
        ("sin(x)+sin(y)", [1, 1], "1/2", 40, [-math.pi / 2, -math.pi / 2]),
        (HIMMELBLAU, [0, 0], 0.01, 100, [3, 2]),
        ("x**4 - 2*x**2", "1/2", "1/10", 60, [1]),
    ],
)
def test_the_minimum_that_is_named_is_the_one_where_the_run_ends(function, start, rate, steps, end):
    solution = descent(function, start=start, learning_rate=rate, steps=steps)
    assert [x.value for x in solution.minima[0].point] == pytest.approx(end, abs=1e-9)
    run = solution.solutions[0].run
    assert run.left < 1e-5
    assert [x.value for x in run.rows[-1].point] == pytest.approx(end, abs=1e-5)
    assert any("other minima" in remark for remark in solution.remarks)


def test_without_settings_it_is_the_minimum_downhill_from_the_start_and_its_curvature_is_torchs():
    minimum = descent(HIMMELBLAU, start=[-1, 1]).minima[0]
    point = torch.tensor([x.value for x in minimum.point], dtype=torch.float64)
    assert point.tolist() == pytest.approx([-2.805118087, 3.131312518])
    hessian = torch.autograd.functional.hessian(lambda p: (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2, point)
    assert minimum.largest.value == pytest.approx(torch.linalg.eigvalsh(hessian)[1].item())
    assert minimum.value.value == 0
    assert descent("sin(x)+x**2/50", start=8).minima[0].point[0].value == pytest.approx(4.530175336)


def test_steps_that_leave_the_starts_basin_are_said():
    solution = descent("x**4 - 2*x**2", start="3/2", learning_rate="3/10", steps=40)
    ending = solution.solutions[0].run.rows[-1].point[0].value
    left = solution.minima[0].point[0].value != 1
    assert left == (ending < 0) == any("leave the basin" in remark for remark in solution.remarks)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("relu(x)**2+x**2", "from 2 on the left to 4 on the right"),
        ("abs(x)*x+2*x**2", "from 2 on the left to 6 on the right"),
        ("relu(x)**2 + x**2 + y**2", "jumps at its minimum x = 0, y = 0"),
        ("x**2+abs(x)", "has a kink at its minimum x = 0, where its slope jumps from -1 to 1"),
    ],
)
def test_a_kink_has_no_one_curvature(function, said):
    with pytest.raises(UsageError) as refused:
        descent(function)
    assert said in str(refused.value) and "nearest: " in str(refused.value)


def test_a_run_to_a_kink_claims_nothing_and_says_why():
    solution = descent("abs(x)*x+2*x**2", start=1, learning_rate="2/5", steps=3)
    assert solution.solutions[0].radius is None and solution.minima[0].largest is None
    assert "from 2 on the left to 6 on the right" in solution.remarks[0]


def test_pieces_that_agree_are_no_kink():
    minimum = descent("max(x,-x)**2").minima[0]
    assert minimum.largest.value == 2


def test_an_exponential_that_vanishes_is_finite():
    run = descent("exp(x)-x", start=40, learning_rate=1, steps=5).solutions[0].run
    assert (run.steps, run.ended) == (5, "") and run.rows[-1].value.value == pytest.approx(2.35385266837e17)


def test_extreme_scales_are_refused_or_judged_exactly():
    with pytest.raises(UsageError, match=r"a minimum and its value lie within 1e100; it is at -5e\+299"):
        descent("x**2+1e300*x")
    assert descent("x**2+1e-30*y**2", start=[1, 1], learning_rate=0.5, steps=3).solutions[0].radius < 1


def test_a_start_is_a_number_or_a_formula_without_variables():
    assert descent("x**2", start="pi/2", steps=1).start[0].value == math.pi / 2
    with pytest.raises(UsageError, match=r"the start of x is a number such as 2, 0\.5 or 1/3; 'unit' came"):
        descent("x**2", start="unit")


def test_only_the_nearest_minima_are_listed_and_one_step_is_singular():
    assert "only the nearest minimum" in descent("sin(x)", start=1, steps=1).remarks[-1]
    with pytest.raises(UsageError, match="arrives in 1 step is solved"):
        descent("x**4 - x", start=1, steps=1, optimizer="momentum", momentum="1/2")
