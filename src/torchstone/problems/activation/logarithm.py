"""A6: why a network with LogLU(x) = log(relu(x)) gives NaN at once, by watching every operation of a training step."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.core.quantity import Unit
from torchstone.laws.activation.logarithm import not_numbers_behind_log_relu
from torchstone.parts import LogLU
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, generator, value

POLES = (-40.0, -1.0, -1e-300, 0.0)
BATCH, INPUTS, HIDDEN, CLASSES = 16, 4, 8, 3


@dataclass(frozen=True)
class Birth:
    """An operation whose inputs held no NaN and whose output does."""

    place: str
    operation: str
    count: int


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own hook for subclasses
    """Sees every operation of torch, those of the backward pass too, and notes where NaN is born."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place, self.births = "", list[Birth]()

    def __torch_dispatch__(self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        del types
        given = list(_tensors((args, kwargs or {})))
        before = sum(int(tensor.isnan().sum()) for tensor in given)
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        born = sum(int(tensor.isnan().sum()) for tensor in _tensors(made))
        if born and not before and "empty" not in name:  # memory that nobody has written yet holds anything
            self.births.append(Birth(self.place, name, born))
        return made


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)


def _layers(*, one_sign: bool) -> tuple[nn.Linear, nn.Linear]:
    """The dense layers around LogLU, with torch's own distribution; `one_sign` makes the second's weights positive."""
    layers = nn.Linear(INPUTS, HIDDEN).double(), nn.Linear(HIDDEN, CLASSES).double()
    source = generator()
    with torch.no_grad():
        for layer in layers:
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=source)
        if one_sign:
            layers[1].weight.abs_()
    return layers


def _batch() -> tuple[Tensor, Tensor]:
    source = generator(1)
    inputs = torch.randn(BATCH, INPUTS, generator=source, dtype=torch.float64)
    return inputs, torch.randint(CLASSES, (BATCH,), generator=source)


def _step(first: nn.Linear, second: nn.Linear) -> tuple[Tensor, list[Birth]]:
    """One step of training on a random batch: what LogLU was given, and the births in order."""
    inputs, targets = _batch()
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
    with _Watch() as watch:
        watch.place = "the dense layer before LogLU"
        given = first(inputs)
        watch.place = "LogLU"
        values = LogLU()(given)
        watch.place = "the dense layer behind LogLU"
        outputs = second(values)
        watch.place = "the loss"
        loss = functional.cross_entropy(outputs, targets)
        watch.place = "the backward pass"
        torch.autograd.backward([loss])
        watch.place = "the optimizer's step"
        optimizer.step()
    return given.detach(), watch.births


@answers("A6")
def log_lu(posted: Posted) -> Answer:
    """What LogLU gives at its poles, what its derivative is there, and which operation makes the first NaN."""
    layers = _layers(one_sign=False)
    weight = layers[1].weight.tolist()
    given, births = _step(*layers)
    first = births[0]
    predicted = sum(not_numbers_behind_log_relu(row, weight) for row in given.tolist())
    law = "activation.not_numbers_behind_log_relu"
    later = _step(*_layers(one_sign=True))[1]
    return Answer(
        says=(_said_of_values(given), _said_of_derivatives(), _said_of_birth(first)),
        derivation=(
            "relu(x) = 0 for x <= 0, and log 0 = -inf: not NaN, and the gradient that torch gives to x there is 0",
            "the next layer adds w_kj (-inf): +inf for w < 0, -inf for w > 0, and inf - inf is NaN",
            "from there it reaches the loss, every gradient and, with one step, every weight",
        ),
        evidence=(
            *proved("activation.log_relu_poles", "activation.log_relu_gradient", "activation.log_relu_chain_rule", law),
            compared(law, predicted, first.count, how=f"first birth of NaN in a training step: {_told(births)}"),
            _without_forward_poles(),
        ),
        claims=tuple(_claims(posted, first)),
        remarks=(
            f"if all weights of the next layer have one sign, the first NaN is born later: {_told(later)}",
            "the division by zero alone, with 0 in place of -inf going forward, gives no NaN in torch (last evidence)",
        ),
    )


