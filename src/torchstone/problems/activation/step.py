"""B1.1 to B1.3: ReLU by the Heaviside step, and the sigmoid that approaches it."""

from collections.abc import Callable, Iterator

import sympy
import torch

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.laws.activation.step import heaviside, steep_sigmoid_error
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import claimed, compared, derivative, found, rounding, value

POINTS = (-40.0, -3.0, -0.5, 0.0, 0.5, 3.0, 40.0)
REGIONS: dict[str, Callable[[float], bool]] = {
    "below zero": lambda x: x < 0,
    "at zero": lambda x: x == 0,
    "above zero": lambda x: x > 0,
}


def _relu_slope(x: float) -> float:
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(torch.relu(point), point)[0].item()


def _one_sided_slopes(step: float = 2.0**-20) -> tuple[float, float]:
    """Difference quotients of torch's relu at 0, from the left and from the right; powers of two divide exactly."""
    sides = torch.tensor([-step, step], dtype=torch.float64)
    left, right = (torch.relu(sides) / sides).abs().tolist()  # without the sign of a zero
    return left, right


def _said(held: Evidence) -> str:
    return f"{held.how} it is {found(held):.6g}, and {held.predicted.value:.6g} is claimed"


@answers("B1.1")
def relu_derivative(posted: Posted) -> Answer:
    """The derivative of ReLU by cases, and at 0 from either side."""
    x = sympy.Symbol("x", real=True)
    derivative = sympy.diff(sympy.Max(0, x), x)
    left, right = _one_sided_slopes()
    law = "activation.relu_derivative"
    sides = [
        compared(law, heaviside(side), slope, how=f"difference quotient of relu at 0 from the {name}")
        for name, side, slope in (("left", -1, left), ("right", 1, right))
    ]
    return Answer(
        says=(
            f"d/dx {sympy.Max(0, x)} = {derivative}: {_relu_slope(-3.0):g} for x < 0, {_relu_slope(3.0):g} for x > 0",
            f"at 0 it does not exist: the slope is {left:g} from the left and {right:g} from the right",
        ),
        derivation=(
            "x < 0: relu is 0 on a neighbourhood, so the quotient (relu(x+h) - relu(x)) / h is 0",
            "x > 0: relu is the identity on a neighbourhood, so the quotient is h / h = 1",
            f"x = 0: the quotient is {left:g} for h < 0 and {right:g} for h > 0: no limit",
        ),
        evidence=(*proved(law), *sides),
        claims=tuple(_slope_claims(posted)),
        remarks=(f"torch answers {_relu_slope(0.0):g} at 0, a subgradient; H(0) = {heaviside(0.0):g} is another",),
    )


def _slope_claims(posted: Posted) -> Iterator[Claim]:
    for about, said in posted.claims.items():
        if about in REGIONS:
            yield claimed(about, _slopes(REGIONS[about], said), _said)


def _slopes(region: Callable[[float], bool], said: object) -> Iterator[Evidence]:
    for x in filter(region, POINTS):
        yield compared("activation.relu_derivative", value(said, {"H": heaviside}, x=x), _relu_slope(x), how=f"at x = {x:g}")


@answers("B1.2")
def relu_by_heaviside(posted: Posted) -> Answer:
    """Two other definitions of ReLU."""
    x = sympy.Symbol("x", real=True)
    first = sympy.Max(0, x).rewrite(sympy.Heaviside)
    second = first.subs(sympy.Heaviside(x), 1 - sympy.Heaviside(-x, evaluate=False))
    shown = [str(form).replace("Heaviside", "H") for form in (first, second)]
    return Answer(
        says=(f"relu(x) = {shown[0]}", f"relu(x) = {shown[1]}"),
        derivation=(
            "x < 0: H(x) = 0 makes the product 0; x > 0: H(x) = 1 makes it x; x = 0: 0 times 1/2 is 0",
            "H(-x) = 1 - H(x) for every x, at 0 because H(0) = 1/2: put 1 - H(-x) for H(x)",
        ),
        evidence=proved("activation.relu_by_heaviside", "activation.heaviside"),
        claims=tuple(claimed(about, _definitions(str(said)), _said) for about, said in posted.claims.items()),
    )


