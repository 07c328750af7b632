"""Plans for models that are no chain: every bit the same, peaks as predicted, bounds held, what cannot run again left out."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch import nn

from suites.graph_models import MODELS, DenseNet, UNet, total
from torchstone.core.errors import UsageError
from torchstone.parts import rematerialization
from torchstone.parts.rematerialization.scheduling import observed, task_of
from torchstone.parts.rematerialization.working import Worker

EVERY = pytest.mark.parametrize("name", MODELS)


def made(name):
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    return make(), inputs


def run(model, inputs):
    output = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    value = total(output)
    value.backward()
    return value, output  # the caller holds both meanwhile


def step(model, inputs):
    torch.manual_seed(1)
    model.zero_grad()
    value, _ = run(model, inputs)
    gradients = [one.grad.clone() for one in model.parameters()]
    return [value.detach(), *gradients, *(one.clone() for one in model.buffers()), torch.get_rng_state()]


def alike(one, other):
    return len(one) == len(other) and all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def metered(model, inputs):
    model.zero_grad()
    given = inputs.values() if isinstance(inputs, dict) else inputs
    with Worker() as meter:
        meter.ignore([*model.parameters(), *model.buffers(), *(one for one in given if isinstance(one, torch.Tensor))])
        held = run(model, inputs)
        gradients = meter.numbers([one.grad for one in model.parameters()])
    assert held
    return meter.peak(0, gradients)


@EVERY
def test_a_schedule_keeps_its_budget_and_every_bit(name):
    model, inputs = made(name)
    wanted = step(copy.deepcopy(model), inputs)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UsageError, match="too little: the least that was found, running modules again, is ") as caught:
        rematerialization.plan(model, inputs, "2kB", loss=total, strategy="graph")
    least = int(str(caught.value).split(" again, is ")[1].split()[0])
    stored = metered(copy.deepcopy(model), inputs)
    for budget in [least, (least + stored) // 2][name not in {"densenet", "tied"} :]:
        state = torch.get_rng_state()
        plan = rematerialization.plan(model, inputs, budget, loss=total)
        assert alike(before.values(), model.state_dict().values()) and torch.equal(state, torch.get_rng_state())
        assert plan.strategy == "graph" and 0 < plan.predicted_peak <= budget < plan.stored_peak == stored
        assert 0 <= plan.any_bound <= plan.lower_bound <= plan.extra_cost and plan.gap >= 0
        running = copy.deepcopy(model)
        assert plan.apply(running) is running
        assert alike(step(running, inputs), wanted)
        states = 5056 * len(plan.modules) * 4  # random numbers' states, which no operation makes
        assert plan.predicted_peak - states <= metered(running, inputs) <= plan.predicted_peak


def profiled(model, inputs):
    model.zero_grad()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        held = run(model, inputs)
    assert held
    changes, nodes = [], list(profile.profiler.kineto_results.experimental_event_tree())
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.typed[0].name == "Allocation":
            changes.append((node.start_time_ns, node.typed[1].ptr, node.typed[1].alloc_size))
    changes.sort()
    gradients = {one.grad.data_ptr() for one in model.parameters()}
    last = {ptr: place for place, (_, ptr, size) in enumerate(changes) if ptr in gradients and size > 0}
    return max(itertools.accumulate(0 if last.get(ptr) == place else size for place, (_, ptr, size) in enumerate(changes)))


@pytest.mark.parametrize(("name", "inputs"), [
    ("unet", torch.randn(4, 3, 64, 64)), ("densenet", torch.randn(8, 3, 32, 32)), ("transformer", torch.randn(32, 48, 32)),
])  # fmt: skip
def test_the_profiler_measures_the_predicted_peak(name, inputs):
    model, _ = made(name)
    plan = rematerialization.plan(model, inputs, metered(model, (inputs,)) * 3 // 4, loss=total, strategy="graph")
    plan.apply(model)
    inputs = (inputs,)
    assert abs(profiled(model, inputs) / plan.predicted_peak - 1) < 0.03


@pytest.mark.parametrize("name", ["densenet", "tied"])
def test_bounds_and_search_against_every_set_of_modules(name):
    model, inputs = made(name)
    seen = observed(task_of(model, inputs, {}, total))
    names = sorted(seen.graph.modules, key=lambda one: (-seen.graph.costs[one], one))[:4]
    sets = itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(5))
    everything = [seen.trial.measure(modules) for modules in sets]
    low, high = min(peak for peak, _ in everything), max(peak for peak, _ in everything)
    for budget in (low, (low + high) // 2):
        best = min(extra for peak, extra in everything if peak <= budget)
        plan = rematerialization.plan(model, inputs, budget, loss=total, strategy="graph")
        assert plan.any_bound <= plan.lower_bound <= best
        assert plan.extra_cost <= 1.2 * best  # among all modules there may be better ones than among the four


def test_the_model_stays_a_module_like_any_other():
    model, inputs = made("unet")
    names = list(model.state_dict())
    whole = rematerialization.plan(model, inputs, "1TB", loss=total)
    assert (whole.strategy, whole.modules, whole.extra_cost, whole.lower_bound) == ("stored", (), 0, 0)
    plan = rematerialization.plan(model, inputs, whole.stored_peak * 3 // 4, loss=total)
    other = UNet().eval()
    plan.apply(model)
    assert list(model.state_dict()) == names
    wanted = step(model, inputs)
    made("unet")
    twin = pickle.load(io.BytesIO(pickle.dumps(copy.deepcopy(model))))
    twin.load_state_dict(model.state_dict())
    assert alike(step(twin, inputs)[:5], step(model, inputs)[:5]) and wanted
    with torch.no_grad():
        assert not model(*inputs).requires_grad
    for call in (lambda: plan.apply(model), lambda: rematerialization.plan(model, inputs, "1GB", loss=total)):
        with pytest.raises(UsageError, match="already"):
            call()
    assert plan.remove(model) is model and not any("forward" in one.__dict__ for one in model.modules())
    plan.apply(other)
    assert plan == pickle.loads(pickle.dumps(plan))


def test_a_retained_graph_is_used_twice_and_autocast_holds():
    model, inputs = made("unet")
    plan = rematerialization.plan(model, inputs, metered(model, inputs) * 3 // 4, loss=total)
    found = []
    for twin in (copy.deepcopy(model), plan.apply(copy.deepcopy(model))):
        torch.manual_seed(2)
        twin.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            value = total(twin(*inputs))
        value.backward(retain_graph=True)
        value.backward()
        found.append([*(one.grad for one in twin.parameters()), *twin.buffers()])
    assert plan.modules and alike(*found)


def test_another_model_is_refused_untouched():
    model, inputs = made("unet")
    plan = rematerialization.plan(model, inputs, metered(model, inputs) * 4 // 5, loss=total)
    other = DenseNet()
    with pytest.raises(UsageError, match=r"^the schedule was planned for a model whose module 'down' is a ModuleList"):
        plan.apply(other)
    wrong = UNet()
    wrong.head = nn.Identity()
    with pytest.raises(UsageError, match="'head' is a Conv2d; this one has a Identity there"):
        plan.apply(wrong)
    own = UNet()
    own.get_submodule(plan.modules[-1]).forward = lambda x: x
    with pytest.raises(UsageError, match=r"has a forward of its own"):
        plan.apply(own)
    assert not any("forward" in one.__dict__ for twin in (other, wrong) for one in twin.modules())


def test_statistics_do_not_move_twice_in_the_other_mode():
    model, inputs = made("unet")
    model.eval()
    plan = rematerialization.plan(model, inputs, metered(model, inputs) * 4 // 5, loss=total)
    twin = copy.deepcopy(model).train()
    plan.apply(model).train()
    assert not plan.buffers and plan.modules
    assert alike(step(model, inputs), step(twin, inputs))


class Counting(nn.Module):
    """Another result each time, and a state that others read."""

    def __init__(self, inside):
        super().__init__()
        self.inside, self.calls = inside, 0

    def forward(self, x):
        self.calls += 1
        return self.inside(x) * self.calls


class Stacked(nn.Module):
    """Modules hand activations to each other behind torch's back."""

    def __init__(self, inside, stack, *, push):
        super().__init__()
        self.inside, self.stack, self.push = inside, stack, push

    def forward(self, x):
        if self.push:
            self.stack.append(x)
            return self.inside(x)
        return self.inside(x + self.stack.pop())


