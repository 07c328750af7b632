"""The parts of diffusion and of the bottleneck under the shared suite."""

import math

import torch
from torch import nn
from torch.nn import functional

from suites.part_suite import Row, part_tests
from torchstone.parts import bottleneck, diffusion

SCHEDULE = diffusion.NoiseSchedule.cosine(20)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def steps(batch):
    return torch.arange(batch) % 20


def noised(a, b, t):
    alpha = SCHEDULE.alphas[t].to(a.device).view(-1, 1, 1)
    return (alpha.sqrt() * a.double() + (1 - alpha).sqrt() * b.double()).to(a.dtype)


def as_filled(module):
    """Parameters that are not 0, so that every path carries something."""
    source = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source, dtype=torch.float64))
    return module


def sines(t, width):
    half = width // 2
    angles = [[step / 10_000 ** (i / (half - 1)) for i in range(half)] for step in t.tolist()]
    rows = [[*map(math.cos, row), *map(math.sin, row)] for row in angles]
    return torch.tensor(rows, dtype=torch.float64, device=t.device).view(len(t), width)


def condition(part, t, labels):
    c = part.condition
    inner = functional.silu(c.first(sines(t, c.width).to(c.first.weight)))
    return c.second(inner) + (0 if labels is None else c.classes.weight[labels])


def layered(part):
    def reference(x, t, labels=None):
        state, told = part.input(x), condition(part, t, labels)
        for norm, up, down in zip(part.norms, part.up, part.down, strict=True):
            state = state + down(functional.silu(up(norm(state) + told)))
        return part.output(state)

    return reference


def block(part, x, told):
    inner = part.first(functional.silu(part.first_norm(x))) + part.condition(functional.silu(told))[..., None, None]
    return part.skip(x) + part.second(functional.silu(part.second_norm(inner)))


