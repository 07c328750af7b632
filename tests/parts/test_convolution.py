"""True convolution, the matrix of a convolution, its adjoints and the separable layer: edges, conventions, bad input."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.laws.convolution.operator import toeplitz_nonzeros
from torchstone.parts import (
    DepthwiseSeparableConv2d,
    affine_part,
    convolve,
    input_gradient,
    separable_errors,
    toeplitz,
    weight_gradient,
)

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def said_by(call):
    with pytest.raises(UsageError) as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_one_axis_is_numpy_for_every_length(mode):
    draws = np.random.default_rng(0)
    for m, k in itertools.product(range(1, 8), range(1, 8)):
        x, y = draws.normal(size=m), draws.normal(size=k)
        np.testing.assert_allclose(convolve(torch.tensor(x), torch.tensor(y), mode).numpy(), np.convolve(x, y, mode), atol=1e-14)


@pytest.mark.parametrize("taps", range(1, 9))
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_the_convention_of_torch_is_its_same_padding(taps):
    x, kernel = torch.randn(6, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    wanted = functional.conv1d(x[None], kernel.flip(0)[None, None], padding="same")[0]
    torch.testing.assert_close(convolve(x, kernel, "same", "torch"), wanted)


def test_even_kernels_and_kernels_longer_than_the_signal_in_each_convention():
    x, even = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 10])
    assert [convolve(x, even, "same", name).tolist() for name in ("numpy", "scipy", "torch")] == [
        [1, 12, 23, 34], [1, 12, 23, 34], [12, 23, 34, 40],
    ]  # fmt: skip
    short, long = torch.tensor([1, 2]), torch.tensor([1, 10, 100, 1000])
    assert convolve(short, long).tolist() == [1, 12, 120, 1200, 2000]
    assert convolve(short, long, "same").tolist() == [1, 12, 120, 1200]
    assert convolve(short, long, "same", "scipy").tolist() == [12, 120]
    assert convolve(short, long, "same", "torch").tolist() == [120, 1200]
    assert convolve(short, long, "valid").tolist() == [12, 120, 1200]


def test_convolution_commutes_and_leaves_batches_apart():
    x, kernel = torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    whole = convolve(x, kernel)
    for one, other in zip(x, whole, strict=True):
        torch.testing.assert_close(convolve(kernel, one), other)
    assert convolve(torch.randn(2, 0, 7), torch.randn(3)).shape == (2, 0, 9)
    assert convolve(torch.tensor([1.0], dtype=torch.float64), torch.tensor([2])).dtype is torch.float64


def test_what_cannot_be_convolved_is_refused():
    x = torch.ones(3, 3)
    assert said_by(lambda: convolve(x, x, "centre")).endswith("'centre', 'numpy' came")
    assert said_by(lambda: convolve(x, x, "same", "jax")).endswith("'same', 'jax' came")
    assert said_by(lambda: convolve(torch.ones(3), x)).endswith("signal (3,) and kernel (3, 3) came")
    assert said_by(lambda: convolve(x, torch.ones(0))).endswith("signal (3, 3) and kernel (0,) came")
    assert said_by(lambda: convolve(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))).endswith("kernel (1, 1, 1, 1) came")
    assert said_by(lambda: convolve(torch.ones(1, 3), torch.ones(3, 1), "valid")).endswith("positions (1, 3) and taps (3, 1) came")


@st.composite
def modules(draw, *, plain=False):
    """A convolution of any kind, or a plain one padded with zeros, and an input of one sample."""
    axes = draw(st.integers(1, 3))
    most = 4 if axes < 3 else 2
    pick = lambda low, high: [draw(st.integers(low, high)) for _ in range(axes)]
    groups, per_group, filters = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, stride, dilation, sizes = pick(1, most), pick(1, 3), pick(1, 3), pick(2, most + 4)
    channels, outputs, bias = groups * per_group, groups * filters, draw(st.booleans())
    if not plain and draw(st.booleans()):
        extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
        conv = TRANSPOSED[axes](channels, outputs, kernel, stride, pick(0, 2), extra, groups, bias, dilation)
    else:
        padding = draw(st.sampled_from(["same", "valid", pick(0, 3)]))
        mode = "zeros" if plain else draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
        stride = [1] * axes if padding == "same" else stride
        conv = CONV[axes](channels, outputs, kernel, stride, padding, dilation, groups, bias, mode)
    return conv.double(), torch.randn(channels, *sizes, dtype=torch.float64)


@settings(max_examples=150, deadline=None)
@given(modules())
def test_the_matrix_of_any_module_is_the_module(pair):
    conv, x = pair
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of even kernels torch says that it copies the input
            wanted = conv(x)
    except (RuntimeError, ValueError):
        with pytest.raises(UsageError):
            toeplitz(conv, x.shape)
        return
    for layout in (torch.sparse_csr, torch.sparse_coo):
        matrix = toeplitz(conv, x.shape, layout=layout)
        assert matrix.layout is layout and matrix.shape == (wanted.numel(), x.numel())
        torch.testing.assert_close(matrix @ x.flatten() + affine_part(conv, x.shape), wanted.flatten())
        checked(matrix)


def checked(matrix):
    """Torch's own invariants: sorted, no entry twice, all within."""
    if matrix.layout is torch.sparse_csr:
        parts = (matrix.crow_indices(), matrix.col_indices(), matrix.values())
        torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=True)
    else:
        torch.sparse_coo_tensor(matrix.indices(), matrix.values(), matrix.shape, check_invariants=True)
        assert (matrix.indices()[0] * matrix.shape[1] + matrix.indices()[1]).diff().gt(0).all()