def _said_of_values(given: Tensor) -> str:
    values, poles = LogLU()(given), given <= 0
    numbers = " and ".join(f"{one:g}" for one in sorted(set(values[poles].tolist())))
    share = f"{int(poles.sum())} of {given.numel()} units of a first step, {int(values.isnan().sum())} of them NaN"
    return f"forward value: {numbers} for x <= 0 ({share})"


def _said_of_derivatives() -> str:
    reached = _gradient_at_poles()
    closed = f"1/relu(x) is {reached['log'][0]:g} for x <= 0, and the product H(x)/relu(x) is {_product(-1.0):g} for x < 0"
    return f"derivative: {closed}; torch selects instead of multiplying, and x gets {reached['input'][0]:g}"


def _said_of_birth(first: Birth) -> str:
    sums = f"{first.count} of {BATCH * CLASSES} outputs are NaN and no input was"
    return f"birth of NaN: in {first.operation} of {first.place}: {sums}; weights of both signs times -inf add up as inf - inf"


def _told(births: list[Birth]) -> str:
    return f"in {births[0].operation} of {births[0].place}" if births else "not in this step"


def _product(x: float) -> float:
    """The closed form of the derivative as a product of numbers."""
    point = torch.tensor(x, dtype=torch.float64)
    return (torch.heaviside(point, torch.tensor(0.5, dtype=torch.float64)) * torch.relu(point).reciprocal()).item()


def _gradient_at_poles() -> dict[str, list[float]]:
    """The gradient of the sum of LogLU, as it leaves the logarithm and as it arrives at the input."""
    inputs = torch.tensor(POLES, dtype=torch.float64, requires_grad=True)
    rectified = torch.relu(inputs)
    found = torch.autograd.grad(rectified.log().sum(), [rectified, inputs])
    return {"log": found[0].tolist(), "input": found[1].tolist()}


class _FiniteForward(torch.autograd.Function):
    """The logarithm with 0 in place of -inf going forward, and its true derivative, 1/0 at the poles, going backward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        return inputs.log().masked_fill(inputs == 0, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (inputs,) = ctx.saved_tensors
        return gradients[0] / inputs


def _without_forward_poles() -> Evidence:
    """The counterfactual: the division by zero kept, -inf taken out. NaN among the gradients of the same training step."""
    first, second = _layers(one_sign=False)
    inputs, targets = _batch()
    loss = functional.cross_entropy(second(_FiniteForward.apply(torch.relu(first(inputs)))), targets)  # type: ignore[no-untyped-call]
    gradients = torch.autograd.grad(loss, [*first.parameters(), *second.parameters()])
    born = sum(int(gradient.isnan().sum()) for gradient in gradients)
    how = "NaN in the gradients if only the derivative divides by zero"
    return compared("activation.log_relu_gradient", 0, born, how=how, unit=Unit.COUNT)


def _claims(posted: Posted, first: Birth) -> Iterator[Claim]:
    """A claimed operation at the poles is held by what it gives: not finite, as torch's own value is or is not."""
    forward = LogLU()(torch.tensor(POLES, dtype=torch.float64))
    values = {"forward value": forward.tolist(), "derivative": _gradient_at_poles()["log"]}
    for about, reached in values.items():
        if about in posted.claims:
            expression = str(posted.claims[about])
            claim, poles = sum(_is_pole(expression, x) for x in POLES), sum(not math.isfinite(one) for one in reached)
            said = f"at x in {POLES} torch gives {reached}, not finite {poles} times; {expression} is so {claim} times"
            yield Claim(about, compared("activation.log_relu_poles", claim, poles, how=f"{expression} at x in {POLES}"), said)
    if "birth of NaN" in posted.claims:
        same = int(posted.claims["birth of NaN"] == first.operation)
        said = f"the first operation that makes NaN of numbers is {first.operation} of {first.place}"
        yield Claim("birth of NaN", compared("activation.log_relu_poles", 1, same, how=said), said)


def _is_pole(expression: str, x: float) -> bool:
    return not math.isfinite(value(expression, x=x))
