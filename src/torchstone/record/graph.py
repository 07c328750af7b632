"""Walks over the autograd graph: what made a tensor, which parameters it depends on."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

Node = torch.autograd.graph.Node

# Nodes that move numbers without changing them: what a value *is* does not change along them.
_SHAPE_ONLY = frozenset({
    "Alias", "AsStrided", "Cat", "Clone", "Contiguous", "Copy", "Expand", "Index", "IndexSelect", "MaskedSelect",
    "Permute", "ReshapeAlias", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "Swapaxes", "T",
    "ToCopy", "Transpose", "Unbind", "UnsafeSplit", "UnsafeView", "Unsqueeze", "View", "MovedimBackward", "Gather",
})
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "NativeDropout", "LogSoftmax", "Tanh", "Where", "MaskedFill"})
_PRODUCTS = frozenset({"Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Mv", "Convolution", "CompiledFunction", "MkldnnLinear"})
NODE_LIMIT = 50_000


def operation(node: Node) -> str:
    """The operation of a node: `SoftmaxBackward0` is `softmax`."""
    return _stem(node).lower()


def _stem(node: Node) -> str:
    return node.name().rstrip("0123456789").removesuffix("Backward")


def _before(node: Node) -> Iterator[Node]:
    return (earlier for earlier, _ in node.next_functions if earlier is not None)


def makers(tensor: Tensor) -> set[str]:
    """The operations that made a tensor's numbers, changes of shape left out."""
    found: set[str] = set()
    waiting = [tensor.grad_fn] if tensor.grad_fn is not None else []
    seen: set[Node] = set()
    while waiting and len(seen) < 200:  # noqa: PLR2004 - a chain of shape changes is short
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if _stem(node) in _SHAPE_ONLY:
            waiting.extend(_before(node))
        else:
            found.add(operation(node))
    return found


def leaves(root: Tensor | Node | None, operations: Counter[str] | None = None) -> dict[int, Tensor]:
    """Every leaf that a backward pass from here reaches, by `id`; `operations` is told how often each of them is passed."""
    start = root.grad_fn if isinstance(root, Tensor) else root
    found: dict[int, Tensor] = {}
    waiting = [start] if start is not None else []
    seen: set[Node] = set()
    while waiting and len(seen) < NODE_LIMIT:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None) if node.name().endswith("AccumulateGrad") else None
        if variable is not None:
            found[id(variable)] = variable
        elif operations is not None:
            operations[operation(node)] += 1
        waiting.extend(_before(node))
    return found


def head_of(tensor: Tensor, outputs: frozenset[int]) -> Tensor | None:
    """The weights that logits are a product with: a leaf matrix with as many rows or columns as outputs.

    None where no such product is found, as for logits that compare two activations with each other, or
    whose weights are normalised first.
    """
    waiting = [tensor.grad_fn] if tensor.grad_fn is not None else []
    seen: set[Node] = set()
    while waiting and len(seen) < 200:  # noqa: PLR2004 - scaling, bias and views are few
        node = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        stem = _stem(node)
        if stem in _PRODUCTS:
            return next((leaf for leaf in _entering(node) if leaf.dim() > 1 and outputs & set(leaf.shape)), None)
        if stem in _SHAPE_ONLY or stem in _ELEMENTWISE:
            waiting.extend(_before(node))
    return None


def _entering(product: Node) -> Iterator[Tensor]:
    """The leaves that enter a product directly, changes of shape, type and scale left out."""
    waiting = list(_before(product))
    seen: set[Node] = set()
    while waiting and len(seen) < 200:  # noqa: PLR2004
        node = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        elif _stem(node) in _SHAPE_ONLY or (_stem(node) in {"Mul", "Div"} and len(list(_before(node))) == 1):
            waiting.extend(_before(node))  # scaled by a constant; two inputs would be a normalisation, or a gate
