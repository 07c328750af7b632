"""Walks over the autograd graph: what made a tensor, which parameters it depends on."""

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


def leaves(root: Tensor | Node | None, limit: int = NODE_LIMIT) -> dict[int, Tensor]:
    """Every leaf that a backward pass from here reaches, by `id`."""
    start = root.grad_fn if isinstance(root, Tensor) else root
    found: dict[int, Tensor] = {}
    waiting = [start] if start is not None else []
    seen: set[Node] = set()
    while waiting and len(seen) < limit:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None) if node.name().endswith("AccumulateGrad") else None
        if variable is not None:
            found[id(variable)] = variable
        waiting.extend(_before(node))
    return found


def nearest_matrix(tensor: Tensor, classes: int) -> Tensor | None:
    """The nearest leaf matrix with `classes` rows or columns that a tensor is a product with: a head's weight."""
    level = [tensor.grad_fn] if tensor.grad_fn is not None else []
    for _ in range(16):  # a head is a few nodes away: scaling, bias, views, the transpose
        following: list[Node] = []
        for node in level:
            variable = getattr(node, "variable", None)
            if isinstance(variable, Tensor) and variable.dim() == 2 and classes in variable.shape:  # noqa: PLR2004
                return variable
            following.extend(_before(node))
        level = following[:64]
    return None
