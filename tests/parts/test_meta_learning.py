"""MAML and Reptile against loops over tasks, on every route; what is adapted, and data that cannot be."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchstone.core.errors import UsageError
from torchstone.parts import MAML, Reptile, add_lora

ACTIVATIONS = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.3), nn.GELU(), nn.GELU("tanh"), nn.Softplus(2.0), nn.ELU(), nn.Identity()]


def stack(activation=None, dtype=torch.float64, outputs=1, bias=True):
    torch.manual_seed(0)
    activation = nn.Tanh() if activation is None else activation
    inside = nn.Sequential(nn.Linear(6, 6, bias=bias), type(activation)() if not list(activation.parameters()) else activation)
    return nn.Sequential(nn.Linear(3, 6, bias=bias), activation, inside, nn.Linear(6, outputs, bias=bias)).to(dtype)


class Called(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def data(dtype=torch.float64, outputs=1):
    torch.manual_seed(1)
    support, query = [(torch.randn(4, n, 3, dtype=dtype), torch.randn(4, n, outputs, dtype=dtype)) for n in (6, 5)]
    return (*support, *query)


def adapted_by_loop(model, x, y, loss, rate, steps, second, batch=None):
    own = {name: one for name, one in model.named_parameters() if one.requires_grad}
    for number in range(steps):
        some = slice(None) if batch is None else slice(number * batch % len(x), number * batch % len(x) + batch)
        value = loss(functional_call(model, own, (x[some],)), y[some])
        gradients = torch.autograd.grad(value, list(own.values()), create_graph=second)
        own = {name: one - rate * g for (name, one), g in zip(own.items(), gradients, strict=True)}
    return own


def by_loop(model, tasks, loss=functional.mse_loss, rate=0.1, steps=3, second=True):
    losses = [loss(functional_call(model, adapted_by_loop(model, x, y, loss, rate, steps, second), (u,)), v) for x, y, u, v in zip(*tasks, strict=True)]
    return torch.stack(losses).mean()


def gradients(value, model):
    return torch.autograd.grad(value, [one for one in model.parameters() if one.requires_grad], allow_unused=True)


def close(found, wanted, error):
    for one, other in zip(found, wanted, strict=True):
        assert one is other is None or (one - other).abs().max() <= error * max(1.0, other.abs().max().item())


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_meta_gradients_are_the_loops(activation, first_order):
    model, tasks = stack(activation), data()
    maml = MAML(model, inner_lr=0.1, inner_steps=3, first_order=first_order)
    assert maml.route == ("vmap" if isinstance(activation, nn.ELU) else "stack")
    loss, wanted = maml(*tasks), by_loop(model, tasks, second=not first_order)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    close(gradients(loss, model), gradients(wanted, model), 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_both_routes_agree_in_both_precisions(dtype, bias):
    model, tasks = stack(dtype=dtype, bias=bias), data(dtype)
    routes = [MAML(one, inner_lr=0.1, inner_steps=5) for one in (model, Called(model))]
    assert [one.route for one in routes] == ["stack", "vmap"]
    found = [gradients(one(*tasks), model) for one in routes]
    close(*found, 1e-6 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), functional.l1_loss, nn.SmoothL1Loss(), functional.binary_cross_entropy_with_logits, nn.MSELoss(reduction="sum")]
)
def test_any_loss(loss):
    model, tasks = stack(), tuple(one.sigmoid() if one.shape[-1] == 1 else one for one in data())
    maml = MAML(model, loss, inner_lr=0.05, inner_steps=2)
    close(gradients(maml(*tasks), model), gradients(by_loop(model, tasks, loss, 0.05, 2), model), 1e-10)
    first = MAML(model, loss, inner_lr=0.05, inner_steps=2, first_order=True)
    close(gradients(first(*tasks), model), gradients(by_loop(model, tasks, loss, 0.05, 2, second=False), model), 1e-10)


@pytest.mark.parametrize("loss", [functional.cross_entropy, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_classes(loss):
    model, tasks = stack(outputs=5), data()
    tasks = tuple(one if one.shape[-1] == 3 else torch.randint(5, one.shape[:2]) for one in tasks)
    maml = MAML(model, loss, inner_lr=0.3, inner_steps=3)
    close(gradients(maml(*tasks), model), gradients(by_loop(model, tasks, loss, 0.3), model), 1e-10)


@pytest.mark.parametrize("wrap", [lambda one: one, Called])
def test_what_is_frozen_is_shared_and_stays(wrap):
    model, tasks = stack(), data()
    model[0].requires_grad_(False)
    model[2][0].bias.requires_grad_(False)
    maml = MAML(wrap(model), inner_lr=0.1, inner_steps=3)
    assert not any(name.endswith("0.weight") and "2" not in name for name in maml.adapt(*tasks[:2]))
    close(gradients(maml(*tasks), model), gradients(by_loop(model, tasks), model), 1e-10)


def test_the_factors_of_adapters_are_what_is_adapted():
    model, tasks = add_lora(stack(), "all-linear", rank=2), data()
    maml = MAML(model, inner_lr=0.1, inner_steps=3)
    assert maml.route == "vmap" and all("lora_" in name for name in maml.adapt(*tasks[:2]))
    close(gradients(maml(*tasks), model), gradients(by_loop(model, tasks), model), 1e-10)


ATTENTION = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True, activation="gelu")


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 1)],
        [nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.Tanh(), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(8, 1)],
        [nn.Linear(6, 8), nn.BatchNorm1d(8).eval(), nn.RMSNorm(8), nn.Softmax(-1), nn.Linear(8, 1)],
        [nn.Unflatten(1, (1, 6)), ATTENTION, nn.Flatten(), nn.Linear(6, 1)],
    ],
    ids=["convolution and LayerNorm", "GroupNorm", "BatchNorm and RMSNorm", "attention"],
)
def test_models_other_than_stacks(layers):
    torch.manual_seed(0)
    model = nn.Sequential(*layers).double()
    tasks = [torch.randn(3, 5, size, dtype=torch.float64) for size in (6, 1, 6, 1)]
    maml = MAML(model, inner_lr=0.1, inner_steps=2)
    assert maml.route == "vmap"
    with sdpa_kernel(SDPBackend.MATH):
        wanted = by_loop(model, tasks, steps=2)
    close(gradients(maml(*tasks), model), gradients(wanted, model), 1e-10)


def test_a_stack_with_a_hook_or_an_axis_more_takes_the_general_route():
    model, tasks = stack(), data()
    wanted = gradients(MAML(model, inner_lr=0.1, inner_steps=2)(*tasks), model)
    deeper = [one.unsqueeze(2) for one in tasks]
    close(gradients(MAML(model, inner_lr=0.1, inner_steps=2)(*deeper), model), wanted, 1e-10)
    model[0].register_forward_hook(lambda *_: None)
    assert MAML(model, inner_lr=0.1).route == "vmap"


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("wrap", [lambda one: one, Called])
def test_reptile_moves_towards_the_adapted_parameters(batch, wrap):
    model, (x, y, *_) = stack(), data()
    reptile = Reptile(wrap(model), inner_lr=0.1, inner_steps=4, batch_size=batch)
    each = [adapted_by_loop(model, *one, functional.mse_loss, 0.1, 4, second=False, batch=batch) for one in zip(x, y, strict=True)]
    wanted = [(one - torch.stack([own[name] for own in each]).mean(0)).detach() for name, one in model.named_parameters()]
    loss = reptile.backward(x, y)
    close([one.grad for one in model.parameters()], wanted, 1e-12)
    torch.testing.assert_close(reptile(x, y), loss)
    reptile.backward(x, y)
    close([one.grad for one in model.parameters()], [2 * one for one in wanted], 1e-12)


@pytest.mark.parametrize("method", ["maml", "first_order", "reptile"])
def test_sinusoids_are_learned(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    learner = Reptile(model, inner_lr=0.05, inner_steps=5) if method == "reptile" else MAML(
        model, inner_lr=0.05, inner_steps=5, first_order=method == "first_order")

    def tasks():
        x, phase = torch.rand(20, 10, 1) * 4 - 2, torch.rand(20, 1, 1) * math.pi
        return x, torch.sin(x + phase)

    test = (*tasks(), )
    before = learner.losses(learner.adapt(*test), *test).mean().item()
    for _ in range(150):
        optimizer.zero_grad()
        support = tasks()
        learner.backward(*support) if method == "reptile" else learner(*support, *support).backward()
        optimizer.step()
    assert learner.losses(learner.adapt(*test), *test).mean().item() < 0.6 * before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, d: MAML(m, inner_lr=-1.0), "inner_lr is a finite number of 0 or more; -1.0 came"),
        (lambda m, d: MAML(m, inner_lr=math.nan), "inner_lr is a finite number of 0 or more; nan came"),
        (lambda m, d: Reptile(m, inner_lr=0.1, inner_steps=0), "inner_steps is a whole number of 1 or more; 0 came"),
        (lambda m, d: Reptile(m, inner_lr=0.1, batch_size=0), "batch_size is a whole number of 1 or more; 0 came"),
        (lambda m, d: MAML(m.requires_grad_(False), inner_lr=0.1), "this Sequential has no parameter that requires a gradient; unfreeze what is to be adapted"),
        (lambda m, d: MAML(nn.Sequential(m, nn.BatchNorm1d(1)), inner_lr=0.1), "1 (BatchNorm1d) updates running statistics, which tasks cannot share; call its eval()"),
        (lambda m, d: MAML(m, inner_lr=0.1)(d[0], d[1], d[2][:2], d[3][:2]), "support and query data are of the same tasks; 4 and 2 came"),
        (lambda m, d: MAML(m, inner_lr=0.1)(d[0], d[3], d[2], d[3]), "inputs and targets are (tasks, examples, ...), one or more of each; (4, 6, 3) and (4, 5, 1) came"),
        (lambda m, d: Reptile(m, inner_lr=0.1).backward(d[0][:0], d[1][:0]), "inputs and targets are (tasks, examples, ...), one or more of each; (0, 6, 3) and (0, 6, 1) came"),
    ],
)
def test_what_cannot_be_adapted_is_refused(call, said):
    model = stack()
    with pytest.raises(UsageError) as refused:
        call(model, data())
    assert str(refused.value) == said
    assert all(one.grad is None for one in model.parameters())


def test_the_models_parameters_are_the_initialisation_and_are_not_moved():
    model, tasks = stack(), data()
    before = [one.clone() for one in model.parameters()]
    maml = MAML(model, inner_lr=0.1, inner_steps=2)
    maml(*tasks).backward()
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
    assert {id(one) for one in maml.parameters()} == {id(one) for one in model.parameters()}
    with torch.no_grad():
        assert not maml.adapt(*tasks[:2])["0.weight"].requires_grad
