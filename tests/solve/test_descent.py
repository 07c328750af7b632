"""`solve.descent`: exact answers, all of them, each one held by torch.optim.SGD; and what has no answer says so."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchstone
from torchstone.core.errors import UsageError
from torchstone.laws import optimization as laws
from torchstone.solve import descent

WITH_MOMENTUM = ["momentum", "averaged", "nesterov"]


def torch_end(function, start, steps, optimizer, rate, momentum):
    """Where torch.optim.SGD is after so many steps; the averaged form begins with a buffer of zeros."""
    points = [torch.tensor(float(x), dtype=torch.float64, requires_grad=True) for x in start]
    running = torch.optim.SGD(points)
    running.param_groups[0].update(
        lr=rate, momentum=momentum, dampening=momentum if optimizer == "averaged" else 0, nesterov=optimizer == "nesterov"
    )
    for point in points:
        running.state[point]["momentum_buffer"] = torch.zeros_like(point)
    for _ in range(steps):
        running.zero_grad()
        function(*points).backward()
        running.step()
    return [point.item() for point in points]


def numbers(solution, name="learning_rate"):
    return [getattr(setting, name).text or pytest.approx(getattr(setting, name).value) for setting in solution.solutions]


def test_the_two_questions_of_the_assignment():
    first = descent("x**2/4", start=1, steps=1)
    assert (first.learning_rate.text, first.unknown, first.solutions[0].run.arrived, first.solutions[0].run.stays) == ("2", "learning_rate", (1,), True)
    second = descent("x**2/4", start=1, steps=2, optimizer="momentum", learning_rate=1)
    assert (second.momentum.text, second.momentum.value, second.unknown) == ("1/2", 0.5, "momentum")
    run = second.solutions[0].run
    assert [row.point[0].text for row in run.rows] == ["1", "1/2", "0"]
    assert [row.buffer[0].text for row in run.rows] == ["0", "1/2", "1/2"]
    assert run.exact and run.reaches and not run.stays and run.left == 0


def test_gradient_descent_has_one_rate_whatever_the_steps_and_the_start():
    for steps in (1, 2, 7):
        for start in (None, 1, "-3/7", 1e-3):
            solution = descent("3*(x - 2)**2", start=start, steps=steps)
            assert numbers(solution) == ["1/6"]
            assert solution.solutions[0].run.arrived == tuple(range(1, steps + 1))


@pytest.mark.parametrize("optimizer", WITH_MOMENTUM)
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_every_rate_arrives_in_torch_too(optimizer, steps):
    solution = descent("x**2/4 - x", start=1, steps=steps, optimizer=optimizer, momentum="1/3")
    assert len(solution.solutions) == (4 if (optimizer, steps) == ("nesterov", 5) else steps)  # one of its five roots is double
    for setting in solution.solutions:
        assert setting.run.reaches
        end = torch_end(lambda x: x**2 / 4 - x, [1], steps, optimizer, setting.learning_rate.value, 1 / 3)
        assert end == pytest.approx([2], abs=1e-9)


@pytest.mark.parametrize(("optimizer", "steps"), [("momentum", 3), ("averaged", 4), ("nesterov", 2), ("nesterov", 5), ("momentum", 6)])
def test_every_momentum_arrives_in_torch_too_the_usual_first(optimizer, steps):
    solution = descent("x**2/4", start=1, steps=steps, optimizer=optimizer, learning_rate=1)
    odd = [bool(setting.unusual) for setting in solution.solutions]
    assert odd == sorted(odd)
    for setting in solution.solutions:
        assert bool(setting.unusual) == (not 0 <= setting.momentum.value < 1)
        end = torch_end(lambda x: x**2 / 4, [1], steps, optimizer, 1.0, setting.momentum.value)
        assert end == pytest.approx([0], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(WITH_MOMENTUM), st.integers(1, 6), st.fractions(Fraction(1, 10), 3, max_denominator=20),
    st.fractions(Fraction(1, 10), 5, max_denominator=20),
)
def test_the_roots_are_those_of_the_law_and_none_is_missed(optimizer, steps, rate, curvature):
    """The law's closed form vanishes at each answer, and changes sign nowhere else on a grid."""
    try:
        found = [s.momentum.value for s in descent(f"({curvature})*x**2/2", steps=steps, optimizer=optimizer, learning_rate=rate).solutions]
    except UsageError:
        found = []
    left = lambda momentum: laws.error_after(optimizer, float(rate), momentum, float(curvature), steps)
    scale = (1 + float(rate * curvature)) ** steps
    assert all(abs(left(momentum)) <= 1e-6 * scale * (1 + abs(momentum)) ** steps for momentum in found)
    grid = [k / 97 - 1.5 for k in range(97 * 4)]
    for low, high in pairwise(grid):
        if left(low) * left(high) < 0 and min(abs(left(low)), abs(left(high))) > 1e-9:
            assert any(low <= root <= high for root in found)