def two_levels(part):
    def reference(x, t, labels=None):
        told = condition(part, t, labels)
        full = block(part.before[0], part.input(x), told)
        low = block(part.before[1], part.down[0](full), told)
        low = block(part.after[1], torch.cat([block(part.middle, low, told), low], 1), told)
        up = part.up[0](low.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return part.output(functional.silu(part.norm(block(part.after[0], torch.cat([up, full], 1), told))))

    return reference


def kl_by_torch(mean, raw):
    code = torch.distributions.Normal(mean, functional.softplus(raw) + 0.1)
    return torch.distributions.kl_divergence(code, torch.distributions.Normal(torch.full_like(mean, 0.5), 2.0)).sum(-1)


class Bottleneck(bottleneck.VariationalBottleneck):
    """Built from sizes, for a row."""

    def __init__(self):
        super().__init__(bottleneck.StochasticEncoder(nn.Linear(3, 5), 5, 2), nn.Linear(2, 4))


def spelt_out(part):
    def reference(x, noise):
        mean, raw = part.encoder.head(part.encoder.body(x)).split(2, -1)
        return part.decoder(mean + noise * (1 + (raw - 5).exp()).log())

    return reference


def mlp_parameters(d, h, layers, classes):
    return 2 * (h * h + h) + classes * h + d * h + h + h * d + d + layers * (2 * h + 2 * (h * h + h))


# A block of c to o channels told by e numbers.
def block_parameters(c, o, e):
    return 2 * c + 9 * c * o + o + 2 * o + 9 * o * o + o + e * o + o + (0 if c == o else c * o + o)


def unet_parameters(c, w, classes):
    e = 4 * w
    blocks = [(w, w), (2 * w, 2 * w), (2 * w, 2 * w), (2 * w, w), (4 * w, 2 * w)]
    between = 2 * 9 * w * 2 * w + 2 * w + w
    ends = 9 * c * w + w + 2 * w + 9 * c * w + c
    return 2 * (e * e + e) + classes * e + sum(block_parameters(i, o, e) for i, o in blocks) + between + ends


NETWORK = {"lower_precisions": "a network of many layers: held to the other checks in float64"}
ROWS = [
    Row(
        "add-noise", diffusion.NoiseSchedule.add_noise, lambda function: lambda x, e: function(SCHEDULE, x, e, steps(len(x)).to(x.device)),
        lambda _: lambda x, e: noised(x, e, steps(len(x))), lambda b: [normal(b, 3, 2), normal(b, 3, 2)], lambda x, e: x,
        without={"annotations": "timesteps are made inside"},
    ),
    Row(
        "velocity", diffusion.NoiseSchedule.velocity, lambda function: lambda x, e: function(SCHEDULE, x, e, steps(len(x)).to(x.device)),
        lambda _: lambda x, e: noised(e, -x, steps(len(x))), lambda b: [normal(b, 3, 2), normal(b, 3, 2)], lambda x, e: x,
        without={"annotations": "timesteps are made inside"},
    ),
    Row(
        "noisy-path", diffusion.noisy_path, lambda function: lambda x, e: function(x, [0.5, 1.5, 4.0], e.transpose(0, 1)),
        lambda _: lambda x, e: torch.stack([
            (x + 0.5**0.5 * e[:, 0]) / 1.5**0.5, (x + 0.5**0.5 * e[:, 0] + e[:, 1]) / 2.5**0.5,
            (x + 0.5**0.5 * e[:, 0] + e[:, 1] + 2.5**0.5 * e[:, 2]) / 5**0.5,
        ]),
        lambda b: [normal(b, 2), normal(b, 3, 2)], lambda x, e: (3, *x),
    ),
    Row(
        "reverse-step", diffusion.reverse_step, lambda function: lambda x, z, e: function(x, z, 0.3, 0.6, 1.0, e),
        lambda _: lambda x, z, e: (0.6**0.5 * 0.5 * x + 0.5**0.5 * 0.4 * z) / 0.7 + (0.4 / 0.7 * 0.5) ** 0.5 * e,
        lambda b: [normal(b, 2), normal(b, 2), normal(b, 2)], lambda x, *_: x,
    ),
    Row(
        "mlp", diffusion.DenoisingMLP, lambda cls: as_filled(cls(3, 8, 2, classes=5)), layered,
        lambda b: [normal(b, 3), steps(b), torch.arange(b) % 5], lambda x, *_: x, parameters=mlp_parameters(3, 8, 2, 5), without=NETWORK,
    ),
    Row(
        "unet", diffusion.UNet, lambda cls: as_filled(cls(2, 4, (1, 2), classes=3)), two_levels,
        lambda b: [normal(b, 2, 4, 6), steps(b), torch.arange(b) % 3], lambda x, *_: x, parameters=unet_parameters(2, 4, 3),
        without={**NETWORK, "gradcheck": "thousands of parameters: held to the reference's gradients", "empty_batch": "torch convolves no empty batch of every size"},
    ),
    Row(
        "gaussian-kl", bottleneck.gaussian_kl, lambda function: lambda mean, raw: function(mean, functional.softplus(raw) + 0.1, 0.5, 2.0),
        lambda _: kl_by_torch, lambda b: [normal(b, 3), normal(b, 3)], lambda mean, _: mean[:1],
    ),
    Row(
        "reparameterise", bottleneck.reparameterise, lambda function: function, lambda _: lambda mean, s, e: mean + s * e,
        lambda b: [normal(b, 3), normal(b, 3), normal(b, 3)], lambda mean, *_: mean,
    ),
    Row(
        "deviation", bottleneck.deviation_of, lambda function: function, lambda _: lambda raw: (1 + (raw - 5).exp()).log(),
        lambda b: [normal(b, 3)], lambda raw: raw,
    ),
    Row("bottleneck", Bottleneck, lambda cls: as_filled(cls()), spelt_out, lambda b: [normal(b, 3), normal(b, 2)], lambda x, _: (x[0], 4), parameters=20 + 24 + 12),
]  # fmt: skip

test_part = part_tests(ROWS)
