"""What autograd's graph of a computed number shows: which leaves it reaches, and a block diagram of its operations."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from torchstone.core.errors import UsageError
from torchstone.parts.recurrence.diagram import Box, Diagram, drawn

# How operations are written; others keep torch's name.
_SIGNS = {"Add": "+", "Sub": "-", "Mul": "×", "Div": "÷"}


def reached(term: Tensor, **groups: nn.Module) -> dict[str, frozenset[str]]:
    """Of every group of parameters the names of those that gradients of `term` get to: where a path of the graph leads.

    Nothing is computed: autograd's graph of the term is walked. Raises UsageError where the term has no graph.
    Source: final exam, question D11b.
    """
    if term.grad_fn is None:
        message = "the term has no graph: compute it from parameters that require gradients, outside torch.no_grad()"
        raise UsageError(message)
    found, waiting, seen = set(), [term.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.add(id(leaf))
        waiting += [other for other, _ in node.next_functions if other is not None]
    return {
        group: frozenset(name for name, parameter in module.named_parameters() if id(parameter) in found)
        for group, module in groups.items()
    }


def diagram(title: str, output: Tensor, leaves: Mapping[str, Tensor], source: str, sink: str) -> Diagram:
    """The graph of a number that was computed from leaves, as boxes: the leaves, every operation, and the output.

    leaves, each requiring gradients, by their labels. `source` feeds the leaves with a label in lower case, `sink` is what the
    output feeds. Raises UsageError where a leaf takes no part.
    """
    boxes: dict[str, Box] = {"source": Box(source, 0, 0, tuple(f"leaf {label}" for label in leaves if label.islower()))}
    names: dict[Any, str] = {}
    for row, label in enumerate(leaves):
        boxes[f"leaf {label}"] = Box(label, 1, row)
    by_identity = {id(leaf): f"leaf {label}" for label, leaf in leaves.items()}

    def visit(node: Any) -> str:
        """The name of a node's box, made after those of the boxes that feed it; nothing where no leaf does."""
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            return by_identity.get(id(leaf), "")
        if node not in names:
            inputs = [name for other, _ in node.next_functions if other is not None and (name := visit(other))]
            if not inputs:
                return ""
            names[node] = f"operation {len(names)}"
            column = 1 + max(boxes[name].column for name in inputs)
            row = round(sum(boxes[name].row for name in inputs) / len(inputs))
            while any((box.column, box.row) == (column, row) for box in boxes.values()):
                row += 1
            boxes[names[node]] = Box(_sign(node.name()), column, row)
            for name in inputs:
                _feed(boxes, name, names[node])
        return names[node]

    last = visit(output.grad_fn) if output.grad_fn is not None else ""
    idle = [label for label in leaves if not boxes[f"leaf {label}"].into]
    if idle:
        message = f"{', '.join(idle)} takes no part in the output: give leaves that it was computed from, requiring gradients"
        raise UsageError(message)
    boxes["output"] = Box("z", boxes[last].column + 1, boxes[last].row, ("sink",))
    boxes["sink"] = Box(sink, boxes[last].column + 2, boxes[last].row)
    _feed(boxes, last, "output")
    return drawn(title, boxes)


def _feed(boxes: dict[str, Box], name: str, other: str) -> None:
    box = boxes[name]
    boxes[name] = Box(box.label, box.column, box.row, (*box.into, other))


def _sign(name: str) -> str:
    word = name.partition("Backward")[0]
    return _SIGNS.get(word, word.lower())