def test_a_momentum_that_does_not_matter_is_said():
    solution = descent("x**2/4", start=1, steps=1, optimizer="momentum", learning_rate=2)
    assert any("every momentum does" in remark for remark in solution.remarks)
    assert solution.momentum.value == 0


def test_several_variables_and_a_start_along_one_curvature():
    assert numbers(descent("x**2 + 10*y**2 - x", start={"x": 3, "y": 0}, steps=1)) == ["1/2"]
    assert numbers(descent("x**2 + 10*y**2 - x", start={"y": 3, "x": "1/2"}, steps=4)) == ["1/20"]
    assert numbers(descent("x**2 + y**2 - x", steps=1)) == ["1/2"]
    unstable = descent("x**2 + 10*y**2 - x", start=[3, 0], steps=1).solutions[0]
    assert unstable.radius == 9 and unstable.run.stays


def test_the_best_settings_are_the_laws_and_their_runs_take_the_predicted_steps():
    solution = descent("x**2 + 10*y**2 - x", start={"x": 1, "y": 2})
    (minimum,) = solution.minima
    assert [x.text for x in minimum.point] == ["1/2", "0"] and (minimum.smallest.text, minimum.largest.text) == ("2", "20")
    assert solution.learning_rate.text == "1/11"
    for plan in solution.plans:
        rate, momentum = laws.best_hyperparameters(plan.optimizer, 2.0, 20.0)
        assert (plan.learning_rate.value, plan.momentum.value) == pytest.approx((rate, momentum))
        assert plan.convergence.value == pytest.approx(laws.best_convergence(plan.optimizer, 2.0, 20.0))
        assert plan.threshold.value == pytest.approx(laws.divergence_threshold(plan.optimizer, momentum, 20.0))
        assert plan.predicted <= plan.taken <= plan.predicted + 8
        end = torch_end(lambda x, y: x**2 + 10 * y**2 - x, [1, 2], plan.taken, plan.optimizer, rate, momentum)
        assert torch.tensor([end[0] - 0.5, end[1]]).norm() <= 1e-6 * torch.tensor([0.5, 2.0]).norm() * (1 + 1e-6)


@settings(max_examples=12, deadline=None)
@given(st.integers(2, 4), st.integers(0, 10**6))
def test_extremes_of_random_quadratics_are_torchs(size, seed):
    source = torch.Generator().manual_seed(seed)
    root = torch.randint(-3, 4, (size + 2, size), generator=source)
    linear = torch.randint(-3, 4, (size,), generator=source)
    names = [f"x{i}" for i in range(size)]
    squares = [f"({' + '.join(f'({w})*{name}' for w, name in zip(row, names, strict=True))})**2" for row in root.tolist()]
    text = " + ".join([*squares, *(f"{name}**2/8 + ({w})*{name}" for w, name in zip(linear.tolist(), names, strict=True))])
    hessian = 2 * (root.T @ root).double() + torch.eye(size, dtype=torch.float64) / 4
    exact = torch.linalg.eigvalsh(hessian)
    (minimum,) = descent(text).minima
    assert (minimum.smallest.value, minimum.largest.value) == pytest.approx((exact[0].item(), exact[-1].item()), rel=1e-9)
    assert [x.value for x in minimum.point] == pytest.approx(torch.linalg.solve(hessian, -linear.double()).tolist(), abs=1e-9)


