"""A scalar that writes down what is done to it: a Python function is called with such scalars to have its tape.

It has no number, so a branch on it cannot be followed, and says so with the user's line.
"""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor

from torchstone.core.errors import UsageError, meant
from torchstone.laws.autodiff import ELEMENTALS
from torchstone.traces.expression import Argument, Row
from torchstone.traces.rules import value_name

MAX_ROWS = 100_000
_SAME = {name: name for name in ELEMENTALS if name.isidentifier()}
_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "neg": "negative", "gt": ">", "ge": ">=", "lt": "<",
    "le": "<=",
}  # fmt: skip
_OTHER_NAMES = {
    "subtract": "-", "multiply": "*", "div": "/", "divide": "/", "true_divide": "/", "greater": ">", "greater_equal": ">=",
    "less": "<", "less_equal": "<=", "maximum": "max", "minimum": "min", "absolute": "abs", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "expit": "sigmoid", "float_power": "**", "special_expit": "sigmoid", "special_erf": "erf",
    "special_log1p": "log1p", "special_expm1": "expm1",
}  # fmt: skip
OPERATIONS: Mapping[str, str] = MappingProxyType(_SAME | _SIGNS | _OTHER_NAMES)
"""torch's names and the elemental functions that they are."""
_MADE_OF: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "square": lambda x: x**2,
    "reciprocal": lambda x: _apply("/", [1.0, x]),
    "rsqrt": lambda x: _apply("/", [1.0, _apply("sqrt", [x])]),
    "exp2": lambda x: 2**x,
    "log2": lambda x: _apply("/", [_apply("log", [x]), math.log(2)]),
    "log10": lambda x: _apply("/", [_apply("log", [x]), math.log(10)]),
    "silu": lambda x: x * _apply("sigmoid", [x]),
    "rsub": lambda x, y: y - x,
    "positive": lambda x: x,
    "clone": lambda x: x,
    "contiguous": lambda x: x,
    "double": lambda x: x,
    "cpu": lambda x: x,
})
_HARMLESS = {"inplace": False, "alpha": 1, "beta": 1, "threshold": 20, "out": None, "rounding_mode": None, "memory_format": None}
_FIRST, _LAST = ("condition", "input", "self"), ("other", "exponent")
_LEAVING = {"item", "detach", "numpy", "tolist", "data", "int", "long", "bool"}
_NARROWING = {"float", "half", "bfloat16"}
_INSTEAD = {
    "clamp": "torch.maximum and torch.minimum", "clip": "torch.maximum and torch.minimum",
    "leaky_relu": "torch.where(x > 0, x, slope*x)", "sum": "the scalar itself", "mean": "the scalar itself",
}  # fmt: skip
_NEAR = 0.8  # of difflib's likeness: sine is near to sin, sum is not near to sub
NOT_THE_USERS = (str(Path(__file__).parent), str(Path(torch.__file__).parent))


