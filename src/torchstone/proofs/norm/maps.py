"""`Demean`, `Normalize` and both together against their closed forms: autograd, projections, ranks; torch's layers beside them.

Vectors have 3 to 9 numbers, of any size from 0.01 to 100.
"""

from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Tolerance
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Map = Callable[[Tensor], Tensor]
WithEps = Callable[[Tensor, float], Tensor]
Formula = Callable[..., Any]
OPERATIONS = 60  # a few passes over nine numbers at most


def vectors(draws: Draws, count: int) -> Iterator[Tensor]:
    """Vectors of 3 to 9 numbers of sizes 0.01 to 100, off the origin."""
    for _ in range(count):
        size, width = 10 ** draws.uniform(-2, 2, 1), draws.integer(3, 9)
        yield size * (draws.normal(width) + draws.normal(1))


def epsilons(draws: Draws) -> tuple[float, ...]:
    """None, torch's, and some of the size of a mean square."""
    return (0.0, 1e-5, draws.uniform(0.01, 10, 1).item())


def gradient_of(function: Map, x: Tensor, upstream: Tensor) -> Tensor:
    """dL/dx by autograd where dL/df is `upstream`."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, upstream)[0]


def near(reference: Tensor | float) -> Tolerance:
    """Rounding at the size of the largest number that was at work."""
    return rounding(OPERATIONS, float(torch.as_tensor(reference).abs().max()))


@experiment(
    "norm.demean_gradient",
    part=parts.demean,
    mutants={
        "mean taken as a constant": lambda x: x - x.mean().detach(),
        "half the mean": lambda x: x - x.mean() / 2,
        "sum for the mean": lambda x: x - x.sum(),
        "squares": lambda x: x.square() / 2 - x.mean(),
    },
    how="autograd, float64",
)
def demean_gradient(part: Map, draws: Draws) -> Iterator[Evidence]:
    """The gradient must not depend on x."""
    for x in vectors(draws, 60):
        upstream = draws.normal(len(x))
        found = gradient_of(part, x, upstream)
        yield held("norm.demean_gradient", {"gradient": upstream.tolist()}, found, near(upstream))


def factors(function: Map, x: Tensor, upstream: Tensor, scale: float) -> list[float]:
    """By what a scale of the input multiplies the norms of the output and of the downstream gradient."""
    pairs = [(function(scale * x), function(x)), (gradient_of(function, scale * x, upstream), gradient_of(function, x, upstream))]
    return [(one.norm() / other.norm()).item() for one, other in pairs]


@experiment(
    "norm.demean_scale",
    part=parts.demean,
    mutants={
        "normalises besides": lambda x: parts.normalize(parts.demean(x)),
        "a constant taken off": lambda x: x - 1.0,
        "saturates": lambda x: torch.tanh(parts.demean(x)),
        "gradient passed by size": lambda x: parts.demean(x) * x.norm().detach(),
    },
    how="float64, autograd",
)
def demean_scale(part: Map, draws: Draws) -> Iterator[Evidence]:
    """Scales from 0.01 to 100."""
    for x in vectors(draws, 60):
        scale = (10 ** draws.uniform(-2, 2, 1)).item()
        found = factors(part, x, draws.normal(len(x)), scale)
        # A mean far larger than what is left of the vector costs digits.
        lost = max(1.0, (x.abs().max() / parts.demean(x).abs().max()).item())
        yield held("norm.demean_scale", {"scale": scale}, found, rounding(OPERATIONS * lost, max(1.0, scale)))


def _with_eps(function: WithEps, eps: float) -> Map:
    return lambda z: function(z, eps)


NOT_NORMALISED: dict[str, WithEps] = {
    "norm 1": lambda z, eps: functional.normalize(z, dim=0, eps=eps),
    "largest 1": lambda z, eps: z / (z.abs().amax() + eps),
    "demeaned too": lambda z, eps: parts.normalize(parts.demean(z), eps=eps),
    "eps outside the root": lambda z, eps: z / (z.square().mean().sqrt() + eps),
    "unbiased": lambda z, eps: z * ((len(z) - 1) / len(z)) ** 0.5 / (z.square().mean() + eps).sqrt(),
}


def part_normalize(z: Tensor, eps: float) -> Tensor:
    """Normalize over the only axis."""
    output: Tensor = parts.Normalize(len(z), eps)(z)
    return output


def torch_normalize(z: Tensor, eps: float) -> Tensor:
    """Torch's own kernel of the same map."""
    return functional.rms_norm(z, z.shape, eps=eps)


