"""Every optimizer is a full citizen of torch.optim: each row of the table is held to each property."""

import copy
import io
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from torchstone.core.errors import UsageError
from torchstone.parts import Adam, AdamByLine, Momentum, RunningAverage

DOUBLE = torch.float64


def decoupled(params, **given):
    return Adam(params, decay="decoupled", **given)


def l2(params, **given):
    return Adam(params, decay="l2", **given)


@dataclass(frozen=True)
class Row:
    """`twin` is torch's optimizer that it equals; `exact` bit for bit. `kernels` says whether it has foreach and fused."""

    name: str
    build: object
    twin: object = None
    exact: bool = True
    kernels: bool = True
    key: str = "momentum"
    given: dict = field(default_factory=lambda: {"lr": 0.05})


def by_line(line):
    return lambda params, **given: AdamByLine(params, line=line, **given)


ROWS = [
    Row("momentum", Momentum, lambda p, **k: SGD(p, momentum=0.9, **k)),
    Row("descent", lambda p, **k: Momentum(p, momentum=0.0, **k), SGD),
    Row("average", RunningAverage, None),
    Row("average-corrected", lambda p, **k: RunningAverage(p, bias_correction=True, **k), None),
    Row("adam-decoupled", decoupled, torch.optim.AdamW, key="betas"),
    Row("adam-l2", l2, torch.optim.Adam, key="betas"),
    Row("adam-amsgrad", lambda p, **k: l2(p, amsgrad=True, **k), lambda p, **k: torch.optim.Adam(p, amsgrad=True, **k), key="betas"),
    Row("line-gradient", by_line("gradient"), torch.optim.Adam, exact=False, kernels=False, key="betas"),
    Row("line-update", by_line("parameter update"), torch.optim.AdamW, exact=False, kernels=False, key="betas"),
]
TWINS = [row for row in ROWS if row.twin]
FUSED = [row for row in ROWS if row.kernels]
named = lambda rows: pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
every = named(ROWS)


def model(dtype=DOUBLE, device="cpu"):
    source = torch.Generator().manual_seed(0)
    made = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(device, dtype)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=DOUBLE).to(device, dtype)
    return made


def loss_of(made, number):
    first = next(made.parameters())
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(100 + number), dtype=DOUBLE).to(first)
    return made(inputs).square().mean() + made(inputs).sum() / 10


def train(made, optimizer, steps, first=0, scheduler=None):
    for number in range(first, first + steps):
        optimizer.zero_grad()
        loss_of(made, number).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()


def vector(made):
    return nn.utils.parameters_to_vector(made.parameters()).detach().clone()


def trained(build, steps=6, dtype=DOUBLE, device="cpu", **given):
    made = model(dtype, device)
    train(made, build(made.parameters(), **given), steps)
    return vector(made)


def close(one, other, roundings=1000):
    torch.testing.assert_close(one, other, rtol=roundings * torch.finfo(one.dtype).eps, atol=roundings * torch.finfo(one.dtype).eps)