def test_a_condition_number_beyond_float64_has_plans_without_step_counts():
    plans = descent("x**2 + 1e-30*y**2", start=[1, 1]).plans
    assert [plan.predicted for plan in plans if plan.optimizer == "gradient"] == [None]
    assert all(plan.taken is None for plan in plans)


def test_a_run_out_of_the_domain_ends_there_and_says_so():
    run = descent("log(x)**2", start=2, learning_rate=9).solutions[0].run
    assert (run.steps, run.reaches, run.ended) == (0, False, "step 1 leads to x = -4.238324625, where the function is not finite")
    far = descent("x**4", start=3, learning_rate=9, steps=30).solutions[0].run
    assert (far.steps, far.rows[-1].step) == (3, 3) and far.ended == "step 4 leads to x = 7.289107826e+100, beyond all bounds"


def test_flat_directions_are_said_and_left_alone():
    solution = descent("(x + y)**2 - 2*x - 2*y", start=[1, 2], steps=1)
    assert solution.minima[0].flat == 1 and numbers(solution) == ["1/4"]
    assert [x.text for x in solution.solutions[0].run.rows[-1].point] == ["0", "1"]
    assert any("not unique" in remark for remark in solution.remarks)
    assert {plan.taken for plan in descent("(x + y)**2", start=[1, 2]).plans} == {1}


@pytest.mark.parametrize(
    ("settings_", "radius", "left"),
    [
        ({"learning_rate": 5, "steps": 5}, 1.5, 7.59375),
        ({"learning_rate": 4, "steps": 3}, 1.0, 1.0),
        ({"learning_rate": 1, "momentum": "1/2", "optimizer": "momentum", "steps": 3}, 2**-0.5, 0.25),
    ],
)
def test_what_is_all_given_is_run(settings_, radius, left):
    solution = descent("x**2/4", start=1, **settings_)
    (setting,) = solution.solutions
    assert solution.unknown == "" and setting.radius == pytest.approx(radius)
    assert setting.run.left == left and setting.run.exact


def test_a_run_that_nobody_limited_is_as_long_as_its_radius_asks():
    assert descent("x**2/4", start=1, learning_rate=1).solutions[0].run.steps == laws.steps_to_tolerance(0.5, 1e-6)
    assert descent("x**2/4", start=1, learning_rate=5).solutions[0].run.steps == 20


@pytest.mark.parametrize(
    ("function", "start", "rates"),
    [
        ("x**4 - 2*x**2", 2, ["1/8", "1/24"]),
        ("x**4", 1, ["1/4"]),
        ("x + 1/x", 2, ["4/3"]),
        ("log(x)**2", 2, ["1/log(2)"]),
        ("abs(x - 1) + 2", 4, ["3"]),
        ("exp(x) - 2*x", 1, [pytest.approx(0.4272039293)]),
    ],
)
def test_any_function_of_one_variable_has_its_one_step_rates(function, start, rates):
    solution = descent(function, start=start, steps=1)
    assert numbers(solution) == rates
    assert all(setting.run.reaches for setting in solution.solutions)
    assert all(setting.radius is None for setting in solution.solutions)


def test_minima_uphill_are_said():
    solution = descent("x**4 - 2*x**2", start="1/2", steps=1)
    assert numbers(solution) == ["1/3"]
    assert solution.remarks == ("the minimum at -1 lies uphill of the start: no learning rate goes there in one step",)


