"""The variational bottleneck: bad input, draws, its two terms, and what the suite's table cannot say."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts.bottleneck import (
    BetaSchedule,
    StochasticEncoder,
    Terms,
    VariationalBottleneck,
    deviation_of,
    gaussian_kl,
    in_bits,
    reached,
    reparameterise,
)
from torchstone.parts.bottleneck.graph import diagram


def model(latent=3, parameterisation="softplus", **prior):
    torch.manual_seed(0)
    return VariationalBottleneck(StochasticEncoder(nn.Sequential(nn.Linear(5, 8), nn.ReLU()), 8, latent, parameterisation), nn.Linear(latent, 4), **prior)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: Terms(torch.ones(()), torch.ones(())).loss(-1e-3), "the regulariser's weight beta is 0 or more; -0.001 came: below 0 it would reward"),
    (lambda: Terms(torch.ones(()), torch.ones(())).loss(math.nan), "beta is a finite number; nan came"),
    (lambda: BetaSchedule("0.1"), "beta is a finite number; '0.1' came"),
    (lambda: BetaSchedule(-1.0), "beta is 0 or more; -1.0 came"),
    (lambda: BetaSchedule(1.0, warmup=9, cycle=4), "warmup at most a cycle; warmup=9 and cycle=4 came"),
    (lambda: BetaSchedule(1.0)(-1), "steps are counted from 0; -1 came"),
    (lambda: gaussian_kl(torch.ones(2), torch.ones(3)), "mean and deviation have one shape (.., k); (2,) and (3,) came"),
    (lambda: gaussian_kl(torch.ones(2), torch.ones(2), prior_deviation=0.0), "a prior N(m, s²) has a deviation s above 0; 0.0 came"),
    (lambda: model(prior_deviation=-1.0), "-1.0 came"),
    (lambda: deviation_of(torch.ones(2), "softmax"), "from softplus or log_variance; 'softmax' came"),
    (lambda: reparameterise(torch.ones(2), torch.ones(2), torch.ones(3)), "noise ends with it; (2,), (2,) and (3,) came"),
    (lambda: StochasticEncoder(nn.Identity(), 5, 0), "whole numbers above 0; 5 and 0 came"),
    (lambda: model().predict(torch.ones(1, 5), 0), "one drawn code or more; samples=0 came"),
    (lambda: reached(torch.ones(()), encoder=nn.Linear(1, 1)), "the term has no graph"),
    (lambda: diagram("t", torch.ones(1, requires_grad=True) * 2, {"mu": torch.ones(1, requires_grad=True)}, "a", "b"), "mu takes no part in the output"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(call, says):
    with pytest.raises(UsageError) as told:
        call()
    assert says in str(told.value) and "\n" not in str(told.value)


def test_training_draws_and_evaluation_takes_the_mean():
    network, x = model(), torch.randn(6, 5)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network(x, generator=source()), network(x, generator=source()))
    network.eval()
    assert torch.equal(network(x), network.decoder(network.encoder(x)[0]))


def test_the_same_row_draws_another_code_in_each_place():
    mean, deviation = torch.zeros(2, 3), torch.ones(2, 3)
    codes = reparameterise(mean, deviation, torch.randn(7, 2, 3))
    assert codes.shape == (7, 2, 3) and len(codes.flatten().unique()) == 42


def test_terms_are_means_over_rows_in_nats_whatever_the_batch():
    network, x, y = model(prior_mean=0.5, prior_deviation=2.0), torch.randn(6, 5), torch.arange(6) % 4
    noise = torch.randn(6, 3)
    whole = network.terms(x, y, noise)
    halves = [network.terms(x[i::2], y[i::2], noise[i::2]) for i in range(2)]
    for number in range(2):
        assert torch.allclose(whole[number], sum(half[number] for half in halves) / 2, atol=1e-6)
    mean, deviation = network.encoder(x)
    assert torch.allclose(whole.task, functional.cross_entropy(network.decoder(mean + deviation * noise), y))
    assert torch.allclose(whole.loss(0.25), whole.task + 0.25 * gaussian_kl(mean, deviation, 0.5, 2.0).mean())


def test_predictions_are_averaged_probabilities():
    network, x = model(parameterisation="log_variance"), torch.randn(6, 5)
    found = network.predict(x, 12, generator=source(4))
    noise = torch.randn(12, 6, 3, generator=source(4))
    mean, deviation = network.encoder(x)
    wanted = functional.softmax(network.decoder(mean + deviation * noise), -1).mean(0)
    assert torch.allclose(found.exp(), wanted, atol=1e-6) and torch.allclose(found.exp().sum(-1), torch.ones(6), atol=1e-6)
    assert not found.requires_grad


@pytest.mark.parametrize(("parameterisation", "start"), [("softplus", 0.0067), ("log_variance", 1.0)])
def test_deviations_begin_where_the_page_says(parameterisation, start):
    _, deviation = model(parameterisation=parameterisation).encoder(torch.zeros(1, 5))
    assert (deviation / start).log().abs().max() < 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_deviation_stays_above_zero_and_its_divergence_finite(dtype):
    raw = torch.tensor([[-400.0, -100.0, 0.0, 50.0]], dtype=dtype, requires_grad=True)
    divergence = gaussian_kl(torch.zeros_like(raw), deviation_of(raw))
    divergence.sum().backward()
    assert divergence.isfinite().all() and raw.grad.isfinite().all() and divergence.dtype is dtype


def test_bits_are_nats_over_ln_2():
    assert in_bits(torch.tensor(math.log(8.0))).item() == pytest.approx(3.0)


def test_a_frozen_part_is_not_reached_and_beta_0_cuts_nothing_of_the_graph():
    network = model()
    network.encoder.body.requires_grad_(requires_grad=False)
    terms = network.terms(torch.randn(4, 5), torch.zeros(4, dtype=torch.long))
    found = reached(terms.loss(0.0), encoder=network.encoder, decoder=network.decoder)
    assert found == {"encoder": frozenset({"head.weight", "head.bias"}), "decoder": frozenset({"weight", "bias"})}
    assert reached(terms.regulariser, decoder=network.decoder) == {"decoder": frozenset()}


def test_a_tied_weight_is_reached_by_both_names():
    network = model()
    network.encoder.extra = network.decoder
    terms = network.terms(torch.randn(4, 5), torch.zeros(4, dtype=torch.long))
    assert {"extra.weight", "extra.bias"} <= reached(terms.task, encoder=network.encoder)["encoder"]
    assert "extra.weight" not in reached(terms.regulariser, encoder=network.encoder)["encoder"]


def test_the_diagram_is_drawn_from_what_runs():
    drawn = model().diagram()
    for word in ("x: encoder", "mu", "sigma", "V ~ N(0, 1)", "×", "+", "z", "decoder"):
        assert f"[{word}]" in drawn.text and word in drawn.svg
    assert drawn.svg.startswith("<svg") and "viewBox=" in drawn.svg

    class Other(VariationalBottleneck):
        def _code(self, mean, deviation, noise, generator):
            return (mean - deviation * noise).tanh()

    other = Other(model().encoder, model().decoder).diagram()
    assert "[tanh]" in other.text and "[-]" in other.text and "[+]" not in other.text


@pytest.mark.gpu
def test_a_cpu_generator_serves_a_cuda_tensor():
    network, x = model(), torch.randn(6, 5)
    here = network.predict(x, 3, generator=source())
    assert torch.allclose(network.cuda().predict(x.cuda(), 3, generator=source()).cpu(), here, atol=1e-5)


def test_the_divergence_falls_as_beta_grows():
    x = torch.randn(256, 5, generator=source())
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    found = []
    for beta in (1e-4, 1e-1, 3.0):
        network = model(2, "log_variance")
        optimizer = torch.optim.Adam(network.parameters(), 2e-2)
        for _ in range(60):
            terms = network.terms(x, y, generator=source(1))
            optimizer.zero_grad()
            terms.loss(beta).backward()
            optimizer.step()
        found.append(terms.regulariser.item())
    assert found[0] > found[1] > found[2] and found[2] < 0.05
