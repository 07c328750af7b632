"""The maps of normalisation beside torch's kernels, differentiated twice, taken apart, and given bad input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.errors import UsageError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31), st.sampled_from([1e-5, 0.1, 0.0]), st.sampled_from([torch.float64, torch.float32]))
def test_layer_norm_is_torchs_to_rounding(leading, axes, seed, eps, dtype):
    torch.manual_seed(seed)
    shape = tuple(torch.randint(2, 5, (axes,)).tolist())
    x = (10 ** torch.randn(1) * (torch.randn(*[2] * leading, *shape) + torch.randn(1))).to(dtype)
    # A mean far above the spread costs either of them digits.
    deviation = x.flatten(-axes).std(-1, correction=0).amin()
    ours, theirs = (kind(shape, eps).to(dtype)(x) for kind in (parts.LayerNorm, nn.LayerNorm))
    lost = (1 + x.abs().amax() / (deviation**2 + eps).sqrt()).item()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=64 * torch.finfo(dtype).eps * lost**2)


@pytest.mark.parametrize("affine", [True, False])
def test_the_state_is_nn_layer_norms(affine):
    ours, theirs = (kind(4, elementwise_affine=affine) for kind in (parts.LayerNorm, nn.LayerNorm))
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_takes_its_means_in_float32_as_torch_does(dtype):
    x = (300 * torch.randn(4, 64)).to(dtype)
    assert parts.normalize(x).isfinite().all()  # the squares would overflow float16
    assert torch.equal(parts.LayerNorm(64, dtype=dtype)(x), nn.LayerNorm(64, dtype=dtype)(x))


@pytest.mark.parametrize("function", [parts.demean, parts.normalize, lambda z: parts.normalize(parts.demean(z), eps=0.1)])
def test_the_closed_backward_can_be_differentiated_again(function):
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(function, z)


def test_vmap_and_jacobians_go_through():
    z = torch.randn(3, 5, dtype=torch.float64)
    rows = torch.func.vmap(torch.func.jacrev(parts.normalize))(z)
    whole = torch.func.jacrev(parts.normalize)(z)
    torch.testing.assert_close(rows, torch.stack([whole[i, :, i] for i in range(3)]))
    first, second = lambda x: parts.normalize(x)[0], lambda x: functional.rms_norm(x, (5,), eps=0.0)[0]
    twice = [torch.func.jacrev(torch.func.jacrev(f))(z[0]) for f in (first, second)]
    torch.testing.assert_close(*twice)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, in its forward mode
@pytest.mark.parametrize("function", [parts.demean, parts.normalize])
def test_forward_mode_is_the_jacobian_too(function):
    z, tangent = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    _, found = torch.func.jvp(function, (z,), (tangent,))
    torch.testing.assert_close(found, torch.func.jacrev(function)(z) @ tangent)


def test_neither_blocked_direction_passes():
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(parts.LayerNorm(6, 0.0, dtype=x.dtype)(x), x, torch.randn(6, dtype=x.dtype))
    assert abs(gradient.sum()) < 1e-14 and abs(gradient @ x.detach()) < 1e-14


def test_zeros_have_no_direction():
    assert parts.normalize(torch.zeros(3)).isnan().all()
    assert not parts.normalize(torch.zeros(3), eps=1e-5).any()


@pytest.mark.parametrize(("make", "text"), [
    (lambda: parts.LayerNorm(4)(torch.zeros(2, 5)), r"the last axes of the input must be \(4,\); \(2, 5\) came"),
    (lambda: parts.Demean(()), "normalized_shape has one size or more"),
    (lambda: parts.Normalize((3, 0)), "each of 1 or more"),
    (lambda: parts.LayerNorm(4, eps=-1.0), "zero or more; -1.0 came"),
    (lambda: parts.Normalize(4, eps=float("nan")), "zero or more; nan came"),
])  # fmt: skip
def test_bad_input_is_told(make, text):
    with pytest.raises(UsageError, match=text):
        make()


def test_they_print_their_arguments():
    assert repr(parts.LayerNorm(4, bias=False)) == "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=False)"
    assert repr(parts.Normalize(4)) == "Normalize((4,), eps=0.0)" and repr(parts.Demean(4)) == "Demean((4,))"
