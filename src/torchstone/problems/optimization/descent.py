"""Questions about optimizers: which learning rate and which momentum reach a parabola's minimum in so many steps."""

import torch

from torchstone import solve
from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.parts import curvature
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found, rounding, value
from torchstone.solve.optimization import DescentSolution, Run

_PARABOLA, _START = "x**2/4", 1
_LAW = "optimization.error_after"


@answers("A2.1")
def one_step_learning_rate(posted: Posted) -> Answer:
    """Solved exactly, run by torch.optim.SGD."""
    solution = solve.descent(_PARABOLA, start=_START, steps=1)
    rate, run = solution.learning_rate, _run(solution)
    bent = solution.minima[0].largest
    return Answer(
        says=(f"the learning rate {rate}{_only(solution)}",),
        derivation=(
            "the gradient of x²/4 is x/2: one step leads from x_0 to x_0 - η x_0/2 = (1 - η/2) x_0",
            f"that is the minimum 0 exactly if η = 1/f'' = {rate} (f'' = {bent}), from every start; the run is at {_path(run)}",
            f"it is half of 2/f'' = {_threshold():g}, beyond which gradient descent diverges (2/λ_max by Lanczos)",
        ),
        evidence=(_landing(rate.value, 0.0, 1), *proved("optimization.one_step_learning_rate", _LAW)),
        claims=_claims(posted, "learning_rate", 1),
        drawings=(solution.drawing(),),
        remarks=("it stays there: every further step multiplies an error of 0 by 0",) if run.stays else (),
    )


@answers("A2.2")
def two_step_momentum(posted: Posted) -> Answer:
    """Solved exactly, run by torch.optim.SGD."""
    solution = solve.descent(_PARABOLA, start=_START, steps=2, optimizer="momentum", learning_rate=1)
    momentum, run = solution.momentum, _run(solution)
    return Answer(
        says=(f"β = {momentum}{_only(solution)}",),
        derivation=(
            "V_1 = x_0/2, so x_1 = x_0 - V_1 = x_0/2, whatever β is, because V_0 = 0",
            "V_2 = β V_1 + x_1/2 = (β/2 + 1/4) x_0, so x_2 = x_1 - V_2 = (1/4 - β/2) x_0",
            f"x_2 = 0 exactly if β = {momentum.text}, in general β = (1 - η f'')²/(η f''); the run is at {_path(run)}",
        ),
        evidence=(_landing(1.0, momentum.value, 2), *proved("optimization.two_step_momentum", _LAW)),
        claims=_claims(posted, "momentum", 2),
        drawings=(solution.drawing(),),
        remarks=() if run.stays else (f"it passes through: {_after(momentum.value)}",),
    )


def _run(solution: DescentSolution) -> Run:
    """The solver's own run of its answer, which arrives."""
    run = solution.solutions[0].run
    if run is None or not run.reaches:
        message = f"the solver's answer for {solution.function} does not arrive in its own run"
        raise InvariantError(message)
    return run


def _only(solution: DescentSolution) -> str:
    count = len(solution.solutions)
    return ", and no other" if count == 1 else f", one of {count}"


def _path(run: Run) -> str:
    return ", ".join(row.point[0].text for row in run.rows)


def _threshold() -> float:
    """Where gradient descent on the parabola begins to diverge: from its curvature as Lanczos' iteration finds it."""
    point = torch.tensor([float(_START)], dtype=torch.float64, requires_grad=True)
    return curvature((point.square() / 4).sum(), [point]).divergence_threshold


def _after(momentum: float) -> str:
    point = _end(1.0, momentum, 3)
    return f"the buffer V_2 is not 0, and the third step ends at x = {point:.4g}"


def _claims(posted: Posted, about: str, steps: int) -> tuple[Claim, ...]:
    """The posted number run by torch.optim.SGD like our own."""
    if about not in posted.claims:
        return ()
    number = value(posted.claims[about])
    rate, momentum = (number, 0.0) if about == "learning_rate" else (1.0, number)
    taken = f"{steps} step{'s' * (steps > 1)}"
    said = f"with {about.replace('_', ' ')} {number:g} torch.optim.SGD is not at 0 after {taken} but at x = "
    return (claimed(about, [_landing(rate, momentum, steps)], lambda evidence: f"{said}{found(evidence):.4g}"),)


def _landing(rate: float, momentum: float, steps: int) -> Evidence:
    """The share of the start's distance to the minimum 0 that so many steps leave: none of it, if they arrive."""
    return compared(_LAW, 0.0, _end(rate, momentum, steps) / _START, rounding(8 * steps), f"{steps} of torch.optim.SGD's steps")


def _end(rate: float, momentum: float, steps: int) -> float:
    """Where torch.optim.SGD is on the parabola after so many steps."""
    point = torch.tensor(float(_START), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([point])
    # Past the check of the constructor: a negative number is run all the same.
    optimizer.param_groups[0].update(lr=rate, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(point.square() / 4)
        optimizer.step()
    return point.item()
