"""C4.1 and D4a: decay beside a penalty, for plain descent and under a preconditioner."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Unit
from torchstone.laws import optimization
from torchstone.parts import Adam, WeightDecay
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, found, generator, rounding, worst

_PENALTY, _DIFFERENCE, _MATCH = "optimization.l2_penalty", "optimization.form_difference", "optimization.matching_decay"
STEPS = 30


def _loss(point: Tensor) -> Tensor:
    return point.cosh().log().sum() + (point[0] - point[-1]).square() / 8


def _descended(lr: float, decay: float, gamma: float) -> Tensor:
    """Where torch.optim.SGD ends on loss + gamma ‖theta‖², with the share `decay` taken beside each step."""
    point = torch.randn(5, generator=generator(4), dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.SGD([point], lr=lr)
    for _ in range(STEPS):
        before = point.detach().clone()
        optimizer.zero_grad()
        torch.autograd.backward(_loss(point) + gamma * point.square().sum())
        optimizer.step()
        with torch.no_grad():
            point -= decay * before
    return point.detach()


def _same() -> Iterator[Evidence]:
    """The two trajectories' ends, for several rates and decays."""
    for lr, decay in ((0.5, 0.01), (0.1, 0.1), (0.01, 1e-3)):
        gamma = optimization.l2_penalty(decay, lr)
        apart = (_descended(lr, decay, 0.0) - _descended(lr, 0.0, gamma)).abs().max().item()
        how = f"{STEPS} steps of SGD with lambda = {decay:g}, and with the penalty gamma = {gamma:g}"
        yield compared(_PENALTY, 0.0, apart, rounding(1000), how)


@answers("C4.1")
def penalty(_: Posted) -> Answer:
    """The two steps set equal for every theta, and solved for gamma."""
    theta, slope, eta, lam, gamma = sympy.symbols("theta grad eta lambda gamma", positive=True)
    decayed, penalised = theta - eta * slope - lam * theta, theta - eta * (slope + sympy.diff(gamma * theta**2, theta))
    (solution,) = sympy.solve(sympy.Eq(decayed, penalised), gamma)
    (back,) = sympy.solve(sympy.Eq(decayed, penalised), lam)
    shown = WeightDecay.from_share(0.01, lr=0.1)
    return Answer(
        says=(f"gamma = {solution}, that is lambda = {back}", f"for example: {shown}"),
        derivation=(
            f"the gradient of gamma ‖theta‖² is {sympy.diff(gamma * theta**2, theta)}",
            f"a step on the penalised loss ends at {sympy.expand(penalised)}, one with decay at {sympy.expand(decayed)}",
            f"they are one for every theta exactly if gamma = {solution}: the penalty belongs to one learning rate",
        ),
        evidence=(*proved(_PENALTY, "optimization.decay_share", "optimization.penalty_weight_decay"), worst(_same())),
        remarks=(
            f"torch's weight_decay counts per learning rate: weight_decay = lambda / eta = 2 gamma; here {shown.weight_decay:g}",
            "with a schedule of eta one lambda is no one gamma: torch keeps gamma and lets lambda follow eta",
        ),
    )


def _ends(adam: Any, eps: float, lr: float, weight_decay: float) -> Tensor:
    """Where a running Adam without momentum ends on gradients of several scales."""
    source = generator(6)
    point = torch.randn(4, generator=source, dtype=torch.float64).requires_grad_()
    optimizer = adam([point], lr=lr, betas=(0.0, 0.9), eps=eps, weight_decay=weight_decay)
    for _ in range(STEPS):
        point.grad = torch.randn(4, generator=source, dtype=torch.float64) * torch.tensor([0.1, 0.5, 1.0, 5.0], dtype=torch.float64)
        optimizer.step()
    return point.detach()


def _preconditioned() -> Iterator[Evidence]:
    """Adam in both forms: with a huge epsilon M_t is I / eps, and one decay matches; as usual M_t is no multiple of I."""
    rate, l2, huge = 0.05, 0.2, 1e12
    lr = rate * huge
    share = optimization.matching_decay(1 / huge, lr, l2)
    first, second = _ends(_form("l2"), huge, lr, l2), _ends(_form("decoupled"), huge, lr, share / lr)
    apart = (first - second).abs().max().item()
    # M_t is not quite I / eps: sqrt(v) / eps of it is left, in every step.
    allowed = rounding(1e5, 10.0)
    yield compared(_MATCH, 0.0, apart, allowed, f"Adam in both forms, eps = {huge:g}: M_t = I / eps, lambda_r = {share:g}")


def _form(decay: Any) -> Any:
    return partial(Adam, decay=decay)


def _nearest() -> Evidence:
    """With the usual epsilon no decay matches: the best of many is far off."""
    first = _ends(_form("l2"), 1e-8, 0.05, 0.2)
    shares = [10 ** (k / 20) for k in range(-80, 1)]
    apart = min((first - _ends(_form("decoupled"), 1e-8, 0.05, share / 0.05)).abs().max().item() for share in shares)
    how = f"Adam as usual, more than rounding: the nearest of {len(shares)} values of lambda_r to its L2 form, {STEPS} steps"
    return compared(_DIFFERENCE, rounding(1e5, 10.0).total, apart, how=how, relation=Relation.AT_LEAST, unit=Unit.VALUE)


@answers("D4a")
def when_identical(_: Posted) -> Answer:
    """The difference of the two steps, set to 0 for every theta."""
    theta, slope, m, alpha, l2, decay = sympy.symbols("theta grad m_i alpha lambda_w lambda_r", positive=True)
    first, second = theta - alpha * m * (slope + l2 * theta), (1 - decay) * theta - alpha * m * slope
    apart = sympy.factor(sympy.expand(first - second))
    (entry,) = sympy.solve(apart / theta, m)
    (share,) = sympy.solve(apart / theta, decay)
    nearest, match = _nearest(), worst(_preconditioned())
    return Answer(
        says=(
            f"exactly if every entry of M_t is {entry}: M_t = c I with lambda_r = {share.subs(m, sympy.Symbol('c'))}",
            "then it holds for every theta and gradient; c may change with t only if lambda_r / alpha or lambda_w changes with it",
        ),
        derivation=(
            f"coordinate i: the L2 form ends at {sympy.expand(first)}, the decay form at {sympy.expand(second)}",
            f"the gradient's terms cancel; what is left is {apart}",
            f"it is 0 for every theta_i only if m_i = {entry}, the same for all i; plain descent (M_t = I) is c = 1",
            "where some theta_i is 0, its m_i may be anything: at one step that is luck, not a form",
        ),
        evidence=(*proved(_DIFFERENCE, _MATCH), match, nearest),
        remarks=(f"Adam's usual M_t is no multiple of I: the nearest decay ends {found(nearest):.2g} away from its L2 form",),
    )
