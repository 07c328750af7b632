"""One row of a table buys a part all of its tests.

    ROWS = [Row("separable", DepthwiseSeparableConv2d, lambda cls: cls(4, 6, 3), reference, inputs, shape, parameters=66)]
    test_part = part_tests(ROWS)

Each row is held to: the reference forward and backward, float64 gradcheck, the laws of shape, count and cost, lower precisions, an empty
batch, the state dict's round trip, torch.compile, its own annotations, and the same numbers on CUDA where there is one.
"""

import inspect
import io
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

BATCH = 2
# Roundings that may add up in a small sample: 16 of the type's epsilon, at the largest value.
ROUNDINGS = 16


@dataclass(frozen=True)
class Row:
    """What the suite must know of a part.

    `public` is the class or function; `build(public)` makes a module, or a function of tensors alone. `reference(part)` is the same
    function made in an obviously right way out of the part's own parameters. `inputs(batch)` are random float64 tensors, the first one's
    axis 0 being the batch. `shape(*shapes)` is the law of the output's shape; `parameters` and `flops` (of one forward, batch 2) are
    numbers from laws. `without` names checks that do not apply, each with its reason.
    """

    name: str
    public: Callable
    build: Callable[[Callable], Callable]
    reference: Callable[[Callable], Callable]
    inputs: Callable[[int], Sequence[Tensor]]
    shape: Callable[..., Sequence[int]]
    parameters: int = 0
    flops: int | None = None
    without: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        unknown = set(self.without) - set(CHECKS)
        assert not unknown, f"{self.name} does without {unknown}; there are {sorted(CHECKS)}"

    def part(self, dtype=torch.float64, public=None):
        torch.manual_seed(0)
        made = self.build(public or self.public)
        return made.to(dtype) if isinstance(made, nn.Module) else made

    def sample(self, batch=BATCH, dtype=torch.float64):
        torch.manual_seed(1)
        return [x.to(dtype) if x.is_floating_point() else x for x in self.inputs(batch)]


CHECKS: dict[str, Callable[[Row], None]] = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def part_tests(rows):
    """One test for every row and check that goes with it, to be bound to a name that pytest collects."""
    cases = [
        pytest.param(row, name, id=f"{row.name}-{name}", marks=[pytest.mark.gpu] if name == "cuda" else [])
        for row in rows
        for name in CHECKS
        if name not in row.without
    ]

    @pytest.mark.parametrize(("row", "name"), cases)
    def test_part(row, name):
        CHECKS[name](row)

    return test_part


def parameters(part):
    return dict(part.named_parameters()) if isinstance(part, nn.Module) else {}


