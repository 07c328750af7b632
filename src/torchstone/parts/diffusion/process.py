"""A diffusion as one object: a schedule, what the network predicts, its loss, and the samplers.

b batch, T steps of the schedule.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchstone.core.errors import UsageError, meant
from torchstone.parts.diffusion.schedule import NoiseSchedule
from torchstone.parts.diffusion.steps import check_levels, step_weights, visited_steps
from torchstone.parts.diffusion.targets import check_carries, check_prediction, min_snr_weights

# Of the noisy input (b, ..), its steps (b,) and the conditions as they came, to a prediction of the input's shape.
Denoiser = Callable[..., Tensor]
VARIANCES = ("fixed_small", "fixed_large")


class GaussianDiffusion:
    """A schedule and a prediction type: `add_noise`, `loss`, `sample`.

    prediction: "epsilon", "sample" or "v_prediction". variance of ancestral steps: "fixed_small" the posterior's, or "fixed_large",
    that of the step forward. clip: samples estimated on the way back are clamped to [-clip, clip], and their noise is what z has
    besides (as diffusers' DDPM has it; its DDIM keeps the noise as predicted, unless use_clipped_model_output); None leaves them.
    spacing and offset as in `visited_steps`. final_alpha_one (set_alpha_to_one): whether the last step reaches the data, alpha = 1,
    or the table's first alpha.

    Raises UsageError for arguments that there are not, and for epsilon on a schedule of zero terminal SNR.
    Sources: Ho et al. 2020; Salimans and Ho 2022; Lin et al. 2024; final exam, question D10.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        prediction: str = "epsilon",
        *,
        variance: str = "fixed_small",
        clip: float | None = None,
        spacing: str = "trailing",
        offset: int = 0,
        final_alpha_one: bool = True,
    ) -> None:
        check_prediction(prediction)
        check_carries(prediction, schedule.alphas[-1].item())
        if variance not in VARIANCES:
            message = f"a variance is one of {', '.join(VARIANCES)}; {variance!r} came{meant(str(variance), VARIANCES)}"
            raise UsageError(message)
        if clip is not None and not clip > 0:
            message = f"estimated samples are clamped to [-clip, clip] with clip above 0; {clip} came: None leaves them"
            raise UsageError(message)
        visited_steps(schedule, 1, spacing, offset)
        self.schedule, self.prediction, self.variance, self.clip = schedule, prediction, variance, clip
        self.spacing, self.offset, self.final_alpha_one = spacing, offset, final_alpha_one
        self._weights: dict[tuple[float, torch.device, torch.dtype], Tensor] = {}

    def add_noise(
        self, sample: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], timesteps: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *shape"]:
        """The forward process; see `NoiseSchedule.add_noise`."""
        return self.schedule.add_noise(sample, noise, timesteps)

    def target(
        self, sample: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], timesteps: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *shape"]:
        """What the network should predict: the noise, the sample or the velocity."""
        if self.prediction == "v_prediction":
            return self.schedule.velocity(sample, noise, timesteps)
        return noise if self.prediction == "epsilon" else sample

    def loss(
        self,
        denoiser: Denoiser,
        sample: Float[Tensor, "b *shape"],
        *conditions: object,
        generator: torch.Generator | None = None,
        timesteps: Int[Tensor, " b"] | None = None,
        noise: Float[Tensor, "b *shape"] | None = None,
        min_snr: float | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error of `denoiser(noisy, timesteps, *conditions)`, a mean over rows of means over elements.

        Steps are uniform over the schedule and noise standard normal, from `generator` (moved to the sample's device if it has
        another), unless given. min_snr: the limit of min-SNR weights (5 is usual), None for none.
        Raises UsageError where shapes do not fit. Sources: Ho et al. 2020, equation 14; Hang et al. 2023.
        """
        rows = len(sample)
        if timesteps is None:
            where = generator.device if generator is not None else sample.device
            timesteps = torch.randint(len(self.schedule), (rows,), generator=generator, device=where).to(sample.device)
        noise = drawn(sample, generator) if noise is None else noise
        predicted = denoiser(self.add_noise(sample, noise, timesteps), timesteps, *conditions)
        target = self.target(sample, noise, timesteps)
        if predicted.shape != target.shape:
            message = f"the denoiser gives its input's shape {tuple(target.shape)}; {tuple(predicted.shape)} came"
            raise UsageError(message)
        errors = (predicted - target).square().flatten(1).mean(1)
        return (errors if min_snr is None else errors * self._weighing(min_snr, sample).index_select(0, timesteps)).mean()

    def _weighing(self, limit: float, like: Tensor) -> Tensor:
        """Weights of every step of the schedule in use, made once."""
        key = limit, like.device, like.dtype
        if torch.compiler.is_compiling():
            return min_snr_weights(self.schedule.alphas, limit, self.prediction).to(like.dtype).to(like.device)
        if key not in self._weights:
            self._weights[key] = min_snr_weights(self.schedule.alphas, limit, self.prediction).to(like.dtype).to(like.device)
        return self._weights[key]

    def levels(self, steps: int | None = None) -> tuple[list[int], list[float]]:
        """The steps that are visited and their alphas, followed by the alpha that is reached last; all steps by default."""
        visited = visited_steps(self.schedule, len(self.schedule) if steps is None else steps, self.spacing, self.offset)
        return visited, [*(self.schedule.alpha(step) for step in visited), 1.0 if self.final_alpha_one else self.schedule.alpha(0)]

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        noise: Float[Tensor, "b *shape"],
        *conditions: object,
        steps: int | None = None,
        stochasticity: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b *shape"]:
        """Samples from standard normal `noise` (b, ..), whose type and device they have.

        steps: how many are visited, all by default. stochasticity 1 is ancestral (DDPM), 0 deterministic (DDIM);
        `generator` is where the way's noise comes from. Put the network into evaluation mode first.
        Raises UsageError for more steps than the table has and a stochasticity outside [0, 1].
        Sources: Ho et al. 2020, algorithm 2; Song et al. 2021, section 4.
        """
        *_, last = itertools.chain(
            [noise], self.path(denoiser, noise, *conditions, steps=steps, stochasticity=stochasticity, generator=generator)
        )
        return last

    def path(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *conditions: object,
        steps: int | None = None,
        stochasticity: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """What `sample` passes through: the input of every next step, and at last the sample. Gradients are followed if asked."""
        visited, alphas = self.levels(steps)
        labels = (torch.full((len(noise),), step, device=noise.device) for step in visited)
        return reverse_path(
            denoiser, noise, alphas, labels, *conditions, prediction=self.prediction, stochasticity=stochasticity,
            generator=generator, clip=self.clip, large=self.variance == "fixed_large",
        )  # fmt: skip


def sample_by_ratio(
    denoiser: Denoiser,
    noise: Float[Tensor, "b *shape"],
    ratios: Sequence[float],
    *conditions: object,
    prediction: str = "v_prediction",
    stochasticity: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b *shape"]:
    """Samples without a table, from level to level of falling noise-to-signal ratios eta = (1-alpha)/alpha, then to the data.

    `denoiser(noisy, eta, *conditions)` is given each row's eta (b,), floating. Other arguments as in `GaussianDiffusion`.
    Raises UsageError for ratios that do not fall, are not finite or not above 0.
    Sources: Karras et al. 2022, section 3; final exam, question D10c.
    """
    if not ratios or not all(0 < one < float("inf") for one in ratios) or any(a <= b for a, b in itertools.pairwise(ratios)):
        message = f"noise-to-signal ratios of a sampler are finite, above 0 and fall; {list(ratios)[:5]} came: reverse or sort them"
        raise UsageError(message)
    alphas = [*(1 / (1 + one) for one in ratios), 1.0]
    labels = (torch.full((len(noise),), one, dtype=noise.dtype, device=noise.device) for one in ratios)
    with torch.no_grad():
        *_, last = reverse_path(
            denoiser, noise, alphas, labels, *conditions, prediction=prediction, stochasticity=stochasticity, generator=generator
        )
    return last


def reverse_path(  # noqa: PLR0913 - what both samplers choose
    denoiser: Denoiser,
    noisy: Tensor,
    alphas: Sequence[float],
    labels: Iterator[Tensor],
    *conditions: object,
    prediction: str,
    stochasticity: float = 0.0,
    generator: torch.Generator | None = None,
    clip: float | None = None,
    large: bool = False,
) -> Iterator[Tensor]:
    """Every state after `noisy` on the way through levels `alphas`, the last of which is reached and not visited."""
    check_prediction(prediction)
    check_levels(alphas[:-1])
    check_carries(prediction, alphas[0])
    pairs = [(alpha, previous) for alpha, previous in itertools.pairwise(alphas) if alpha != previous]
    steps = [step_weights(alpha, previous, stochasticity) for alpha, previous in pairs]
    for (alpha, previous), (of_sample, of_noisy, deviation), label in zip(pairs, steps, labels, strict=False):
        predicted = denoiser(noisy, label, *conditions)
        by_noisy, by_prediction = _sample_weights(prediction, alpha)
        if clip is None:  # the sample is linear in both: two products a step
            noisy = torch.add(noisy * (of_sample * by_noisy + of_noisy), predicted, alpha=of_sample * by_prediction)
        else:
            sample = torch.add(noisy * by_noisy, predicted, alpha=by_prediction).clamp_(-clip, clip)
            noisy = torch.add(sample * of_sample, noisy, alpha=of_noisy)
        if deviation:
            if large:
                deviation = stochasticity * (1 - alpha / previous) ** 0.5  # noqa: PLW2901 - of this step
            noisy = noisy.add(drawn(noisy, generator), alpha=deviation)
        yield noisy


def _sample_weights(prediction: str, alpha: float) -> tuple[float, float]:
    """The weights of z and of the prediction in the sample that is estimated."""
    signal, noise = alpha**0.5, (1 - alpha) ** 0.5
    if prediction == "sample":
        return 0.0, 1.0
    return (1 / signal, -noise / signal) if prediction == "epsilon" else (signal, -noise)


def drawn(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal draws of a tensor's shape, drawn where the generator lives and moved to the tensor's device."""
    where = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=where, dtype=like.dtype).to(like.device)
