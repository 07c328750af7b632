"""What probes of gradients share: every product of a value with a weight, in the order in which they run."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record import graph, measure
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import flat_tensors, name_of
from torchstone.remedy.probes.window import Window

Arguments = tuple[object, ...]
Options = dict[str, object]
_LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
_PRODUCTS = {"matmul", "mm", "mv", "rmatmul", "einsum", "addmm", "addmv", "bmm", "baddbmm", "tensordot"}
_ADDING = {"addmm", "addmv", "baddbmm"}  # their first argument is added, not multiplied
_REACH = 400  # nodes between two products that follow each other: normalisation, gates, dropout and shapes are fewer


class Products(Window):
    """A window that is told of every product with a weight, and measures how far the optimizer then moves the weights."""

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._watcher: Watcher | None = None
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Operations show at the user's own granularity in eager mode only."""
        self._watcher = watcher
        replace(stack, torch, "compile", functools.partial(eager, stack))
        super().install(watcher, stack)

    def see(self, function: Callable[..., object], arguments: Arguments, options: Options) -> object:
        """Hand products with weights on; everything else runs as it is."""
        name = name_of(function)
        watching = torch.is_grad_enabled() and self._watcher is not None and not self._watcher.in_backward
        if not watching or torch.compiler.is_compiling():
            return function(*arguments, **options)
        found = factors(name, arguments, options)
        if found is None:
            return self.other(name, function, arguments, options)
        return self.product(function, arguments, options, *found)

    def product(
        self, function: Callable[..., object], arguments: Arguments, options: Options, value: Tensor, weight: Tensor
    ) -> object:
        """A product of a value with a weight, which is a leaf."""
        raise NotImplementedError

    def other(self, name: str, function: Callable[..., object], arguments: Arguments, options: Options) -> object:
        """Any other operation."""
        del name
        return function(*arguments, **options)

    def weights(self) -> Iterator[Tensor]:
        """The weights that were seen."""
        raise NotImplementedError

    def tell(self, watcher: Watcher) -> None:
        """Write down what was seen."""
        raise NotImplementedError

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """How the weights stand."""
        del watcher, optimizer
        if self._mode is not None:
            with measure.unseen():
                for weight in self.weights():
                    self._before.setdefault(id(weight), (weight, weight.detach().clone()))

    def after_step(self, watcher: Watcher) -> None:
        """Tell, once the window's step is over."""
        if self._mode is not None and watcher.step > self._last:
            watcher.emit(watcher.models.refresh(watcher.step))
            watcher.learn_reached()
            self.tell(watcher)
            self._before.clear()
        super().after_step(watcher)

    def moved(self, weight: Tensor) -> float:
        """By what share of its norm a weight was moved."""
        known = self._before.get(id(weight))
        if known is None:
            return 0.0
        with measure.unseen():
            old = known[1]
            change, size = measure.norms([weight.detach() - old, old])
        return change / size if size > 0 else 0.0


def eager(stack: ExitStack, original: Function) -> Function:
    """Compile as asked, and run uncompiled: what compiles is loaded only where the script itself compiles."""

    def compile_lazily(*arguments: object, **options: object) -> object:
        stack.enter_context(torch.compiler.set_stance("forceeager"))
        return original(*arguments, **options)

    return compile_lazily


def factors(name: str, arguments: Arguments, options: Options) -> tuple[Tensor, Tensor] | None:
    """The value and the weight of a product, if it is one with exactly one weight."""
    if name in _LAYERS:
        both = [*arguments[:2], *(options[key] for key in ("input", "weight") if key in options), None, None]
        value, weight = both[:2]
        if not (isinstance(value, Tensor) and isinstance(weight, Tensor)):
            return None
        plain = leaf(weight)
        known = plain if plain is not None else _made_from(weight)
        return (value, known) if known is not None else None
    if name not in _PRODUCTS:
        return None
    given = list(flat_tensors((arguments[1:] if name in _ADDING else arguments, options)))
    weights = [known for tensor in given if (known := leaf(tensor)) is not None and tensor.dim() > 1]
    values = [tensor for tensor in given if leaf(tensor) is None and tensor.is_floating_point()]
    return (values[0], weights[0]) if len(weights) == 1 and len(values) == 1 else None


def leaf(tensor: Tensor) -> Tensor | None:
    """The trainable leaf that a tensor is, or is all of in another shape."""
    for known in (tensor, tensor._base):  # noqa: SLF001 - there is no public way from a view to what it views
        if known is not None and known.is_leaf and known.requires_grad and known.numel() == tensor.numel():
            return known
    return None


def _made_from(weight: Tensor) -> Tensor | None:
    """The largest leaf that a computed weight is made from: normalised, masked or cast."""
    if weight.grad_fn is None:
        return None
    return max(graph.leaves(weight).values(), key=lambda one: one.numel(), default=None)


def follows(tensor: Tensor, node: graph.Node) -> bool:
    """Whether a value was made from what this node gave, a few operations later."""
    waiting = [tensor.grad_fn] if tensor.grad_fn is not None else []
    seen: set[graph.Node] = set()
    while waiting and len(seen) < _REACH:
        layer: list[graph.Node] = []
        for one in waiting:
            if one is node:
                return True
            if one not in seen:
                seen.add(one)
                layer.extend(earlier for earlier, _ in one.next_functions if earlier is not None)
        waiting = layer
    return False


def replaced(value: object, old: Tensor, new: Tensor) -> object:
    """The same nested arguments with one tensor in the place of another."""
    if value is old:
        return new
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(replaced(item, old, new) for item in value)
    return {key: replaced(item, old, new) for key, item in value.items()} if isinstance(value, dict) else value


def apart(value: Tensor) -> Tensor:
    """A copy whose gradient is that of this one use alone."""
    return value.clone() if value.requires_grad else value.detach().clone().requires_grad_()


def place() -> Place:
    """The user's line that called the operation."""
    return user_place(5)
