"""fold_dropout on real networks: the copy's evaluation against the mean over masks of the original, and clear words where nothing folds."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from torchstone.core.errors import UsageError
from torchstone.parts import GaussianNoise, UnscaledDropout, fold_dropout, gaussian_noise, unscaled_dropout

DRAWS = 4000


class Branches(nn.Module):
    """Noise that reaches two layers by a reshape, a sum of two noisy values, a shared size, and an argument with a default."""

    def __init__(self):
        super().__init__()
        self.noise, self.first, self.second = UnscaledDropout(0.4), nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x, mask=None, *, double=False):
        x = self.noise(x)
        x = x.reshape(x.shape[0], 2, 3).transpose(1, 2).flatten(1)
        y = self.noise(2 * x) if mask is not None else x + x[:, torch.arange(5, -1, -1)]
        return self.first(x) + self.second(y / 2) * (2 if double else 1)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({"body": nn.Sequential(UnscaledDropout(0.5), nn.Identity(), nn.Sequential(nn.Linear(6, 4)))})
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.inner["body"](x))


def images(*layers):
    return nn.Sequential(nn.Unflatten(1, (1, 2, 3)), *layers, nn.Flatten())


NETWORKS = {
    "linear": lambda: nn.Sequential(UnscaledDropout(0.3), nn.Linear(6, 4)),
    "no bias": lambda: nn.Sequential(UnscaledDropout(0.3), nn.Linear(6, 4, bias=False)),
    "two noises": lambda: nn.Sequential(UnscaledDropout(0.3), GaussianNoise(1.5, 0.5), nn.Linear(6, 4)),
    "noise after noise's layer": lambda: nn.Sequential(UnscaledDropout(0.3), nn.Linear(6, 5), UnscaledDropout(0.6), nn.Linear(5, 2)),
    "Gaussian": lambda: nn.Sequential(GaussianNoise(0.5, 0.5), nn.Linear(6, 4)),
    "negative mean": lambda: nn.Sequential(GaussianNoise(-2.0, 0.1), nn.Linear(6, 4)),
    "with dropout that rescales": lambda: nn.Sequential(UnscaledDropout(0.3), nn.Dropout(0.2), nn.Linear(6, 4)),
    "all dropped": lambda: nn.Sequential(UnscaledDropout(1.0), nn.Linear(6, 4)),
    "branches": Branches,
    "nested": Nested,
    "convolution": lambda: images(UnscaledDropout(0.3), nn.Conv2d(1, 3, 2, padding=1)),
    "pooled": lambda: images(UnscaledDropout(0.3), nn.AvgPool2d(2, 1), nn.Conv2d(1, 2, 1)),
    "transposed": lambda: images(GaussianNoise(0.7, 0.2), nn.ConvTranspose2d(1, 2, 2)),
    "in place": lambda: nn.Sequential(nn.Linear(6, 6), UnscaledDropout(0.3, inplace=True), nn.Linear(6, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_is_the_mean_over_masks(name):
    torch.manual_seed(0)
    network, inputs = NETWORKS[name]().double(), torch.randn(1, 6, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    folded = fold_dropout(network).eval()
    rows = network.train()(inputs.repeat(DRAWS, 1)).detach().flatten(1)
    errors = rows.std(0) / math.sqrt(DRAWS)
    output = folded(inputs).detach().flatten()
    assert ((rows.mean(0) - output).abs() <= 5 * errors + 1e-12).all()
    assert torch.equal(output, folded.train()(inputs).flatten()) or "rescales" in name, "the noise is gone in training, too"
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(1, 5), st.integers(1, 5))
def test_every_weight_is_scaled_and_no_bias(p, inputs, outputs):
    network = nn.Sequential(UnscaledDropout(p), nn.Linear(inputs, outputs)).double()
    linear = fold_dropout(network)[1]
    assert torch.equal(linear.weight, (1 - p) * network[1].weight) and torch.equal(linear.bias, network[1].bias)


def test_modes_frozen_weights_and_ties_stay():
    network = nn.Sequential(UnscaledDropout(0.5), nn.Linear(3, 3), UnscaledDropout(0.5), nn.Linear(3, 3), nn.Linear(3, 3)).eval()
    network[1].weight.requires_grad_(requires_grad=False)
    network[3].weight = network[4].weight = network[1].weight
    folded = fold_dropout(network)
    assert not folded.training and not network.training and type(folded[0]) is nn.Identity and not folded[0].training
    assert folded[1].weight is folded[3].weight and not folded[1].weight.requires_grad
    assert folded[4].weight is not folded[1].weight and torch.equal(folded[4].weight, network[4].weight)


def test_a_network_without_noise_comes_back_equal():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    folded = fold_dropout(network)
    assert folded is not network
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), folded.parameters(), strict=True))


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.noise, self.linear = function, UnscaledDropout(0.5), nn.Linear(3, 3)

    def forward(self, x):
        return self.function(self, x)


def twice(self, x):
    return self.linear(self.noise(x)) + self.linear(x)


def by_value(self, x):
    return self.linear(self.noise(x)) if x.sum() > 0 else x


inplace = nn.Sequential(UnscaledDropout(0.5, inplace=True), nn.Linear(3, 3))


@pytest.mark.parametrize(("network", "said"), [
    (lambda: nn.Sequential(UnscaledDropout(0.5), nn.ReLU(), nn.Linear(3, 3)), "noise goes through 1 (ReLU) before it meets a linear layer"),
    (lambda: nn.Sequential(UnscaledDropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 3)), "noise goes through 1 (BatchNorm1d)"),
    (lambda: nn.Sequential(nn.Linear(3, 3), UnscaledDropout(0.5)), "noise reaches the network's output with no linear layer"),
    (lambda: Called(lambda self, x: self.linear(torch.tanh(self.noise(x)))), "noise goes through tanh"),
    (lambda: Called(lambda self, x: self.linear(self.noise(x) + x)), "add joins values behind noise of mean 0.5 and 1"),
    (lambda: Called(lambda self, x: self.linear(self.noise(x) + 1)), "add joins values behind noise of mean 0.5 and 1"),
    (lambda: Called(lambda self, x: self.linear(torch.cat([self.noise(x), x], 0))), "cat joins values behind noise of mean 0.5 and 1"),
    (lambda: Called(lambda self, x: self.linear(self.noise(x) * self.noise(x))), "noise goes through mul"),
    (lambda: Called(lambda self, x: self.linear(self.noise(x) ** 2)), "noise goes through pow"),
    (lambda: Called(lambda self, x: self.linear(1 / self.noise(x))), "noise goes through truediv"),
    (lambda: Called(lambda self, x: self.linear(x[self.noise(x)])), "noise goes through getitem"),
    (lambda: Called(lambda self, x: functional.linear(self.noise(x), self.linear.weight)), "noise goes through linear"),
    (lambda: Called(lambda self, x: self.linear(unscaled_dropout(x, 0.5, self.training))), "unscaled_dropout draws noise in forward"),
    (lambda: Called(lambda self, x: self.linear(gaussian_noise(x, 0.5, 0.5))), "gaussian_noise draws noise in forward"),
    (lambda: Called(twice), "linear is called behind noise of mean 0.5 and of mean 1: use two layers"),
    (lambda: Called(by_value), "the graph of Called cannot be followed (TraceError: symbolically traced variables cannot be used"),
    (lambda: Called(lambda self, x: inplace[1](x)), "the graph of Called cannot be followed"),
    (lambda: nn.Sequential(UnscaledDropout(0.5), parametrizations.weight_norm(nn.Linear(3, 3))), "noise goes through 1 (ParametrizedLinear)"),
    (lambda: nn.Sequential(UnscaledDropout(0.5), nn.utils.spectral_norm(nn.Linear(3, 3))), "1 computes its weight from other parameters"),
    (lambda: UnscaledDropout(0.5), "a network with noise in it is folded; UnscaledDropout came"),
    (lambda: torch.ones(3), "a network with noise in it is folded; Tensor came"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_no_weights_can_take_is_refused_in_one_line(network, said):
    made = network()
    with pytest.raises(UsageError) as refused:
        fold_dropout(made)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_noise_in_place_with_another_reader_is_refused():
    def forward(self, x):
        kept = x * 1
        return self.linear(self.noise(kept)) + kept

    network = Called(forward)
    network.noise = UnscaledDropout(0.5, inplace=True)
    with pytest.raises(UsageError, match=r"^noise writes into a value that others read: give it inplace=False$"):
        fold_dropout(network)


def test_noise_hidden_in_one_of_torchs_layers_is_found():
    layer = nn.TransformerEncoderLayer(4, 1, 4)
    layer.dropout1 = UnscaledDropout(0.5)
    with pytest.raises(UsageError):
        fold_dropout(nn.Sequential(layer))


def test_gaussian_noise():
    torch.manual_seed(0)
    ones = torch.ones(100_000, dtype=torch.float64)
    noisy = GaussianNoise(0.7, 0.4)(ones)
    assert abs(noisy.mean() - 0.7) < 4 * 0.4 / 100_000**0.5 and abs(noisy.std() - 0.4) < 0.01
    assert GaussianNoise(0.7, 0.4).eval()(ones) is ones and GaussianNoise(1.0, 0.0)(ones) is ones
    own = [gaussian_noise(ones, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*own)
    written = ones.clone()
    assert gaussian_noise(written, 2.0, 0.0, inplace=True) is written and torch.equal(written, 2 * ones)
    leaf = torch.ones(4, dtype=torch.float64, requires_grad=True)
    output = gaussian_noise(leaf, 0.5, 0.5)
    assert torch.equal(torch.autograd.grad(output.sum(), leaf)[0], output.detach())
    with pytest.raises(UsageError, match=r"^noise has a finite mean and a finite standard deviation of 0 or more; mean=1.0, std=-1 came$"):
        GaussianNoise(std=-1)