def _definitions(expression: str) -> Iterator[Evidence]:
    for x in POINTS:
        relu = torch.relu(torch.tensor(x, dtype=torch.float64)).item()
        yield compared("activation.relu_by_heaviside", value(expression, {"H": heaviside}, x=x), relu, how=f"at x = {x:g}")


@answers("B1.3")
def sigmoid_limit(posted: Posted) -> Answer:
    """The limit of sigmoid(kx) by cases, with its rate."""
    k, positive = sympy.symbols("k x", positive=True)
    sigmoid = 1 / (1 + sympy.exp(-k * sympy.Symbol("x")))
    signs = zip(REGIONS, (-positive, 0, positive), strict=True)
    limits = {about: sympy.limit(sigmoid.subs("x", x), k, sympy.oo) for about, x in signs}
    close, closer = steep_sigmoid_error(0.5, 10.0), steep_sigmoid_error(0.5, 100.0)
    distance = sympy.simplify(1 - sigmoid.subs("x", positive))
    return Answer(
        says=(
            *(f"{about}: sigmoid(kx) tends to {limit}" for about, limit in limits.items()),
            f"the distance to H(x) is {distance} for x > 0, likewise with abs(x) for x < 0, and 0 at 0",
        ),
        derivation=(
            "x > 0: exp(-kx) tends to 0, so 1 / (1 + exp(-kx)) tends to 1; x < 0: exp(-kx) grows, so it tends to 0",
            f"x = 0: 1 / (1 + exp(0)) = {sigmoid.subs('x', 0)} for every k",
            f"at x = 1/2 the distance is {close:.3g} for k = 10 and {closer:.3g} for k = 100",
        ),
        evidence=proved("activation.steep_sigmoid_error"),
        claims=(*_limit_claims(posted), *_working_claims(posted)),
        drawings=(_approach(),),
    )


def _steep(x: float) -> float:
    """The steepness at which sigmoid(kx) is its limit to the last digit of float64."""
    return 40 / abs(x) if x else 1e6


def _limit_claims(posted: Posted) -> Iterator[Claim]:
    for about, said in posted.claims.items():
        if about in REGIONS:
            yield claimed(about, _limits(REGIONS[about], said), _said)


def _limits(region: Callable[[float], bool], said: object) -> Iterator[Evidence]:
    for x in filter(region, POINTS):
        k = _steep(x)
        reached = torch.sigmoid(torch.tensor(k * x, dtype=torch.float64)).item()
        claim = value(said, {"H": heaviside}, x=x)
        yield compared("activation.steep_sigmoid_error", claim, reached, rounding(8), f"at x = {x:g} for k = {k:g}")


def _working_claims(posted: Posted) -> Iterator[Claim]:
    """The working writes d/dx sigma(x) where sigma(kx) is meant: the derivative of the expression, at kx, against H(x)."""
    if "limit of" in posted.working:
        yield claimed("limit of", _derivatives(str(posted.working["limit of"])), _said_of_limit)


def _derivatives(expression: str) -> Iterator[Evidence]:
    """`d/dx EXPRESSION` is differentiated, anything else evaluated, at kx for the x of its limit."""
    for x in POINTS:
        k = _steep(x)
        if expression.startswith("d/dx "):
            said = derivative(expression.removeprefix("d/dx "), "x", k * x)
        else:
            said = value(expression, x=k * x)
        yield compared("activation.steep_sigmoid_error", heaviside(x), said, rounding(8), f"x = {x:g}, k = {k:g}")


def _said_of_limit(held: Evidence) -> str:
    return f"at {held.how} what the working takes the limit of is {found(held):.4g}, where H(x) is {held.predicted.value:g}"


def _approach() -> Drawing:
    points = [at / 25 for at in range(-50, 51)]
    grid = torch.tensor(points, dtype=torch.float64)
    named = {f"k = {k}": list(zip(points, torch.sigmoid(k * grid).tolist(), strict=True)) for k in (1, 3, 10)}
    return curves("sigmoid(kx) approaches the step H(x)", {**named, "H(x)": [(x, heaviside(x)) for x in points]}, "x")
