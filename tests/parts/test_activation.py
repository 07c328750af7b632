"""The tanh twin of any stack of Linear and Sigmoid; LogLU at its poles."""

import copy

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import nn

from torchstone.core.errors import UsageError
from torchstone.laws.activation.twin import gradients_from_tanh_twin
from torchstone.parts.activation import Affine, LogLU, sigmoid_to_tanh

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def stack(draw):
    """Any order of layers, nested anyhow, with and without biases."""
    width = start = draw(st.integers(1, 4))
    layers = []
    for kind in draw(st.lists(st.sampled_from(["linear", "bare linear", "sigmoid", "open", "close"]), min_size=1, max_size=8)):
        if kind == "sigmoid":
            layers.append(nn.Sigmoid())
        elif kind in {"open", "close"}:
            layers = [nn.Sequential(*layers)] if kind == "open" else [*layers, nn.Sequential()]
        else:
            after = draw(st.integers(1, 4))
            layers.append(nn.Linear(width, after, bias=kind == "linear"))
            width = after
    if all(isinstance(layer, nn.Sequential) for layer in layers):
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers).double(), start


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_stack_and_its_twin_are_one_function_with_one_gradient(data):
    network, width = stack(data.draw)
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    twin = sigmoid_to_tanh(network)
    assert torch.equal(state, torch.get_rng_state()), "the conversion draws random numbers"
    assert not any(isinstance(module, nn.Sigmoid) for module in twin.modules())
    inputs = (3 * torch.randn(5, width, dtype=torch.float64)).requires_grad_()
    old, new = network(inputs), twin(inputs)
    torch.testing.assert_close(new, old, **EXACT)
    weights = torch.randn_like(old)
    (a,), (b,) = (torch.autograd.grad((value * weights).sum(), inputs) for value in (old, new))
    torch.testing.assert_close(b, a, **EXACT)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    shared = {p.data_ptr() for p in network.parameters()} & {p.data_ptr() for p in twin.parameters()}
    assert not shared, "the twin holds memory of the network"


def test_the_two_layer_map_in_plain_numbers():
    network = nn.Sequential(nn.Linear(1, 2), nn.Sigmoid(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), ([[2.0], [4.0]], [6.0, 8.0], [[10.0, 20.0]], [1.0]), strict=True):
            parameter.copy_(torch.tensor(value))
    found = [parameter.tolist() for parameter in sigmoid_to_tanh(network).parameters()]
    assert found == [[[1.0], [2.0]], [3.0, 4.0], [[5.0, 10.0]], [16.0]]


def test_biases_are_made_where_the_twin_needs_them_and_nowhere_else():
    linear = lambda i, o: nn.Linear(i, o, bias=False)
    twin = sigmoid_to_tanh(nn.Sequential(linear(2, 3), nn.Sigmoid(), linear(3, 4), linear(4, 2)))
    assert [twin[at].bias is not None for at in (0, 2, 3)] == [False, True, False]


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_by_the_weights_follow_the_map_without_biases_too(bias):
    network = nn.Sequential(*(m for i in range(3) for m in (nn.Linear(3, 3, bias=bias), nn.Sigmoid()))).double()
    twin = sigmoid_to_tanh(network)
    inputs, targets = torch.randn(7, 3, dtype=torch.float64), torch.rand(7, 3, dtype=torch.float64)
    for one in (network, twin):
        nn.functional.mse_loss(one(inputs), targets).backward()
    for at in (0, 2, 4):
        made = twin[at].bias.grad if twin[at].bias is not None else torch.zeros(3, dtype=torch.float64)
        weight, grad = gradients_from_tanh_twin(twin[at].weight.grad.tolist(), made.tolist(), after_sigmoid=at > 0, before_sigmoid=True)
        torch.testing.assert_close(network[at].weight.grad, torch.tensor(weight, dtype=torch.float64), **EXACT)
        if bias:
            torch.testing.assert_close(network[at].bias.grad, torch.tensor(grad, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_types_names_and_modes_are_kept(dtype):
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Sigmoid(), nn.Linear(4, 4)), nn.Sigmoid(), nn.Linear(4, 2)).to(dtype).eval()
    network[0].weight.requires_grad_(requires_grad=False)
    twin = sigmoid_to_tanh(network)
    assert list(twin.state_dict()) == list(network.state_dict())
    assert {p.dtype for p in twin.parameters()} == {dtype}
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in network.parameters()]
    assert all(p.is_leaf for p in twin.parameters())
    assert not any(module.training for module in twin.modules())
    assert {p.device.type for p in sigmoid_to_tanh(network.to("meta")).parameters()} == {"meta"}


@pytest.mark.gpu
def test_a_twin_lives_where_its_network_does():
    network = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2)).double().cuda()
    inputs = torch.randn(5, 3, dtype=torch.float64, device="cuda")
    torch.testing.assert_close(sigmoid_to_tanh(network)(inputs), network(inputs), **EXACT)


