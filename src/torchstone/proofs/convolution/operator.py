"""torch's convolutions, and the true convolution and matrix of torchstone.parts, against their laws in plain numbers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.func import jacrev
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.convolution.cases import CONVOLUTIONS, Case, cases, correlate
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Part = Callable[..., Any]
MODES = (("full", "numpy"), ("valid", "numpy"), ("same", "numpy"), ("same", "scipy"), ("same", "torch"))


def _window(part: Part, positions: int, taps: int, mode: str, convention: str) -> list[float]:
    """The first index and the length, read off the convolution of an impulse with 1, 2, 3, ..."""
    impulse = torch.zeros(positions, dtype=torch.float64)
    impulse[0] = 1
    found = part(impulse, torch.arange(1.0, taps + 1, dtype=torch.float64), mode, convention)
    return [found[0].item() - 1, float(len(found))]


def _same_by_torch(signal: Tensor, kernel: Tensor, *_: str) -> Tensor:
    return functional.conv1d(signal[None], kernel.flip(0)[None, None], padding="same")[0]


@experiment(
    "convolution.mode_window",
    part=parts.convolve,
    mutants={
        "numpy's centre for all": lambda x, k, mode, _: parts.convolve(x, k, mode),
        "torch's centre for all": lambda x, k, mode, _: parts.convolve(x, k, mode, "torch"),
        "as long as the signal": lambda x, k, mode, c: parts.convolve(x, k, mode, c)[: len(x)],
    },
    how="exact, padding='same' of torch too",
)
def mode_window(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Every length of signal and kernel up to 6; 'same' of torch read off torch itself."""
    for positions, taps in [(4, 2), (2, 5), *((m, k) for m in range(1, 7) for k in range(1, 7)), *[draws.integers(7, 40, 2)]]:
        for mode, convention in MODES:
            arguments = {"positions": positions, "taps": taps, "mode": mode, "convention": convention}
            yield held("convolution.mode_window", arguments, _window(part, positions, taps, mode, convention))
        if taps % 2:  # of an even kernel torch warns that it copies the input
            arguments = {"positions": positions, "taps": taps, "mode": "same", "convention": "torch"}
            yield held("convolution.mode_window", arguments, _window(_same_by_torch, positions, taps, "same", "torch"))


def _polynomials(formula: Callable[..., Any]) -> Iterable[Any]:
    """Coefficients of a product of polynomials are the full convolution of their coefficients."""
    a, b, t = sympy.symbols("a:4"), sympy.symbols("b:3"), sympy.Symbol("t")
    product = sympy.Poly(sum(x * t**i for i, x in enumerate(a)) * sum(x * t**i for i, x in enumerate(b)), t)
    return [value - product.coeff_monomial(t**n) for n, value in enumerate(formula(a, b))]


@experiment(
    "convolution.true_convolution",
    part=parts.convolve,
    mutants={
        "kernel not flipped": lambda x, k, *how: parts.convolve(x, k.flip(tuple(range(k.ndim))), *how),
        "flipped along one axis of two": lambda x, k, *how: parts.convolve(x, k if k.ndim == 1 else k.flip(0), *how),
        "one value late": lambda x, k, *how: parts.convolve(x, k, *how).roll(1, -1),
    },
    symbolic=_polynomials,
)
def true_convolution(part: Part, draws: Draws) -> Iterator[Evidence]:
    """One and two axes, kernels even and odd, shorter and longer than the signal, all modes and conventions."""
    for number in range(40):
        axes = 1 + number % 2
        signal, kernel = draws.normal(*draws.integers(1, 6, axes)), draws.normal(*draws.integers(1, 5, axes))
        fits = all(a <= b for a, b in zip(kernel.shape, signal.shape, strict=True))
        for mode, convention in MODES:
            if mode != "valid" or fits:
                arguments = {"signal": signal.tolist(), "kernel": kernel.tolist(), "mode": mode, "convention": convention}
                yield held("convolution.true_convolution", arguments, part(signal, kernel, mode, convention), rounding(60, 10))


