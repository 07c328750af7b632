"""Lanczos' iteration on real losses: the dense Hessian's extremes, in any number of tensors, and clear words where there is no Hessian."""

import math

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import nn

from torchstone.core.errors import UsageError
from torchstone.parts import HessianProduct, curvature, lanczos

DOUBLE = torch.float64


def mlp(dtype=DOUBLE, device="cpu", seed=0):
    source = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=DOUBLE).to(device, dtype)
    inputs = torch.randn(20, 3, generator=source, dtype=DOUBLE).to(device, dtype)
    labels = torch.randint(3, (20,), generator=source).to(device)
    return model, lambda: nn.functional.cross_entropy(model(inputs), labels), inputs, labels


def dense(model, inputs, labels):
    """The Hessian by torch.func on flat parameters."""
    named = dict(model.named_parameters())

    def loss(flat):
        pieces = flat.split([p.numel() for p in named.values()])
        given_ = {name: piece.view_as(p) for (name, p), piece in zip(named.items(), pieces, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, given_, (inputs,)), labels)

    return torch.func.jacrev(torch.func.jacrev(loss))(torch.cat([p.detach().reshape(-1) for p in named.values()]))


@pytest.mark.parametrize("seed", range(5))
def test_extremes_of_a_real_model_are_the_dense_hessians(seed):
    model, loss, inputs, labels = mlp(seed=seed)
    exact = torch.linalg.eigvalsh(dense(model, inputs, labels))
    found = curvature(loss, model.parameters(), iterations=38)
    assert found.largest == pytest.approx(exact[-1].item(), abs=1e-8)
    assert found.smallest == pytest.approx(exact[0].item(), abs=1e-8)
    assert found.divergence_threshold == pytest.approx(2 / exact[-1].item(), rel=1e-8)
    assert all((found.ritz_values[:, None] - exact).abs().amin(1) <= found.errors)


def test_power_iteration_on_the_products_finds_the_same_largest():
    model, loss, _, _ = mlp()
    product = HessianProduct(loss, model.parameters())
    vector = torch.ones(38, dtype=DOUBLE)
    for _ in range(2000):
        image = product(vector) + vector  # shifted: the largest in size is then the largest
        vector = image / image.norm()
    assert curvature(loss, model.parameters()).largest == pytest.approx((vector @ product(vector)).item(), abs=1e-8)


def test_products_are_columns_of_the_dense_hessian():
    model, loss, inputs, labels = mlp()
    product = HessianProduct(loss(), model.parameters())
    columns = torch.stack([product(column) for column in torch.eye(38, dtype=DOUBLE)])
    torch.testing.assert_close(columns, dense(model, inputs, labels), rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(0, 10**6))
def test_quadratics_of_any_spectrum(levels, seed):
    """Repeated, zero and negative eigenvalues; the errors tell the truth after any number of iterations."""
    exact = torch.tensor(levels, dtype=DOUBLE)
    source = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(levels), len(levels), generator=source, dtype=DOUBLE))
    point = torch.randn(len(levels), generator=source, dtype=DOUBLE).requires_grad_()
    loss = lambda: (exact * (basis.T @ point).square()).sum() / 2
    for iterations in (1, 2, len(levels)):
        found = curvature(loss, [point], iterations=iterations, generator=source)
        slack = 1e-9 * (1 + exact.abs().max().item())
        assert found.largest <= exact.max().item() + slack and found.smallest >= exact.min().item() - slack
        assert all((found.ritz_values[:, None] - exact).abs().amin(1) <= found.errors + slack)
    assert found.exhausted
    assert found.largest == pytest.approx(exact.max().item(), abs=1e-8)
    assert found.smallest == pytest.approx(exact.min().item(), abs=1e-8)


