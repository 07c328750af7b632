"""The parts of convolution under the shared suite."""

import torch
from torch.nn import functional

from suites.part_suite import BATCH, Row, part_tests
from torchstone import parts
from torchstone.laws.convolution.cost import separable_parameters

READ = {"one_device": "values are looked at, and fake tensors have none"}
SPARSE = {**READ, "lower_precisions": "torch multiplies no sparse matrices of bfloat16", "compiles": "torch compiles no sparse tensors"}
STRIDED = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def by_full_kernel(layer):
    """The separable layer as one ordinary convolution, its kernel spelt out filter by filter."""

    def reference(x):
        depthwise, pointwise = layer.depthwise.weight, layer.pointwise.weight
        rank = depthwise.shape[0] // layer.depthwise.in_channels
        rows = [
            [sum(pointwise[o, j, 0, 0] * depthwise[j, 0] for j in range(c * rank, (c + 1) * rank)) for c in range(x.shape[1])]
            for o in range(pointwise.shape[0])
        ]
        kernel = torch.stack([torch.stack(row) for row in rows])
        half = layer.depthwise
        return functional.conv2d(x, kernel, layer.pointwise.bias, half.stride, half.padding, half.dilation)

    return reference


def by_summing(signal, kernel):
    """Full convolution in 2-D, value by value, with the kernel's axes last in the signal."""
    (m, n), (k, l) = signal.shape[-2:], kernel.shape
    out = [[0.0] * (n + l - 1) for _ in range(m + k - 1)]
    for a in range(m):
        for b in range(n):
            for c in range(k):
                for d in range(l):
                    out[a + c][b + d] = out[a + c][b + d] + signal[..., a, b] * kernel[c, d]
    return torch.stack([torch.stack(row, -1) for row in out], -2)


def conv(x, weight):
    return functional.conv2d(x, weight, None, **STRIDED)


def by_autograd(which):
    def reference(x, weight, gradient):
        pair = [x, weight]
        with torch.enable_grad():
            pair[which] = pair[which].detach().requires_grad_()
            return torch.autograd.grad(conv(*pair), pair[which], gradient, create_graph=True)[0]

    return reference


OUT = (4, 9)  # of a 7 x 9 input under STRIDED and a 3 x 3 kernel


ROWS = [
    Row(
        "separable",
        parts.DepthwiseSeparableConv2d,
        lambda cls: cls(3, 4, 3, stride=2, padding=1),
        by_full_kernel,
        lambda batch: [normal(batch, 3, 7, 6)],
        lambda x: (x[0], 4, 4, 3),
        parameters=separable_parameters(3, 4, (3, 3)) + 4,
        flops=2 * BATCH * 4 * 3 * separable_parameters(3, 4, (3, 3)),
    ),
    Row(
        "separable-rank-2",
        parts.DepthwiseSeparableConv2d,
        lambda cls: cls(2, 3, (3, 2), padding=(0, 1), dilation=2, bias=False, depth_multiplier=2),
        by_full_kernel,
        lambda batch: [normal(batch, 2, 7, 6)],
        lambda x: (x[0], 3, 3, 6),
        parameters=2 * 2 * 6 + 2 * 2 * 3,
    ),
    Row(
        "convolve",
        parts.convolve,
        lambda function: lambda x, k: function(x, k, "full"),
        lambda _: by_summing,
        lambda batch: [normal(batch, 4, 5), normal(3, 2)],
        lambda x, k: (x[0], x[1] + k[0] - 1, x[2] + k[1] - 1),
    ),
    Row(
        "convolve-same",
        parts.convolve,
        lambda function: lambda x, k: function(x, k, "same"),
        lambda _: lambda x, k: by_summing(x, k)[..., 1:5, 0:5],
        lambda batch: [normal(batch, 4, 5), normal(3, 2)],
        lambda x, k: x,
    ),
    Row(
        "weight-gradient",
        parts.weight_gradient,
        lambda function: lambda x, y: function(x, (4, 1, 3, 3), y, **STRIDED),
        lambda _: lambda x, y: by_autograd(1)(x, torch.zeros(4, 1, 3, 3, dtype=x.dtype), y),
        lambda batch: [normal(batch, 2, 7, 9), normal(batch, 4, *OUT)],
        lambda x, y: (4, 1, 3, 3),
    ),
    Row(
        "input-gradient",
        parts.input_gradient,
        lambda function: lambda y, w: function((len(y), 2, 7, 9), w, y, **STRIDED),
        lambda _: lambda y, w: by_autograd(0)(y.new_zeros(len(y), 2, 7, 9), w, y),
        lambda batch: [normal(batch, 4, *OUT), normal(4, 1, 3, 3)],
        lambda y, w: (y[0], 2, 7, 9),
    ),
    Row(
        "toeplitz",
        parts.toeplitz,
        lambda function: lambda x, w: (function(w, (2, 7, 9), **STRIDED) @ x.flatten(1).t()).t(),
        lambda _: lambda x, w: conv(x, w).flatten(1),
        lambda batch: [normal(batch, 2, 7, 9), normal(4, 1, 3, 3)],
        lambda x, w: (x[0], 4 * OUT[0] * OUT[1]),
        without=SPARSE,
    ),
    Row(
        "toeplitz-coo",
        parts.toeplitz,
        lambda function: lambda w: function(w, (2, 3, 4), layout=torch.sparse_coo, padding=1, padding_mode="circular").to_dense(),
        lambda _: lambda w: torch.func.jacrev(lambda x: conv_circular(x, w))(w.new_zeros(2, 3, 4)).reshape(48, 24),
        lambda batch: [normal(4, 2, 3, 3)],
        lambda w: (48, 24),
        without={"empty_batch": "no batch", **SPARSE},
    ),
    Row(
        "separable-errors",
        parts.separable_errors,
        lambda function: function,
        lambda _: lambda w: torch.stack([truncation_error(w, rank) for rank in range(1, 4)] + [w.sum() * 0]),
        lambda batch: [normal(4, 2, 3, 2)],
        lambda w: (4,),
        without={"empty_batch": "no batch", **READ, "lower_precisions": "torch decomposes no bfloat16 matrices"},
    ),
]


def conv_circular(x, w):
    return functional.conv2d(functional.pad(x[None], (1, 1, 1, 1), mode="circular"), w)[0]


def truncation_error(weight, rank):
    left, values, right = torch.linalg.svd(weight.flatten(2).transpose(0, 1), full_matrices=False)
    kept = (left[..., :rank] * values[:, None, :rank]) @ right[:, :rank]
    return (kept - weight.flatten(2).transpose(0, 1)).norm() / weight.norm()


test_part = part_tests(ROWS)