@settings(max_examples=100, deadline=None)
@given(modules(plain=True))
def test_both_adjoints_of_any_module_are_its_gradients(pair):
    conv, x = pair
    batch = torch.stack([x, 2 * x.flip(-1)]).requires_grad_()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = conv(batch)
    except RuntimeError:
        return
    y = torch.randn_like(out)
    by_input, by_weight = torch.autograd.grad(out, [batch, conv.weight], y)
    arguments = (conv.stride, conv.padding, conv.dilation, conv.groups)
    torch.testing.assert_close(weight_gradient(batch, conv.weight.shape, y, *arguments), by_weight)
    torch.testing.assert_close(input_gradient(batch.shape, conv.weight, y, *arguments), by_input)
    alone = weight_gradient(x, conv.weight.shape, y[0], *arguments)
    torch.testing.assert_close(alone, weight_gradient(x[None], conv.weight.shape, y[:1], *arguments))
    assert input_gradient(x.shape, conv.weight, y[0], *arguments).shape == x.shape


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_adjoints_are_those_of_torch_nn_grad(axes):
    x, weight = torch.randn(2, 4, *[6] * axes, dtype=torch.float64), torch.randn(6, 2, *[3] * axes, dtype=torch.float64)
    arguments = (2, 1, 1, 2)
    y = torch.randn_like(getattr(functional, f"conv{axes}d")(x, weight, None, *arguments))
    theirs = getattr(torch.nn.grad, f"conv{axes}d_weight")(x, weight.shape, y, *arguments)
    torch.testing.assert_close(weight_gradient(x, weight.shape, y, *arguments), theirs)
    theirs = getattr(torch.nn.grad, f"conv{axes}d_input")(x.shape, weight, y, *arguments)
    torch.testing.assert_close(input_gradient(x.shape, weight, y, *arguments), theirs)


def test_the_matrix_stores_no_more_than_its_nonzeros_and_carries_the_gradient():
    conv = nn.Conv2d(3, 8, 3, padding=1).double()
    matrix = toeplitz(conv, (3, 9, 7))
    law = toeplitz_nonzeros((8, 3, 3, 3), (9, 7), (1, 1), (1, 1), (1, 1))
    assert matrix._nnz() == law == matrix.to_dense().count_nonzero()
    x = torch.randn(3, 9, 7, dtype=torch.float64)
    (by_matrix,) = torch.autograd.grad((matrix @ x.flatten()).square().sum(), conv.weight)
    (by_conv,) = torch.autograd.grad((conv(x) - conv.bias[:, None, None]).square().sum(), conv.weight)
    torch.testing.assert_close(by_matrix, by_conv)


def test_the_transposed_matrix_is_the_transposed_module():
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False).double()
    back = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=(0, 1), groups=2, bias=False).double()
    back.weight = conv.weight
    assert torch.equal(toeplitz(conv, (4, 7, 8)).to_dense().t(), toeplitz(back, (6, 4, 4)).to_dense())


