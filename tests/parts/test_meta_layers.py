"""MAML over layers whose second derivative under vmap is wrong, over layers that vmap does not know, and over tied parameters."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts import MAML, Reptile


def meta_gradient_by_loop(model, tasks, loss, rate, steps):
    total = 0.0
    for x, y, u, v in zip(*tasks, strict=True):
        own = dict(model.named_parameters())
        for _ in range(steps):
            gradients = torch.autograd.grad(loss(functional_call(model, own, (x,)), y), list(own.values()), create_graph=True)
            own = {name: one - rate * g for (name, one), g in zip(own.items(), gradients, strict=True)}
        total = total + loss(functional_call(model, own, (u,)), v) / len(tasks[0])
    return torch.autograd.grad(total, list(model.parameters()))


def labels(tasks, rows, classes=3):
    return torch.randint(0, classes, (tasks, rows))


def images(*inside):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *inside, nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(18, 3))


class Words(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.embed, self.last = nn.Embedding(7, 5, **options), nn.Linear(5, 3)

    def forward(self, tokens):
        return self.last(self.embed(tokens).mean(1).tanh())


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.last = kind(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.body(x)[0][:, -1])


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(x) if x.sum() > 0 else self.last(-x)


def tied(*, bias=False):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    if bias:
        model[2].bias = model[0].bias
    else:
        model[2].weight = model[0].weight
    return model


MODELS = {
    "batch norm": (lambda: images(nn.BatchNorm2d(4, track_running_stats=False)), (1, 5, 5)),
    "batch norm at rest": (lambda: images(nn.BatchNorm2d(4).eval()), (1, 5, 5)),
    "batch norm of rows": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Tanh(), nn.Linear(6, 3)), (4,)),
    "instance norm": (lambda: images(nn.InstanceNorm2d(4, affine=True)), (1, 5, 5)),
    "instance norm at rest": (lambda: images(nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval()), (1, 5, 5)),
    "group norm": (lambda: images(nn.GroupNorm(2, 4)), (1, 5, 5)),
    "layer norm": (lambda: images(nn.LayerNorm([4, 5, 5])), (1, 5, 5)),
    "an embedding with padding": (lambda: Words(padding_idx=0), None),
    "padding from the end": (lambda: Words(padding_idx=-1), None),
    "GRU": (lambda: Recurrent(nn.GRU), (4, 2)),
    "LSTM": (lambda: Recurrent(nn.LSTM), (4, 2)),
    "an if on numbers": (Decides, (4,)),
    "tied weights": (tied, (4,)),
    "tied biases": (lambda: tied(bias=True), (4,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_meta_gradient_is_that_of_a_loop(name):
    torch.manual_seed(3)
    build, shape = MODELS[name]
    model = build().double()
    some, more = (torch.randn(3, n, *shape, dtype=torch.float64) if shape else torch.randint(0, 7, (3, n, 6)) for n in (5, 4))
    tasks = (some, labels(3, 5), more, labels(3, 4))
    maml = MAML(model, functional.cross_entropy, inner_lr=0.1, inner_steps=3)
    maml(*tasks).backward()
    for one, wanted in zip(model.parameters(), meta_gradient_by_loop(model, tasks, functional.cross_entropy, 0.1, 3), strict=True):
        torch.testing.assert_close(one.grad, wanted, rtol=1e-9, atol=1e-11)


def test_targets_that_cross_entropy_leaves_out_are_left_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    tasks = (torch.randn(2, 5, 4, dtype=torch.float64), labels(2, 5), torch.randn(2, 4, 4, dtype=torch.float64), labels(2, 4))
    tasks[1][0, :2] = tasks[3][1, 0] = -100
    maml = MAML(model, functional.cross_entropy, inner_lr=0.1, inner_steps=2)
    assert maml.route == "stack"
    maml(*tasks).backward()
    for one, wanted in zip(model.parameters(), meta_gradient_by_loop(model, tasks, functional.cross_entropy, 0.1, 2), strict=True):
        torch.testing.assert_close(one.grad, wanted, rtol=1e-9, atol=1e-11)


def test_a_loss_for_each_row_is_refused_on_every_route():
    rows, wanted = torch.randn(2, 5, 4), labels(2, 5)
    for model in (nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(4, 3), nn.SiLU())):
        for learner in (MAML(model, nn.CrossEntropyLoss(reduction="none"), inner_lr=0.1), Reptile(model, lambda o, y: (o - y[:, None]) ** 2, inner_lr=0.1)):
            with pytest.raises(UsageError, match=r"^a loss gives one number; a tensor of shape \(5.*came: give it reduction='mean'$"):
                learner.adapt(rows, wanted)


def test_what_is_no_model_loss_or_tensor_is_said():
    with pytest.raises(UsageError, match=r"^an nn\.Module and a loss are needed; NoneType and function came$"):
        MAML(None, inner_lr=0.1)
    with pytest.raises(UsageError, match="inner_lr is a finite number of 0 or more; True came"):
        MAML(nn.Linear(2, 2), inner_lr=True)
    with pytest.raises(UsageError, match=r"inputs and targets are tensors .*; dict and Tensor came: a model of several inputs takes them in one"):
        MAML(nn.Linear(2, 2), inner_lr=0.1).adapt({"x": torch.ones(1)}, torch.ones(1))


def test_running_statistics_are_refused_when_training_begins_later():
    maml = MAML(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval(), functional.cross_entropy, inner_lr=0.1)
    maml.train()
    with pytest.raises(UsageError, match=r"1 \(BatchNorm1d\) updates running statistics"):
        maml.adapt(torch.randn(2, 5, 4), labels(2, 5))
