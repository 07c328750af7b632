"""D12: demeaning and normalising, scaled; layers that normalise before or after; a stack of them with identity sub-layers."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.core.quantity import Unit
from torchstone.laws.norm.stack import depth_gradient, identity_gradient_bound
from torchstone.laws.transformer import visible_pairs
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, found, generator, rounding, worst

Map = Callable[[Tensor], Tensor]
WIDTH, POSITIONS, LAYERS = 6, 5, 6
SCALES = (0.25, 4.0)
DEPTHS, NETWORKS = (2, 6, 12), 12


def _draw(*shape: int, seed: int = 12) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def _gradient(function: Map, x: Tensor, upstream: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, upstream)[0]


def _exponents(function: Map) -> tuple[int, int]:
    """The powers of a that the norms of output and downstream gradient go with, for x' = a x: measured, and whole to rounding."""
    x, upstream = _draw(WIDTH), _draw(WIDTH, seed=13)
    norms = {a: (function(a * x).norm(), _gradient(function, a * x, upstream).norm()) for a in SCALES}
    low, high = (norms[a] for a in SCALES)
    steps = math.log(SCALES[1] / SCALES[0])
    output, gradient = (math.log(two / one) / steps for one, two in zip(low, high, strict=True))
    return round(output), round(gradient)


def _scaled(name: str, function: Map, powers: tuple[int, int]) -> Iterator[Evidence]:
    """Both norms at other scales, by the powers found."""
    x, upstream = _draw(WIDTH, seed=14), _draw(WIDTH, seed=15)
    for a in (0.1, 3.0, 50.0):
        norms = [(function(x).norm(), function(a * x).norm())]
        norms.append((_gradient(function, x, upstream).norm(), _gradient(function, a * x, upstream).norm()))
        for power, (plain, scaled) in zip(powers, norms, strict=True):
            yield compared(name, a**power, (scaled / plain).item(), rounding(60, a**power), f"x' = {a:g} x, float64")


def _words(power: int) -> str:
    return {0: "does not change", 1: "scales by a", -1: "scales by 1/a"}.get(power, f"scales by a^{power}")


