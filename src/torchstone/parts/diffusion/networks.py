"""Small real denoisers: a residual network for vectors and a U-Net for images, both told the step and, if asked, the class.

b batch, d features, c channels, h w height and width.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError

Times = Int[Tensor, " b"] | Float[Tensor, " b"]
_PERIOD = 10_000.0


def _check(classes: int | None, **sizes: int) -> None:
    wrong = {name: size for name, size in sizes.items() if isinstance(size, bool) or not isinstance(size, int) or size < 1}
    if classes is not None and classes < 1:
        wrong["classes"] = classes
    if wrong:
        message = f"sizes are whole numbers above 0; {', '.join(f'{name}={size!r}' for name, size in wrong.items())} came"
        raise UsageError(message)


class _Condition(nn.Module):
    """A step's sines, and a class's row, made into one vector a row."""

    def __init__(self, width: int, classes: int | None) -> None:
        super().__init__()
        self.width = width
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.classes = None if classes is None else nn.Embedding(classes, width)

    def forward(self, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        half = self.width // 2
        # Steps go into the hundreds: bfloat16 would merge them.
        exact = torch.promote_types(self.first.weight.dtype, torch.float32)
        rates = torch.exp(torch.arange(half, device=timesteps.device, dtype=exact) * (-math.log(_PERIOD) / max(1, half - 1)))
        angles = timesteps.to(exact).unsqueeze(1) * rates
        waves = functional.pad(torch.cat([angles.cos(), angles.sin()], 1), (0, self.width - 2 * half)).to(self.first.weight.dtype)
        found: Tensor = self.second(functional.silu(self.first(waves)))
        if (labels is None) is not (self.classes is None):
            message = f"this denoiser was made {'without' if self.classes is None else 'with'} classes: give labels just then"
            raise UsageError(message)
        return found if self.classes is None else found + self.classes(labels)


class DenoisingMLP(nn.Module):
    """A residual network that predicts what was asked of vectors (b, d): layers add a network of their normalised input.

    classes: how many labels, None without. Its output begins at zero.
    Raises UsageError for sizes below 1 and labels that do not fit.
    Source: He et al. 2016, with the step as in Ho et al. 2020, appendix B.
    """

    def __init__(self, features: int, hidden: int = 256, layers: int = 3, classes: int | None = None) -> None:
        super().__init__()
        _check(classes, features=features, hidden=hidden, layers=layers)
        self.condition = _Condition(hidden, classes)
        self.input, self.output = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, noisy: Float[Tensor, "b d"], timesteps: Times, labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b d"]:
        """A prediction for every row at its step (b,), of its class (b,)."""
        condition = self.condition(timesteps, labels)
        state = self.input(noisy)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            state = state + down(functional.silu(up(norm(state) + condition)))
        found: Tensor = self.output(state)
        return found


class _Block(nn.Module):
    """Two 3 x 3 convolutions of normalised input around the condition, added to the input."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = (nn.GroupNorm(math.gcd(8, size), size) for size in (inputs, outputs))
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.condition = nn.Linear(condition, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.second.weight)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.first_norm(images))) + self.condition(functional.silu(condition))[:, :, None, None]
        found: Tensor = self.skip(images) + self.second(functional.silu(self.second_norm(inner)))
        return found


class UNet(nn.Module):
    """A U-Net that predicts what was asked of images (b, c, h, w): down by strided convolutions, and up again beside what was kept.

    multipliers: channels of each level in widths, the first at full size; h and w are halved from level to level. classes: how
    many labels, None without. Its output begins at zero.
    Raises UsageError for sizes below 1, images that cannot be halved as often, and labels that do not fit.
    Source: Ronneberger et al. 2015; Ho et al. 2020, appendix B.
    """

    def __init__(self, channels: int, width: int = 32, multipliers: Sequence[int] = (1, 2), classes: int | None = None) -> None:
        super().__init__()
        factors = {f"multipliers[{at}]": factor for at, factor in enumerate(multipliers)}
        _check(classes, channels=channels, width=width, levels=len(multipliers), **factors)
        sizes, inner = [width * factor for factor in multipliers], 4 * width
        self.channels, self.halvings = channels, len(sizes) - 1
        self.condition = _Condition(inner, classes)
        self.input = nn.Conv2d(channels, sizes[0], 3, padding=1)
        self.before = nn.ModuleList(_Block(size, size, inner) for size in sizes)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(sizes))
        self.middle = _Block(sizes[-1], sizes[-1], inner)
        self.after = nn.ModuleList(_Block(2 * size, size, inner) for size in sizes)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(sizes))
        self.norm, self.output = nn.GroupNorm(math.gcd(8, sizes[0]), sizes[0]), nn.Conv2d(sizes[0], channels, 3, padding=1)
        nn.init.zeros_(self.output.weight)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def forward(
        self, noisy: Float[Tensor, "b c h w"], timesteps: Times, labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """A prediction for every image at its step (b,), of its class (b,)."""
        unit, (_, channels, *sizes) = 2**self.halvings, noisy.shape
        if noisy.dim() != 4 or channels != self.channels or any(size % unit for size in sizes):  # noqa: PLR2004 - b c h w
            message = f"images (b, {self.channels}, h, w), h and w multiples of {unit}, are needed; {tuple(noisy.shape)} came"
            raise UsageError(message)
        condition, state, kept = self.condition(timesteps, labels), self.input(noisy), []
        for level, before in enumerate(self.before):
            state = before(state, condition)
            kept.append(state)
            if level < self.halvings:
                state = self.down[level](state)
        state = self.middle(state, condition)
        for level in reversed(range(self.halvings + 1)):
            state = self.after[level](torch.cat([state, kept[level]], 1), condition)
            if level:
                state = self.up[level - 1](functional.interpolate(state, scale_factor=2.0))
        found: Tensor = self.output(functional.silu(self.norm(state)))
        return found
