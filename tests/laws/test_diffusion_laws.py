"""Laws of diffusion and of the bottleneck refuse what they do not speak of; ends that no experiment visits."""

import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.laws import bottleneck
from torchstone.laws.diffusion import learned, noising, reverse, schedule, targets


@pytest.mark.parametrize("call", [
    lambda: schedule.alpha([1.0]), lambda: schedule.alpha([0.5, 0.0]), lambda: schedule.alpha([math.nan]),
    lambda: schedule.linear_betas(0, 0.1, 0.2), lambda: schedule.linear_betas(3, 0.3, 0.2), lambda: schedule.sigmoid_betas(3, 0.0, 0.2),
    lambda: schedule.scaled_linear_betas(3, 0.1, 1.0), lambda: schedule.cosine_betas(3, -1.0), lambda: schedule.cosine_betas(3, limit=1.0),
    lambda: schedule.zero_terminal_alphas([0.5]), lambda: schedule.zero_terminal_alphas([0.5, 0.5]),
    lambda: schedule.timesteps(10, 11), lambda: schedule.timesteps(10, 0), lambda: schedule.timesteps(10, 5, "even"),
    lambda: schedule.timesteps(10, 10, "leading", 1),
    lambda: noising.marginal(1.0, []), lambda: noising.gamma(0.2, 0.5), lambda: noising.gamma(0.5, 0.0), lambda: noising.covariance(0.5, 0.5),
    lambda: noising.noise_to_signal(0.0), lambda: noising.noise_to_signal(1.5), lambda: noising.noisy_path(1.0, [2.0, 1.0], [0.0, 0.0]),
    lambda: noising.noisy_path(1.0, [2.0], []), lambda: noising.noisy_path(1.0, [], []), lambda: noising.noisy_path(1.0, [0.0], [1.0]),
    lambda: targets.estimates(1.0, 1.0, 0.0, "epsilon"), lambda: targets.estimates(1.0, 1.0, 0.5, "noise"),
    lambda: targets.estimates(1.0, 1.0, 1.0, "sample"), lambda: targets.signal_to_noise(1.0), lambda: targets.velocity(1.0, 1.0, -0.1),
    lambda: targets.min_snr_weight(0.0, 5.0, "epsilon"), lambda: targets.min_snr_weight(0.5, 0.0, "sample"),
    lambda: reverse.posterior(1.0, 1.0, 0.5, 0.5), lambda: reverse.reverse_step(1.0, 1.0, 0.2, 0.5, 1.5),
    lambda: reverse.sampled_moments([], 0.0, 1.0), lambda: reverse.sampled_moments([0.5], 0.0, -1.0),
    lambda: bottleneck.kl(0.0, 0.0), lambda: bottleneck.kl(0.0, 1.0, prior_deviation=0.0), lambda: bottleneck.deviation(0.0, "relu"),
    lambda: bottleneck.reached("prior", "encoder"), lambda: bottleneck.ensemble_loss([]), lambda: bottleneck.ensemble_loss([math.inf]),
    lambda: bottleneck.weight(1, -1.0), lambda: bottleneck.weight(-1, 1.0), lambda: bottleneck.weight(1, 1.0, warmup=5, cycle=3),
    lambda: bottleneck.scale(0.0, 3), lambda: bottleneck.scale(1.0, 1), lambda: bottleneck.least_error(-0.1, 3),
    lambda: bottleneck.least_error(math.nan, 3), lambda: bottleneck.least_error(0.1, 1),
    lambda: learned.linear_noise_loss([], [1.0]), lambda: learned.linear_noise_loss([0.5], []),
    lambda: learned.linear_noise_loss([0.5], [-1.0]), lambda: learned.linear_noise_loss([0.0], [1.0]),
])  # fmt: skip
def test_wrong_arguments_are_refused(call):
    with pytest.raises(InvariantError):
        call()


def test_nothing_is_lost_before_the_first_step():
    assert schedule.alpha([]) == 1.0


def test_a_last_step_goes_to_the_sample_itself_without_noise():
    assert reverse.reverse_step(0.7, -3.0, 0.2, 1.0, 1.0) == (0.7, 0.0)
    assert reverse.posterior(0.7, -3.0, 0.2, 1.0) == (pytest.approx(0.7, rel=1e-15), 0.0)


def test_at_zero_signal_only_v_and_the_sample_have_a_weight():
    assert targets.min_snr_weight(0.0, 5.0, "v_prediction") == 0.0 == targets.min_snr_weight(0.0, 5.0, "sample")


def test_a_table_of_one_step_is_visited_alike_by_every_spacing():
    assert [schedule.timesteps(1, 1, spacing) for spacing in schedule.SPACINGS[:3]] == [[0], [0], [0]]


def test_the_divergence_is_least_at_the_prior():
    near = [bottleneck.kl(0.5 + a, 2.0 + b, 0.5, 2.0) for a in (-0.1, 0, 0.1) for b in (-0.1, 0, 0.1)]
    assert min(near) == near[4] == 0.0


def test_the_least_error_of_a_code_falls_from_chance_to_none():
    found = [bottleneck.least_error(nats, 10) for nats in (0.0, 0.5, 1.0, 2.0, math.log(10), 3.0)]
    assert found[0] == 0.9 and found[-2:] == [0.0, 0.0]
    assert found == sorted(found, reverse=True)
    e = bottleneck.least_error(1.0, 10)
    assert -e * math.log(e) - (1 - e) * math.log(1 - e) + e * math.log(9) == pytest.approx(math.log(10) - 1.0, rel=1e-12)


def test_the_best_linear_loss_is_none_for_data_that_do_not_vary():
    assert learned.linear_noise_loss([0.3, 0.9], [0.0]) == 0.0
    assert learned.linear_noise_loss([1.0], [2.0]) == 1.0
