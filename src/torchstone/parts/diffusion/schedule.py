"""The tables of a diffusion and its way to noise.

Steps of a table are numbered from 0, as in diffusers; -1 stands for the data itself. T steps, b batch.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchstone.core.errors import UsageError

Numbers = Sequence[float] | Tensor


class NoiseSchedule:
    """One-step variances beta and alpha, the share of the data's variance left after each step, in float64 on the CPU.

    `NoiseSchedule(betas)` takes T custom variances; `linear`, `scaled_linear`, `cosine`, `sigmoid` are usual ones, `from_alphas`
    takes alphas, the last of which may be 0. `betas`, `alphas`, `signal_to_noise` and `noise_to_signal` are tensors of T numbers.

    Raises UsageError for betas outside (0, 1) and alphas that do not fall or lie outside (0, 1).
    Sources: Ho et al. 2020, section 2; final exam, question D10.

    >>> NoiseSchedule([0.5, 0.2]).alphas
    tensor([0.5000, 0.4000], dtype=torch.float64)
    """

    alphas: Float[Tensor, " T"]
    unscaled: "NoiseSchedule | None"

    def __init__(self, betas: Numbers) -> None:
        table = _table(betas, "betas")
        wrong = ~((table > 0) & (table < 1))
        if wrong.any():
            at = int(wrong.nonzero()[0])
            instead = "; for an end in pure noise: zero_terminal_snr()" if table[at] == 1 else ""
            message = f"every beta lies in (0, 1); betas[{at}] is {table[at].item():g}{instead}"
            raise UsageError(message)
        self._fill(torch.cumprod(1 - table, 0))

    def _fill(self, alphas: Tensor, unscaled: "NoiseSchedule | None" = None) -> None:
        if not alphas[0] > 0 or not (alphas[1:] < alphas[:-1]).all():
            fine = int((alphas > 0).sum())
            message = f"alpha runs out in float64 after {fine} of {len(alphas)} steps: give smaller betas or fewer steps"
            raise UsageError(message)
        self.alphas, self.unscaled = alphas, unscaled
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    @classmethod
    def linear(cls, steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> "NoiseSchedule":
        """Betas evenly spaced from start to end (Ho et al. 2020). Raises UsageError unless 0 < start <= end < 1."""
        return cls(_between(steps, start, end))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> "NoiseSchedule":
        """Roots of betas evenly spaced (latent diffusion, Rombach et al. 2022). Raises UsageError unless 0 < start <= end < 1."""
        _check_ends(start, end)
        return cls(_between(steps, math.sqrt(start), math.sqrt(end)).square())

    @classmethod
    def sigmoid(cls, steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> "NoiseSchedule":
        """Betas from start to end along a sigmoid over [-6, 6] (GeoDiff). Raises UsageError unless 0 < start <= end < 1."""
        _check_ends(start, end)
        return cls(start + (end - start) * torch.sigmoid(torch.linspace(-6, 6, _count(steps), dtype=torch.float64)))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, limit: float = 0.999) -> "NoiseSchedule":
        """Alphas along a squared cosine, each beta at most `limit` (Nichol and Dhariwal 2021, section 3.2).

        Raises UsageError for an offset below 0 and a limit outside (0, 1).
        """
        if not offset >= 0 or not 0 < limit < 1:
            message = f"a cosine schedule has an offset of 0 or more and a limit in (0, 1); offset={offset} and limit={limit} came"
            raise UsageError(message)
        at = torch.arange(_count(steps) + 1, dtype=torch.float64) / steps
        left = torch.cos((at + offset) / (1 + offset) * math.pi / 2).square()
        return cls((1 - left[1:] / left[:-1]).clamp(max=limit))

    @classmethod
    def from_alphas(cls, alphas: Numbers) -> "NoiseSchedule":
        """The schedule with these alphas (`alphas_cumprod`), T numbers in (0, 1) that fall; the last may be 0."""
        table = _table(alphas, "alphas")
        inside = (table > 0) & (table < 1)
        inside[-1] |= (table[-1] == 0) & (len(table) > 1)
        if not inside.all() or not (table[1:] < table[:-1]).all():
            late = [at for at in range(1, len(table)) if not table[at] < table[at - 1]]
            at = int((~inside).nonzero()[0]) if not inside.all() else late[0]
            message = f"alphas lie in (0, 1) and fall, only the last may be 0; alphas[{at}] is {table[at].item():g}"
            raise UsageError(f"{message} after {table[at - 1].item():g}" if at else message)
        made = cls.__new__(cls)
        made._fill(table)  # noqa: SLF001 - of its own class
        return made

    def zero_terminal_snr(self) -> "NoiseSchedule":
        """The schedule whose last alpha is exactly 0: sqrt(alpha) shifted, and stretched so that the first stays.

        Epsilon says nothing at the last step: predict the sample or v. Source: Lin et al. 2024, algorithm 1.
        Raises UsageError for a table of one step.
        """
        if len(self) == 1:
            message = "zero terminal SNR needs two steps or more; this schedule has one"
            raise UsageError(message)
        if self.alphas[-1] == 0:
            return self
        roots = self.alphas.sqrt()
        made = type(self).__new__(type(self))
        made._fill(((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))).square(), self)  # noqa: SLF001 - of its own class
        return made

    def __len__(self) -> int:
        return len(self.alphas)

    def __repr__(self) -> str:
        return f"NoiseSchedule({len(self)} steps, alpha {self.alphas[0].item():.6g} to {self.alphas[-1].item():.6g})"

    @property
    def betas(self) -> Float[Tensor, " T"]:
        """One-step variances 1 - alpha_t/alpha_{t-1}; 1 at the last step of zero terminal SNR."""
        return 1 - self.alphas / torch.cat([self.alphas.new_ones(1), self.alphas[:-1]])

    @property
    def signal_to_noise(self) -> Float[Tensor, " T"]:
        """Signal over noise, alpha/(1 - alpha), of every step."""
        return self.alphas / (1 - self.alphas)

    @property
    def noise_to_signal(self) -> Float[Tensor, " T"]:
        """Noise over signal, eta = (1 - alpha)/alpha, of every step; infinite at a last alpha of 0."""
        return (1 - self.alphas) / self.alphas

    def alpha(self, step: int) -> float:
        """Alpha of a step as a number; 1 of step -1, the data. Raises UsageError outside the table."""
        if not -1 <= step < len(self):
            message = f"a table of {len(self)} has the steps 0 to {len(self) - 1}, and -1 for the data; {step} came"
            raise UsageError(message)
        return self.alphas[step].item() if step >= 0 else 1.0

    def jump(self, earlier: int, later: int) -> float:
        """Gamma of q(z_later given z_earlier) = N(sqrt(gamma) z_earlier, (1 - gamma) I); `earlier` may be -1, the data.

        Raises UsageError unless earlier < later. Source: final exam, question D10b.
        """
        if not earlier < later:
            message = f"a jump goes to a later step, tau > t; from t = {earlier} to tau = {later} came: exchange them"
            raise UsageError(message)
        return self.alpha(later) / self.alpha(earlier)

    def roots(self, device: torch.device, dtype: torch.dtype) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
        """sqrt(alpha) and sqrt(1 - alpha) in this type on this device: one rounding from float64, made once."""
        if torch.compiler.is_compiling():
            return self._roots(device, dtype)
        if (device, dtype) not in self._tables:
            self._tables[device, dtype] = self._roots(device, dtype)
        return self._tables[device, dtype]

    def _roots(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # Rounded before they travel: not every device has float64.
        return self.alphas.sqrt().to(dtype).to(device), (1 - self.alphas).sqrt().to(dtype).to(device)

    def mix(
        self, timesteps: Int[Tensor, " b"], first: Float[Tensor, "b *shape"], second: Float[Tensor, "b *shape"]
    ) -> Float[Tensor, "b *shape"]:
        """sqrt(alpha) first + sqrt(1 - alpha) second, each row at its own step. Raises UsageError where shapes do not fit."""
        if first.shape != second.shape or timesteps.dim() != 1 or len(timesteps) != len(first):
            shapes = f"{tuple(first.shape)}, {tuple(second.shape)} and {tuple(timesteps.shape)}"
            message = f"sample and noise have one shape and every row a step; {shapes} came: give timesteps ({len(first)},)"
            raise UsageError(message)
        # Rounded tables beside exact ones would promote the result.
        signal, noise = self.roots(first.device, first.dtype)
        rows = (len(first), *(1,) * (first.dim() - 1))
        try:  # index_select refuses what is outside the table, and -1, which indexing would take from its end
            a, b = signal.index_select(0, timesteps).view(rows), noise.index_select(0, timesteps).view(rows)
        except (IndexError, RuntimeError) as error:
            message = f"timesteps are whole numbers from 0 to {len(self) - 1} on {first.device}; {_told(timesteps)} came"
            raise UsageError(message) from error
        return torch.mul(first, a).addcmul_(second, b)

    def add_noise(
        self, sample: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], timesteps: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *shape"]:
        """The forward process in one jump: z = sqrt(alpha) sample + sqrt(1 - alpha) noise, each row at its own step.

        sample and noise (b, ..) of one shape, timesteps (b,) whole numbers from 0 to T - 1.
        Raises UsageError where they do not fit. Source: Ho et al. 2020, equation 4.
        """
        return self.mix(timesteps, sample, noise)

    def velocity(
        self, sample: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], timesteps: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *shape"]:
        """The velocity v = sqrt(alpha) noise - sqrt(1 - alpha) sample: what a v-prediction should be. Arguments as in `add_noise`.

        Source: Salimans and Ho 2022, section 4.
        """
        return self.mix(timesteps, noise, -sample)


def _told(timesteps: Tensor) -> str:
    """Type, device and range of steps, for a message."""
    ends = f" from {timesteps.min().item()} to {timesteps.max().item()}" if timesteps.numel() else ""
    return f"{str(timesteps.dtype).removeprefix('torch.')}{ends} on {timesteps.device}"


def _table(numbers: Numbers, name: str) -> Tensor:
    try:
        table = torch.as_tensor(numbers, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError) as error:
        message = f"{name} are one row of real numbers; {numbers!r} came"
        raise UsageError(message) from error
    if table.dim() != 1 or not len(table):
        message = f"{name} are one row of one number or more; shape {tuple(table.shape)} came"
        raise UsageError(message)
    return table.clone()


def _count(steps: int) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        message = f"a schedule has a whole number of steps, one or more; {steps!r} came"
        raise UsageError(message)
    return steps


def _check_ends(start: float, end: float) -> None:
    if not 0 < start <= end < 1:
        message = f"betas lie in (0, 1) and start is not above end; start={start} and end={end} came"
        raise UsageError(message)


def _between(steps: int, start: float, end: float) -> Tensor:
    _check_ends(start, end)
    return torch.linspace(start, end, _count(steps), dtype=torch.float64)
