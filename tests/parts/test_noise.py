"""Dropout that does not rescale, and the dense layer that takes its place."""

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped
from torch import nn

from torchstone.core.errors import UsageError
from torchstone.parts.noise import UnscaledDropout, unscaled_dropout, weight_scaling_inference


def test_survivors_are_left_as_they_are():
    torch.manual_seed(0)
    inputs = torch.randn(10_000)
    dropped = UnscaledDropout(p=0.3)(inputs)
    kept = dropped != 0
    assert torch.equal(dropped[kept], inputs[kept])
    assert abs(kept.double().mean().item() - 0.7) < 4 * (0.21 / 10_000) ** 0.5


def test_evaluation_and_p_zero_change_nothing_and_p_one_leaves_nothing():
    inputs = torch.randn(50)
    assert torch.equal(UnscaledDropout(0.5).eval()(inputs), inputs)
    assert torch.equal(UnscaledDropout(0.0)(inputs), inputs)
    assert not UnscaledDropout(1.0)(inputs).any()


def test_in_place_writes_into_its_input():
    inputs = torch.ones(50)
    assert UnscaledDropout(1.0, inplace=True)(inputs) is inputs
    assert not inputs.any()


def test_the_gradient_passes_where_the_input_did():
    inputs = torch.randn(100, dtype=torch.float64, requires_grad=True)
    dropped = UnscaledDropout(0.5)(inputs)
    dropped.sum().backward()
    assert torch.equal(inputs.grad, (dropped != 0).double())


def test_one_generator_draws_one_mask():
    inputs = torch.ones(100)
    masks = [unscaled_dropout(inputs, 0.5, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*masks)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_are_kept(shape, dtype):
    dropped = UnscaledDropout()(torch.ones(shape, dtype=dtype))
    assert dropped.shape == shape and dropped.dtype == dtype


def test_it_compiles_whole():
    torch.manual_seed(0)
    compiled = torch.compile(UnscaledDropout(0.5), backend="eager", fullgraph=True)
    assert set(compiled(torch.ones(100)).tolist()) == {0.0, 1.0}


def test_the_shapes_that_the_signature_states_are_checked():
    with pytest.raises(TypeCheckError):
        jaxtyped(typechecker=beartype)(unscaled_dropout)(torch.ones(3, dtype=torch.int64))


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
@pytest.mark.parametrize("call", [UnscaledDropout, lambda p: unscaled_dropout(torch.ones(1), p), lambda p: weight_scaling_inference(nn.Linear(1, 1), p)])
def test_what_is_no_probability_is_refused(call, p):
    with pytest.raises(UsageError) as refused:
        call(p)
    assert str(refused.value) == f"dropout zeroes with a probability in [0, 1]; p={p} came"


@pytest.mark.parametrize("bias", [True, False])
def test_a_scaled_layer_gives_the_mean_over_all_masks(bias):
    linear, p = nn.Linear(3, 2, bias=bias).double(), 0.3
    inputs = torch.randn(3, dtype=torch.float64)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    chances = ((1 - p) * masks + p * (1 - masks)).prod(1)
    expected = chances @ linear(masks * inputs)
    torch.testing.assert_close(weight_scaling_inference(linear, p)(inputs), expected, rtol=1e-14, atol=1e-14)


def test_a_scaled_layer_is_a_copy_that_keeps_type_and_mode():
    linear = nn.Linear(3, 2).to(torch.bfloat16).eval()
    linear.bias.requires_grad_(requires_grad=False)
    before = linear.weight.clone()
    state = torch.get_rng_state()
    scaled = weight_scaling_inference(linear, 0.5)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(linear.weight, before) and scaled.bias.data_ptr() != linear.bias.data_ptr()
    assert scaled.weight.dtype == torch.bfloat16 and not scaled.training
    assert scaled.weight.requires_grad and not scaled.bias.requires_grad
    assert torch.equal(weight_scaling_inference(linear, 1.0).weight, torch.zeros(2, 3, dtype=torch.bfloat16))


def test_only_a_linear_layer_is_scaled():
    with pytest.raises(UsageError) as refused:
        weight_scaling_inference(nn.Sequential(nn.Linear(1, 1)), 0.5)
    assert str(refused.value) == "an nn.Linear is scaled for inference; Sequential came: convert its linear layers one by one"