def test_reorthogonalisation_finds_no_eigenvalue_twice():
    """Without it, an isolated large eigenvalue comes back as a ghost after some forty iterations."""
    levels = torch.cat([torch.linspace(0, 1, 199, dtype=DOUBLE), torch.tensor([100.0], dtype=DOUBLE)])
    start = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    found = lanczos(lambda vector: levels * vector, start, 120)
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(120, dtype=DOUBLE), rtol=0, atol=1e-12)
    values, _ = found.ritz()
    assert int((values > 50).sum()) == 1


def test_several_tensors_of_several_types_on_one_loss():
    a = torch.ones(2, 2, dtype=torch.float32, requires_grad=True)
    b = torch.ones(3, dtype=DOUBLE, requires_grad=True)
    found = curvature((a.square().sum() * 2).double() + b.square().sum() / 2, [a, b])
    assert (found.smallest, found.largest) == pytest.approx((1, 4), abs=1e-6)
    assert found.ritz_values.dtype == DOUBLE


def test_unused_and_frozen_parameters():
    used, unused, frozen = (torch.ones(2, dtype=DOUBLE, requires_grad=grad) for grad in (True, True, False))
    found = curvature(lambda: used.square().sum() + (frozen**4).sum(), [used, unused, frozen])
    assert found.ritz_values.tolist() == pytest.approx([0, 2], abs=1e-12)
    assert not found.convex and found.condition_number == math.inf
    assert curvature(lambda: used.square().sum(), [used]).condition_number == pytest.approx(1)


def test_a_linear_loss_has_no_curvature_and_no_threshold():
    weight = torch.ones(3, requires_grad=True)
    found = curvature(lambda: (3 * weight).sum(), [weight])
    assert (found.smallest, found.largest, found.divergence_threshold) == (0, 0, math.inf)


def test_nothing_of_the_users_changes():
    model, loss, _, _ = mlp()
    loss().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    first, second = (curvature(loss, model.parameters()) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.ritz_values, second.ritz_values)
    assert all(torch.equal(old, parameter.grad) for old, parameter in zip(before, model.parameters(), strict=True))
    with torch.no_grad():
        assert curvature(loss, model.parameters()).largest == pytest.approx(first.largest)


def test_a_dropout_mask_is_the_same_for_every_product():
    weight = torch.ones(50, dtype=DOUBLE, requires_grad=True)
    found = curvature(lambda: nn.functional.dropout(weight.square(), 0.5).sum(), [weight])
    assert found.ritz_values.tolist() == pytest.approx([0, 4], abs=1e-9)