def test_other_functions_are_answered_near_their_minimum():
    solution = descent("(1 - x)**2 + 100*(y - x**2)**2", start={"x": -1.2, "y": 1}, optimizer="momentum")
    assert [x.text for x in solution.minima[0].point] == ["1", "1"]
    hessian = torch.tensor([[802.0, -400.0], [-400.0, 200.0]], dtype=torch.float64)
    exact = torch.linalg.eigvalsh(hessian)
    assert solution.minima[0].largest.value == pytest.approx(exact[1].item())
    assert solution.learning_rate.value == pytest.approx(laws.best_hyperparameters("momentum", *exact.tolist())[0])
    assert "no quadratic" in solution.remarks[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"function": "x**2", "optimizer": "momentun"}, "did you mean 'momentum'?"),
        ({"function": "x**2", "steps": 0}, "steps are a whole number from 1; 0 came"),
        ({"function": "x**2", "steps": True}, "steps are a whole number from 1; True came"),
        ({"function": "x**2", "learning_rate": -1}, "a learning rate is positive; -1 came: a negative one climbs"),
        ({"function": "x**2", "learning_rate": "fast"}, "a learning rate is a number such as 2, 0.5 or 1/3; 'fast' came"),
        ({"function": "x**2", "learning_rate": float("nan")}, "a learning rate is a number such as 2, 0.5 or 1/3; nan came"),
        ({"function": "x**2", "learning_rate": "1e400"}, "a learning rate lies between 1e-100 and 1e100 in size; '1e400' came"),
        ({"function": "x**2", "momentum": 0.5}, "gradient descent has no momentum; 1/2 came"),
        ({"function": "x**2", "start": [1, 2]}, "the function has the variables x; 2 came as a start: give x=1"),
        ({"function": "x*y + x**2 + y**2", "start": {"x": 1}}, "such as x=1,y=1; y has no value"),
        ({"function": "width**2", "start": {"with": 1}}, "no variable is named 'with'; did you mean 'width'?"),
        ({"function": "x**2", "start": "1/0"}, "the start of x is a number such as 2, 0.5 or 1/3; '1/0' came"),
        ({"function": "x**2", "start": 0, "steps": 1}, "the start is a minimum already: every setting stays there; start elsewhere, for example at 1"),
        ({"function": "x - x"}, "the function is constant: every point is a minimum and no step moves"),
        ({"function": "3*x + 1"}, "the function has no minimum: it falls without end along a direction in which it is linear (curvatures 0); nearest: the same with x**2/2 added has one"),
        ({"function": "x**2 + y"}, "the function has no minimum: it falls without end along a direction in which it is linear (curvatures 0, 2)"),
        ({"function": "-x**2 + x"}, "no minimum but a maximum at (1/2 = 0.5): it falls without end along a direction of curvature -2; nearest: the same with 2*x**2 added has one"),
        ({"function": "x**2 - y**2"}, "no minimum but a saddle at (0, 0)"),
        ({"function": "x**3", "start": 1}, "no minimum of x**3 was found from the start 1"),
        ({"function": "exp(x) + y**2", "start": [0, 1]}, "no minimum of exp(x) + y**2 was found from the start 0, 1"),
        ({"function": "x**4", "start": 1}, "the curvature of x**4 is 0 at its minimum"),
        ({"function": "x**4 - 2*x**2", "start": 0, "steps": 1}, "the gradient at the start 0 is 0: no learning rate moves it"),
        ({"function": "x**4 - x", "steps": 1}, "its one-step learning rate depends on the start; give one"),
        ({"function": "x**4 - x", "start": 1, "steps": 2}, "x**4 - x is no quadratic: which setting arrives in 2 steps is solved for quadratics"),
        ({"function": "log(x)**2", "start": -2, "learning_rate": 9}, "has no finite value at x = -2: start elsewhere"),
        ({"function": "exp(exp(x)) - x", "start": 100, "learning_rate": 1}, "the function exp(exp(x)) - x or its gradient has no finite value at x = 100: start elsewhere"),
        ({"function": "log(-1)*x**2"}, "the function log(-1)*x**2 has no real, finite value anywhere: check its constants"),
        ({"function": "1e200*x**2"}, "curvatures lie between 1e-100 and 1e100"),
        ({"function": "x**2", "steps": 2, "optimizer": "momentum"}, "arriving in 2 steps is one condition on two unknowns"),
        ({"function": "x**2", "learning_rate": 1, "optimizer": "momentum"}, "with the learning rate 1 alone nothing fixes the momentum"),
        ({"function": "x**2", "momentum": 0.9, "optimizer": "momentum"}, "with the momentum 0.9 alone nothing fixes the learning rate"),
        ({"function": "x**2", "steps": 33, "optimizer": "momentum", "momentum": "0.9"}, "exact settings are found for up to 32 steps; 33 came"),
        ({"function": "x**2", "steps": 10001, "start": 1, "learning_rate": 0.1}, "a run has at most 10,000 steps; 10,001 came"),
        ({"function": " + ".join(f"x{i}**2" for i in range(13))}, "exact eigenvalues are found for up to 12 variables; 13 came"),
    ],
)
def test_what_has_no_answer_says_why_in_one_line(words, said):
    with pytest.raises(UsageError) as refused:
        descent(**words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_several_curvatures_get_the_nearest_solvable_questions_and_those_are_right():
    with pytest.raises(UsageError) as refused:
        descent("x**2 + 10*y**2 - x", start={"x": 1, "y": 2}, steps=2)
    said = str(refused.value)
    assert "parts along 2 curvatures (2, 20)" in said and "(1/2 = 0.5, 1/20 = 0.05)" in said and "leaves 0.8182" in said
    assert abs(laws.scheduled_error([0.5, 0.05], 2)) == abs(laws.scheduled_error([0.5, 0.05], 20)) == 0
    with pytest.raises(UsageError, match=r"no momentum reaches the minimum in 3 steps from every start: .*2 curvatures \(2, 20\)"):
        descent("x**2 + 10*y**2 - x", steps=3, optimizer="nesterov", learning_rate="1/10")


@pytest.mark.parametrize(
    ("words", "said", "words_then"),
    [
        ({"optimizer": "momentum", "learning_rate": 1, "steps": 1}, "nearest: the learning rate 2, or 2 steps, where the momentum 1/2 = 0.5 does", {"steps": 2}),
        ({"optimizer": "averaged", "learning_rate": 1, "steps": 2}, "the condition has no real root; nearest: 4 steps, where the momentum 1/3 ≈ 0.3333333333 does", {"steps": 4}),
    ],
)
def test_the_nearest_number_of_steps_has_the_answer_that_is_named(words, said, words_then):
    with pytest.raises(UsageError) as refused:
        descent("x**2/4", start=1, **words)
    assert said in str(refused.value)
    assert str(descent("x**2/4", start=1, **(words | words_then)).momentum) in said


def test_numbers_are_read_as_they_are_written():
    for written in (0.1, "0.1", "1/10", Fraction(1, 10), "1e-1"):
        assert descent("x**2", start=1, learning_rate=written).learning_rate.text == "1/10"


def test_a_coefficient_that_is_not_rational_is_answered_in_decimals():
    solution = descent("pi*x**2", start=1, steps=1)
    assert solution.learning_rate.text == "" and solution.learning_rate.value == pytest.approx(1 / (2 * torch.pi))
    assert "not rational" in solution.remarks[0]


def test_the_drawing_is_of_the_run():
    drawing = descent("x**2/4", start=1, steps=2, optimizer="momentum", learning_rate=1).drawing()
    assert drawing.svg.count("<circle") == 3 and "momentum 1/2 = 0.5" in drawing.title
    assert all(sign in drawing.text for sign in "012·")
    with pytest.raises(UsageError, match="a descent is drawn in one variable; the function has x, y"):
        descent("x**2 + y**2", start=[1, 1]).drawing()
    for hard in ({"function": "x**2", "start": 1, "learning_rate": 9}, {"function": "1/x + x", "start": 2, "steps": 1}):
        assert "nan" not in descent(**hard).drawing().svg


def test_it_is_on_the_face():
    assert torchstone.solve.descent is descent
