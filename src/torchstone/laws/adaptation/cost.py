"""What a meta step costs in arithmetic and in memory, for stacks of linear layers with elementwise activations between them."""

import itertools
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.adaptation.meta import Method, check_method


def _matrices(widths: Sequence[int], *sizes: int) -> list[int]:
    """Entries of each weight of a stack of these widths, inputs first."""
    if len(widths) < 2 or min(*widths, *sizes) < 1:  # noqa: PLR2004 - inputs and outputs
        message = f"a stack has two widths or more, and sizes are 1 or more; {list(widths)} and {sizes} came"
        raise InvariantError(message)
    return [one * other for one, other in itertools.pairwise(widths)]


@law(
    "adaptation.gradient_evaluations",
    Kind.COST,
    Unit.COUNT,
    assumes=("the loss behind the inner steps is on data of its own, but for Reptile, which has none",),
    sources=("Finn, Abbeel and Levine 2017, algorithm 1", "Nichol, Achiam and Schulman 2018, algorithm 1"),
)
def gradient_evaluations(method: Method, steps: int, tasks: int = 1) -> tuple[int, int]:
    """A meta step of n tasks and k inner steps takes n (k + 1) gradients, Reptile n k; MAML also differentiates n k of them again.

    The second number is of products of a Hessian with a vector, each about two gradients' worth.

    >>> gradient_evaluations("maml", 10, tasks=25), gradient_evaluations("reptile", 10, tasks=25)
    ((275, 250), (250, 0))
    """
    check_method(method)
    _matrices([1, 1], steps, tasks)
    return tasks * (steps + (method != "reptile")), tasks * steps * (method == "maml")


@law(
    "adaptation.meta_step_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=(
        "a multiply-add is 2 FLOP, matrix products alone are counted",
        "the loss behind the inner steps is on as many examples as those",
        "inputs need no gradient",
    ),
    sources=("three products a layer and gradient, one fewer at the inputs; each product in a graph is two in its backward",),
)
def meta_step_flops(method: Method, widths: Sequence[int], examples: int, steps: int, tasks: int = 1) -> int:
    """A gradient is g = 3P - P₁ products, P entries of all weights and P₁ of the first; Reptile takes k g, first order (k+1) g.

    MAML takes k (g + 6P - 4P₁) + g, times 2 b n FLOP for b examples and n tasks: about three times Reptile's for P₁ << P.

    >>> one = {"widths": [1, 40, 40, 1], "examples": 10, "steps": 10, "tasks": 25}
    >>> round(meta_step_flops("maml", **one) / meta_step_flops("reptile", **one), 2)
    3.08
    """
    check_method(method)
    matrices = _matrices(widths, examples, steps, tasks)
    whole, first = sum(matrices), matrices[0]
    gradient = 3 * whole - first
    again = 6 * whole - 4 * first if method == "maml" else 0
    return 2 * examples * tasks * (steps * (gradient + again) + (method != "reptile") * gradient)


@law(
    "adaptation.inner_step_memory",
    Kind.COST,
    Unit.ELEMENTS,
    assumes=("rectifiers between the layers and a mean squared error", "nothing is computed again in the backward"),
    sources=("what the products of a step keep for their backward: the first layer's weight and its gradient are not among them",),
)
def inner_step_memory(method: Method, widths: Sequence[int], examples: int, tasks: int = 1) -> int:
    """Each further inner step makes MAML keep n (P - P₁ + b (Σ hidden widths + Σ widths behind the first hidden)) more numbers.

    P entries of all weights, P₁ of the first; b examples, n tasks: weights, what enters them, gradients of what leaves them. First
    order and Reptile keep none of it: their memory does not grow with the inner steps.

    >>> inner_step_memory("maml", [1, 40, 40, 1], examples=10, tasks=25), inner_step_memory("reptile", [1, 40, 40, 1], 10, 25)
    (71250, 0)
    """
    check_method(method)
    matrices = _matrices(widths, examples, tasks)
    entering, gradients = sum(widths[1:-1]), sum(widths[2:])
    return (method == "maml") * tasks * (sum(matrices[1:]) + examples * (entering + gradients))