def test_the_threshold_is_where_gradient_descent_begins_to_diverge():
    source = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(30, width, generator=source, dtype=DOUBLE) for width in (4, 1))
    model = nn.Linear(4, 1).double()
    loss = lambda: nn.functional.mse_loss(model(inputs), targets)
    found = curvature(loss, model.parameters())
    rate, momentum, convergence = found.best("momentum")
    assert 0 < momentum < 1 and rate < found.divergence_threshold * (1 + momentum) and 0 < convergence < 1
    ends = []
    for factor in (0.99, 1.01):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        optimizer = torch.optim.SGD(model.parameters(), lr=factor * found.divergence_threshold)
        first = loss().item()
        for _ in range(600):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        ends.append(loss().item() / first)
    assert ends[0] < 1 < ends[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_agrees_within_its_rounding(dtype):
    model, loss, _, _ = mlp()
    exact = curvature(loss, model.parameters()).largest
    model, loss, _, _ = mlp(dtype)
    assert curvature(loss, model.parameters()).largest == pytest.approx(exact, rel=40 * torch.finfo(dtype).eps)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_cuda_finds_what_the_processor_finds(dtype):
    here, there = (mlp(dtype, device) for device in ("cpu", "cuda"))
    first, second = curvature(here[1], here[0].parameters()), curvature(there[1], there[0].parameters())
    tolerance = 1e3 * torch.finfo(dtype).eps
    assert (second.smallest, second.largest) == pytest.approx((first.smallest, first.largest), abs=tolerance)
    own = torch.Generator("cuda").manual_seed(0)
    assert curvature(there[1], there[0].parameters(), generator=own).largest == pytest.approx(first.largest, abs=tolerance)


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


def used_up():
    weight = torch.ones(2, requires_grad=True)
    loss = weight.square().sum()
    loss.backward()
    return loss, [weight]


def parameter():
    return torch.ones(2, requires_grad=True)


def attention():
    query = torch.ones(1, 2, 4, 8, requires_grad=True)
    return nn.functional.scaled_dot_product_attention(query, query, query).square().sum(), [query]


def with_one(make):
    weight = parameter()
    return make(weight), [weight]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (lambda: (parameter().sum(), []), "no parameter requires a gradient: there is no Hessian"),
        (lambda: with_one(lambda w: w), "a loss is one number in a tensor; shape (2,) came: reduce it"),
        (lambda: with_one(lambda w: lambda: 3.0), "a loss is one number in a tensor; float came"),
        (lambda: with_one(lambda w: w.detach().sum()), "the loss does not depend on any parameter that requires a gradient"),
        (lambda: (parameter().square().sum(), [parameter()]), "the loss uses none of these parameters"),
        (lambda: with_one(lambda w: (w * math.inf).sum()), "the loss is inf: curvature needs a finite one"),
        (lambda: with_one(lambda w: (w - 1).abs().sqrt().sum()), "the product with a vector is not finite at iteration 1"),
        (lambda: with_one(lambda w: OnceOnly.apply(w).sum()), "this loss cannot be differentiated twice: an autograd.Function in it is marked once_differentiable"),
        (used_up, "this loss cannot be differentiated twice: Trying to backward through the graph a second time"),
        (attention, "this loss cannot be differentiated twice: derivative for aten::_scaled_dot_product_flash_attention"),
        (lambda: (torch.ones(2, dtype=torch.complex64, requires_grad=True).abs().sum(), [torch.ones(2, dtype=torch.complex64, requires_grad=True)]), "curvature needs real floating-point parameters; torch.complex64 came"),
    ],
)
def test_what_has_no_hessian_is_refused_in_one_line(case, said):
    loss, parameters = case()
    with pytest.raises(UsageError) as refused:
        curvature(loss, parameters)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_no_iterations_no_start_no_convexity():
    weight = parameter()
    with pytest.raises(UsageError, match=r"^one iteration or more is needed; 0 came$"):
        curvature(weight.sum(), [weight], iterations=0)
    with pytest.raises(UsageError, match=r"starts from a finite, non-zero vector; one of norm 0\.0 came$"):
        lanczos(lambda vector: vector, torch.zeros(3), 2)
    saddle = curvature(lambda: weight[0].square() - weight[1].square(), [weight])
    with pytest.raises(UsageError, match=r"^the smallest curvature is -2 ± .*: a best learning rate needs positive ones; .*divergence_threshold = 1, which needs none$"):
        saddle.best()


def test_annotations_are_checked():
    checked = jaxtyped(typechecker=beartype)(lanczos)
    with pytest.raises(TypeCheckError):
        checked(lambda vector: vector, torch.ones(2, 2), 1)
    with pytest.raises(TypeCheckError):
        checked(lambda vector: vector, torch.ones(2, dtype=torch.int64), 1)


@pytest.mark.parametrize(("given", "said"), [
    (lambda model: model, r"one Sequential came: pass model\.parameters\(\)"),
    (lambda model: model[0].weight, "one Parameter came"),
    (lambda _model: None, "one NoneType came"),
    (lambda model: model.named_parameters(), "tuple came among them"),
])  # fmt: skip
def test_what_are_no_parameters_is_refused(given, said):
    model, loss, *_ = mlp()
    with pytest.raises(UsageError, match=said):
        curvature(loss, given(model))


@pytest.mark.parametrize(("product", "said"), [(lambda v: v[:-1], r"shape \(3,\); shape \(2,\) came"), (lambda _v: 1.0, "float came")])
def test_a_product_of_the_wrong_size_is_refused(product, said):
    with pytest.raises(UsageError, match=said):
        lanczos(product, torch.ones(3), 2)