def test_shapes_that_no_convolution_has_are_refused():
    conv, weight = nn.Conv2d(2, 4, 3, dilation=2), torch.ones(4, 2, 3, 3)
    assert said_by(lambda: toeplitz(conv, (2, 4, 9))) == (
        "axis 0: the kernel spans 5 positions and the padded input has 4; pad more, or take a smaller kernel or dilation"
    )
    assert said_by(lambda: toeplitz(conv, (3, 9, 9))).endswith("groups=1 takes 2 channels in whole groups; input_shape (3, 9, 9) came")
    assert said_by(lambda: toeplitz(conv, (2, 9))).endswith("weight (4, 2, 3, 3), input_shape (2, 9) came")
    assert said_by(lambda: toeplitz(conv, (2, 0, 9))).endswith("input_shape (2, 0, 9) came")
    assert said_by(lambda: toeplitz(conv, (2, 9, 9), stride=2)).startswith("Conv2d brings its own stride")
    assert said_by(lambda: toeplitz(nn.Linear(2, 2), (2, 9))).endswith("or a weight; Linear came")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), layout=torch.strided)).endswith("torch.strided came")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), stride=0)).startswith("stride takes one whole number of 1 or more")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), padding=(1, 1, 1))).endswith("(1, 1, 1) came")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), padding="sane")).endswith("'sane' came")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), padding="same", stride=2)).startswith("padding='same' keeps the size")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), padding_mode="mirror")).endswith("'mirror' came")
    assert said_by(lambda: toeplitz(weight, (2, 9, 9), padding=9, padding_mode="reflect")).endswith("padding 9, 9 came")
    assert said_by(lambda: toeplitz(nn.ConvTranspose1d(1, 1, 1, padding=2), (1, 3))).startswith("ConvTranspose1d would give -1")
    assert said_by(lambda: toeplitz(weight, (6, 9, 9), groups=3)).startswith("weight (4, 2, 3, 3) with groups=3")
    x, y = torch.ones(2, 9, 9), torch.ones(4, 7, 7)
    assert said_by(lambda: weight_gradient(x, (4, 2, 3, 3), y[:, 1:])).startswith("with groups=1 the input has 2 channels")
    assert said_by(lambda: weight_gradient(x[None], (4, 2, 3, 3), y)).startswith("weight (o, c, *k) with 1 to 3 kernel axes")
    assert "grad_output is (4, 7, 7)" in said_by(lambda: input_gradient((3, 9, 9), weight, y))


def nearly_separable(noise=0.0, **arguments):
    """An ordinary convolution whose kernel is separable but for some noise."""
    conv = DepthwiseSeparableConv2d(4, 6, 3, dtype=torch.float64, **arguments).to_conv2d()
    with torch.no_grad():
        conv.weight.add_(noise * torch.randn_like(conv.weight))
    return conv


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("how", [{"stride": (2, 1), "padding": 1}, {"padding": "same", "dilation": 2}, {"padding": 2, "padding_mode": "circular"}])
def test_a_separable_layer_and_its_ordinary_convolution_are_one_map_both_ways(bias, how):
    layer = DepthwiseSeparableConv2d(4, 6, 3, bias=bias, depth_multiplier=2, dtype=torch.float64, **how)
    conv = layer.to_conv2d()
    x = torch.randn(2, 4, 8, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), conv(x))
    again = DepthwiseSeparableConv2d.from_conv2d(conv, rank=2)
    assert again.error < 1e-12 and "error=" in repr(again)
    torch.testing.assert_close(again(x), conv(x))
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "depthwise.weight": (8, 1, 3, 3), "pointwise.weight": (6, 8, 1, 1), **({"pointwise.bias": (6,)} if bias else {}),
    }  # fmt: skip


def test_a_separable_layer_takes_the_place_of_an_ordinary_one():
    for arguments in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same"}):
        layer, conv = DepthwiseSeparableConv2d(3, 5, 3, **arguments), nn.Conv2d(3, 5, 3, **arguments)
        for x in (torch.randn(2, 3, 9, 8), torch.randn(3, 9, 8)):
            assert layer(x).shape == conv(x).shape
    assert DepthwiseSeparableConv2d(3, 5, 3, device="meta", dtype=torch.float64).pointwise.weight.is_meta


