"""Random draws followed through a step: where x + b e was formed, e being one draw, and what the factors were looked up in."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record import measure
from torchstone.record.source import user_place
from torchstone.remedy.births import flat_tensors, name_of

Arguments = tuple[object, ...]
Options = dict[str, object]
Factor = Tensor | float
_LIMIT = 2_000  # values known of one step
_DRAWS = {"randn", "randn_like", "normal", "rand", "rand_like", "uniform"}
_SHAPES = {
    "to", "type", "float", "double", "half", "bfloat16", "cpu", "cuda", "view", "reshape", "unsqueeze", "squeeze", "expand",
    "expand_as", "contiguous", "detach", "clone", "flatten", "view_as", "type_as", "broadcast_to", "requires_grad",
}
_INDEXING = {"getitem", "gather", "index_select", "take"}
_UNARY = {
    "sqrt", "rsqrt", "square", "pow", "exp", "log", "neg", "sub", "rsub", "mul", "rmul", "div", "clamp", "cos", "sin", "sigmoid",
    "reciprocal",
}
_PRODUCTS, _SUMS = {"mul", "rmul", "multiply", "imul"}, {"add", "radd", "iadd"}


@dataclass(frozen=True, eq=False)
class Draw:
    """Random numbers as they came. value, version: to know whether they were written over since."""

    function: str
    place: Place
    value: Tensor
    version: int

    @property
    def untouched(self) -> bool:
        """Whether the numbers are still those drawn."""
        return self.value._version == self.version  # noqa: SLF001 - the only record of writing


@dataclass(frozen=True, eq=False)
class Scaled:
    """A draw times a factor. noise: the draw in the shape in which it was scaled."""

    draw: Draw
    noise: Tensor
    factor: Factor


@dataclass(frozen=True, eq=False)
class Product:
    """A value times a factor that has no more numbers than it."""

    factor: Tensor
    value: Tensor


@dataclass(frozen=True, eq=False)
class Table:
    """What was looked up in a table of one axis, with everything done since done to the whole table."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Mixed:
    """base + factor e. product: what the base was made of, if it was one; table: what its factor was looked up in."""

    base: Tensor
    scaled: Scaled
    result: Tensor
    place: Place
    product: Product | None
    table: Table | None


class Draws:
    """What is known of the values of one step."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, object]] = {}
        self._origin: dict[int, tuple[Tensor, Tensor]] = {}
        self.mixed: list[Mixed] = []

    def of(self, value: object) -> object:
        """What is known of a value: a draw, a product, a look-up; None if nothing."""
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0] is value else None

    def origin(self, value: Tensor) -> Tensor:
        """The tensor that a value is all of, in the same shape."""
        known = self._origin.get(id(value))
        return self.origin(known[1]) if known is not None and known[0] is value and known[1] is not value else value

    def note(self, function: Callable[..., object], arguments: Arguments, options: Options, result: object) -> None:
        """An operation has run."""
        name = name_of(function)
        if not isinstance(result, Tensor):
            if name == "broadcast_tensors" and isinstance(result, tuple | list):
                for old, new in zip(flat_tensors(arguments), flat_tensors(result), strict=False):
                    self._carried(old, new)
            return
        if not measure.is_plain(result) or len(self._known) > _LIMIT:
            return
        found = self._found(name, function, arguments, options, result)
        if found is not None:
            self._known[id(result)] = (result, found)
        elif name in _SHAPES and arguments and isinstance(arguments[0], Tensor):
            self._carried(arguments[0], result)
        elif any(result is one for one in arguments):
            self._known.pop(id(result), None)  # written over

    def _carried(self, old: Tensor, new: Tensor) -> None:
        known = self.of(old)
        if known is not None and new.numel() >= old.numel() and not isinstance(known, Product):
            self._known[id(new)] = (new, known)
        if new is not old and new.shape == old.shape and new.requires_grad and new.dtype == old.dtype:
            self._origin[id(new)] = (new, old)

    def _found(
        self, name: str, function: Callable[..., object], arguments: Arguments, options: Options, result: Tensor
    ) -> object:
        if name in _DRAWS and result.is_floating_point() and not result.requires_grad:
            return Draw(name, user_place(5), result, result._version)  # noqa: SLF001
        if name in _INDEXING and not result.requires_grad:
            return self._looked_up(arguments)
        if name == "addcmul":
            self._summed(arguments[0], self._product(arguments[1:3], result), result)
            return None
        given = (*arguments, *(options[key] for key in ("other",) if key in options))
        tensors = [one for one in given if isinstance(one, Tensor)]
        if name in _UNARY and len(tensors) == 1 and isinstance(known := self.of(tensors[0]), Table):
            return self._on_table(function, arguments, options, tensors[0], known)
        if name in _PRODUCTS and len(given) == 2:  # noqa: PLR2004
            return self._product(given, result)
        if name in _SUMS and len(given) == 2 and "alpha" not in options:  # noqa: PLR2004
            self._summed(given[0], self.of(given[1]), result)
            self._summed(given[1], self.of(given[0]), result)
        return None

    def _looked_up(self, arguments: Arguments) -> Table | None:
        table = arguments[0] if arguments else None
        if not isinstance(table, Tensor) or table.dim() != 1 or not table.is_floating_point() or len(table) < 2:  # noqa: PLR2004
            return None
        index = arguments[-1]
        whole = (isinstance(index, Tensor) and not index.is_floating_point() and index.dtype != torch.bool) or type(index) is int
        return Table(table.detach()) if whole else None

    def _on_table(
        self, function: Callable[..., object], arguments: Arguments, options: Options, looked_up: Tensor, table: Table
    ) -> Table | None:
        with measure.unseen():
            given = [table.values if one is looked_up else one for one in arguments]
            raw = getattr(function, "__name__", "")
            in_place = raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__"))
            values = None if in_place else function(*given, **options)
        return Table(values) if isinstance(values, Tensor) and values.shape == table.values.shape else None

    def _product(self, given: Arguments, result: Tensor) -> object:
        """A scaled draw, or a value without gradient times a smaller one."""
        left, right = given
        for one, other in ((left, right), (right, left)):
            known = self.of(one)
            if isinstance(one, Tensor) and isinstance(known, Draw) and isinstance(other, Tensor | float | int):
                return Scaled(known, one, other)
        if isinstance(left, Tensor) and isinstance(right, Tensor) and not result.requires_grad:
            small, large = sorted((left, right), key=Tensor.numel)
            return Product(small, large) if small.is_floating_point() else None
        return None

    def _summed(self, base: object, known: object, result: Tensor) -> None:
        if not isinstance(known, Scaled) or not isinstance(base, Tensor) or len(self.mixed) >= _LIMIT:
            return
        product = self.of(base)
        product = product if isinstance(product, Product) else None
        table = self.of(product.factor) if product is not None else None
        if not isinstance(self.of(base), Draw | Scaled):  # a sum of draws is no mixture of a value with one
            self.mixed.append(Mixed(base, known, result, user_place(6), product, table if isinstance(table, Table) else None))
