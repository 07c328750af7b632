"""Convolution as an operator: its values, its matrix and its adjoints.

Numbers are nested sequences: signals (c, *i), gradients (o, *r), weights (o, c / groups, *k). A "convolution" is the
cross-correlation that torch calls so, unless a law says "true". Positions off the input are zero.

Axis letters: o output channels, c input channels, i input positions, r output positions, k taps; per axis: s stride, p padding at
either end, d dilation.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.convolution.geometry import AxisSpec, output_size

Numbers = Sequence[Any]
Sizes = Sequence[int]
Index = tuple[int, ...]
_ARITHMETIC = "Dumoulin and Visin 2016, section 2: strides, padding and dilation"
_ADJOINTS = "Dumoulin and Visin 2016, section 4: the transposed convolution"


@law(
    "convolution.mode_window",
    Kind.SHAPE,
    Unit.ELEMENTS,
    assumes=("one axis of M positions and K taps, neither empty",),
    sources=("the documentation of numpy.convolve, scipy.signal.convolve and torch.nn.Conv1d (padding='same')",),
)
def mode_window(positions: int, taps: int, mode: str = "full", convention: str = "numpy") -> tuple[int, int]:
    """Of the M + K - 1 values of a full convolution a mode keeps a run; its first index and length depend on whose 'same' it is.

    full: (0, M + K - 1). valid: (min(M, K) - 1, abs(M - K) + 1). same: numpy ((min(M, K) - 1) // 2, max(M, K)); scipy
    ((K - 1) // 2, M); torch (K // 2, M). Of an even kernel numpy and scipy keep one value more at the left, torch at the right.

    >>> [mode_window(4, 2, "same", convention) for convention in ("numpy", "scipy", "torch")]
    [(0, 4), (0, 4), (1, 4)]
    >>> mode_window(2, 5, "same"), mode_window(2, 5, "same", "scipy")
    ((0, 5), (2, 2))
    """
    if positions < 1 or taps < 1:
        message = f"a convolution needs a position and a tap at least; {positions} positions and {taps} taps came"
        raise InvariantError(message)
    shorter, longer = sorted((positions, taps))
    windows = {
        "full": (0, positions + taps - 1),
        "valid": (shorter - 1, longer - shorter + 1),
        "same numpy": ((shorter - 1) // 2, longer),
        "same scipy": ((taps - 1) // 2, positions),
        "same torch": (taps // 2, positions),
    }
    name = f"same {convention}" if mode == "same" else mode
    if name not in windows:
        message = f"modes are full, valid and same (of numpy, scipy or torch); {mode!r} of {convention!r} came"
        raise InvariantError(message)
    return windows[name]


@law(
    "convolution.true_convolution",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("zero off the signal",),
    sources=("Oppenheim and Schafer 2010, section 2.3: the convolution sum",),
)
def true_convolution(signal: Numbers, kernel: Numbers, mode: str = "full", convention: str = "numpy") -> Numbers:
    """True convolution is y[n] = sum over m of x[m] k[n - m]: the kernel flipped, in any number of axes.

    `mode` and `convention` keep the run of convolution.mode_window of every axis.

    >>> true_convolution([1, 2, 3, 4], [1, 0, 2])
    (1, 2, 5, 8, 6, 8)
    >>> true_convolution([1, 2, 3, 4], [1, 10], "same"), true_convolution([1, 2, 3, 4], [1, 10], "same", "torch")
    ((1, 12, 23, 34), (12, 23, 34, 40))
    """
    x, taps = _read(signal), _read(kernel)
    positions, sizes = _sizes(x), _sizes(taps)
    if len(positions) != len(sizes):
        message = f"signal and kernel have one number of axes; {len(positions)} and {len(sizes)} came"
        raise InvariantError(message)
    windows = [mode_window(size, count, mode, convention) for size, count in zip(positions, sizes, strict=True)]
    totals: dict[Index, Any] = {}
    for m, k in itertools.product(x, taps):
        n = tuple(a + b - first for a, b, (first, _) in zip(m, k, windows, strict=True))
        totals[n] = totals.get(n, 0) + x[m] * taps[k]
    return _nested(lambda n: totals.get(n, 0), [count for _, count in windows])


@law(
    "convolution.cross_correlation",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("zero padding", "one number of stride, padding and dilation for each axis"),
    sources=(_ARITHMETIC,),
)
def cross_correlation(signal: Numbers, weight: Numbers, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1) -> Numbers:
    """What torch calls a convolution is f[o, r] = sum over c, k of W[o, c, k] x[c, r s + k d - p], over the channels of o's group.

    >>> cross_correlation([[1, 2, 3, 4]], [[[1, 10]]], stride=(1,), padding=(0,), dilation=(1,))
    ((21, 32, 43),)
    """
    x, taps = _read(signal), _read(weight)
    terms, outputs = _terms(_sizes(x), _sizes(taps), stride, padding, dilation, groups)
    totals: dict[Index, Any] = {}
    for row, column, tap in terms:
        totals[row] = totals.get(row, 0) + taps[tap] * x[column]
    return _nested(lambda row: totals.get(row, 0), outputs)


@law(
    "convolution.patch_matrix",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("zero padding", "one filter over all channels"),
    sources=("Chellapilla, Puri and Simard 2006, section 3.1: convolution unrolled to a matrix product", _ARITHMETIC),
)
def patch_matrix(signal: Numbers, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Numbers:
    """The derivative of a filter's output by its weight is its input: df[r]/dW[c, k] = x[c, r s + k d - p], so f = P W.

    A matrix with a row for each output position r and a column for each weight (c, k). In 1-D with s = d = 1 and p = 0 it is a
    Hankel matrix: it depends on r + k alone.

    >>> patch_matrix([[1, 2, 3, 4]], (2,), stride=(1,), padding=(0,), dilation=(1,))
    ((1, 2), (2, 3), (3, 4))
    """
    x = _read(signal)
    weight = (1, _sizes(x)[0], *kernel)
    terms, outputs = _terms(_sizes(x), weight, stride, padding, dilation, 1)
    entries = {(row, tap): x[column] for row, column, tap in terms}
    return tuple(tuple(entries.get((row, tap), 0) for tap in _indices(weight)) for row in _indices(outputs))


@law(
    "convolution.toeplitz_matrix",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("zero padding",),
    sources=(
        "Golub and Van Loan 2013, section 4.7: Toeplitz matrices",
        "Dumoulin and Visin 2016, section 4.1: convolution as a matrix",
    ),
)
def toeplitz_matrix(weight: Numbers, sizes: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1) -> Numbers:
    """The derivative by the input is the kernel: df[o, r]/dx[c, i] = W[o, c, (i - r s + p) / d] where that is a tap, else 0.

    f = T x with a row for each (o, r) and a column for each (c, i); `sizes` are the input's, without channels. In 1-D with s = 1 it
    is a Toeplitz matrix: it depends on i - r alone; in 2-D a Toeplitz matrix of Toeplitz blocks.

    >>> toeplitz_matrix([[[1, 10]]], (4,), stride=(1,), padding=(0,), dilation=(1,))
    ((1, 10, 0, 0), (0, 1, 10, 0), (0, 0, 1, 10))
    """
    taps = _read(weight)
    shape = _sizes(taps)
    inputs = (shape[1] * groups, *sizes)
    terms, outputs = _terms(inputs, shape, stride, padding, dilation, groups)
    entries = {(row, column): taps[tap] for row, column, tap in terms}
    return tuple(tuple(entries.get((row, column), 0) for column in _indices(inputs)) for row in _indices(outputs))


@law(
    "convolution.toeplitz_nonzeros",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("zero padding", "no weight is zero"),
    sources=("the taps of every output position that fall on the input, counted axis by axis",),
)
def toeplitz_nonzeros(weight: Sizes, sizes: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> int:
    """The matrix of a convolution has o (c / groups) non-zeros times, for each axis, the reads of its taps that fall on the input.

    Tap k of an axis of n positions and R outputs reads the input for the r in 0..R-1 with 0 <= r s + k d - p < n. Without padding
    that is all of them, R for each tap. `weight` is (o, c / groups, *k), `sizes` the input's without channels.

    >>> toeplitz_nonzeros((64, 3, 3, 3), (64, 64), stride=(1, 1), padding=(0, 0), dilation=(1, 1)) == 64 * 3 * (62 * 3) ** 2
    True
    """
    count = math.prod(weight[:2])
    for n, taps, s, p, d in _axes(sizes, weight[2:], stride, padding, dilation):
        last = _outputs(n, taps, s, p, d) - 1
        firsts = [max(0, -((k * d - p) // s)) for k in range(taps)]
        lasts = [min(last, (n - 1 + p - k * d) // s) for k in range(taps)]
        count *= sum(max(0, after - before + 1) for before, after in zip(firsts, lasts, strict=True))
    return count


@law(
    "convolution.toeplitz_density",
    Kind.COUNT,
    Unit.RATIO,
    assumes=("zero padding", "no weight is zero"),
    sources=("convolution.toeplitz_nonzeros over rows times columns",),
)
def toeplitz_density(weight: Sizes, sizes: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1) -> float:
    """The share of non-zeros in the matrix of a convolution: K / I / groups without padding, for K taps and I input positions.

    >>> toeplitz_density((1, 1, 3, 3), (8, 8), stride=(1, 1), padding=(0, 0), dilation=(1, 1)) == 9 / 64
    True
    """
    rows = weight[0] * math.prod(_outputs(*axis) for axis in _axes(sizes, weight[2:], stride, padding, dilation))
    columns = weight[1] * groups * math.prod(sizes)
    return toeplitz_nonzeros(weight, sizes, stride, padding, dilation) / (rows * columns)


@law(
    "convolution.bilinear_form",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("zero padding",),
    sources=(_ADJOINTS, "the definition of the adjoint, <T x, y> = <x, T' y>"),
)
def bilinear_form(
    signal: Numbers, weight: Numbers, gradient: Numbers, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> float:
    """A convolution and its transposed one are adjoint: <T x, y> = <x, T' y>, the sum of y[o, r] W[o, c, k] x[c, r s + k d - p].

    >>> bilinear_form([[1, 2, 3, 4]], [[[1, 10]]], [[1, 0, 2]], stride=(1,), padding=(0,), dilation=(1,))
    107
    """
    x, taps, y = _read(signal), _read(weight), _read(gradient)
    terms, outputs = _terms(_sizes(x), _sizes(taps), stride, padding, dilation, groups)
    _same_sizes(_sizes(y), outputs)
    total: float = sum((y[row] * taps[tap] * x[column] for row, column, tap in terms), 0)
    return total


@law(
    "convolution.largest_gain",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("one channel in, one out", "zero padding, counted in the sizes", "a stride of any size"),
    sources=("Sedghi, Gupta and Long 2019, section 2: the singular values of a circular convolution",),
)
def largest_gain(kernel: Numbers, sizes: Sizes) -> float:
    """A convolution stretches no input by more than the largest modulus of its kernel's Fourier transform on the padded grid.

    `sizes` are the input's with padding at both ends. The moduli are the singular values of the circular convolution's matrix, and
    the matrix of the zero-padded one is made of rows and columns of that.

    >>> largest_gain([1, 1], (4,)), round(largest_gain([1, -1], (3,)), 4)
    (2.0, 1.7321)
    """
    taps = _read(kernel)
    if len(_sizes(taps)) != len(sizes) or any(n < k for n, k in zip(sizes, _sizes(taps), strict=True)):
        message = f"a padded input at least as large as the kernel is needed; {tuple(sizes)} and {_sizes(taps)} came"
        raise InvariantError(message)

    def gain(frequency: Index) -> float:
        angles = {k: 2 * math.pi * sum(f * at / n for f, at, n in zip(frequency, k, sizes, strict=True)) for k in taps}
        real = math.fsum(taps[k] * math.cos(angle) for k, angle in angles.items())
        return math.hypot(real, math.fsum(taps[k] * math.sin(angle) for k, angle in angles.items()))

    return max(gain(frequency) for frequency in _indices(sizes))


@law(
    "convolution.weight_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("zero padding",),
    sources=("Goodfellow, Bengio and Courville 2016, section 9.5: equation 9.11", _ARITHMETIC),
)
def weight_gradient(
    signal: Numbers, gradient: Numbers, weight: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> Numbers:
    """dl/dW is a dilated convolution: dl/dW[o, c, k] = sum over r of dl/df[o, r] x[c, k d + r s - p]; stride and dilation exchange.

    `gradient` is dl/df (o, *r); `weight` the sizes (o, c / groups, *k).

    >>> weight_gradient([[1, 2, 3, 4, 5]], [[1, 10]], (1, 1, 3), stride=(2,), padding=(0,), dilation=(1,))
    (((31, 42, 53),),)
    """
    x, y = _read(signal), _read(gradient)
    terms, outputs = _terms(_sizes(x), weight, stride, padding, dilation, groups)
    _same_sizes(_sizes(y), outputs)
    totals: dict[Index, Any] = {}
    for row, column, tap in terms:
        totals[tap] = totals.get(tap, 0) + y[row] * x[column]
    return _nested(lambda tap: totals.get(tap, 0), weight)


@law(
    "convolution.input_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("zero padding",),
    sources=("Goodfellow, Bengio and Courville 2016, section 9.5: equation 9.13", _ADJOINTS),
)
def input_gradient(
    weight: Numbers, gradient: Numbers, sizes: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> Numbers:
    """dl/dx is the transposed convolution: dl/dx[c, i] = sum of W[o, c, k] dl/df[o, r] over the o, r, k with r s + k d - p = i.

    `gradient` is dl/df (o, *r); `sizes` are the input's, without channels.

    >>> input_gradient([[[1, 2, 3]]], [[1, 10]], (6,), stride=(2,), padding=(0,), dilation=(1,))
    ((1, 2, 13, 20, 30, 0),)
    """
    taps, y = _read(weight), _read(gradient)
    inputs = (_sizes(taps)[1] * groups, *sizes)
    terms, outputs = _terms(inputs, _sizes(taps), stride, padding, dilation, groups)
    _same_sizes(_sizes(y), outputs)
    totals: dict[Index, Any] = {}
    for row, column, tap in terms:
        totals[column] = totals.get(column, 0) + taps[tap] * y[row]
    return _nested(lambda column: totals.get(column, 0), inputs)


def _terms(
    inputs: Sizes, weight: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[list[tuple[Index, Index, Index]], Index]:
    """Every product of a convolution, as ((o, *r), (c, *i), (o, c in the group, *k)), and the output's sizes."""
    filters, channels = weight[0], weight[1]
    if groups < 1 or filters % groups or inputs[0] != channels * groups:
        message = f"weight {tuple(weight)} in {groups} groups does not go with {inputs[0]} input channels"
        raise InvariantError(message)
    axes = list(_axes(inputs[1:], weight[2:], stride, padding, dilation))
    outputs = [_outputs(*axis) for axis in axes]
    along = [
        [(r, k, r * s + k * d - p) for r in range(last) for k in range(taps) if 0 <= r * s + k * d - p < n]
        for last, (n, taps, s, p, d) in zip(outputs, axes, strict=True)
    ]
    reads = [tuple(zip(*read, strict=True)) for read in itertools.product(*along)]
    terms = [
        ((o, *r), (o * groups // filters * channels + c, *i), (o, c, *k))
        for o in range(filters)
        for c in range(channels)
        for r, k, i in reads
    ]
    return terms, (filters, *outputs)


def _axes(*arguments: Sizes) -> Iterator[tuple[int, int, int, int, int]]:
    """(n, k, s, p, d) of each axis."""
    if len({len(one) for one in arguments}) != 1 or not arguments[0]:
        message = f"sizes, kernel, stride, padding and dilation have one number for each axis; {arguments} came"
        raise InvariantError(message)
    return zip(*arguments, strict=True)


def _outputs(n: int, taps: int, s: int, p: int, d: int) -> int:
    return output_size(n, AxisSpec(taps, s, (p, p), d))


def _read(numbers: Any) -> dict[Index, Any]:
    """Nested numbers by index."""
    if not isinstance(numbers, Sequence):
        return {(): numbers}
    return {(position, *index): value for position, inner in enumerate(numbers) for index, value in _read(inner).items()}


def _sizes(numbers: dict[Index, Any]) -> Index:
    """The sizes of numbers by index; refuses ragged and empty ones."""
    sizes = tuple(len(set(places)) for places in zip(*numbers, strict=False))
    if not sizes or len(numbers) != math.prod(sizes):
        message = f"nested numbers of equal lengths are needed, none empty; {len(numbers)} numbers in {sizes} came"
        raise InvariantError(message)
    return sizes


def _same_sizes(came: Index, needed: Index) -> None:
    if came != needed:
        message = f"the output is {needed}; its gradient came as {came}"
        raise InvariantError(message)


def _indices(sizes: Sizes) -> Iterator[Index]:
    return itertools.product(*map(range, sizes))


def _nested(value: Callable[[Index], Any], sizes: Sizes) -> Numbers:
    def inner(index: Index) -> Any:
        return value(index) if len(index) == len(sizes) else tuple(inner((*index, i)) for i in range(sizes[len(index)]))

    numbers: Numbers = inner(())
    return numbers
