"""Plans on real models: predicted against measured peaks, gradients bit for bit, bad input, disk, counts."""

import copy
import io
import os
import pickle

import pytest
import torch
from torch import nn

from torchstone import parts
from torchstone.core.errors import UsageError
from torchstone.laws.rematerialization.chain import peak, stored
from torchstone.laws.rematerialization.level import least_peak
from torchstone.parts import rematerialization


class Block(nn.Module):
    def __init__(self, width, dropout=0.1):
        super().__init__()
        self.norm, self.wide, self.narrow, self.drop = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        return x + self.drop(self.narrow(torch.relu(self.wide(self.norm(x)))))


class Language(nn.Module):
    """A loop over a ModuleList, with an embedding before and a view after."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(100, 32), nn.Parameter(torch.randn(16, 32))
        self.blocks, self.norm, self.head = nn.ModuleList(Block(32) for _ in range(8)), nn.LayerNorm(32), nn.Linear(32, 100)

    def forward(self, tokens):
        x = self.embed(tokens) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).flatten(0, 1)


def mlp():
    return nn.Sequential(*(Block(64) for _ in range(12))), (torch.randn(128, 64),)


def language():
    return Language(), (torch.randint(0, 100, (16, 16)),)


def convolutions():
    def stage(channels):
        return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))

    model = nn.Sequential(stage(3), *(stage(8) for _ in range(6)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 10))
    return model, (torch.randn(16, 3, 16, 16),)


MODELS = pytest.mark.parametrize("make", [mlp, language, convolutions])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def loss(output):
    return (output * output.detach().cos()).mean()


def step(model, inputs):
    torch.manual_seed(1)
    model.zero_grad()
    output = model(*inputs)
    loss(output).backward()
    return [output.detach(), *(one.grad.clone() for one in model.parameters()), *(one.clone() for one in model.buffers())]


def metered(model, inputs):
    model.zero_grad()
    with rematerialization.Meter() as meter:
        meter.ignore([*model.parameters(), *model.buffers(), *inputs])
        output = model(*inputs)
        value = loss(output)
        value.backward()
        gradients = meter.numbers([one.grad for one in model.parameters()])
    return meter.peak(0, gradients)


def budgets(model, inputs):
    plan = rematerialization.plan(model, inputs, "1TB", loss=loss)
    low = least_peak(plan.layers)[0] + plan.held
    return low, plan.stored_peak


@MODELS
@pytest.mark.parametrize("strategy", ["level", "nested", "uniform"])
def test_a_schedule_keeps_its_budget_and_every_bit(make, strategy):
    model, inputs = make()
    twin = copy.deepcopy(model)
    wanted = step(twin, inputs)
    low, high = budgets(model, inputs)
    for budget in (high, (low + 2 * high) // 3, (2 * low + high) // 3, *([low] if strategy != "uniform" else [])):
        running = copy.deepcopy(model)
        plan = rematerialization.plan(running, inputs, budget, strategy=strategy, loss=loss)
        assert plan.apply(running) is running
        assert all(torch.equal(*pair) for pair in zip(step(running, inputs), wanted, strict=True))
        measured = metered(running, inputs)
        assert plan.predicted_peak <= budget
        assert abs(measured / plan.predicted_peak - 1) < 0.03, (plan.segments, plan.predicted_peak, measured)


class Remembering(nn.Module):
    """Computes with a buffer that its own forward pass moves, in its place or by putting another one there."""

    def __init__(self, anew):
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.register_buffer("mean", torch.ones(64))
        self.anew = anew

    def forward(self, x):
        y = (torch.tanh(self.linear(x)) * self.mean.clone()).sin()
        moved = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        if self.anew:
            self.mean = moved
        else:
            self.mean.copy_(moved)
        return y


def normalised():
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(64, 64)), nn.Tanh())


@pytest.mark.parametrize(("strategy", "share"), [("level", 0.7), ("nested", 0.7), ("graph", 0.95)])  # a graph runs modules alone
@pytest.mark.parametrize("make", [lambda: Remembering(anew=False), lambda: Remembering(anew=True), normalised])
def test_what_runs_again_finds_moving_buffers_where_it_found_them_first(make, strategy, share):
    model, inputs = nn.Sequential(*(make() for _ in range(8))), (torch.randn(256, 64),)
    twin = copy.deepcopy(model)
    stored = rematerialization.plan(model, inputs, "1TB", loss=loss).predicted_peak
    plan = rematerialization.plan(model, inputs, int(stored * share), strategy=strategy, loss=loss)
    plan.apply(model)
    for _ in range(2):
        assert all(torch.equal(*pair) for pair in zip(step(model, inputs), step(twin, inputs), strict=True))


def test_nested_schedules_go_below_one_level():
    model, inputs = mlp()
    low, _ = budgets(model, inputs)
    wanted = step(copy.deepcopy(model), inputs)
    plan = rematerialization.plan(model, inputs, low * 9 // 10, loss=loss)
    assert plan.strategy == "nested" and plan.depth > 1 and not plan.proof and plan.gap >= 0
    plan.apply(model)
    assert all(torch.equal(*pair) for pair in zip(step(model, inputs), wanted, strict=True))
    assert metered(model, inputs) < low * 0.92


def test_planning_leaves_the_model_as_it_was():
    model, inputs = convolutions()
    step(model, inputs)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    gradients = [one.grad for one in model.parameters()]
    rematerialization.plan(model, inputs, "1GB", loss=loss)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one.grad is gradient for one, gradient in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(*pair) for pair in zip(model.state_dict().values(), before.state_dict().values(), strict=True))
    assert "forward" not in model.__dict__ and not model._forward_hooks


def test_the_model_stays_a_module_like_any_other():
    model, inputs = mlp()
    names = list(model.state_dict())
    plan = rematerialization.plan(model, inputs, budgets(model, inputs)[0], loss=loss)
    plan.apply(model)
    assert list(model.state_dict()) == names
    wanted = step(model, inputs)
    twin = pickle.load(io.BytesIO(pickle.dumps(copy.deepcopy(model))))
    assert all(torch.equal(*pair) for pair in zip(step(twin, inputs), wanted, strict=True))
    with torch.no_grad():
        assert not model(*inputs).requires_grad
    with pytest.raises(UsageError, match="already"):
        rematerialization.plan(model, inputs, "1GB")
    with pytest.raises(UsageError, match="already"):
        plan.apply(model)
    plan.remove(model)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_schedule_serves_a_model_built_alike_and_no_other():
    model, inputs = mlp()
    plan = rematerialization.plan(model, inputs, budgets(model, inputs)[0])
    plan.apply(mlp()[0])
    with pytest.raises(UsageError, match=r"^the model has no module '11', which the schedule was planned for"):
        plan.apply(model[:11])


def test_too_little_says_what_is_enough():
    model, inputs = mlp()
    with pytest.raises(UsageError, match=r"^1 kB is too little: nested segments need about (\d+) bytes") as caught:
        rematerialization.plan(model, inputs, "1kB", loss=loss)
    least = int(str(caught.value).split("about ")[1].split()[0])
    assert rematerialization.plan(model, inputs, least, loss=loss).predicted_peak <= least
    with pytest.raises(UsageError, match=r"one level of segments needs (\d+) bytes") as caught:
        rematerialization.plan(model, inputs, "1kB", strategy="level", loss=loss)
    least = int(str(caught.value).split("needs ")[1].split()[0])
    assert rematerialization.plan(model, inputs, least, strategy="level", loss=loss).predicted_peak <= least
    with pytest.raises(UsageError, match="too little"):
        rematerialization.plan(model, inputs, least - 1, strategy="level", loss=loss)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        kept = self.a(x)
        return self.c(self.b(kept)) + kept


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


def layers(*modules):
    return nn.Sequential(*modules, nn.Linear(8, 8), nn.Linear(8, 8))


@pytest.mark.parametrize(("model", "text"), [
    (Skip(), "is used elsewhere too"),
    (layers(Counting(8, 8)), r"^layer 0 \(Counting\) does not compute the same when it runs again"),
    (layers(nn.ReLU(inplace=True)), r"^0 \(ReLU\) changes its input in place"),
    (nn.Linear(8, 8), "^Linear is no chain"),
    (nn.Sequential(), "^Sequential is no chain"),
    (nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8)), "^the model cannot be run on these inputs: RuntimeError"),
])  # fmt: skip
def test_bad_models_are_refused_and_untouched(model, text):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UsageError, match=text):
        rematerialization.plan(model, torch.randn(4, 8), "1GB", strategy="level")
    assert all("forward" not in module.__dict__ for module in model.modules())
    assert all(torch.equal(*pair) for pair in zip(before.values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize("memory", ["2XB", "", 0, -5, True, None, float("nan"), float("inf"), "1e30GB"])
def test_a_budget_is_a_number_of_bytes(memory):
    with pytest.raises(UsageError, match="memory is a number of bytes or a text"):
        rematerialization.plan(*mlp(), memory)


def test_other_wrong_arguments():
    model, inputs = mlp()
    with pytest.raises(UsageError, match="inputs are a tensor"):
        rematerialization.plan(model, None, "1GB")
    with pytest.raises(UsageError, match="strategy is one of"):
        rematerialization.plan(model, inputs, "1GB", strategy="magic")
    with pytest.raises(UsageError, match="loss must return a tensor"):
        rematerialization.plan(model, inputs, "1GB", loss=lambda output: 1.0)
    handle = Language().blocks[0].register_forward_hook(lambda *_: None)
    handle.remove()
    hooked, tokens = language()
    hooked.blocks[3].register_forward_hook(lambda *_: None)
    with pytest.raises(UsageError, match=r"^blocks.3 has hooks"):
        rematerialization.plan(hooked, tokens, "1GB", strategy="level")
    assert rematerialization.plan(hooked, tokens, "1GB").strategy == "stored"  # modules that run again need no chain


def test_layers_are_measured_byte_by_byte():
    model = nn.Sequential(*(nn.Sigmoid() for _ in range(3)))
    found = rematerialization.layers_of(model, torch.randn(100, requires_grad=True))
    assert [layer.saved for layer in found] == [0, 400, 400]  # a sigmoid keeps its output, which is the next one's input
    assert peak(found, stored(found)) > 0


def test_activations_on_disk_leave_every_bit_and_no_file(tmp_path):
    model, inputs = mlp()
    wanted = step(model, inputs)
    with parts.store_on_disk(tmp_path, model, smallest=1) as disk:
        found = step(model, inputs)
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    assert disk.written > 12 * 128 * 64 * 4 * 5 and disk.read >= disk.written
    assert not os.listdir(tmp_path)


def test_disk_errors_are_told_and_clean_up(tmp_path):
    model, inputs = mlp()
    with pytest.raises(UsageError, match="No such file or directory; name a folder"), parts.store_on_disk(tmp_path / "none"):
        pass
    with pytest.raises(ZeroDivisionError), parts.store_on_disk(tmp_path, model, smallest=1):
        model(*inputs)
        1 / 0
    with parts.store_on_disk(tmp_path, model, smallest=1):
        value = loss(model(*inputs))
    with pytest.raises(UsageError, match=r"call backward\(\) inside the with block"):
        value.backward()
    if os.path.exists("/dev/full"):
        with parts.store_on_disk(tmp_path, model, smallest=1) as disk:
            os.dup2(os.open("/dev/full", os.O_WRONLY), disk.handle)
            with pytest.raises(UsageError, match="there is no room left"):
                model(*inputs)
    assert not os.listdir(tmp_path)


def test_disk_and_schedule_together(tmp_path):
    model, inputs = mlp()
    wanted = step(model, inputs)
    rematerialization.plan(model, inputs, budgets(model, inputs)[0], loss=loss).apply(model)
    with parts.store_on_disk(tmp_path, model, smallest=1):
        assert all(torch.equal(*pair) for pair in zip(step(model, inputs), wanted, strict=True))


@pytest.mark.parametrize("reuse", ["nothing", "segment", "graph"])
def test_the_counted_backward_pass_is_one(reuse):
    weights = torch.randn(7, 3, 3, dtype=torch.float64)
    made = [rematerialization.Counted(lambda x, w=w: w @ x.square(), lambda x, g, w=w: 2 * x * (w.T @ g)) for w in weights]
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    y = x
    for weight in weights:
        y = weight @ y.square()
    (wanted,) = torch.autograd.grad(y.sum(), x)
    found, _, _ = rematerialization.backward_from_kept(made, x.detach(), torch.ones(3, dtype=torch.float64), 3, reuse)
    torch.testing.assert_close(found, wanted)
    with pytest.raises(UsageError, match="a spacing of 1 or more"):
        rematerialization.backward_from_kept(made, x, x, 0)


@pytest.mark.gpu
def test_the_predicted_peak_on_a_card():
    model = nn.Sequential(*(Block(256) for _ in range(16))).cuda()
    inputs = (torch.randn(4096, 256, device="cuda"),)
    plan = rematerialization.plan(model, inputs, "1TB", loss=loss)
    low = least_peak(plan.layers)[0] + plan.held
    plan = rematerialization.plan(model, inputs, low * 3 // 2, loss=loss)
    plan.apply(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loss(model(*inputs)).backward()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss(model(*inputs)).backward()
    assert abs((torch.cuda.max_memory_allocated() - before) / plan.predicted_peak - 1) < 0.1