def normalisers(part: WithEps) -> tuple[WithEps, ...]:
    """Torch's kernel is held beside our part, and only beside it."""
    return (part, torch_normalize) if part is part_normalize else (part,)


@experiment("norm.normalized_norm", part=part_normalize, mutants=NOT_NORMALISED)
def normalized_norm(part: WithEps, draws: Draws) -> Iterator[Evidence]:
    """With and without eps; torch's rms_norm beside it."""
    for z in vectors(draws, 30):
        for eps in epsilons(draws):
            for function in normalisers(part):
                arguments = {"vector": z.tolist(), "eps": eps}
                yield held("norm.normalized_norm", arguments, function(z, eps).norm(), rounding(OPERATIONS, 3))


STOPPED: dict[str, WithEps] = {
    "deviation taken as a constant": lambda z, eps: z / (z.square().mean() + eps).sqrt().detach(),
    "half of it": lambda z, eps: 2 * part_normalize(z, eps).detach() - part_normalize(z, eps),
    "eps outside the root": lambda z, eps: z / (z.square().mean().sqrt() + eps),
    "largest 1": lambda z, eps: z / (z.abs().amax() + eps),
}


@experiment("norm.normalize_gradient", part=part_normalize, mutants=STOPPED, how="autograd, float64")
def normalize_gradient(part: WithEps, draws: Draws) -> Iterator[Evidence]:
    """With and without eps; torch's rms_norm beside it."""
    for z in vectors(draws, 30):
        for eps in epsilons(draws):
            upstream = draws.normal(len(z))
            for function in normalisers(part):
                found = gradient_of(_with_eps(function, eps), z, upstream)
                arguments = {"vector": z.tolist(), "gradient": upstream.tolist(), "eps": eps}
                scale = (upstream.abs().max() / (z.square().mean() + eps).sqrt()).item()
                yield held("norm.normalize_gradient", arguments, found, near(scale))


def radial_symbols(law: Formula) -> Iterator[Any]:
    """Two numbers, where eps is 0 and where it is not, against the gradient by differentiation."""
    z, g = sympy.symbols("z0:2", positive=True), sympy.symbols("g0:2", positive=True)
    for eps in (sympy.Integer(0), sympy.Symbol("eps", positive=True)):
        sigma = sympy.sqrt(sum(x**2 for x in z) / 2 + eps)
        loss = sum(a * x for a, x in zip(g, z, strict=True)) / sigma
        yield sum(sympy.diff(loss, x) * x for x in z) - law(z, g, eps)


@experiment("norm.radial_gradient", part=part_normalize, mutants=STOPPED, how="autograd, float64", symbolic=radial_symbols)
def radial_gradient(part: WithEps, draws: Draws) -> Iterator[Evidence]:
    """The downstream gradient along z, with and without eps; torch's rms_norm beside it."""
    for z in vectors(draws, 30):
        for eps in epsilons(draws):
            upstream = draws.normal(len(z))
            for function in normalisers(part):
                found = gradient_of(_with_eps(function, eps), z, upstream) @ z
                arguments = {"vector": z.tolist(), "gradient": upstream.tolist(), "eps": eps}
                yield held("norm.radial_gradient", arguments, found, rounding(OPERATIONS, 20))


@experiment(
    "norm.normalize_scale",
    part=part_normalize,
    mutants={
        "eps of 0.1": lambda z, eps: part_normalize(z, eps + 0.1),
        "deviation taken as a constant and squared": lambda z, eps: z / z.square().mean().detach() + eps,
        "not at all": lambda z, eps: z + eps,
        "of a shifted vector": lambda z, eps: part_normalize(z + 1, eps),
    },
    how="float64, autograd",
)
def normalize_scale(part: WithEps, draws: Draws) -> Iterator[Evidence]:
    """Scales from 0.01 to 100, eps = 0; torch's rms_norm beside it."""
    for z in vectors(draws, 40):
        scale, upstream = (10 ** draws.uniform(-2, 2, 1)).item(), draws.normal(len(z))
        for function in normalisers(part):
            exactly = _with_eps(function, 0.0)
            found = factors(exactly, z, upstream, scale)
            # What passes may be far less than what came: the quotient of two small norms loses those digits.
            lost = max(1.0, (upstream.norm() / gradient_of(exactly, z, upstream).norm() / z.norm()).item())
            yield held("norm.normalize_scale", {"scale": scale}, found, rounding(OPERATIONS * lost, max(1.0, 1 / scale)))


