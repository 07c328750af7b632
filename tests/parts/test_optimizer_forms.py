"""What is each optimizer's own: conventions, maps between forms, and states of another form."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD

from parts.test_optimizers import DOUBLE, close, model, train, trained, vector
from torchstone.core.errors import UsageError
from torchstone.parts import Adam, AdamByLine, Momentum, RunningAverage, WeightDecay, to_momentum, to_running_average


def follow(lrs, momentum, build):
    """Positions, from gradients 1, -2, 3, ... under learning rates of their own."""
    point = nn.Parameter(torch.zeros((), dtype=DOUBLE))
    optimizer = build([point], lr=0.1, momentum=momentum)
    for number, lr in enumerate(lrs, 1):
        optimizer.param_groups[0]["lr"] = lr
        point.grad = torch.tensor((-1.0) ** number * number, dtype=DOUBLE)
        optimizer.step()
    return point.item(), optimizer, point


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 10)), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_momentum_keeps_each_gradients_own_rate(lrs, momentum):
    velocity, position = 0.0, 0.0
    for number, lr in enumerate(lrs, 1):
        velocity = momentum * velocity + lr * (-1.0) ** number * number
        position -= velocity
    came, optimizer, point = follow(lrs, momentum, Momentum)
    assert came == pytest.approx(position, rel=1e-9, abs=1e-9)
    assert optimizer.velocity(point).item() == pytest.approx(velocity, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0.0, 0.99), st.booleans())
def test_the_average_takes_each_steps_rate(lrs, momentum, corrected):
    average, position = 0.0, 0.0
    for number, lr in enumerate(lrs, 1):
        average = momentum * average + (1 - momentum) * (-1.0) ** number * number
        position -= lr * average / (1 - momentum**number if corrected else 1)
    build = lambda params, **given: RunningAverage(params, bias_correction=corrected, **given)
    assert follow(lrs, momentum, build)[0] == pytest.approx(position, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 10), st.floats(0, 0.99))
def test_the_maps_are_inverse_and_take_the_same_steps(lr, momentum):
    there = to_running_average(lr, momentum)
    back = to_momentum(**there)
    assert back["lr"] == pytest.approx(lr) and back["momentum"] == momentum
    one, other = trained(Momentum, lr=lr / 100, momentum=momentum), trained(RunningAverage, **to_running_average(lr / 100, momentum))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_an_sgd_state_goes_on_in_momentum():
    whole = model()
    train(whole, SGD(whole.parameters(), lr=0.05, momentum=0.9, fused=True), 6)
    made = model()
    first = SGD(made.parameters(), lr=0.05, momentum=0.9, fused=True)
    train(made, first, 3)
    second = Momentum(made.parameters())
    second.load_state_dict(first.state_dict())
    train(made, second, 3, first=3)
    assert torch.equal(vector(made), vector(whole))


@pytest.mark.parametrize(("first", "second", "said"), [
    (lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True), Momentum, "with nesterov=True"),
    (lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5), Momentum, "with dampening=0.5"),
    (lambda p: SGD(p, lr=0.1, momentum=0.9), RunningAverage, "without bias_correction"),
    (Momentum, RunningAverage, "without bias_correction"),
    (lambda p: RunningAverage(p, bias_correction=True), Momentum, "with bias_correction=True"),
    (torch.optim.Adam, Momentum, "with betas="),
])  # fmt: skip
def test_the_state_of_another_form_is_refused_whole(first, second, said):
    made = model()
    other = first(made.parameters())
    train(made, other, 2)
    optimizer = second(made.parameters(), lr=0.3)
    with pytest.raises(UsageError, match=rf"^the state of another optimizer came \({said}.*cannot go on from it; start anew$"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3 and not optimizer.state


@pytest.mark.parametrize(("twin", "form"), [(torch.optim.AdamW, "decoupled"), (torch.optim.Adam, "l2")])
@pytest.mark.parametrize("fused", [None, True])
def test_a_torch_state_says_its_form(twin, form, fused):
    whole = model()
    train(whole, twin(whole.parameters(), lr=0.05, weight_decay=0.2, fused=fused), 6)
    made = model()
    first = twin(made.parameters(), lr=0.05, weight_decay=0.2, fused=fused)
    train(made, first, 3)
    second = Adam(made.parameters())
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["decay"] == form and f"decay: {form}" in str(second)
    train(made, second, 3, first=3)
    close(vector(made), vector(whole))


def test_adam_does_not_guess_the_decay():
    with pytest.raises(UsageError, match=r'^decay is "l2" .* or "decoupled" .*; None came: say one of them$'):
        Adam(model().parameters(), weight_decay=0.1)
    with pytest.raises(UsageError, match="; 'L2' came"):
        Adam(model().parameters(), decay="L2")
    optimizer = Adam(model().parameters())
    optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(UsageError, match="None came"):
        optimizer.step()
    with pytest.raises(UsageError, match=r"^betas are two numbers, one a moment; 0.9 came$"):
        Adam(model().parameters(), betas=0.9)
    with pytest.raises(UsageError, match=r"^betas\[1\] is in \[0, 1\); 1.0 came$"):
        Adam(model().parameters(), betas=(0.9, 1.0))


def test_a_group_may_have_its_own_form():
    one, other = (nn.Parameter(torch.ones((), dtype=DOUBLE)) for _ in range(2))
    optimizer = Adam([{"params": [one]}, {"params": [other], "decay": "l2"}], lr=0.5, weight_decay=0.5, decay="decoupled")
    one.grad, other.grad = torch.zeros_like(one), torch.zeros_like(other)
    optimizer.step()
    assert one.item() == 0.75 and other.item() == pytest.approx(0.5)  # a share of lr·weight_decay; a whole step of Adam
    assert isinstance(optimizer, torch.optim.Adam)


def test_momentum_zero_keeps_no_buffer():
    made = model()
    optimizer = Momentum(made.parameters(), momentum=0.0)
    train(made, optimizer, 2)
    assert not optimizer.state
    assert torch.equal(optimizer.velocity(made[0].weight), torch.zeros_like(made[0].weight))


def test_an_unknown_line_is_refused():
    with pytest.raises(UsageError, match=r"^a line of Adam is one of gradient, first moment, second moment, parameter update; 'loss' came$"):
        AdamByLine(model().parameters(), line="loss")


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 10), st.floats(1e-4, 10))
def test_weight_decay_in_every_convention_and_back(number, lr):
    decay = WeightDecay.from_torch(number, lr=lr)
    assert WeightDecay.from_share(decay.share, lr=lr).weight_decay == pytest.approx(number)
    assert WeightDecay.from_penalty(decay.penalty, lr=lr).weight_decay == pytest.approx(number)
    start = torch.ones(1, dtype=DOUBLE)
    ends = []
    for weight_decay, share, gamma in ((decay.weight_decay, 0, 0), (0, decay.share, 0), (0, 0, decay.penalty)):
        point = start.clone().requires_grad_()
        (point.square() / 2 + gamma * point.square()).sum().backward()
        SGD([point], lr=lr, weight_decay=weight_decay).step()
        ends.append(point.item() - share * start.item())
    assert all(one == pytest.approx(other, abs=1e-9) for one, other in itertools.pairwise(ends))


def test_a_share_without_a_rate_is_refused():
    with pytest.raises(UsageError, match=r"^torch's decay is lr times weight_decay: lambda = 0.1 cannot be had at lr = 0"):
        WeightDecay.from_share(0.1, lr=0.0)
    with pytest.raises(UsageError, match=r"^gamma is a number, finite and 0 or more; -1 came$"):
        WeightDecay.from_penalty(-1, lr=0.1)