@named(TWINS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("kernel", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
def test_it_is_torchs_twin_with_the_same_kernel(row, weight_decay, maximize, kernel):
    given = {**row.given, "weight_decay": weight_decay, "maximize": maximize}
    twin = trained(row.twin, **given, **kernel)
    if row.exact:
        assert torch.equal(trained(row.build, **given, **kernel), twin)
    elif kernel == {"foreach": False}:
        close(trained(row.build, **given), twin)


@named(FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_all_kernels_agree_and_fused_is_the_default(row, dtype):
    default, fused, foreach, loop = (
        trained(row.build, dtype=dtype, weight_decay=0.1, **row.given, **kernel)
        for kernel in ({}, {"fused": True}, {"foreach": True}, {"foreach": False})
    )
    assert torch.equal(default, fused)
    close(fused, loop)
    close(foreach, loop)


@every
def test_the_state_survives_a_file(row):
    whole = model()
    train(whole, row.build(whole.parameters(), **row.given), 9)
    made = model()
    first = row.build(made.parameters(), **row.given)
    train(made, first, 4)
    stored = io.BytesIO()
    torch.save({"model": made.state_dict(), "optimizer": first.state_dict()}, stored)
    stored.seek(0)
    found = torch.load(stored, weights_only=True)
    other = model()
    other.load_state_dict(found["model"])
    second = row.build(other.parameters(), lr=7.0)
    second.load_state_dict(found["optimizer"])
    train(other, second, 5, first=4)
    assert torch.equal(vector(other), vector(whole))


@every
def test_it_can_be_copied_with_its_model(row):
    made = model()
    optimizer = row.build(made.parameters(), **row.given)
    train(made, optimizer, 3)
    other, second = copy.deepcopy((made, optimizer))
    train(made, optimizer, 3)
    train(other, second, 3)
    assert torch.equal(vector(made), vector(other))


@every
def test_groups_have_their_own_numbers(row):
    made = model()
    optimizer = row.build([{"params": made[0].parameters(), "lr": 0.0}, {"params": [made[2].weight]}], **row.given)
    optimizer.add_param_group({"params": [made[2].bias], "lr": 1.0})
    before = copy.deepcopy(made)
    train(made, optimizer, 1)
    assert torch.equal(made[0].weight, before[0].weight)
    assert not torch.equal(made[2].weight, before[2].weight)
    small, large = ((a - b).abs().max().item() for a, b in ((made[2].weight, before[2].weight), (made[2].bias, before[2].bias)))
    assert large > small


@every
def test_a_closure_is_called_once_with_its_graph_and_its_loss_comes_back(row):
    made, calls = model(), []
    optimizer = row.build(made.parameters(), **row.given)

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = loss_of(made, 0)
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).requires_grad
    assert calls == [True]
    other = model()
    train(other, row.build(other.parameters(), **row.given), 1)
    assert torch.equal(vector(made), vector(other))
    assert row.build(model().parameters(), **row.given).step() is None


@every
def test_schedulers_drive_it(row):
    made = model()
    optimizer = row.build(made.parameters(), **row.given)
    train(made, optimizer, 4, scheduler=lr_scheduler.CosineAnnealingLR(optimizer, T_max=4))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    if row.name != "descent":
        cycle = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=5)
        train(made, optimizer, 4, scheduler=cycle)
    assert vector(made).isfinite().all()


@every
def test_hooks_run_once_a_step(row):
    made = model()
    optimizer = row.build(made.parameters(), **row.given)
    torch.optim.Adam(made.parameters()).step()  # torch's own step is wrapped now as well
    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("before all")),
        optimizer.register_step_pre_hook(lambda *_: seen.append("before")),
        optimizer.register_step_post_hook(lambda *_: seen.append("after")),
        register_optimizer_step_post_hook(lambda *_: seen.append("after all")),
    ]
    try:
        train(made, optimizer, 1)
    finally:
        for handle in handles:
            handle.remove()
    assert sorted(seen) == ["after", "after all", "before", "before all"]


@every
def test_parameters_without_gradient_stay_and_begin_later(row):
    used, late = (nn.Parameter(torch.ones(2, dtype=DOUBLE)) for _ in range(2))
    optimizer = row.build([used, late], **row.given)
    for number in range(3):
        used.grad = torch.ones_like(used)
        late.grad = torch.ones_like(late) if number == 2 else None
        optimizer.step()
        assert torch.equal(late, torch.ones(2, dtype=DOUBLE)) == (number < 2)
    alone = nn.Parameter(torch.ones(2, dtype=DOUBLE))
    optimizer = row.build([alone], **row.given)
    alone.grad = torch.ones_like(alone)
    optimizer.step()
    assert torch.equal(late, alone), "a late parameter's first step is a first step"


