"""fold_dropout where forward draws by itself, writes through views, or cannot be followed."""

import pytest
import torch
from torch import nn

from torchstone.core.errors import UsageError
from torchstone.parts import UnscaledDropout, fold_dropout, noisy_regression_loss, noisy_regression_solution


class Draws(nn.Module):
    """A layer behind numbers that forward draws by hand."""

    def __init__(self, draw, always=False):
        super().__init__()
        self.last, self.draw, self.always = nn.Linear(4, 2), draw, always

    def forward(self, x):
        return self.last(self.draw(x) if self.training or self.always else x)


HAND = {
    "a mask by rand_like": lambda x: x * (torch.rand_like(x) > 0.5),
    "of a fixed size": lambda x: x * torch.rand(4).round(),
    "noise that is added": lambda x: x + torch.randn_like(x),
}


@pytest.mark.parametrize("name", HAND)
def test_what_training_alone_draws_is_refused(name):
    model, before = Draws(HAND[name]), torch.get_rng_state()
    with pytest.raises(UsageError, match="draws numbers in forward in training alone, and nothing says by what mean"):
        fold_dropout(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_evaluation_draws_as_well_is_no_noise_to_fold():
    model = nn.Sequential(UnscaledDropout(0.5), nn.Linear(4, 4), Draws(HAND["noise that is added"], always=True))
    folded = fold_dropout(model)
    assert torch.equal(folded[1].weight, 0.5 * model[1].weight) and torch.equal(folded[2].last.weight, model[2].last.weight)


class Through(nn.Module):
    """Noise that writes into a view of what is read afterwards."""

    def __init__(self, view):
        super().__init__()
        self.noise, self.last, self.view = UnscaledDropout(0.5, inplace=True), nn.Linear(4, 2), view

    def forward(self, x):
        x = x * 1
        self.noise(self.view(x))
        return self.last(x)


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.view(-1), lambda x: x.unsqueeze(0).flatten(1), lambda x: x[0]])
def test_writing_through_a_view_is_refused(view):
    with pytest.raises(UsageError, match="noise writes into a value that others read: give it inplace=False"):
        fold_dropout(Through(view))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its first compilation
def test_what_cannot_be_followed_says_what_to_do():
    with pytest.raises(UsageError, match="has layers without weights yet: call it once on its inputs"):
        fold_dropout(nn.Sequential(UnscaledDropout(0.5), nn.LazyLinear(3)))
    with pytest.raises(UsageError, match=r"fold the network first, then give the copy to torch\.compile"):
        fold_dropout(torch.compile(nn.Sequential(UnscaledDropout(0.5), nn.Linear(3, 3))))


def test_shapes_that_would_broadcast_are_refused():
    features, targets = torch.randn(5, 3), torch.randn(5)
    with pytest.raises(UsageError, match=r"weights for these features and targets are of shape \(3, 1\); \(3,\) came: reshape one of them"):
        noisy_regression_loss(features, targets[:, None], torch.randn(3), 1.0, 0.1)
    with pytest.raises(UsageError, match=r"features are \(rows, features\) and targets \(rows, ...\), of the same rows; \(5, 3\) and \(4,\) came"):
        noisy_regression_solution(features, targets[:4], 1.0, 0.1)