def test_far_inputs_saturate_alike():
    network = nn.Sequential(nn.Linear(1, 3), nn.Sigmoid(), nn.Linear(3, 2)).double()
    inputs = torch.tensor([[-1e300], [1e300], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(sigmoid_to_tanh(network)(inputs), network(inputs), **EXACT)


def test_a_twin_compiles_whole():
    network = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Sigmoid()).double()
    inputs = torch.randn(5, 3, dtype=torch.float64)
    compiled = torch.compile(sigmoid_to_tanh(network), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs), network(inputs), **EXACT)


class OwnForward(nn.Sequential):
    def forward(self, inputs):
        return super().forward(inputs) + 1


def hooked():
    network = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    network[1].register_forward_hook(lambda *_: None)
    return network


def tied():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2))
    network[2].weight = network[0].weight
    return network


ACCEPTED = "an nn.Sequential (nested ones too) of plain nn.Linear and nn.Sigmoid is accepted"


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Linear(1, 1), f"the network is Linear, which has no tanh twin here; {ACCEPTED}"),
        (nn.Sequential(), f"the network has no layers; {ACCEPTED}"),
        (nn.Sequential(nn.Sequential()), f"the network has no layers; {ACCEPTED}"),
        (nn.Sequential(nn.Linear(1, 1), nn.ReLU()), f"layer 1 of the network is ReLU, which has no tanh twin here; {ACCEPTED}"),
        (
            nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Sigmoid(), nn.Dropout())),
            f"layer 1.1 of the network is Dropout, which has no tanh twin here; {ACCEPTED}",
        ),
        (OwnForward(nn.Linear(1, 1)), f"the network is OwnForward, which has no tanh twin here; {ACCEPTED}"),
        (
            nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))),
            f"layer 0 of the network is ParametrizedLinear, which has no tanh twin here; {ACCEPTED}",
        ),
        (nn.Sequential(nn.LazyLinear(1)), f"layer 0 of the network is LazyLinear, which has no tanh twin here; {ACCEPTED}"),
        (hooked(), "layer 1 of the network has hooks, which its twin would not have; remove them before the conversion"),
        (tied(), "layer 0 of the network shares a parameter with another, whose twin would differ: give it a copy"),
        (nn.Sequential(*[nn.Linear(2, 2)] * 2), "layer 0 of the network shares a parameter with another, whose twin would differ: give it a copy"),
    ],
)
def test_what_has_no_twin_is_refused_by_name(network, said):
    with pytest.raises(UsageError) as refused:
        sigmoid_to_tanh(network)
    assert str(refused.value) == said


def test_one_sigmoid_used_at_two_places_is_a_layer_at_each():
    act = nn.Sigmoid()
    network = nn.Sequential(nn.Linear(2, 3), act, nn.Linear(3, 3), act).double()
    inputs = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(sigmoid_to_tanh(network)(inputs), network(inputs), **EXACT)


def test_log_lu_is_the_logarithm_and_selects_at_its_poles():
    inputs = torch.tensor([-1.0, 0.0, -0.0, 1.0, 4.0], dtype=torch.float64, requires_grad=True)
    values = LogLU()(inputs)
    assert values[:3].isneginf().all() and values[3:].tolist() == [0.0, torch.tensor(4.0, dtype=torch.float64).log().item()]
    values.sum().backward()
    assert inputs.grad.tolist() == [0.0, 0.0, 0.0, 1.0, 0.25]


def test_log_lu_of_nothing_and_of_what_is_no_number():
    assert LogLU()(torch.empty(0, 3)).shape == (0, 3)
    assert LogLU()(torch.tensor([float("nan")])).isnan().all()
    assert LogLU()(torch.tensor([float("inf")])).item() == float("inf")


def test_log_lu_has_the_gradient_that_it_says():
    assert torch.autograd.gradcheck(LogLU(), torch.tensor([0.5, 1.0, 7.0], dtype=torch.float64, requires_grad=True))


def test_the_shapes_that_the_signatures_state_are_checked():
    for module in (LogLU(), Affine(0.5, 0.5)):
        checked = jaxtyped(typechecker=beartype)(type(module).forward)
        assert checked(module, torch.ones(2, 3)).shape == (2, 3)
        with pytest.raises(TypeCheckError):
            checked(module, torch.ones(2, 3, dtype=torch.int64))


def test_an_affine_map_says_its_two_numbers():
    assert repr(Affine(0.5, 0.25)) == "Affine(scale=0.5, shift=0.25)"
    assert Affine(0.5, 0.25)(torch.tensor([2.0])).item() == 1.25


def test_what_is_no_network_is_refused():
    with pytest.raises(UsageError, match=r"takes a network; str came: an nn\.Sequential"):
        sigmoid_to_tanh("x")
