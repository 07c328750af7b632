"""Diffusion: bad input, samplers on data whose exact denoiser is known, and what the suite's table cannot say."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import UsageError
from torchstone.laws.diffusion import reverse as laws
from torchstone.parts.diffusion import (
    DenoisingMLP,
    GaussianDiffusion,
    NoiseSchedule,
    UNet,
    estimates,
    min_snr_weights,
    noisy_pair,
    noisy_path,
    reverse_step,
    sample_by_ratio,
    step_weights,
    visited_steps,
)
from torchstone.proofs.diffusion.reverse import _Exact

PLAIN = NoiseSchedule.linear(100, 1e-3, 0.1)
ZERO = PLAIN.zero_terminal_snr()
ROWS = 20_000


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=source(seed), dtype=dtype)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: NoiseSchedule([0.1, 1.0]), "every beta lies in (0, 1); betas[1] is 1; for an end in pure noise: zero_terminal_snr()"),
    (lambda: NoiseSchedule([0.1, 0.0]), "every beta lies in (0, 1); betas[1] is 0"),
    (lambda: NoiseSchedule([0.1, math.nan]), "betas[1] is nan"),
    (lambda: NoiseSchedule([]), "betas are one row of one number or more; shape (0,) came"),
    (lambda: NoiseSchedule([[0.1]]), "shape (1, 1) came"),
    (lambda: NoiseSchedule([0.99] * 200), "alpha runs out in float64 after 161 of 200 steps"),
    (lambda: NoiseSchedule.from_alphas([0.5, 0.6]), "alphas lie in (0, 1) and fall, only the last may be 0; alphas[1] is 0.6 after 0.5"),
    (lambda: NoiseSchedule.from_alphas([0.5, 0.0, 0.0]), "alphas[1] is 0 after 0.5"),
    (lambda: NoiseSchedule.from_alphas([1.0, 0.5]), "alphas[0] is 1"),
    (lambda: NoiseSchedule.from_alphas([0.0]), "alphas[0] is 0"),
    (lambda: NoiseSchedule.linear(0), "a schedule has a whole number of steps, one or more; 0 came"),
    (lambda: NoiseSchedule.linear(10, 0.2, 0.1), "start is not above end; start=0.2 and end=0.1 came"),
    (lambda: NoiseSchedule.scaled_linear(10, -1.0, 0.1), "start=-1.0 and end=0.1 came"),
    (lambda: NoiseSchedule.cosine(10, -0.1), "offset=-0.1"),
    (lambda: NoiseSchedule([0.5]).zero_terminal_snr(), "zero terminal SNR needs two steps or more; this schedule has one"),
    (lambda: PLAIN.jump(5, 5), "a jump goes to a later step, tau > t; from t = 5 to tau = 5 came: exchange them"),
    (lambda: PLAIN.jump(5, 3), "from t = 5 to tau = 3"),
    (lambda: PLAIN.jump(5, 100), "a table of 100 has the steps 0 to 99, and -1 for the data; 100 came"),
    (lambda: PLAIN.add_noise(normal(2, 3), normal(2, 3), torch.tensor([0, 100])), "timesteps are whole numbers from 0 to 99 on cpu; int64 from 0 to 100 on cpu came"),
    (lambda: PLAIN.add_noise(normal(2, 3), normal(2, 3), torch.tensor([0, -1])), "int64 from -1 to 0 on cpu came"),
    (lambda: PLAIN.add_noise(normal(2, 3), normal(2, 3), torch.tensor([0.0, 1.0])), "float32 from 0.0 to 1.0 on cpu came"),
    (lambda: PLAIN.add_noise(normal(2, 3), normal(2, 3), torch.tensor(3)), "give timesteps (2,)"),
    (lambda: PLAIN.add_noise(normal(2, 3), normal(3), torch.tensor([0, 1])), "sample and noise have one shape and every row a step; (2, 3), (3,) and (2,) came"),
    (lambda: noisy_pair(normal(3), 2.0, 1.0, normal(3), normal(3)), "ratios of a path are finite and grow from above 0; [2.0, 1.0] came: sort them"),
    (lambda: noisy_pair(normal(3), 1.0, 1.0, normal(3), normal(3)), "[1.0, 1.0] came"),
    (lambda: noisy_pair(normal(3), 0.0, 1.0, normal(3), normal(3)), "[0.0, 1.0] came"),
    (lambda: noisy_path(normal(3), [1.0, math.inf], normal(2, 3)), "finite"),
    (lambda: noisy_path(normal(3), [1.0, 2.0], normal(3, 3)), "a path of 2 levels takes noises (2, 3); (3, 3) came"),
    (lambda: noisy_pair(normal(3), 1.0, 2.0, normal(3), normal(2)), "both noises have the sample's shape; (3,) and (2,) came"),
    (lambda: estimates(normal(2), normal(2), 0.5, "eps"), "a prediction is one of epsilon, sample, v_prediction; 'eps' came"),
    (lambda: estimates(normal(2), normal(2), 0.5, "epsilom"), "did you mean 'epsilon'?"),
    (lambda: estimates(normal(2), normal(2), 0.0, "epsilon"), "at alpha = 0 the input is the noise itself, so epsilon says nothing"),
    (lambda: estimates(normal(2), normal(2), 1.5, "sample"), "alpha lies in [0, 1]; 1.5 to 1.5 came"),
    (lambda: estimates(normal(2), normal(3), 0.5, "sample"), "a prediction has its input's shape; (2,) came for (3,)"),
    (lambda: estimates(normal(2, 2), normal(2, 2), torch.ones(3), "sample"), "alpha is a number or one a row; shape (3,) came for (2, 2)"),
    (lambda: min_snr_weights(ZERO.alphas, 5.0, "epsilon"), "epsilon says nothing"),
    (lambda: min_snr_weights(PLAIN.alphas, 0.0, "sample"), "the limit of min-SNR is above 0; 0.0 came"),
    (lambda: min_snr_weights(torch.ones(1), 5.0, "sample"), "alpha lies in [0, 1) where there is a weight"),
    (lambda: GaussianDiffusion(ZERO, "epsilon"), "epsilon says nothing: predict v_prediction or sample"),
    (lambda: GaussianDiffusion(PLAIN, "noise"), "a prediction is one of epsilon, sample, v_prediction; 'noise' came"),
    (lambda: GaussianDiffusion(PLAIN, variance="learned"), "a variance is one of fixed_small, fixed_large; 'learned' came"),
    (lambda: GaussianDiffusion(PLAIN, clip=0.0), "clip above 0; 0.0 came"),
    (lambda: GaussianDiffusion(PLAIN, spacing="even"), "a spacing is one of leading, trailing, linspace, noise_to_signal; 'even' came"),
    (lambda: NoiseSchedule([0.1, -0.2]), "every beta lies in (0, 1); betas[1] is -0.2"),
    (lambda: NoiseSchedule([0.1, "x"]), "betas are one row of real numbers; [0.1, 'x'] came"),
    (lambda: NoiseSchedule(None), "betas are one row of real numbers; None came"),
    (lambda: visited_steps(PLAIN, 101), "a sampler visits 1 to 100 steps of this table; 101 came"),
    (lambda: visited_steps(PLAIN, 0), "1 to 100 steps of this table; 0 came"),
    (lambda: visited_steps(PLAIN, 100, "leading", 1), "100 leading steps with an offset of 1 leave the table of 100"),
    (lambda: step_weights(0.6, 0.5), "a step back goes to a cleaner level, 0 <= alpha < previous <= 1; alpha=0.6 and previous=0.5 came"),
    (lambda: step_weights(0.4, 0.5, 1.5), "stochasticity lies in [0, 1], 0 for DDIM and 1 for DDPM; 1.5 came"),
    (lambda: reverse_step(normal(2), normal(2), 0.4, 0.5, 1.0), "needs noise: give standard normal draws of shape (2,)"),
    (lambda: reverse_step(normal(2), normal(3), 0.4, 0.5), "sample, noisy and noise have one shape; [(2,), (3,)] came"),
    (lambda: sample_by_ratio(None, normal(2, 1), [1.0, 2.0]), "above 0 and fall; [1.0, 2.0] came"),
    (lambda: sample_by_ratio(None, normal(2, 1), []), "[] came"),
    (lambda: GaussianDiffusion(PLAIN).loss(lambda x, _: x[:, :1], normal(2, 3)), "the denoiser gives its input's shape (2, 3); (2, 1) came"),
    (lambda: DenoisingMLP(0), "sizes are whole numbers above 0; features=0 came"),
    (lambda: UNet(1, multipliers=(1, 0)), "multipliers[1]=0 came"),
    (lambda: UNet(1, 8)(torch.zeros(1, 1, 7, 8), torch.zeros(1)), "images (b, 1, h, w), h and w multiples of 2, are needed; (1, 1, 7, 8) came"),
    (lambda: DenoisingMLP(2, 8)(torch.zeros(1, 2), torch.zeros(1), torch.zeros(1).long()), "made without classes"),
    (lambda: DenoisingMLP(2, 8, classes=3)(torch.zeros(1, 2), torch.zeros(1)), "made with classes"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(call, says):
    with pytest.raises(UsageError) as told:
        call()
    assert says in str(told.value) and "\n" not in str(told.value)


def test_tables_are_made_in_float64_and_kept_so():
    alphas = NoiseSchedule.linear().alphas
    exact = torch.tensor([math.prod(1 - (1e-4 + 0.0199 * i / 999) for i in range(t + 1)) for t in range(1000)], dtype=torch.float64)
    assert alphas.dtype is torch.float64 and ((alphas - exact).abs() / exact).max() < 1e-12
    assert abs((1 - alphas[0]) / 1e-4 - 1) < 1e-11  # 1.7e-4 in float32


@pytest.mark.parametrize("schedule", [PLAIN, NoiseSchedule.cosine(50), NoiseSchedule.scaled_linear(30), NoiseSchedule.sigmoid(30)])
def test_zero_terminal_snr_is_exactly_zero_and_keeps_the_first(schedule):
    zero = schedule.zero_terminal_snr()
    assert zero.alphas[-1] == 0 and zero.signal_to_noise[-1] == 0 and zero.betas[-1] == 1 and zero.unscaled is schedule
    assert torch.allclose(zero.alphas[0], schedule.alphas[0], rtol=1e-14) and (zero.alphas.diff() < 0).all()
    assert zero.zero_terminal_snr() is zero


def test_weights_follow_the_rescaled_table():
    weights = min_snr_weights(ZERO.alphas, 5.0, "v_prediction")
    assert weights[-1] == 0 and weights.isfinite().all()
    assert not torch.allclose(weights, min_snr_weights(PLAIN.alphas, 5.0, "v_prediction"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-3, 0.5), min_size=2, max_size=40), st.data())
def test_jumps_compose(betas, data):
    schedule = NoiseSchedule(betas)
    t, u = sorted(data.draw(st.lists(st.integers(-1, len(betas) - 1), min_size=2, max_size=2, unique=True)))
    assert math.isclose(schedule.jump(t, u), math.prod(1 - b for b in betas[t + 1 : u + 1]), rel_tol=1e-12)
    if t >= 0:
        assert math.isclose(schedule.jump(-1, t) * schedule.jump(t, u), schedule.alpha(u), rel_tol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.data())
def test_visited_steps_fall_and_stay_in_the_table(table, data):
    schedule, steps = NoiseSchedule([0.01] * table), data.draw(st.integers(1, table))
    for spacing in ("leading", "trailing", "linspace", "noise_to_signal"):
        visited = visited_steps(schedule, steps, spacing)
        assert len(visited) == steps and table > visited[0] and visited[-1] >= 0
        assert visited == sorted(set(visited), reverse=True)
        if spacing in {"trailing", "noise_to_signal"}:
            assert visited[0] == table - 1


def test_the_step_after_a_visited_one_is_the_next_where_the_table_does_not_divide():
    visited, alphas = GaussianDiffusion(PLAIN, spacing="trailing").levels(7)
    assert visited == [99, 85, 70, 56, 42, 28, 13]  # a step of 100 // 7 = 14 back from 85 would be 71
    assert alphas == [*(PLAIN.alpha(step) for step in visited), 1.0]


def test_levels_by_noise_lie_evenly_in_its_logarithm():
    schedule = NoiseSchedule.linear(1000)
    levels = schedule.noise_to_signal.log()[visited_steps(schedule, 12, "noise_to_signal")]
    assert (levels.diff() - levels.diff().mean()).abs().max() < 0.5
    assert visited_steps(schedule.zero_terminal_snr(), 3, "noise_to_signal")[0] == 999


def test_a_tables_jump_agrees_with_a_pair_of_its_ratios():
    first, second = PLAIN.noise_to_signal[[20, 60]].tolist()
    x, e = normal(4, 3), normal(2, 4, 3, seed=1)
    one, two = noisy_pair(x, first, second, *e)
    gamma = PLAIN.jump(20, 60)
    assert torch.allclose(two, gamma**0.5 * one + (1 - gamma) ** 0.5 * e[1], atol=1e-12)
    assert torch.allclose(one, PLAIN.add_noise(x, e[0], torch.full((4,), 20)), atol=1e-12)


def test_independent_noise_has_the_marginals_and_not_the_joint_law():
    x, e = normal(ROWS * 5), normal(2, ROWS * 5, seed=1)
    pair = noisy_pair(x, 0.7, 3.0, *e)
    apart = [(x + ratio**0.5 * one) / (1 + ratio) ** 0.5 for ratio, one in zip((0.7, 3.0), e, strict=True)]
    law = (0.25 / (1 / 1.7)) ** 0.5
    assert all(abs(one.var() - 1) < 0.02 for one in (*pair, *apart))
    assert abs((pair[0] * pair[1]).mean() - law) < 0.02 and (apart[0] * apart[1]).mean() < law - 0.2


def correlated(steps, stochasticity, kind, spacing="trailing"):
    """Samples of two correlated features by the exact denoiser, turned in from its axes, with what the law says of each axis."""
    mean, variances = torch.tensor([1.0, -2.0], dtype=torch.float64), (2.0, 0.25)
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    schedule = NoiseSchedule.linear(1000) if kind == "epsilon" else NoiseSchedule.linear(1000).zero_terminal_snr()
    diffusion = GaussianDiffusion(schedule, kind, spacing=spacing)
    axes = [_Exact(schedule, kind, m, v) for m, v in zip((mean @ turn).tolist(), variances, strict=True)]

    def denoiser(z, t):
        return torch.stack([axis(column, t) for axis, column in zip(axes, (z @ turn).unbind(1), strict=True)], 1) @ turn.t()

    came = diffusion.sample(denoiser, normal(ROWS, 2, seed=3), steps=steps, stochasticity=stochasticity, generator=source(4))
    alphas = diffusion.levels(steps)[1][:-1]
    moments = [laws.sampled_moments(alphas, m, v, stochasticity) for m, v in zip((mean @ turn).tolist(), variances, strict=True)]
    wanted = turn @ torch.diag(torch.tensor([v for _, v in moments], dtype=torch.float64)) @ turn.t()
    return came, mean, turn @ torch.tensor([m for m, _ in moments], dtype=torch.float64), wanted, turn @ torch.diag(torch.tensor(variances, dtype=torch.float64)) @ turn.t()


def close_in_law(came, mean, covariance):
    error = 4.5 * came.std(0) / ROWS**0.5
    assert ((came.mean(0) - mean).abs() <= error).all()
    centred = came - came.mean(0)
    products = centred.unsqueeze(2) * centred.unsqueeze(1)
    assert ((products.mean(0) - covariance).abs() <= 4.5 * products.std(0) / ROWS**0.5).all()


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("steps", "stochasticity"), [(15, 1.0), (15, 0.0), (40, 0.4)])
def test_few_steps_give_exactly_the_moments_of_the_closed_form(kind, steps, stochasticity):
    came, _, mean, covariance, _ = correlated(steps, stochasticity, kind)
    close_in_law(came, mean, covariance)


@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_many_steps_give_the_datas_own_mean_and_covariance(stochasticity):
    came, true_mean, mean, covariance, true_covariance = correlated(250, stochasticity, "v_prediction")
    close_in_law(came, mean, covariance)
    assert (mean - true_mean).abs().max() < 0.005  # what the law says that steps of this size miss
    assert (covariance - true_covariance).abs().max() < 0.05
    assert ((came.mean(0) - true_mean).abs() <= 4.5 * came.std(0) / ROWS**0.5 + 0.005).all()
    assert ((came.t().cov() - true_covariance).abs() < 0.05 + 4.5 * 2 * 1.37 / ROWS**0.5).all()


@pytest.mark.parametrize("stochasticity", [0.0, 0.5, 1.0])
def test_what_steps_miss_of_the_variance_halves_when_they_double(stochasticity):
    diffusion = GaussianDiffusion(NoiseSchedule.linear(1000).zero_terminal_snr(), "sample")
    missed = [abs(laws.sampled_moments(diffusion.levels(n)[1][:-1], 1.0, 2.0, stochasticity)[1] - 2) for n in (125, 250, 500, 1000)]
    assert all(more / less > 1.6 for more, less in itertools.pairwise(missed)) and missed[-1] < 0.02


def test_sampling_without_a_table_gives_the_moments_too():
    def exact(z, ratio):
        alpha = 1 / (1 + ratio[0].item())
        x = laws.gaussian_denoiser(0.0, alpha, 1.0, 2.0) + (laws.gaussian_denoiser(1.0, alpha, 1.0, 2.0) - laws.gaussian_denoiser(0.0, alpha, 1.0, 2.0)) * z
        return estimates(x, z, alpha, "sample").velocity

    ratios = torch.logspace(4, -3, 60, dtype=torch.float64).tolist()
    came = sample_by_ratio(exact, normal(ROWS, 1), ratios)
    mean, variance = laws.sampled_moments([1 / (1 + ratio) for ratio in ratios], 1.0, 2.0, 0.0)
    close_in_law(came, torch.tensor([mean]), torch.tensor([[variance]]))
    assert abs(mean - 1) < 0.02 and abs(variance - 2) < 0.15


def test_the_larger_variance_is_right_for_data_of_variance_one():
    schedule = NoiseSchedule.linear(100, 1e-3, 0.1).zero_terminal_snr()
    large = GaussianDiffusion(schedule, "sample", variance="fixed_large", spacing="trailing")
    came = large.sample(_Exact(schedule, "sample", 0.0, 1.0), normal(ROWS, 1), generator=source(2))
    assert abs(came.var() - (1 - schedule.betas[0])) < 4.5 * 2**0.5 / ROWS**0.5  # no noise at the last step


def test_clipping_bounds_what_comes_out():
    diffusion = GaussianDiffusion(PLAIN, "epsilon", clip=0.5)
    came = diffusion.sample(lambda z, _: 0 * z, 3 * normal(50, 2), steps=10, stochasticity=0.0)
    assert came.abs().max() <= 0.5 and came.abs().max() > 0.49


def test_a_step_size_zero_at_the_end_leaves_the_first_level():
    diffusion = GaussianDiffusion(PLAIN, spacing="leading", final_alpha_one=False)
    calls = []
    diffusion.sample(lambda z, t: calls.append(int(t[0])) or z, normal(1, 1), steps=4, stochasticity=0.0)
    assert calls == [75, 50, 25]  # from step 0 to step 0 there is nothing to do


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_loss_of_the_exact_prediction_is_zero_and_weights_multiply(kind):
    schedule = PLAIN
    diffusion = GaussianDiffusion(schedule, kind)
    x, e, t = normal(6, 2), normal(6, 2, seed=1), torch.tensor([0, 10, 30, 50, 80, 99])
    target = diffusion.target(x, e, t)
    assert diffusion.loss(lambda *_: target, x, timesteps=t, noise=e) == 0
    rows = torch.stack([diffusion.loss(lambda z, *_: 0 * z, x[i : i + 1], timesteps=t[i : i + 1], noise=e[i : i + 1]) for i in range(6)])
    weights = min_snr_weights(schedule.alphas[t], 5.0, kind)
    came = diffusion.loss(lambda z, *_: 0 * z, x, timesteps=t, noise=e, min_snr=5.0)
    assert torch.allclose(came, (rows * weights).mean(), rtol=1e-12)


def test_losses_of_all_kinds_are_one_loss_under_min_snr():
    x, e, t = normal(6, 2), normal(6, 2, seed=1), torch.tensor([0, 10, 30, 50, 80, 99])
    noisy, guess, losses = PLAIN.add_noise(x, e, t), normal(6, 2, seed=2), []
    for kind in ("epsilon", "sample", "v_prediction"):
        found = estimates(guess, noisy, PLAIN.alphas[t], "sample")
        said = {"epsilon": found.noise, "sample": found.sample, "v_prediction": found.velocity}[kind]
        losses.append(GaussianDiffusion(PLAIN, kind).loss(lambda *_, said=said: said, x, timesteps=t, noise=e, min_snr=5.0).item())
    assert max(losses) - min(losses) < 1e-9 * max(losses)


def test_draws_repeat_with_a_generator_and_global_state_is_left_alone():
    diffusion, network = GaussianDiffusion(PLAIN), DenoisingMLP(2, 8)
    before = torch.get_rng_state()
    losses = {diffusion.loss(network, normal(4, 2, dtype=torch.float32), generator=source(3)).item() for _ in range(2)}
    samples = [diffusion.sample(network, normal(4, 2, dtype=torch.float32), steps=5, generator=source(3)) for _ in range(2)]
    assert len(losses) == 1 and torch.equal(*samples) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_type_passes_through(dtype):
    diffusion = GaussianDiffusion(ZERO, "v_prediction")
    network, image = UNet(1, 8, classes=3).to(dtype), torch.randn(2, 1, 4, 4, dtype=dtype)
    loss = diffusion.loss(network, image, torch.tensor([0, 2]), min_snr=5.0)
    loss.backward()
    sample = diffusion.sample(network, image, torch.tensor([0, 2]), steps=3)
    assert loss.dtype is sample.dtype is dtype and sample.isfinite().all()


def test_a_training_loss_compiles_in_one_graph():
    diffusion, network = GaussianDiffusion(ZERO, "v_prediction"), DenoisingMLP(3, 8)
    x, e, t = normal(4, 3, dtype=torch.float32), normal(4, 3, seed=1, dtype=torch.float32), torch.arange(4)

    def loss(x, e, t):
        return diffusion.loss(network, x, timesteps=t, noise=e, min_snr=5.0)

    torch._dynamo.reset()
    assert torch.allclose(torch.compile(loss, backend="aot_eager", fullgraph=True)(x, e, t), loss(x, e, t))


@pytest.mark.gpu
def test_a_cpu_generator_serves_a_cuda_tensor():
    diffusion, network = GaussianDiffusion(PLAIN), DenoisingMLP(2, 8)
    noise = normal(4, 2, dtype=torch.float32)
    here = diffusion.sample(network, noise, steps=5, generator=source(3))
    there = diffusion.sample(network.cuda(), noise.cuda(), steps=5, generator=source(3))
    assert there.is_cuda and torch.allclose(there.cpu(), here, atol=1e-5)
    assert diffusion.loss(network, noise.cuda(), generator=source(3), min_snr=5.0).is_cuda
    with pytest.raises(UsageError, match="on cuda"):
        PLAIN.add_noise(noise.cuda(), noise.cuda(), torch.zeros(4).long())


def test_a_denoiser_learns_two_points():
    torch.manual_seed(0)
    diffusion, network = GaussianDiffusion(NoiseSchedule.cosine(50).zero_terminal_snr(), "v_prediction"), DenoisingMLP(1, 32, 2, classes=2)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        labels = torch.randint(2, (64, ))
        loss = diffusion.loss(network, 2.0 * labels.unsqueeze(1) - 1, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = torch.arange(40) % 2
    came = diffusion.sample(network, torch.randn(40, 1), labels, steps=20, stochasticity=0.0)
    assert ((came.squeeze(1) > 0) == labels.bool()).float().mean() > 0.95