def _place() -> str:
    """The user's line that is being run, for an error: file:line."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(NOT_THE_USERS):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}: " if frame else ""


def _refuse(message: str) -> NoReturn:
    full = f"{_place()}{message}"
    raise UsageError(full)


def supported() -> str:
    """What a followed function may do to a scalar, for an error and for the help."""
    unsaid = {"negative", "positive", "clone", "contiguous", "cpu", "double", "rsub"}
    names = sorted({*_SAME, *_MADE_OF, "maximum", "minimum"} - unsaid)
    return f"+ - * / ** > >= < <= and {', '.join(names)}"


def _operator(operation: str, *, reflected: bool = False) -> Callable[..., "Scalar"]:
    """The method of an operator; reflected, the scalar is its right side."""

    def applied(*arguments: Any) -> "Scalar":
        return _apply(operation, list(reversed(arguments)) if reflected else arguments)

    return applied


def _unfollowed(sign: str) -> Callable[..., NoReturn]:
    """The method of an operator that has no place on a tape."""

    def refused(*_: object) -> NoReturn:
        _refuse(f"the operator {sign} is not followed; supported: {supported()}")

    return refused


class Scalar:
    """Stands for a scalar tensor and writes on its tape what is done to it."""

    shape = torch.Size([])
    dtype = torch.float64
    device = torch.device("cpu")
    ndim = 0
    requires_grad = True
    is_leaf = False

    def __init__(self, rows: list[Row], position: int) -> None:
        self.rows, self.position = rows, position

    __add__, __radd__ = _operator("+"), _operator("+", reflected=True)
    __sub__, __rsub__ = _operator("-"), _operator("-", reflected=True)
    __mul__, __rmul__ = _operator("*"), _operator("*", reflected=True)
    __truediv__, __rtruediv__ = _operator("/"), _operator("/", reflected=True)
    __pow__, __rpow__ = _operator("**"), _operator("**", reflected=True)
    __neg__, __abs__, __gt__, __ge__, __lt__, __le__ = map(_operator, ("negative", "abs", ">", ">=", "<", "<="))

    __floordiv__ = __rfloordiv__ = _unfollowed("//")
    __mod__ = __rmod__ = _unfollowed("%")
    __matmul__ = __rmatmul__ = _unfollowed("@")
    __divmod__ = __rdivmod__ = _unfollowed("divmod")
    __and__ = __rand__ = _unfollowed("&")
    __or__ = __ror__ = _unfollowed("|")
    __xor__ = __rxor__ = _unfollowed("^")
    __lshift__ = __rlshift__ = _unfollowed("<<")
    __rshift__ = __rrshift__ = _unfollowed(">>")
    __invert__ = _unfollowed("~")

    def __pos__(self) -> "Scalar":
        return self

    def __repr__(self) -> str:
        return f"tensor({value_name(self.position)})"

    def __format__(self, form: str) -> str:
        return repr(self)  # it has no number that a form such as .3f could show

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: object, arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        return _called(function.__name__, arguments, options or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _LEAVING:
            _refuse(f".{name} takes the number out of the graph, so its derivative is lost: compute with the scalar itself")
        if name in _NARROWING:
            _refuse(f".{name} leaves float64, in which a trace is computed: leave .{name}() out")
        return lambda *arguments, **options: _called(name, [self, *arguments], options)

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it refuses, as the following ones do
        _refuse(
            "the function branches on a tensor's value, so its trace would be that of one branch only: "
            "use torch.where(condition, a, b), torch.maximum, torch.minimum, torch.relu or abs"
        )

    def __float__(self) -> NoReturn:
        _refuse("a Python number was asked of a tensor (float, round, math.sin), so its derivative is lost: use torch's function")

    __int__ = __complex__ = __round__ = __floor__ = __ceil__ = __trunc__ = __float__

    def __index__(self) -> NoReturn:  # noqa: PLE0305
        _refuse("a tensor is used as a whole number (range, an index): give that parameter a default and leave it out of --at")

    def __iter__(self) -> NoReturn:
        _refuse("a scalar is used as a sequence: functions of scalars are traced, one parameter a number")

    def __len__(self) -> NoReturn:  # noqa: PLE0303
        self.__iter__()

    def __getitem__(self, index: object) -> NoReturn:
        self.__iter__()

    def __setitem__(self, index: object, value: object) -> NoReturn:
        self.__iter__()

    def __eq__(self, other: object) -> NoReturn:
        _refuse("== and != have no derivative and are not followed: use > or <= with torch.where")

    __hash__ = object.__hash__


def _called(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What torch's function of that name does to scalars; options that change nothing are let through."""
    plain, reflected = _plain(name)
    if plain not in OPERATIONS and plain not in _MADE_OF:
        _refuse(f"{name} is not followed{_advice(plain)}; supported: {supported()}")
    given = list(reversed(arguments)) if reflected else list(arguments)
    given = [options[key] for key in _FIRST if key in options] + given + [options[key] for key in _LAST if key in options]
    for key, value in options.items():
        if key not in {*_FIRST, *_LAST} and not (key in _HARMLESS and value == _HARMLESS[key]):
            _refuse(f"{plain} with {key}={value!r} is not followed: leave that option out")
    if plain in _MADE_OF:
        return _MADE_OF[plain](*given)
    return _apply(OPERATIONS[plain], given)


def _advice(plain: str) -> str:
    """What to write in place of a function that is not followed, where something is near."""
    known = [*OPERATIONS, *_MADE_OF]
    if plain in _INSTEAD:
        return f": write {_INSTEAD[plain]}"
    if plain.endswith("_") and plain[:-1] in known:
        return f", it works in place: write x = x.{plain[:-1]}(...)"
    return meant(plain, difflib.get_close_matches(plain, known, n=1, cutoff=_NEAR))


def _plain(name: str) -> tuple[str, bool]:
    """__radd__ is add with its arguments reversed; sin is itself."""
    if not name.startswith("__"):
        return name, False
    plain = name.strip("_")
    return (plain[1:], True) if plain.startswith("r") and plain[1:] in OPERATIONS else (plain, False)


def _apply(operation: str, arguments: Sequence[Any]) -> Scalar:
    if len(arguments) != ELEMENTALS[operation]:
        _refuse(f"{operation} of {len(arguments)} arguments is not followed: it takes {ELEMENTALS[operation]} scalars")
    if not torch.is_grad_enabled():
        _refuse("the function computes under torch.no_grad, so its derivative is lost there: leave the block out")
    rows = next(argument.rows for argument in arguments if isinstance(argument, Scalar))
    if len(rows) >= MAX_ROWS:
        _refuse(f"the function does more than {MAX_ROWS:,} operations: trace a smaller one")
    rows.append(Row(operation, tuple(_argument(argument) for argument in arguments)))
    return Scalar(rows, len(rows))


def _argument(value: Any) -> Argument:
    """A position, or a constant: a number, or a tensor with one element."""
    if isinstance(value, Scalar):
        return value.position
    if isinstance(value, Tensor) and value.numel() != 1:
        _refuse(f"a tensor of shape {tuple(value.shape)} meets a scalar: only scalars are followed")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        _refuse(f"{value!r} meets a scalar: numbers and scalar tensors are followed")