@answers("D12a")
def demeaning(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """Demeaning a scaled input."""
    name, powers = "norm.demean_scale", _exponents(parts.demean)
    return Answer(
        says=(f"norm: ‖f‖ {_words(powers[0])}", f"gradient: the downstream gradient {_words(powers[1])}"),
        derivation=(
            "f is linear: f(a x) = a x - mean(a x) = a f(x)",
            "df_i/dx_j = [i = j] - 1/d does not depend on x, so dL/dx = g - mean(g) for every a",
            f"measured: exponents {powers[0]} and {powers[1]} of a, between a = {SCALES[0]:g} and {SCALES[1]:g}",
        ),
        evidence=(*proved(name, "norm.demean_gradient"), worst(_scaled(name, parts.demean, powers))),
    )


@answers("D12c")
def normalising(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """Normalising a scaled input."""
    name, powers = "norm.normalize_scale", _exponents(parts.normalize)
    length = parts.normalize(_draw(WIDTH)).norm().item()
    return Answer(
        says=(
            f"norm: ‖h‖ {_words(powers[0])}: it is sqrt(d), {length:.4g} for d = {WIDTH}",
            f"gradient: the downstream gradient {_words(powers[1])}",
        ),
        derivation=(
            "sigma(a z) = a sigma(z), so y = z / sigma is the same vector",
            "dL/dz = (g - (g.y) y / d) / sigma: g, y and d as before, sigma a times as large",
            f"measured: exponents {powers[0]} and {powers[1]} of a, between a = {SCALES[0]:g} and {SCALES[1]:g}",
        ),
        evidence=(*proved(name, "norm.normalized_norm"), worst(_scaled(name, parts.normalize, powers))),
        remarks=("with eps > 0, as in torch's layers, this holds while mean(z²) is far above eps",),
    )


@answers("D12b")
def normalised_gradient(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """The gradient of normalising, and the null space of its Jacobian."""
    z = _draw(WIDTH)
    jacobian = torch.stack([_gradient(parts.normalize, z, unit) for unit in torch.eye(WIDTH, dtype=z.dtype)])
    _, values, directions = torch.linalg.svd(jacobian)
    blocked = directions[values < rounding(100, values[0].item()).total]
    cosine = (blocked[0] @ z / z.norm()).abs().item()
    passing = compared("norm.passing_directions", WIDTH - 1, WIDTH - len(blocked), how="rank of the Jacobian")
    null = f"the Jacobian at a random z of {WIDTH} numbers has {len(blocked)} null direction, at cosine {cosine:.6f} to z"
    along = compared("norm.radial_gradient", 1.0, cosine, rounding(100), "cosine of the null direction and z", unit=Unit.RATIO)
    return Answer(
        says=(
            "gradient: dL/dz = (g - (g.y) y / d) / sigma, with y = h(z), sigma = sqrt(mean(z²)) and g = g(y) = dL/dy",
            f"direction: z itself (that is, y): {null}",
        ),
        derivation=(
            "dy_i/dz_j = [i = j]/sigma - z_i z_j / (d sigma³) = ([i = j] - y_i y_j / d) / sigma",
            "it is symmetric, so dL/dz = (g - (g.y) y / d) / sigma",
            "|y|² = d, so a g = c y gives (c y - c y)/sigma = 0, and dL/dz . z = 0 for every g",
            "of LayerNorm, demeaning takes the direction 1 away besides",
        ),
        evidence=(
            *proved("norm.normalize_gradient", "norm.radial_gradient", "norm.passing_directions", "norm.layer_norm_gradient"),
            passing,
            along,
        ),
    )


def _layer(*, norm_first: bool) -> parts.TransformerEncoderLayer:
    """The same weights for either type."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings: dict[str, Any] = {"batch_first": True, "norm_first": norm_first, "dtype": torch.float64}
        return parts.TransformerEncoderLayer(8, 2, 16, 0.0, **settings).requires_grad_(requires_grad=False)


def _pairs(layer: nn.Module) -> int:
    """Pairs of positions of which the one changes the other."""
    x = _draw(POSITIONS, 8)
    jacobian: Tensor = torch.autograd.functional.jacobian(layer, x)  # type: ignore[no-untyped-call]
    return int((jacobian.abs().amax((1, 3)) > 0).sum())


@answers("D12d")
def types(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """Which positions a layer reads, and the two types with the same weights."""
    after, before = _layer(norm_first=False), _layer(norm_first=True)
    x, far = _draw(POSITIONS, 8), 1000.0
    difference = (after(x) - before(x)).abs().max().item()
    growth = {name: (layer(far * x).norm() / layer(x).norm()).item() for name, layer in (("1", after), ("2", before))}
    pairs = {_pairs(after), _pairs(before)}
    style = {visible_pairs(POSITIONS, causal=False): "encoder", visible_pairs(POSITIONS, causal=True): "decoder"}
    largest = math.sqrt(POSITIONS * 8)
    lengths, near = (before(far * x).norm().item(), after(far * x).norm().item()), rounding(100, largest)
    grown = compared("norm.normalized_norm", largest, lengths[0], near, f"type 2 of {far:g} x", relation=Relation.AT_LEAST)
    flat = compared("norm.normalized_norm", largest, lengths[1], near, f"type 1 of {far:g} x", relation=Relation.AT_MOST)
    counts = [compared("transformer.visible_pairs", visible_pairs(POSITIONS, causal=False), one, how="gradients") for one in pairs]
    named = " or ".join(style.get(one, "neither") for one in pairs)
    read = f"of {POSITIONS} positions {max(pairs)} pairs read one another, {visible_pairs(POSITIONS, causal=True)} if causal"
    longer = f"{far:g} x makes type 1's output {growth['1']:.3g} times as long, type 2's {growth['2']:.4g} times"
    equal = "yes" if difference <= near.total else "no"
    return Answer(
        says=(
            f"style: {named}: {read}",
            f"equivalent: {equal}: with the same weights the outputs differ by up to {difference:.3g}; {longer}",
        ),
        derivation=(
            "type 1: x <- LN(x + s(x)); type 2: x <- x + s(LN(x)); s is attention, then the feed-forward network",
            "without a causal mask every position attends to all: an encoder's layer, whichever type",
            "type 1 ends in LN: whatever x is, every position leaves with norm sqrt(d) at most (times LN's weight, plus its bias)",
            "type 2 adds x to s(LN(x)), which is bounded: for x' = a x its output grows as a; no weights make the two one function",
        ),
        evidence=(*proved("norm.depth_gradient", "transformer.visible_pairs", "norm.stream_variance"), worst(counts), grown, flat),
        drawings=(_depths(),),
        remarks=("drawn: untrained, type 1's last gradients stay as depth grows, type 2's fall as 1/sqrt(L) (Xiong et al. 2020)",),
    )


def _last_gradient(layers: int, seed: int, *, norm_first: bool) -> float:
    """The gradient's norm at the last feed-forward weight of an untrained stack, one position, as in Xiong et al. 2020."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"batch_first": True, "norm_first": norm_first, "bias": False}
        stack = [parts.TransformerEncoderLayer(64, 4, 64, 0.0, **settings) for _ in range(layers)]
        for weight in (one for layer in stack for one in layer.parameters() if one.dim() == 2):  # noqa: PLR2004 - matrices
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))
        x = functional.layer_norm(torch.randn(8, 1, 64), (64,))
        for layer in stack:
            x = layer(x)
        output = functional.layer_norm(x, (64,)) if norm_first else x
        last = stack[-1].linear2.weight
        return float(torch.autograd.grad(output, last, torch.randn_like(output))[0].norm())


def _depths() -> Drawing:
    """Mean gradient by depth, of either type, over that of the shallowest of type 1; and the law from type 2's own beginning."""
    means = {
        first: [sum(_last_gradient(depth, seed, norm_first=first) for seed in range(NETWORKS)) / NETWORKS for depth in DEPTHS]
        for first in (False, True)
    }
    unit = means[False][0]
    drawn = {name: [y / unit for y in means[first]] for name, first in (("type 1 (post)", False), ("type 2 (pre)", True))}
    drawn["1/sqrt(1 + 3L/2)"] = [drawn["type 2 (pre)"][0] * depth_gradient(DEPTHS[0], depth) for depth in DEPTHS]
    series = {name: list(zip(map(float, DEPTHS), values, strict=True)) for name, values in drawn.items()}
    return curves("gradient of the last feed-forward weight at initialisation", series, "layers L")


def _stream(count: int, start: Tensor) -> list[Tensor]:
    """x0 to xL of type-2 layers with identity sub-layers, two residual sums each, through our LayerNorm."""
    norm = parts.LayerNorm(WIDTH, eps=0.0, elementwise_affine=False)
    stream = [start]
    for _ in range(count):
        x = parts.residual(stream[-1], nn.Identity(), norm, norm_first=True)
        stream.append(parts.residual(x, nn.Identity(), norm, norm_first=True))
    return stream


def _normalised() -> Tensor:
    return parts.normalize(parts.demean(_draw(WIDTH)))


@answers("D12e")
def stream(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """The multiple of x0 after each layer, by running them."""
    start, name = _normalised(), "norm.identity_stream"
    layers = _stream(LAYERS, start)
    multiples = [(x @ start / WIDTH).item() for x in layers]
    listed = ", ".join(f"{multiple:.6g}" for multiple in multiples)
    slope, first = round(multiples[1] - multiples[0]), round(multiples[0])
    evidence = [
        compared(name, slope * number + first, size, rounding(200, 2 * LAYERS + 1), f"{what} after {number} layers")
        for number, x in enumerate(layers)
        for what, size in (("component along x0", multiples[number]), ("length over sqrt(d)", x.norm().item() / math.sqrt(WIDTH)))
    ]
    return Answer(
        says=(f"stream: x_l = ({slope} l + {first}) x_0: {listed} times x_0 for l = 0 to {LAYERS}",),
        derivation=(
            "LN(k x0) = x0 for every k > 0, as x0 is normalised already",
            "so each residual sum adds x0 once, and a layer has two: x_{l+1} = x_l + 2 x0",
        ),
        evidence=(*proved(name), worst(evidence)),
    )


@answers("D12f")
def gradients(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """The largest gradient norm below each layer, by the Jacobians of the running stack, against the bound."""
    start, name = _normalised(), "norm.identity_gradient_bound"
    lower = [x.detach().requires_grad_() for x in _stream(LAYERS, start)]
    bounds = [identity_gradient_bound(WIDTH, LAYERS, layer) for layer in range(LAYERS + 1)]
    largest, at_random = [], []
    for layer, x in enumerate(lower):
        upper = _stream(LAYERS - layer, 1.0 * x)[-1]
        jacobian = torch.stack([torch.autograd.grad(one, x, retain_graph=True)[0] for one in upper])
        largest.append(torch.linalg.matrix_norm(jacobian, 2).item() * math.sqrt(WIDTH))
        gradient = _draw(WIDTH, seed=20 + layer)
        at_random.append((gradient @ jacobian).norm().item() * math.sqrt(WIDTH) / gradient.norm().item())
    accuracy = rounding(500, bounds[0])
    rows = list(zip(bounds, largest, at_random, strict=True))
    attained = [compared(name, bound, worst_g, accuracy, "the worst g") for bound, worst_g, _ in rows]
    below = [compared(name, bound, drawn, accuracy, "a random g", relation=Relation.AT_MOST) for bound, _, drawn in rows]
    steps = pairwise(largest)
    order = [compared(name, two, one, accuracy, "the next layer's largest", relation=Relation.AT_LEAST) for one, two in steps]
    falling = "the lower the layer, the larger" if largest == sorted(largest, reverse=True) else "not ordered"
    ratios = ", ".join(f"{found(one) / math.sqrt(WIDTH):.4g}" for one in attained)
    return Answer(
        says=(
            "bound: ‖g_l‖ <= sqrt(d) (2L + 1)/(2l + 1), attained by a g_L orthogonal to 1 and x0",
            f"order: the largest ‖g_l‖/sqrt(d) for L = {LAYERS} and l = 0 to {LAYERS} are {ratios}: {falling}",
        ),
        derivation=(
            "at k x0 LN has the Jacobian P/k with P = I - 1 1'/d - x0 x0'/d, a projection",
            "so a residual sum passes (I + P/k) g: 1 + 1/k times what is orthogonal to 1 and x0, the rest as it is",
            "from k = 2l + 1 to 2L the factors (k + 1)/k telescope to (2L + 1)/(2l + 1); both parts together grow by no more",
        ),
        evidence=(*proved(name, "norm.identity_gradient"), worst(attained), worst(below), worst(order)),
    )