def part_layer_norm(x: Tensor, eps: float) -> Tensor:
    """Our LayerNorm without a weight."""
    output: Tensor = parts.LayerNorm(len(x), eps, elementwise_affine=False)(x)
    return output


def torch_layer_norm(x: Tensor, eps: float) -> Tensor:
    """Torch's fused kernel."""
    output: Tensor = nn.LayerNorm(len(x), eps, elementwise_affine=False)(x)
    return output


@experiment(
    "norm.layer_norm_gradient",
    part=part_layer_norm,
    mutants={
        "normalised first": lambda x, eps: parts.demean(part_normalize(x, eps)),
        "mean taken as a constant": lambda x, eps: part_normalize(x - x.mean().detach(), eps),
        "deviation taken as a constant": lambda x, eps: parts.demean(x) / (x.var(correction=0) + eps).sqrt().detach(),
        "unbiased variance": lambda x, eps: parts.demean(x) / (x.var() + eps).sqrt(),
        "not demeaned": part_normalize,
    },
    how="autograd, float64",
)
def layer_norm_gradient(part: WithEps, draws: Draws) -> Iterator[Evidence]:
    """With and without eps; nn.LayerNorm beside it."""
    for x in vectors(draws, 30):
        for eps in epsilons(draws):
            upstream = draws.normal(len(x))
            for function in (part, torch_layer_norm) if part is part_layer_norm else (part,):
                found = gradient_of(_with_eps(function, eps), x, upstream)
                arguments = {"vector": x.tolist(), "gradient": upstream.tolist(), "eps": eps}
                deviation = (x.var(correction=0) + eps).sqrt().item()
                lost = max(1.0, x.abs().max().item() / deviation)
                tolerance = rounding(OPERATIONS * lost, upstream.abs().max().item() / deviation)
                yield held("norm.layer_norm_gradient", arguments, found, tolerance)


def rank(function: Map, x: Tensor) -> int:
    """The rank of a map's Jacobian."""
    jacobian: Tensor = torch.autograd.functional.jacobian(function, x)  # type: ignore[no-untyped-call]
    # Singular values are 0 or of the size of the largest: a millionth of it tells them apart.
    return int(torch.linalg.matrix_rank(jacobian, rtol=1e-6))


def _demeaned(x: Tensor, *, demeans: bool) -> Tensor:
    return parts.demean(x) if demeans else x


def three_maps(*, demeans: bool, normalizes: bool) -> Map:
    """LayerNorm, one of its halves, or nothing."""

    def mapped(x: Tensor) -> Tensor:
        x = _demeaned(x, demeans=demeans)
        return parts.normalize(x) if normalizes else 1.0 * x

    return mapped


@experiment(
    "norm.passing_directions",
    part=three_maps,
    mutants={
        "mean and deviation taken as constants": lambda **_: lambda x: (x - x.mean().detach()) / x.std().detach(),
        "eps of 0.1": lambda *, demeans, normalizes: lambda x: parts.normalize(_demeaned(x, demeans=demeans), 1, 0.1 * normalizes),
        "two halves at once": lambda *, demeans, normalizes: three_maps(demeans=demeans or normalizes, normalizes=normalizes),
    },
    how="exact: ranks of Jacobians",
)
def passing_directions(part: Callable[..., Map], draws: Draws) -> Iterator[Evidence]:
    """Every combination of the two maps."""
    for x in vectors(draws, 12):
        for demeans in (False, True):
            for normalizes in (False, True):
                arguments = {"demeans": demeans, "normalizes": normalizes}
                yield held("norm.passing_directions", {"width": len(x), **arguments}, rank(part(**arguments), x))
