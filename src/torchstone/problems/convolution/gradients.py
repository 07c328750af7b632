"""E1.1.3: a strided convolution over several channels, its Jacobians, and the gradient of its filter. Indices count from 1."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import cast

import torch
from torch import Tensor
from torch.func import jacrev
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation, Verdict
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.core.quantity import Unit
from torchstone.problems.answering import answers, proved
from torchstone.problems.convolution.matrices import matrix
from torchstone.problems.convolution.operator import against
from torchstone.problems.measuring import claimed, compared, generator, rounding, value, worst

CHANNELS, LENGTH, TAPS, STRIDE = 5, 7, 3, 2
Indices = tuple[int, ...]
Entries = Mapping[Indices, float]
Said = Mapping[str, object]


@cache
def _sample() -> tuple[Tensor, Tensor]:
    """An input (c, position) and a filter (1, c, k)."""
    draws = generator()
    x = torch.randn(CHANNELS, LENGTH, generator=draws, dtype=torch.float64)
    return x, torch.randn(1, CHANNELS, TAPS, generator=draws, dtype=torch.float64)


def _forward(x: Tensor, weight: Tensor) -> Tensor:
    """f, one number for each output position r."""
    return functional.conv1d(x[None], weight, stride=STRIDE)[0, 0]


def _by_weight() -> Tensor:
    """df/dW of torch as (r, k, c, filter)."""
    x, weight = _sample()
    found: Tensor = jacrev(lambda weight: _forward(x, weight))(weight)
    return found.permute(0, 3, 2, 1)


def _by_input() -> Tensor:
    """df/dx of torch as (r, position, c)."""
    x, weight = _sample()
    found: Tensor = jacrev(lambda x: _forward(x, weight))(x)
    return found.permute(0, 2, 1)


def _loss_gradient() -> Tensor:
    """Some dl/df (r)."""
    return torch.randn(len(_forward(*_sample())), generator=generator(1), dtype=torch.float64)


def _filter_gradient() -> Tensor:
    """dl/dW of torch as (k, c, filter)."""
    x, weight = _sample()
    leaf = weight.clone().requires_grad_()
    (found,) = torch.autograd.grad(_forward(x, leaf), leaf, _loss_gradient())
    return found.permute(2, 1, 0)


@cache
def _steps() -> tuple[int, int, int]:
    """The position that the first output reads with its first tap, and the steps from tap to tap and from output to output.

    Read off torch: with the positions 1, 2, 3, ... as input, df[r]/dW[k] is the position that output r reads with tap k.
    """
    numbered = torch.arange(1.0, LENGTH + 1).expand(CHANNELS, LENGTH)
    read: Tensor = jacrev(lambda weight: _forward(numbered, weight))(torch.zeros(1, CHANNELS, TAPS))[:, 0, 0]
    return int(read[0, 0]), int(read[0, 1] - read[0, 0]), int(read[1, 0] - read[0, 0])


def _position(tap: str = "k") -> str:
    """What output r reads with a tap, in words of the two."""
    first, by_tap, by_output = _steps()
    start = tap if (first, by_tap) == (1, 1) else f"{first} + {by_tap} ({tap} - 1)"
    return f"{start} + {by_output} (r - 1)"


def _tap() -> str:
    """The tap with which output r reads position k: the same solved for the tap."""
    first, by_tap, by_output = _steps()
    start = "k" if (first, by_tap) == (1, 1) else f"1 + (k - {first}) / {by_tap}"
    return f"{start} - {by_output} (r - 1)" if by_tap == 1 else f"{start} - {by_output} (r - 1) / {by_tap}"


def _sizes(found: Tensor) -> str:
    return " x ".join(map(str, found.shape))


def _index(expression: object, **at: int) -> int | None:
    """A claimed index at a point; None where it is no whole number."""
    number = value(expression, None, **at)
    return round(number) if abs(number - round(number)) <= rounding(8, abs(number)).total else None


def _entry(found: Tensor, *indices: int | None) -> float:
    """An entry counted from 1, zero off the tensor."""
    inside = all(at is not None and 1 <= at <= size for at, size in zip(indices, found.shape, strict=True))
    return found[tuple(cast("int", at) - 1 for at in indices)].item() if inside else 0.0


def _dimension(posted: Posted, law: str, found: Tensor) -> Iterator[Claim]:
    if "dimension" in posted.claims:
        said, actual = cast("Sequence[int]", posted.claims["dimension"]), list(found.shape)
        pairs = [(len(said), len(actual))] if len(said) != len(actual) else list(zip(said, actual, strict=True))
        held = (compared(law, one, other, how=f"{actual} in torch", unit=Unit.ELEMENTS) for one, other in pairs)
        yield claimed("dimension", held, lambda _: f"the dimension is {actual} in torch, not {list(said)}")


def _entries(posted: Posted, about: str, law: str, found: Tensor, formula: Callable[[Said, Indices], float]) -> Iterator[Claim]:
    """A claimed formula for every entry of what torch gives."""
    if about in posted.claims:
        said = cast("Said", posted.claims[about])
        places = torch.cartesian_prod(*(torch.arange(1, size + 1) for size in found.shape)).reshape(-1, found.ndim).tolist()
        held = (
            compared(law, formula(said, tuple(at)), _entry(found, *at), rounding(60, 10), f"entry {tuple(at)}") for at in places
        )
        yield claimed(about, held, against)


@answers("E1.1.3a")
def output(posted: Posted) -> Answer:
    """Dimension and formula of a strided convolution over five channels."""
    law, (x, weight) = "convolution.cross_correlation", _sample()
    out = _forward(x, weight)

    def formula(said: Said, at: Indices) -> float:
        return sum(
            _entry(x, c, _index(said["input"], k=k, r=at[0])) * _entry(weight, 1, c, _index(said["weight"], k=k, r=at[0]))
            for c in range(1, CHANNELS + 1)
            for k in range(1, TAPS + 1)
        )

    return Answer(
        says=(
            f"f has {_sizes(out)} entries",
            f"f[r] = sum over c = 1..{CHANNELS} and k = 1..{TAPS} of x[{_position()}, c] W[1, c, k]",
        ),
        derivation=(
            f"floor((n - k) / s) + 1 = floor(({LENGTH} - {TAPS}) / {STRIDE}) + 1 = {(LENGTH - TAPS) // STRIDE + 1} positions",
            f"output r starts {_steps()[2]} positions after output r - 1 and reads {TAPS} positions of every channel",
        ),
        evidence=proved(law, "convolution.output_size"),
        claims=(*_dimension(posted, law, out), *_entries(posted, "formula", law, out, formula)),
    )


@answers("E1.1.3b")
def weight_jacobian(posted: Posted) -> Answer:
    """Dimension and entries of df/dW."""
    law, found, (x, _) = "convolution.patch_matrix", _by_weight(), _sample()

    def formula(said: Said, at: Indices) -> float:
        r, k, c, _ = at
        return _entry(x, c, _index(said["input"], k=k, r=r))

    sizes = list(found.shape)
    return Answer(
        says=(
            f"df/dW has {sizes[0]} x ({' x '.join(map(str, sizes[1:]))}) entries: outputs by taps, channels and filters",
            f"df[r]/dW[k, c, 1] = x[{_position()}, c]",
        ),
        derivation=("f is linear in W: the derivative by a weight is what it is multiplied with", f"that is x[{_position()}, c]"),
        evidence=proved(law),
        claims=(*_dimension(posted, law, found), *_entries(posted, "entries", law, found, formula)),
        drawings=(
            matrix("df[r]/dW[k, c] for one channel c: rows are outputs r, columns taps k", _read_by("x", _read_positions())),
        ),
    )


@answers("E1.1.3c")
def input_jacobian(posted: Posted) -> Answer:
    """Dimension and entries of df/dx."""
    law, found, (_, weight) = "convolution.toeplitz_matrix", _by_input(), _sample()

    def formula(said: Said, at: Indices) -> float:
        r, position, c = at
        tap = _index(said["weight"], k=position, r=r)
        inside = tap is not None and value(said["first"]) <= tap <= value(said["last"])
        return _entry(weight, 1, c, tap) if inside else 0.0

    sizes = list(found.shape)
    return Answer(
        says=(
            f"df/dx has {sizes[0]} x ({' x '.join(map(str, sizes[1:]))}) entries: outputs by positions and channels",
            f"df[r]/dx[k, c] = W[1, c, {_tap()}] where that index lies in 1..{TAPS}, else 0",
        ),
        derivation=(
            f"output r reads position {_position('j')} with tap j",
            f"position k is read with tap j = {_tap()}, if there is such a tap",
            f"{int((found != 0).sum())} of {found.numel()} entries are not zero",
        ),
        evidence=proved(law, "convolution.toeplitz_nonzeros"),
        claims=(*_dimension(posted, law, found), *_entries(posted, "entries", law, found, formula)),
        drawings=(
            matrix("df[r]/dx[k, c] for one channel c: rows are outputs r, columns positions k", _read_by("W", _taps_read())),
        ),
    )


def _read_positions() -> list[list[int]]:
    """Input positions by output and tap."""
    numbered = torch.arange(1.0, LENGTH + 1).expand(CHANNELS, LENGTH)
    read: Tensor = jacrev(lambda weight: _forward(numbered, weight))(torch.zeros(1, CHANNELS, TAPS))[:, 0, 0]
    return [[int(at) for at in row] for row in read.tolist()]


def _taps_read() -> list[list[int]]:
    """Taps by output and input position, 0 where it is not read."""
    numbered = torch.arange(1.0, TAPS + 1).expand(1, CHANNELS, TAPS)
    read: Tensor = jacrev(lambda x: _forward(x, numbered))(torch.zeros(CHANNELS, LENGTH))[:, 0]
    return [[int(at) for at in row] for row in read.tolist()]


def _read_by(name: str, rows: Sequence[Sequence[int]]) -> list[list[str]]:
    written = "x[{}, c]" if name == "x" else "W[1, c, {}]"
    return [[written.format(at) if at else "0" for at in row] for row in rows]


@answers("E1.1.3d")
def filter_gradient(posted: Posted) -> Answer:
    """The filter's gradient from the output's: which convolution it is."""
    law, found, gradient, (x, _) = "convolution.weight_gradient", _filter_gradient(), _loss_gradient(), _sample()

    def formula(said: Said, at: Indices) -> float:
        k, c, _ = at
        return sum(
            _entry(gradient, _index(said["gradient"], k=k, r=r)) * _entry(x, c, _index(said["input"], k=k, r=r))
            for r in range(1, len(gradient) + 1)
        )

    (stride, dilation), *others = _same_as()
    traded = ": they trade places" if (stride, dilation) == (1, STRIDE) else ""
    return Answer(
        says=(
            f"dl/dW has {_sizes(found)} entries: taps, channels, filters",
            f"dl/dW[k, c, 1] = sum over r of dl/df[r] x[{_position()}, c]",
            "like the forward pass: a convolution of x, now with dl/df as its kernel",
            f"unlike it: stride {stride} and dilation {dilation} where that has {STRIDE} and 1{traded}; no sum over channels",
        ),
        derivation=(
            f"dl/dW = sum over r of dl/df[r] df[r]/dW, and df[r]/dW[k, c, 1] = x[{_position()}, c]",
            f"k moves the window by {_steps()[1]} (the stride), r spreads the taps of dl/df by {_steps()[2]} (the dilation)",
            f"of all pairs up to {LENGTH}, {1 + len(others)} gives dl/dW: stride {stride}, dilation {dilation}",
        ),
        evidence=(*proved(law), _held_to_be(stride, dilation)),
        claims=(
            *_dimension(posted, law, found),
            *_entries(posted, "formula", law, found, formula),
            *(_word(posted, about, law) for about in ("likeness", "difference") if about in posted.claims),
        ),
    )


def _convolved(stride: int, dilation: int, *, transposed: bool) -> Tensor | None:
    """The input convolved with dl/df, a channel at a time, as (c, k); None where it has fewer than k entries."""
    x, gradient = _sample()[0][:, None], _loss_gradient()[None, None]
    if not transposed and dilation * (gradient.shape[-1] - 1) >= LENGTH:
        return None
    convolution = functional.conv_transpose1d if transposed else functional.conv1d
    out = convolution(x, gradient, stride=stride, dilation=dilation)[:, 0, :TAPS]
    return out if out.shape[1] == TAPS else None


def _held_to_be(stride: int, dilation: int, *, transposed: bool = False) -> Evidence:
    """dl/dW of torch against such a convolution."""
    out, wanted = _convolved(stride, dilation, transposed=transposed), _filter_gradient()[..., 0].t()
    how = f"x convolved with dl/df, stride {stride}, dilation {dilation}"
    if out is None:
        return compared("convolution.weight_gradient", 0, wanted.numel(), how=f"{how}: no such convolution", unit=Unit.ELEMENTS)
    pairs = zip(out.flatten().tolist(), wanted.flatten().tolist(), strict=True)
    return worst(compared("convolution.weight_gradient", one, other, rounding(60, 10), how) for one, other in pairs)


def _same_as(*, transposed: bool = False) -> list[tuple[int, int]]:
    """Stride and dilation of every convolution of x with dl/df that gives dl/dW."""
    steps = range(1, LENGTH + 1)
    pairs = itertools.product(steps, steps)
    return [pair for pair in pairs if _held_to_be(*pair, transposed=transposed).verdict is Verdict.HOLDS]


def _word(posted: Posted, about: str, law: str) -> Claim:
    """A word for what the gradient is, held by the convolutions that give it."""
    word, pairs = str(posted.claims[about]), _same_as()
    stride, dilation = max(pairs, default=(0, 0))
    measured, least = {
        "convolution": (len(pairs), 1),
        "dilated": (dilation, 2),
        "strided": (stride, 2),
        "transposed": (len(_same_as(transposed=True)), 1),
    }.get(word, (0, 1))
    how = f"dl/dW is the convolution of x with dl/df of stride {stride} and dilation {dilation}"
    evidence = compared(law, least, measured, how=how, relation=Relation.AT_LEAST, unit=Unit.COUNT)
    return Claim(about, evidence, f"not {word}: {how}")