def both_ways(part, function, inputs):
    """The output, and gradients of a fixed random sum of it by every floating input and parameter."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    output = function(*leaves)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = [x for x in leaves if x.requires_grad] + list(parameters(part).values())
    gradients = torch.autograd.grad((output * weights.to(output)).sum(), wanted)
    return [output.detach(), *gradients]


def close(found, wanted, epsilon):
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        what = "the output" if number == 0 else f"gradient {number}"
        assert one.shape == other.shape, f"{what} is {tuple(one.shape)}, not {tuple(other.shape)}"
        one, other = one.double().cpu(), other.double().cpu()
        allowed = ROUNDINGS * epsilon * max(1.0, other.abs().max().item() if other.numel() else 0.0)
        error = (one - other).abs().max().item() if other.numel() else 0.0
        assert error <= allowed, f"{what} is off by {error:.3g}, allowed {allowed:.3g}"  # NaN is not <= either


@check
def equals_the_reference_forward_and_backward(row):
    part = row.part()
    inputs = row.sample()
    before = [x.clone() for x in inputs]
    part(*inputs)
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True)), "the part writes into its inputs"
    close(both_ways(part, part, inputs), both_ways(part, row.reference(part), inputs), torch.finfo(torch.float64).eps * 16)


@check
def gradcheck(row):
    part, inputs = row.part(), row.sample()
    names = list(parameters(part))

    def function(*tensors):
        x, values = tensors[: len(inputs)], tensors[len(inputs) :]
        return torch.func.functional_call(part, dict(zip(names, values, strict=True)), x) if names else part(*x)

    tensors = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in (*inputs, *parameters(part).values())]
    assert torch.autograd.gradcheck(function, tensors)


@check
def shape_and_count_laws(row):
    part = row.part()
    for batch in (1, BATCH, 3):
        inputs = row.sample(batch)
        came, law = tuple(part(*inputs).shape), tuple(row.shape(*(x.shape for x in inputs)))
        assert came == law, f"the output is {came}, the law says {law}"
    counted = sum(value.numel() for value in parameters(part).values())
    assert counted == row.parameters, f"{counted} parameters, the law says {row.parameters}"


@check
def cost_law(row):
    if row.flops is not None:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            row.part()(*row.sample())
        came = counter.get_total_flops()
        assert came == row.flops, f"{came} FLOP, the law says {row.flops}"


@check
def lower_precisions(row):
    exact = row.part()
    wanted = both_ways(exact, exact, row.sample())
    for dtype in (torch.float32, torch.bfloat16):
        part, inputs = row.part(dtype), row.sample(dtype=dtype)
        found = both_ways(part, part, inputs)
        assert {one.dtype for one in found} == {dtype}
        assert all(one.isfinite().all() for one in found)
        close(found, wanted, torch.finfo(dtype).eps)


@check
def empty_batch(row):
    part, inputs = row.part(), row.sample(0)
    output, *gradients = both_ways(part, part, inputs)
    law = tuple(row.shape(*(x.shape for x in inputs)))
    assert tuple(output.shape) == law, f"the output of an empty batch is {tuple(output.shape)}, the law says {law}"
    assert not any(one.any() for one in gradients), "an empty batch has a gradient"


@check
def state_dict_round_trip(row):
    part = row.part()
    if not isinstance(part, nn.Module):
        return
    stored = io.BytesIO()
    torch.save(part.state_dict(), stored)
    stored.seek(0)
    torch.manual_seed(3)
    other = row.build(row.public).double()
    other.load_state_dict(torch.load(stored, weights_only=True), strict=True)
    assert torch.equal(part(*row.sample()), other(*row.sample())), "the stored state is not the whole part"


@check
def compiles(row):
    part = row.part()
    torch._dynamo.reset()
    compiled = torch.compile(part, backend="aot_eager", fullgraph=True)
    close(both_ways(part, compiled, row.sample()), both_ways(part, part, row.sample()), torch.finfo(torch.float64).eps)


@check
def annotations(row):
    """Every tensor that comes in or goes out has its shape stated, and it is true of the sample."""
    public = row.public
    function = public.forward if inspect.isclass(public) else public
    plain = [name for name, hint in typing.get_type_hints(function).items() if hint is Tensor]
    assert not plain, f"{row.name}: {plain} are plain tensors; state the shapes with jaxtyping"
    typed = jaxtyped(typechecker=beartype)(function)
    made = type(public.__name__, (public,), {"forward": typed}) if inspect.isclass(public) else typed
    row.part(public=made)(*row.sample())


@check
def one_device(row):
    """Fake tensors know their device: that a part mixes the CPU with another one shows without a card."""
    part, inputs = row.part(torch.float32), row.sample(dtype=torch.float32)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:

        def there(tensor, *, leaf):
            return mode.from_tensor(tensor.detach()).to("meta").requires_grad_(leaf)

        leaves = [there(x, leaf=x.is_floating_point()) for x in inputs]
        wanted = [x for x in leaves if x.requires_grad]
        if isinstance(part, nn.Module):
            own = {name: there(x, leaf=x.requires_grad) for name, x in part.state_dict(keep_vars=True).items()}
            output = torch.func.functional_call(part, own, tuple(leaves))
            wanted += [x for x in own.values() if x.requires_grad]
        else:
            output = part(*leaves)
        found = [output, *torch.autograd.grad(output.sum(), wanted)]
    assert {one.device.type for one in found} == {"meta"}


@check
def cuda(row):
    part, inputs = row.part(torch.float32), row.sample(dtype=torch.float32)
    wanted = both_ways(part, part, inputs)
    there = part.cuda() if isinstance(part, nn.Module) else part
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = both_ways(there, there, [x.cuda() for x in inputs])
    assert all(one.is_cuda for one in found)
    close(found, wanted, torch.finfo(torch.float32).eps * 16)