@every
def test_sparse_gradients_are_refused_before_anything_moves(row):
    dense, sparse = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = row.build([{"params": [dense]}, {"params": [sparse]}], **row.given)
    dense.grad, sparse.grad = torch.ones(3), torch.ones(3).to_sparse()
    with pytest.raises(UsageError, match=r"averages every entry, and a gradient of torch.sparse_coo came: use sparse=False") as refused:
        optimizer.step()
    assert "\n" not in str(refused.value)
    assert torch.equal(dense, torch.ones(3)) and not optimizer.state


@every
@pytest.mark.parametrize(("given", "said"), [
    ({"lr": -1.0}, "lr is a number, finite and 0 or more; -1.0 came"),
    ({"lr": float("nan")}, "lr is a number, finite and 0 or more; nan came"),
    ({"lr": "0.1"}, "lr is a number, finite and 0 or more; '0.1' came"),
    ({"weight_decay": -0.1}, "weight_decay is a number, finite and 0 or more; -0.1 came"),
])
def test_numbers_that_no_step_has_are_refused(row, given, said):
    with pytest.raises(UsageError) as refused:
        row.build(model().parameters(), **given)
    assert str(refused.value) == said


@every
def test_a_refused_group_is_not_half_added(row):
    made = model()
    optimizer = row.build([made[0].weight], **row.given)
    with pytest.raises(UsageError):
        optimizer.add_param_group({"params": [made[2].weight], "weight_decay": -1.0})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [made[2].weight]})


@named(FUSED)
def test_two_kernels_an_unfusible_parameter_and_a_graph_are_refused(row):
    with pytest.raises(UsageError, match=r"^fused and foreach are two kernels"):
        row.build(model().parameters(), fused=True, foreach=True)
    with pytest.raises(UsageError, match=r"^fused needs floating-point tensors without gaps on cpu or cuda; torch.complex64 on cpu came: leave fused out"):
        row.build([nn.Parameter(torch.ones(2, dtype=torch.complex64))], fused=True)
    with pytest.raises(UsageError, match=r"^a step that can be differentiated was asked for"):
        row.build(model().parameters(), differentiable=True)


@named(FUSED)
def test_complex_parameters_take_torchs_other_kernels(row):
    point = nn.Parameter(torch.ones(2, dtype=torch.complex128))
    optimizer = row.build([point], **row.given)
    point.grad = torch.full_like(point, 1 + 1j)
    optimizer.step()
    assert point.isfinite().all() and (point.real < 1).all() and (point.imag < 0).all()


@named(FUSED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(row, dtype):
    found = trained(row.build, dtype=dtype, **row.given).double()
    assert (found - trained(row.build, **row.given)).abs().max() < 100 * torch.finfo(dtype).eps


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@named([row for row in FUSED if row.name != "descent"])
def test_a_compiled_step_is_the_step(row):
    torch._dynamo.reset()
    made = model()
    optimizer = row.build(made.parameters(), foreach=False, **row.given)
    step = torch.compile(optimizer.step, backend="eager")
    for number in range(3):
        optimizer.zero_grad()
        loss_of(made, number).backward()
        step()
    # Torch's compiled Adam corrects its bias in the step's own float32.
    torch.testing.assert_close(vector(made), trained(row.build, 3, foreach=False, **row.given), rtol=0, atol=1e-14 if row.key == "momentum" else 1e-5)


@pytest.mark.gpu
@named(FUSED)
def test_cuda_moves_as_the_processor_does(row):
    for kernel in ({}, {"fused": True}, {"foreach": True}):
        close(trained(row.build, device="cuda", **row.given, **kernel).cpu(), trained(row.build, **row.given))


@pytest.mark.gpu
@named(FUSED)
def test_gradient_scaling_on_cuda(row):
    made = model(torch.float32, "cuda")
    optimizer, scaler = row.build(made.parameters(), **row.given), torch.amp.GradScaler()
    for number in range(4):
        optimizer.zero_grad()
        loss = loss_of(made, number) * (float("inf") if number == 2 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert vector(made).isfinite().all()
