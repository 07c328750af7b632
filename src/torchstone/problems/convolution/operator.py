"""A3 and B5: a convolution as a matrix product, and the three modes of true convolution."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.core.quantity import Unit
from torchstone.laws.convolution.operator import mode_window, patch_matrix, toeplitz_matrix
from torchstone.problems.answering import answers, proved
from torchstone.problems.convolution.matrices import matrix
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value, worst

STEPS: dict[str, Any] = {"stride": (1,), "padding": (0,), "dilation": (1,)}
SIGNAL, KERNEL = (1, 2, 3, 4), (1, 0, 2)
_LAW = "convolution.true_convolution"
MODES: tuple[Literal["full", "valid", "same"], ...] = ("full", "valid", "same")


def aligned(law: str, said: Sequence[float], measured: Sequence[float], what: str) -> Iterator[Evidence]:
    """Claimed numbers against measured ones, their count first: numbers of another count are not compared."""
    if len(said) != len(measured):
        yield compared(law, len(said), len(measured), how=f"the number of entries of {what}", unit=Unit.ELEMENTS)
        return
    for at, (one, other) in enumerate(zip(said, measured, strict=True), start=1):
        yield compared(law, one, other, rounding(40, 10), f"{what}[{at}]")


def against(evidence: Evidence) -> str:
    """What torch gives where a claim gives something else."""
    return f"{evidence.how} is {found(evidence):.4g} in torch, {evidence.predicted.value:.4g} by the claim"


@answers("A3")
def matrix_product(posted: Posted) -> Answer:
    """A correlation of four numbers with two, once as a matrix of the kernel, once as one of the input."""
    signal, kernel = list(sympy.symbols("x1:5")), list(sympy.symbols("k1:3"))
    by_kernel = toeplitz_matrix([[kernel]], (len(signal),), **STEPS)
    by_input = list(zip(*patch_matrix([signal], (len(kernel),), **STEPS), strict=True))
    output = [sympy.expand(sum(a * b for a, b in zip(row, signal, strict=True))) for row in by_kernel]
    flipped = toeplitz_matrix([[kernel[::-1]]], (len(signal),), **STEPS)
    claims = [_product_claim(cast("Mapping[str, Any]", posted.claims["product"]))] if "product" in posted.claims else []
    return Answer(
        says=(
            f"T x with T = {_written(by_kernel)}, x = {signal} as a column",
            f"the same as the row {kernel} times {_written(by_input)}",
        ),
        derivation=(
            f"f = {output}",
            "df/dx: row r of T has the taps under the positions that output r reads; T[r, i] depends on i - r alone (Toeplitz)",
            "df/dk: column r has the positions that output r reads; its entries depend on k + r alone (Hankel)",
        ),
        evidence=(*proved("convolution.toeplitz_matrix", "convolution.patch_matrix"), worst(_products(by_kernel, signal, kernel))),
        claims=tuple(claims),
        drawings=(matrix("T, the matrix of the convolution: every row is the kernel, one position on", by_kernel),),
        remarks=(f"a true convolution flips the kernel: T = {_written(flipped)}, or the row {kernel[::-1]} times the same matrix",),
    )


def _written(rows: Sequence[Sequence[object]]) -> str:
    return str([list(row) for row in rows])


def _numbers(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=generator(seed), dtype=torch.float64)


def _correlated(x: Tensor, k: Tensor) -> list[float]:
    out: list[float] = functional.conv1d(x[None, None], k[None, None])[0, 0].tolist()
    return out


def _products(rows: Sequence[Sequence[Any]], signal: Sequence[Any], kernel: Sequence[Any]) -> Iterator[Evidence]:
    """The symbolic matrix with numbers put in, times x, against torch."""
    for seed in range(3):
        x, k = _numbers(len(signal), seed), _numbers(len(kernel), seed + 10)
        at = dict(zip((*signal, *kernel), (*x.tolist(), *k.tolist()), strict=True))
        dense = torch.tensor([[float(sympy.sympify(entry).subs(at)) for entry in row] for row in rows], dtype=torch.float64)
        yield from aligned("convolution.toeplitz_matrix", (dense @ x).tolist(), _correlated(x, k), "f")


def _product_claim(said: Mapping[str, Any]) -> Claim:
    """A claimed row times a matrix, or a matrix times a claimed column, its entries being expressions in x1..x4 and k1, k2."""

    def held() -> Iterator[Evidence]:
        for seed in range(5):
            x, k = _numbers(4, seed), _numbers(2, seed + 10)
            at = {f"x{i}": one for i, one in enumerate(x.tolist(), 1)} | {f"k{i}": one for i, one in enumerate(k.tolist(), 1)}
            rows = [[value(entry, **at) for entry in row] for row in said["matrix"]]
            vector = [value(entry, **at) for entry in said.get("row", said.get("column", ()))]
            lines = list(zip(*rows, strict=True)) if "row" in said else rows
            fits = all(len(line) == len(vector) for line in lines)
            product = [sum(a * b for a, b in zip(line, vector, strict=True)) for line in lines] if fits else []
            yield from aligned("convolution.patch_matrix", product, _correlated(x, k), "the product")

    return claimed("product", held(), against)


@answers("B5")
def three_modes(posted: Posted) -> Answer:
    """Full, valid and same true convolution of [1,2,3,4] and [1,0,2]."""
    x, k = torch.tensor(SIGNAL), torch.tensor(KERNEL)
    answer = {mode: parts.convolve(x, k, mode).tolist() for mode in MODES}
    windows = {mode: mode_window(len(SIGNAL), len(KERNEL), mode) for mode in MODES}
    claims = [
        claimed(mode, aligned(_LAW, cast("Sequence[float]", posted.claims[mode]), _by_torch(mode), mode), against)
        for mode in MODES
        if mode in posted.claims
    ]
    n = len(KERNEL) - 1
    terms = [f"{SIGNAL[m]}·{KERNEL[n - m]}" for m in range(n + 1)]
    agree = len({tuple(parts.convolve(x, k, "same", name).tolist()) for name in ("numpy", "scipy", "torch")}) == 1
    conventions = "agree" if agree else "differ"
    return Answer(
        says=tuple(f"{mode}: {values}" for mode, values in answer.items()),
        derivation=(
            f"y[n] = sum over m of x[m] k[n - m]; for instance y[{n}] = {' + '.join(terms)} = {answer['full'][n]}",
            *(f"{mode} keeps {count} of the full values, from index {first}" for mode, (first, count) in windows.items()),
        ),
        evidence=(
            *proved(_LAW, "convolution.mode_window"),
            *(worst(aligned(_LAW, answer[mode], _by_torch(mode), mode)) for mode in MODES),
        ),
        claims=tuple(claims),
        remarks=(f"'same' of a kernel of {len(KERNEL)} taps: numpy, scipy and torch {conventions}; of an even kernel they do not",),
    )


def _by_torch(mode: str) -> list[float]:
    """The convolution of torch with the flipped kernel, padded as the mode asks."""
    end = {"full": len(KERNEL) - 1, "valid": 0, "same": (len(KERNEL) - 1) // 2}[mode]
    padded = functional.pad(torch.tensor(SIGNAL, dtype=torch.float64), (end, end))
    return _correlated(padded, torch.tensor(KERNEL[::-1], dtype=torch.float64))