@experiment(
    "convolution.cross_correlation",
    part=correlate,
    mutants={
        "kernel flipped": lambda x, w, **a: correlate(x, w.flip(tuple(range(2, w.ndim))), **a),
        "stride and dilation exchanged": lambda x, w, stride, dilation, **a: correlate(x, w, stride=dilation, dilation=stride, **a),
        "another group's channels": lambda x, w, **a: correlate(x.roll(w.shape[1], 0), w, **a),
        "copied border for padding": lambda x, w, padding, **a: correlate(_replicated(x, padding), w, padding=0, **a),
    },
)
def cross_correlation(part: Part, draws: Draws) -> Iterator[Evidence]:
    """1-D to 3-D with every argument drawn."""
    for case in cases(draws, 40):
        x, weight = draws.normal(*case.inputs), draws.normal(*case.weight)
        arguments = {"signal": x.tolist(), "weight": weight.tolist(), **case.arguments}
        yield held("convolution.cross_correlation", arguments, part(x, weight, **case.arguments), rounding(100, 10))


def _replicated(x: Tensor, padding: Iterable[int]) -> Tensor:
    return functional.pad(x[None], [end for one in reversed(list(padding)) for end in (one, one)], mode="replicate")[0]


def by_weight(x: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
    """The Jacobian by torch of one filter's outputs by its weight: (R, c K)."""
    found: Tensor = jacrev(lambda w: correlate(x, w, **arguments))(weight)
    return found.reshape(-1, weight.numel())


@experiment(
    "convolution.patch_matrix",
    part=by_weight,
    mutants={
        "stride ignored": lambda x, w, **a: by_weight(x, w, **{**a, "stride": 1}),
        "stride and dilation exchanged": lambda x, w, stride, dilation, **a: by_weight(x, w, stride=dilation, dilation=stride, **a),
        "taps in reverse": lambda x, w, **a: by_weight(x, w, **a).flip(1),
        "channels behind the taps": lambda x, w, **a: by_weight(x, w, **a).view(-1, *w.shape[1:]).movedim(1, -1).flatten(1),
    },
)
def patch_matrix(part: Part, draws: Draws) -> Iterator[Evidence]:
    """One filter, 1-D to 3-D."""
    for case in cases(draws, 30, groups=(1,), filters=1):
        x, weight = draws.normal(*case.inputs), draws.normal(1, *case.weight[1:])
        arguments = {"signal": x.tolist(), "kernel": case.weight[2:], **case.steps}
        yield held("convolution.patch_matrix", arguments, part(x, weight, **case.steps))


def _dense(weight: Tensor, sizes: tuple[int, ...], **arguments: Any) -> Tensor:
    inputs = (weight.shape[1] * arguments.get("groups", 1), *sizes)
    return parts.toeplitz(weight, inputs, **arguments).to_dense()


def by_input(weight: Tensor, sizes: tuple[int, ...], **arguments: Any) -> Tensor:
    """The Jacobian by torch of a convolution by its input: (o R, c I)."""
    x = weight.new_zeros(weight.shape[1] * arguments["groups"], *sizes)
    found: Tensor = jacrev(lambda x: correlate(x, weight, **arguments))(x)
    return found.reshape(-1, x.numel())


@experiment(
    "convolution.toeplitz_matrix",
    part=_dense,
    mutants={
        "kernel flipped": lambda w, sizes, **a: _dense(w.flip(tuple(range(2, w.ndim))), sizes, **a),
        "padding that wraps around": lambda w, sizes, **a: _dense(w, sizes, padding_mode="circular", **a),
        "another group's columns": lambda w, sizes, **a: _dense(w, sizes, **a).roll(w[0].numel(), 1),
        "stride ignored": lambda w, sizes, **a: _dense(w, sizes, **{**a, "stride": 1}),
    },
    how="float64, against jacrev too",
)
def toeplitz_matrix(part: Part, draws: Draws) -> Iterator[Evidence]:
    """1-D to 3-D with every argument; torch's own Jacobian is held beside the matrix."""
    for case in cases(draws, 30):
        weight = draws.normal(*case.weight)
        arguments = {"weight": weight.tolist(), "sizes": case.sizes, **case.arguments}
        for found in (part, by_input):
            yield held("convolution.toeplitz_matrix", arguments, found(weight, case.sizes, **case.arguments))


def _stored(case: Case) -> int:
    return parts.toeplitz(torch.ones(case.weight), case.inputs, **case.arguments)._nnz()  # type: ignore[arg-type]  # noqa: SLF001 - torch's only count of stored entries


def _rows(case: Case) -> int:
    return correlate(torch.zeros(case.inputs), torch.zeros(case.weight), **case.arguments).numel()


@experiment(
    "convolution.toeplitz_nonzeros",
    part=_stored,
    mutants={
        "padding stored": lambda case: _rows(case) * torch.Size(case.weight[1:]).numel(),
        "every group's channels": lambda case: _stored(case) * case.groups,
        "stored dense": lambda case: _rows(case) * torch.Size(case.inputs).numel(),
    },
    how="exact, against jacrev too",
)
def toeplitz_nonzeros(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Entries that the sparse matrix stores; the non-zeros of torch's Jacobian of ones beside them."""
    for case in cases(draws, 30):
        arguments = {"weight": case.weight, "sizes": case.sizes, **case.steps}
        yield held("convolution.toeplitz_nonzeros", arguments, part(case))
        ones = by_input(torch.ones(case.weight), case.sizes, **case.arguments)
        yield held("convolution.toeplitz_nonzeros", arguments, int(ones.count_nonzero()))


@experiment(
    "convolution.toeplitz_density",
    part=lambda matrix: (matrix != 0).double().mean().item(),
    mutants={
        "zeros counted": lambda matrix: (matrix * 0 == 0).double().mean().item(),
        "non-zeros a row": lambda matrix: (matrix != 0).double().sum(1).mean().item(),
        "of a square matrix": lambda matrix: (matrix != 0).double().sum().item() / matrix.shape[1] ** 2,
    },
    how="float64, of jacrev",
)
def toeplitz_density(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The share of non-zeros in torch's Jacobian of a kernel of ones."""
    for case in cases(draws, 30):
        arguments = {"weight": case.weight, "sizes": case.sizes, **case.arguments}
        found = part(by_input(torch.ones(case.weight), case.sizes, **case.arguments))
        yield held("convolution.toeplitz_density", arguments, found, rounding(4))


def _valid(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    return CONVOLUTIONS[2](x[None, None], kernel[None, None], padding=padding)[0, 0]


@experiment(
    "convolution.largest_gain",
    part=_valid,
    mutants={
        "copied border for padding": lambda x, k, padding: _valid(_replicated(x[None], (padding, padding))[0], k, 0),
        "applied twice": lambda x, k, padding: _valid(_valid(x, k, padding), k, padding),
        "moduli of kernel and input": lambda x, k, padding: _valid(x.abs(), k.abs(), padding),
    },
)
def largest_gain(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Random inputs, inputs made worse by ascent, and the constant input of a positive kernel."""
    for number in range(8):
        padding, side = number % 3, draws.integer(6, 8)
        kernel = draws.normal(3, 2) if number % 2 else draws.uniform(0.5, 1.5, 3, 2)
        sizes = (side + 2 * padding, side + 1 + 2 * padding)

        def gain(x: Tensor, kernel: Tensor = kernel, padding: int = padding) -> Tensor:
            ratio: Tensor = part(x, kernel, padding).norm() / x.norm()
            return ratio

        arguments = {"kernel": kernel.tolist(), "sizes": sizes}
        start = draws.normal(side, side + 1)
        for x in (start, torch.ones_like(start), adversarial(gain, start, steps=25, rate=1.0)):
            yield held("convolution.largest_gain", arguments, gain(x), rounding(100, 10), Relation.AT_MOST)
