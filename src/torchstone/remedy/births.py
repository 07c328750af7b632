"""Where a value that is not finite was born: a small graph of the operations that such values went through."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.core.looks import NonFiniteBorn
from torchstone.core.place import Place
from torchstone.core.quantity import format_number
from torchstone.record import graph, measure
from torchstone.record.source import shown

_LIMIT = 5_000
# Operators as a reader of the source would name them.
_SPOKEN = {
    "truediv": "div", "true_divide": "div", "rtruediv": "reciprocal", "rdiv": "reciprocal", "mul": "mul", "rmul": "mul",
    "radd": "add", "iadd": "add", "rsub": "sub", "matmul": "matmul", "rpow": "pow", "ipow": "pow",
}


def name_of(function: Callable[..., object]) -> str:
    """`Tensor.log`, `torch.log` and `F.log_softmax` as log, log and log_softmax; `/` as div; a property by its name."""
    name = getattr(function, "__name__", str(function))
    if name in {"__get__", "__set__"}:
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    bare = name.strip("_") if name.startswith("__") else name.rstrip("_")
    return _SPOKEN.get(bare, bare)


def flat_tensors(value: object, depth: int = 4) -> Iterator[Tensor]:
    """Every tensor in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from flat_tensors(item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in value:
            yield from flat_tensors(item, depth - 1)


@dataclass(frozen=True, slots=True)
class State:
    """Whether a tensor holds NaN, and whether it holds an infinity."""

    nan: bool = False
    infinite: bool = False
    mask: bool = True  # nothing but finite values and -inf, which is how attention masks are written

    def __bool__(self) -> bool:
        return self.nan or self.infinite

    def __or__(self, other: "State") -> "State":
        return State(self.nan or other.nan, self.infinite or other.infinite, self.mask and other.mask)

    def __str__(self) -> str:
        return "NaN" if self.nan else "an infinity"


def state_of(tensor: Tensor) -> State:
    """Looks at every element."""
    if not measure.is_plain(tensor) or not (tensor.is_floating_point() or tensor.is_complex()):
        return State()
    values = tensor.detach()
    if bool(torch.isfinite(values).all()):
        return State()
    nan, infinite = bool(torch.isnan(values).any()), bool(torch.isinf(values).any())
    return State(nan, infinite, mask=not nan and not tensor.is_complex() and not bool(torch.isposinf(values).any()))


@dataclass(slots=True)
class Operation:
    """An operation that took in or gave out a value that is not finite."""

    name: str
    place: Place
    module: str
    parents: tuple[int, ...]
    before: State
    after: State
    inputs: tuple[str, ...]
    constant: bool
    leaf: str
    largest: float


@dataclass(frozen=True, slots=True)
class Before:
    """What was known just before an operation ran."""

    state: State
    parents: tuple[int, ...]
    inputs: tuple[str, ...]
    constant: bool
    parameter: bool
    largest: float


class Births:
    """Follows values that are not finite through one step."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._made_by: dict[int, int] = {}
        self._kept: list[Tensor] = []
        self._labels: dict[graph.Node, tuple[str, Place, str, tuple[str, ...], float]] = {}
        self.born_in_backward: tuple[graph.Node, State] | None = None
        self._followers: dict[graph.Node, graph.Node] = {}

    def clear(self) -> None:
        """Forget the step."""
        self.__init__()  # type: ignore[misc]

    def look(self, arguments: tuple[object, ...], options: dict[str, object]) -> Before:
        """Look at the inputs of an operation that is about to run."""
        state, parents, parameter = State(), [], False
        tensors = list(flat_tensors((arguments, options)))
        for tensor in tensors:
            mine = state_of(tensor)
            if mine:
                parameter |= isinstance(tensor, torch.nn.Parameter)
                if id(tensor) in self._made_by:
                    parents.append(self._made_by[id(tensor)])
            state |= mine
        ranges = tuple(_range_of(t) for t in tensors[:3])
        largest = max((_largest(t) for t in tensors), default=0.0)
        return Before(state, tuple(parents), ranges, _has_infinity((arguments, options)), parameter, largest)

    def note(
        self, name: str, place: Place, module: str, before: Before, arguments: tuple[object, ...], result: object
    ) -> None:
        """Look at what came out, and keep the operation if anything in it is not finite."""
        outputs = list(flat_tensors(result))
        if result is None:  # x[i] = y and the like write into their first argument
            outputs = list(flat_tensors(arguments[:1]))
        after = State()
        bad: list[Tensor] = []
        for tensor in outputs:
            mine = state_of(tensor)
            after |= mine
            if mine:
                bad.append(tensor)
            if tensor.grad_fn is not None:
                self._labels.setdefault(tensor.grad_fn, (name, place, module, before.inputs, before.largest))
        if not bad or len(self._operations) >= _LIMIT:
            return
        leaf = "parameter" if before.parameter else ("data" if before.state and not before.parents else "")
        self._operations.append(
            Operation(
                name, place, module, before.parents, before.state, after, before.inputs, before.constant, leaf, before.largest
            )
        )
        for tensor in bad:
            self._made_by[id(tensor)] = len(self._operations) - 1
            self._kept.append(tensor)  # a live tensor's id is its own

    def origin_of(self, root: Tensor, step: int) -> NonFiniteBorn | None:
        """Walk back from a loss to the operation that its value was born in."""
        index = self._made_by.get(id(root))
        if index is None:
            return None
        last = self._operations[index]
        found = self._walk(index)
        operation = self._operations[found]
        kind = "forward" if _is_birth(operation) else operation.leaf or "forward"
        return NonFiniteBorn(
            step, kind, operation.name, str(operation.after), operation.place, operation.module, operation.inputs,
            operation.largest, last.name, last.place,
        )

    def _walk(self, index: int) -> int:
        """NaN is followed to where it first appears; an infinity that fed it likewise, unless it was put in on purpose."""
        births: list[int] = []
        waiting, seen = [index], set()
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            operation = self._operations[current]
            waiting.extend(operation.parents)
            brought = operation.leaf and operation.before and (operation.leaf == "parameter" or not operation.before.mask)
            if _is_birth(operation) or brought:
                births.append(current)
        return min(births, default=min(seen))

    def watch_backward(self, root: graph.Node) -> None:
        """Put a hook on every node, to catch the first that returns a value that is not finite for finite ones."""
        waiting, seen = [root], {root}
        while waiting and len(seen) < graph.NODE_LIMIT:
            node = waiting.pop()
            node.register_hook(self._hook(node))
            for earlier, _ in node.next_functions:
                if earlier is not None and earlier not in seen:
                    seen.add(earlier)
                    self._followers[earlier] = node
                    waiting.append(earlier)

    def _hook(self, node: graph.Node) -> Callable[[tuple[Tensor | None, ...], tuple[Tensor | None, ...]], None]:
        def look(returned: tuple[Tensor | None, ...], given: tuple[Tensor | None, ...]) -> None:
            if self.born_in_backward is not None:
                return
            with measure.unseen():
                bad = [state for t in returned if t is not None and (state := state_of(t))]
                if bad and not any(state_of(t) for t in given if t is not None):
                    self.born_in_backward = (node, bad[0])

        return look

    def backward_birth(self, step: int) -> NonFiniteBorn | None:
        """The birth that the hooks caught, named by the user's operation that its node belongs to."""
        if self.born_in_backward is None:
            return None
        node, state = self.born_in_backward
        function = getattr(node, "_forward_cls", None)
        if function is not None:  # a torch.autograd.Function of the user's: its own backward is the place
            code = function.backward.__code__
            place = Place(shown(code.co_filename), code.co_firstlineno)
            return NonFiniteBorn(step, "backward", function.__name__, str(state), place)
        label = self._labels.get(node)
        follower: graph.Node | None = node
        while label is None and follower is not None:
            follower = self._followers.get(follower)
            label = self._labels.get(follower) if follower is not None else None
        name, place, module, inputs, largest = label or (graph.operation(node), Place(), "", (), 0.0)
        return NonFiniteBorn(step, "backward", name, str(state), place, module, inputs, largest)


def _is_birth(operation: Operation) -> bool:
    new_nan = operation.after.nan and not operation.before.nan
    return new_nan or (operation.after.infinite and not operation.before and not operation.constant)


def _has_infinity(value: object, depth: int = 3) -> bool:
    if isinstance(value, float):
        return math.isinf(value)
    if depth and isinstance(value, list | tuple):
        return any(_has_infinity(item, depth - 1) for item in value)
    return bool(depth and isinstance(value, Mapping) and any(_has_infinity(item, depth - 1) for item in value.values()))


def _largest(tensor: Tensor) -> float:
    if not measure.is_plain(tensor) or tensor.numel() == 0 or not tensor.is_floating_point():
        return 0.0
    return float(torch.nan_to_num(tensor.detach(), 0.0, 0.0, 0.0).abs().max())


def _range_of(tensor: Tensor) -> str:
    if not measure.is_plain(tensor) or tensor.numel() == 0 or tensor.dtype == torch.bool or tensor.is_complex():
        return f"{tuple(tensor.shape)}"
    low, high = tensor.detach().aminmax()
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{shape} in [{format_number(float(low))}, {format_number(float(high))}]"
