"""Convolution in plain numbers: against numpy, against each other, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import InvariantError
from torchstone.laws.convolution import operator, separable

ONE = {"stride": (1,), "padding": (0,), "dilation": (1,)}
numbers = st.lists(st.integers(-9, 9), min_size=1, max_size=7)


@given(numbers, numbers, st.sampled_from(["full", "same", "valid"]))
def test_one_axis_is_numpy(signal, kernel, mode):
    assert list(operator.true_convolution(signal, kernel, mode)) == np.convolve(signal, kernel, mode).tolist()


@given(numbers, numbers)
def test_true_convolution_is_cross_correlation_with_a_flipped_kernel(signal, kernel):
    padded = {**ONE, "padding": (len(kernel) - 1,)}
    (found,) = operator.cross_correlation([signal], [[kernel[::-1]]], **padded)
    assert found == operator.true_convolution(signal, kernel)


@st.composite
def convolutions(draw):
    """One axis, whole numbers: signal, weight, arguments."""
    groups, channels, filters = (draw(st.integers(1, 2)) for _ in range(3))
    taps, d, s, p = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    size = max(1, d * (taps - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
    row = lambda count: draw(st.lists(st.integers(-5, 5), min_size=count, max_size=count))
    signal = [row(size) for _ in range(channels * groups)]
    weight = [[row(taps) for _ in range(channels)] for _ in range(filters * groups)]
    return signal, weight, {"stride": (s,), "padding": (p,), "dilation": (d,), "groups": groups}


@settings(deadline=None)
@given(convolutions(), st.randoms())
def test_matrix_patches_adjoints_and_form_tell_one_story(drawn, random):
    signal, weight, how = drawn
    forward = operator.cross_correlation(signal, weight, **how)
    flat = [value for row in signal for value in row]
    matrix = operator.toeplitz_matrix(weight, (len(signal[0]),), **how)
    assert [sum(a * b for a, b in zip(row, flat, strict=True)) for row in matrix] == [v for row in forward for v in row]
    y = [[random.randint(-5, 5) for _ in row] for row in forward]
    form = operator.bilinear_form(signal, weight, y, **how)
    assert form == sum(a * b for row, other in zip(forward, y, strict=True) for a, b in zip(row, other, strict=True))
    back = operator.input_gradient(weight, y, (len(signal[0]),), **how)
    assert form == sum(a * b for row, other in zip(signal, back, strict=True) for a, b in zip(row, other, strict=True))
    sizes = (len(weight), len(weight[0]), len(weight[0][0]))
    by_weight = operator.weight_gradient(signal, y, sizes, **how)
    assert form == sum(w * g for o, p in zip(weight, by_weight, strict=True) for c, d in zip(o, p, strict=True) for w, g in zip(c, d, strict=True))
    if how["groups"] == 1:
        steps = {name: how[name] for name in ONE}
        patches = operator.patch_matrix(signal, (sizes[2],), **steps)
        first = [value for row in weight[0] for value in row]
        assert tuple(sum(a * b for a, b in zip(row, first, strict=True)) for row in patches) == forward[0]


@settings(deadline=None)
@given(convolutions())
def test_nonzeros_are_counted_without_the_matrix(drawn):
    signal, weight, how = drawn
    ones = [[[1] * len(row) for row in rows] for rows in weight]
    matrix = operator.toeplitz_matrix(ones, (len(signal[0]),), **how)
    sizes = (len(weight), len(weight[0]), len(weight[0][0]))
    steps = {name: how[name] for name in ONE}
    found = sum(value for row in matrix for value in row)
    assert operator.toeplitz_nonzeros(sizes, (len(signal[0]),), **steps) == found
    density = operator.toeplitz_density(sizes, (len(signal[0]),), **how)
    assert math.isclose(density, found / (len(matrix) * len(matrix[0])))


def test_the_entries_of_a_strided_filter_over_several_channels():
    """Five channels of length 7, one filter of 3 taps, stride 2: df[r]/dW[c, k] = x[c, 2 r + k] and df[r]/dx[c, i] = W[c, i - 2 r]."""
    signal = [[10 * c + i for i in range(7)] for c in range(5)]
    strided = {**ONE, "stride": (2,)}
    patches = operator.patch_matrix(signal, (3,), **strided)
    assert patches == tuple(tuple(10 * c + 2 * r + k for c in range(5) for k in range(3)) for r in range(3))
    weight = [[[10 * c + k + 1 for k in range(3)] for c in range(5)]]
    matrix = operator.toeplitz_matrix(weight, (7,), **strided)
    inside = lambda c, k: 10 * c + k + 1 if 0 <= k < 3 else 0
    assert matrix == tuple(tuple(inside(c, i - 2 * r) for c in range(5) for i in range(7)) for r in range(3))


def test_a_two_dimensional_matrix_is_toeplitz_of_toeplitz_blocks():
    matrix = np.array(operator.toeplitz_matrix([[[[1, 2], [3, 4]]]], (4, 5), (1, 1), (0, 0), (1, 1)))
    blocks = matrix.reshape(3, 4, 4, 5).transpose(0, 2, 1, 3)  # block (row of f, row of x)
    for a in range(3):
        for b in range(4):
            assert (blocks[a, b] == blocks[(a + 1) % 3, b + 1]).all() if b < 3 and a < 2 else True
            assert all(blocks[a, b][i][j] == blocks[a, b][i + 1][j + 1] for i in range(3) for j in range(4))


def test_the_gain_of_known_kernels():
    assert operator.largest_gain([[1, 1], [1, 1]], (6, 5)) == 4
    assert operator.largest_gain([1, -1], (8,)) == pytest.approx(2)
    assert operator.largest_gain([3], (1,)) == 3


REFUSED = [
    (lambda: operator.mode_window(0, 2), "a convolution needs a position and a tap at least; 0 positions and 2 taps came"),
    (lambda: operator.mode_window(3, 2, "same", "jax"), "modes are full, valid and same (of numpy, scipy or torch); 'same' of 'jax' came"),
    (lambda: operator.true_convolution([1, 2], [[1]]), "signal and kernel have one number of axes; 1 and 2 came"),
    (lambda: operator.true_convolution([[1, 2], [3]], [[1]]), "nested numbers of equal lengths are needed, none empty; 3 numbers in (2, 2) came"),
    (lambda: operator.cross_correlation([[1, 2]], [[[1], [1]]], **ONE), "weight (1, 2, 1) in 1 groups does not go with 1 input channels"),
    (lambda: operator.toeplitz_nonzeros((1, 1, 2), (4, 4), (1,), (0,), (1,)),
     "sizes, kernel, stride, padding and dilation have one number for each axis; ((4, 4), (2,), (1,), (0,), (1,)) came"),
    (lambda: operator.bilinear_form([[1, 2]], [[[1]]], [[1]], **ONE), "the output is (1, 2); its gradient came as (1, 1)"),
    (lambda: operator.largest_gain([1, 2], (1,)), "a padded input at least as large as the kernel is needed; (1,) and (2,) came"),
    (lambda: separable.separable_kernel([[1], [2], [3]], [[1, 1, 1]], 2),
     "every output mixes all c r depthwise filters; 3 filters, rank 2, mixtures of [3] came"),
    (lambda: separable.separable_error([[1.0, 2.0]], 1),
     "falling singular values, none negative, and a rank of 0 or more are needed; [[1.0, 2.0]], 1 came"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "said"), REFUSED)
def test_what_is_no_convolution_is_refused_with_what_came(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said


def test_empty_numbers_and_kernels_too_large_are_refused():
    for call in (lambda: operator.true_convolution([], [1]), lambda: operator.cross_correlation([[1, 2]], [[[1, 1, 1]]], **ONE)):
        with pytest.raises(InvariantError):
            call()
