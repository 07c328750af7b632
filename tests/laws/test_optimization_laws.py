"""The laws of steps and gradients against real optimizer loops, with and without what they need."""

import pytest
import torch
from torch import nn

from laws.holding import DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws import optimization

FLOAT = Tolerance(rounding=Amount(1e-6, "float32"))


def norm(parameters):
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.stack([g.norm() for g in gradients]).norm().item() if gradients else 0.0


def carried(clear, kind=torch.optim.SGD, steps=5):
    """The largest share of a consumed gradient that still lies there when the next backward begins."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = kind(model.parameters(), lr=0.01)
    shares, consumed = [], None
    for _ in range(steps):
        inputs = torch.randn(16, 4)
        loss = nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1))
        clear(optimizer)
        if consumed is not None:
            shares.append(norm(model.parameters()) / consumed)
        loss.backward()
        optimizer.step()
        consumed = norm(model.parameters())
    return max(shares)


def halve(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad *= 0.5


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_cleared_gradient_is_not_carried_over_and_an_uncleared_one_is(kind):
    holds("optimization.carried_gradient", {"kept": 0.0}, carried(lambda o: o.zero_grad(), kind))
    holds("optimization.carried_gradient", {"kept": 0.0}, carried(lambda o: o.zero_grad(set_to_none=False), kind))
    never = carried(lambda o: None, kind)
    breaks("optimization.carried_gradient", {"kept": 0.0}, never)
    holds("optimization.carried_gradient", {"kept": 1.0}, never, FLOAT)


def test_a_gradient_that_is_halved_between_steps_is_carried_by_half():
    holds("optimization.carried_gradient", {"kept": 0.5}, carried(halve), FLOAT)
    breaks("optimization.carried_gradient", {"kept": 1.0}, carried(halve), FLOAT)


def buffer(gradients, *, clear):
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    for gradient in gradients:
        if clear:
            weight.grad = None
        (gradient * weight).backward()
    return weight.grad.item()


@pytest.mark.parametrize("gradients", [[1.0], [1.0, 1.0, 1.0], [2.0, -5.0, 0.25, 1e3]])
def test_a_buffer_that_is_never_cleared_holds_the_sum(gradients):
    holds("optimization.uncleared_gradient", {"gradients": gradients}, buffer(gradients, clear=False), DOUBLE)
    if len(gradients) > 1:
        breaks("optimization.uncleared_gradient", {"gradients": gradients}, buffer(gradients, clear=True), DOUBLE)


def updates(*, in_optimizer=True, has_gradient=True, kind=torch.optim.SGD, steps=6):
    """How many steps moved the parameter."""
    torch.manual_seed(0)
    watched, other = nn.Linear(4, 4), nn.Linear(4, 1)
    held = [*other.parameters(), *(watched.parameters() if in_optimizer else ())]
    optimizer = kind(held, lr=0.1)
    moved = 0
    for _ in range(steps):
        before = watched.weight.detach().clone()
        value = watched(torch.randn(8, 4))
        optimizer.zero_grad()
        other(value if has_gradient else value.detach()).square().mean().backward()
        optimizer.step()
        moved += int(not torch.equal(before, watched.weight))
    return moved


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("in_optimizer", [True, False])
@pytest.mark.parametrize("has_gradient", [True, False])
def test_a_parameter_moves_once_a_step_if_it_is_held_and_a_gradient_arrives(kind, in_optimizer, has_gradient):
    measured = updates(in_optimizer=in_optimizer, has_gradient=has_gradient, kind=kind)
    holds("optimization.updates_received", {"steps": 6, "in_optimizer": in_optimizer, "has_gradient": has_gradient}, measured)
    if not (in_optimizer and has_gradient):
        breaks("optimization.updates_received", {"steps": 6, "in_optimizer": True, "has_gradient": True}, measured)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: optimization.carried_gradient(-0.5), "clearing leaves a share of zero or more; -0.5 came"),
        (lambda: optimization.updates_received(-1, in_optimizer=True, has_gradient=True), "steps are counted from zero; -1 came"),
    ],
)
def test_what_no_run_has_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said


def test_a_share_that_is_no_number_is_refused():
    with pytest.raises(InvariantError):
        optimization.carried_gradient(float("nan"))