def wide():
    return nn.Sequential(nn.Linear(16, 256), nn.GELU(), nn.Linear(256, 16))


class Around(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        kept = x
        for block in self.blocks:
            x = block(x) + kept
        return x


def stacked():
    stack = []
    return Around(Stacked(wide(), stack, push=True), wide(), Stacked(wide(), stack, push=False), wide())


@pytest.mark.parametrize(("make", "barred", "why"), [
    (lambda: Around(Counting(wide()), wide(), wide(), wide()), "blocks.0", "does not compute the same when it runs again"),
    (stacked, "blocks.2", "it fails when it runs again"),
])  # fmt: skip
def test_what_does_not_run_twice_alike_is_left_out(make, barred, why):
    torch.manual_seed(0)
    model, x = make(), torch.randn(64, 16)
    whole = rematerialization.plan(model, x, "1TB", loss=total)
    plan = rematerialization.plan(model, x, whole.stored_peak * 7 // 10, loss=total)
    assert plan.modules and barred not in plan.modules
    task = observed(task_of(model, (x,), {}, total))
    found = rematerialization.scheduling.faults(task_of(make(), (x,), {}, total), [barred], ())
    assert why in found[barred] and barred in task.graph.modules


class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.act, self.narrow = nn.Linear(16, 256), nn.ReLU(inplace=True), nn.Linear(256, 16)

    def forward(self, x):
        return self.narrow(self.act(self.wide(x)).square())


def test_what_changes_its_input_is_left_out_alone():
    model, x = Around(Inside(), Inside(), Inside()), torch.randn(64, 16)
    whole = rematerialization.plan(model, x, "1TB", loss=total)
    assert whole.refused == dict.fromkeys([f"blocks.{place}.act" for place in range(3)], "what comes in is changed in place")
    plan = rematerialization.plan(model, x, whole.stored_peak * 7 // 10, loss=total)
    wanted = step(copy.deepcopy(model), (x,))
    assert plan.modules and alike(step(plan.apply(model), (x,)), wanted)


class Looking(nn.Module):
    """Its way depends on numbers, which a copy without numbers does not have."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(wide() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = (block(x) if float(x.detach().abs().sum()) > 0 else x) + x
        return x


def test_a_model_that_looks_at_numbers_is_run_as_it_is():
    model, x = Looking(), torch.randn(64, 16)
    whole = rematerialization.plan(model, x, "1TB", loss=total)
    plan = rematerialization.plan(model, x, whole.stored_peak * 7 // 10, loss=total)
    wanted = step(copy.deepcopy(model), (x,))
    assert plan.modules and alike(step(plan.apply(model), (x,)), wanted)
    assert all(one.grad is None for one in Looking().parameters())


@pytest.mark.parametrize(("model", "inputs", "text"), [
    (nn.Identity(), torch.randn(3), "no output of Identity has a gradient"),
    (nn.Linear(3, 3).requires_grad_(requires_grad=False), torch.randn(3), "no output of Linear has a gradient"),
    (nn.Linear(3, 3), torch.randn(4), "the model cannot be run on these inputs: RuntimeError"),
    (nn.Linear(3, 3), {}, "inputs are a tensor, a list or tuple"),
    (nn.Linear(3, 3), {"x": torch.randn(3)}, "the model cannot be run on these inputs: TypeError"),
])  # fmt: skip
@pytest.mark.parametrize("strategy", ["best", "graph"])
def test_bad_models_and_inputs(model, inputs, text, strategy):
    with pytest.raises(UsageError, match=text):
        rematerialization.plan(model, inputs, "1GB", strategy=strategy)


def test_a_chain_stays_one_and_a_graph_can_be_asked_for():
    torch.manual_seed(0)
    model, x = nn.Sequential(*(wide() for _ in range(6))), torch.randn(64, 16)
    assert isinstance(rematerialization.plan(model, x, "600kB", loss=total), rematerialization.Schedule)
    plan = rematerialization.plan(model, x, "600kB", loss=total, strategy="graph")
    assert isinstance(plan, rematerialization.GraphSchedule)
    wanted = step(copy.deepcopy(model), (x,))
    assert plan.modules and alike(step(plan.apply(model), (x,)), wanted)
    with pytest.raises(UsageError, match="a chain is called with arguments by their places"):
        rematerialization.plan(nn.Linear(3, 3), {"input": torch.randn(2, 3)}, "1GB", strategy="level")