@pytest.mark.parametrize("groups", [1, 2])
def test_the_error_of_a_fit_falls_with_its_rank_and_is_the_view(groups):
    conv = nn.Conv2d(4, 6, (3, 2), groups=groups, dtype=torch.float64)
    errors = [DepthwiseSeparableConv2d.from_conv2d(conv, rank).error for rank in range(1, 7)]
    assert all(later <= sooner + 1e-12 for sooner, later in itertools.pairwise(errors)) and errors[-1] < 1e-12
    if groups == 1:
        torch.testing.assert_close(separable_errors(conv.weight), torch.tensor(errors, dtype=torch.float64), atol=1e-12, rtol=1e-12)


def test_a_fit_says_how_near_it_came():
    torch.manual_seed(0)
    small, large = (DepthwiseSeparableConv2d.from_conv2d(nearly_separable(noise)).error for noise in (0.01, 0.1))
    assert 0 < small < large < 1
    exact = DepthwiseSeparableConv2d(1, 1, 1)
    assert exact.error is None and "error" not in repr(exact)
    zero = nn.Conv2d(2, 3, 3)
    nn.init.zeros_(zero.weight)
    assert DepthwiseSeparableConv2d.from_conv2d(zero).error == 0
    assert separable_errors(zero.weight).tolist() == [0.0, 0.0, 0.0]


def test_a_conversion_draws_no_random_numbers_and_leaves_its_model_alone():
    conv = nn.Conv2d(3, 4, 3)
    state, weight = torch.get_rng_state(), conv.weight.detach().clone()
    layer = DepthwiseSeparableConv2d.from_conv2d(conv, rank=2)
    layer.to_conv2d().weight.data.zero_()
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(weight, conv.weight)
    assert all(parameter.requires_grad for parameter in layer.parameters())


def test_ranks_that_are_not_there_are_refused():
    conv = nn.Conv2d(3, 4, 3)
    for rank in (0, 5):
        assert said_by(lambda rank=rank: DepthwiseSeparableConv2d.from_conv2d(conv, rank)) == (
            f"rank is from 1 to 4, the rank of a 4 x 9 matrix at most; {rank} came"
        )
    assert said_by(lambda: DepthwiseSeparableConv2d(3, 4, 3, depth_multiplier=0)).endswith("one or more; 0 came")


@pytest.mark.parametrize(("call", "said"), [
    (lambda: convolve([1, 2, 3], [1, 2]), r"the signal came as list: make it one with torch\.tensor"),
    (lambda: convolve(torch.ones(3), np.ones(2)), r"the kernel came as ndarray: make it one with torch\.tensor"),
    (lambda: toeplitz(None, (3, 5, 5)), "a convolution module or its weight, a tensor; NoneType came"),
    (lambda: toeplitz(nn.Conv2d(3, 4, 3), (3, 5.5, 5)), r"in whole numbers; \(3, 5\.5, 5\) came"),
    (lambda: toeplitz(nn.Conv2d(3, 4, 3), None), "in whole numbers; None came"),
    (lambda: toeplitz(nn.LazyConv2d(4, 3), (3, 5, 5)), "LazyConv2d has no weight yet: call it once"),
    (lambda: affine_part(nn.LazyConvTranspose2d(4, 3), (3, 5, 5)), "LazyConvTranspose2d has no weight yet"),
    (lambda: DepthwiseSeparableConv2d.from_conv2d(nn.Conv1d(4, 4, 3)), "takes an nn.Conv2d; Conv1d came"),
    (lambda: DepthwiseSeparableConv2d.from_conv2d(nn.LazyConv2d(4, 3)), "LazyConv2d has no weight yet"),
    (lambda: separable_errors(torch.ones(3, 3)), r"\(o, c, kh, kw\); shape \(3, 3\) came"),
    (lambda: separable_errors([1.0]), "list came"),
    (lambda: separable_errors(torch.full((2, 2, 3, 3), float("nan"))), "nan or inf"),
])  # fmt: skip
def test_what_is_no_convolution_is_refused_in_one_line(call, said):
    with pytest.raises(UsageError, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)
