"""Memory layouts that torch's fused kernels read wrongly, and states that go from one optimizer to another."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD

from torchstone.core.errors import UsageError
from torchstone.parts import Adam, Momentum, RunningAverage

LAST = torch.channels_last
FORMS = {
    "momentum": (lambda p, **k: Momentum(p, 0.1, 0.9, **k), lambda p: SGD(p, 0.1, 0.9, foreach=False)),
    "average": (lambda p, **k: RunningAverage(p, 0.1, 0.9, **k), None),
    "l2": (lambda p, **k: Adam(p, 0.1, weight_decay=0.1, decay="l2", **k), lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1, foreach=False)),
    "decoupled": (lambda p, **k: Adam(p, 0.1, decay="decoupled", amsgrad=True, **k), lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.0, amsgrad=True, foreach=False)),
}  # fmt: skip
every = pytest.mark.parametrize("form", FORMS)


def steps(optimizer, parameter, number, laid):
    for seed in range(number):
        torch.manual_seed(seed)
        parameter.grad = laid(torch.randn(parameter.shape, dtype=torch.float64))
        optimizer.step()
    return parameter.detach().contiguous()


def weight(laid):
    torch.manual_seed(7)
    return nn.Parameter(laid(torch.randn(2, 3, 4, 5, dtype=torch.float64)))


LAYOUTS = {
    "gradients row by row": (lambda x: x.contiguous(memory_format=LAST), torch.Tensor.contiguous),
    "gradients channels last": (torch.Tensor.contiguous, lambda x: x.contiguous(memory_format=LAST)),
    "transposed": (lambda x: x.transpose(0, 3).contiguous().transpose(0, 3), torch.Tensor.contiguous),
    "with gaps": (lambda x: x.repeat_interleave(2, 3)[..., ::2], torch.Tensor.contiguous),
}


@every
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_takes_the_steps_of_a_dense_one(form, layout):
    build, twin = FORMS[form]
    lays, grads = LAYOUTS[layout]
    found, wanted = weight(lays), weight(torch.Tensor.contiguous)
    moved = steps(build([found]), found, 4, grads)
    torch.testing.assert_close(moved, steps((twin or (lambda p: build(p, foreach=False)))([wanted]), wanted, 4, torch.Tensor.contiguous))


@every
def test_a_state_from_before_the_format_changed_goes_on(form):
    build, _ = FORMS[form]
    before, whole = weight(torch.Tensor.contiguous), weight(torch.Tensor.contiguous)
    first = build([before])
    steps(first, before, 3, torch.Tensor.contiguous)
    after = nn.Parameter(before.detach().contiguous(memory_format=LAST))
    second = build([after])
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # torch does not copy what fits
    steps(build([whole], foreach=False), whole, 3, torch.Tensor.contiguous)
    loop = build([whole], foreach=False)
    loop.load_state_dict({**copy.deepcopy(first.state_dict()), "param_groups": loop.state_dict()["param_groups"]})
    torch.testing.assert_close(
        steps(second, after, 2, lambda x: x.contiguous(memory_format=LAST)), steps(loop, whole, 2, torch.Tensor.contiguous)
    )


def test_fused_is_refused_for_a_parameter_with_gaps_and_not_chosen():
    gaps = nn.Parameter(torch.ones(4, 4)[:, ::2])
    with pytest.raises(UsageError, match=r"tensors without gaps on cpu or cuda; torch.float32 on cpu with strides \(4, 2\) came"):
        Momentum([gaps], fused=True)
    assert Momentum([gaps]).param_groups[0]["fused"] is None


@pytest.mark.parametrize(("build", "dampening"), [(Momentum, 0.0), (RunningAverage, 0.8)])
def test_sgd_goes_on_from_our_state(build, dampening):
    ours = weight(torch.Tensor.contiguous)
    optimizer = build([ours], lr=0.1, momentum=0.8)
    steps(optimizer, ours, 3, torch.Tensor.contiguous)
    theirs = nn.Parameter(ours.detach().clone())
    other = SGD([theirs], lr=9.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["dampening"] == dampening
    torch.testing.assert_close(steps(other, theirs, 3, torch.Tensor.contiguous), steps(optimizer, ours, 3, torch.Tensor.contiguous))
    again = build([nn.Parameter(ours.detach().clone())])
    again.load_state_dict(other.state_dict() if build is Momentum else optimizer.state_dict())
    assert "dampening" not in again.param_groups[0] and "nesterov" not in again.param_groups[0]


@pytest.mark.parametrize(("first", "second", "said"), [
    (RunningAverage, Momentum, "with bias_correction=False"),
    (lambda p: SGD(p, lr=0.1, momentum=0.9), Adam, "without betas"),
    (torch.optim.RMSprop, Adam, "without betas"),
])  # fmt: skip
def test_a_state_of_another_kind_is_refused_when_it_is_loaded(first, second, said):
    parameter = weight(torch.Tensor.contiguous)
    other = first([parameter])
    steps(other, parameter, 1, torch.Tensor.contiguous)
    optimizer = second([parameter], lr=0.3)
    with pytest.raises(UsageError, match=rf"^the state of another optimizer came \({said}"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3 and not optimizer.state
