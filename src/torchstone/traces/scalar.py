"""A scalar that writes down what is done to it: a Python function is called with such scalars to have its tape.

It has no number, so a branch on it cannot be followed, and says so with the user's line.
"""

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
})
_HARMLESS = {"inplace": False, "alpha": 1, "beta": 1, "threshold": 20, "out": None, "rounding_mode": None, "memory_format": None}
_FIRST, _LAST = ("condition", "input", "self"), ("other", "exponent")
_LEAVING = {"item", "detach", "numpy", "tolist", "data", "cpu", "float", "half", "int", "long", "bool"}
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
    names = sorted({*_SAME, *_MADE_OF, "maximum", "minimum"} - {"negative", "positive", "clone", "contiguous", "double", "rsub"})
    return f"+ - * / ** > >= < <= and {', '.join(names)}"


def _operator(operation: str, *, reflected: bool = False) -> Callable[..., "Scalar"]:
    """The method of an operator; reflected, the scalar is its right side."""

    def applied(*arguments: Any) -> "Scalar":
        return _apply(operation, list(reversed(arguments)) if reflected else arguments)

    return applied


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
        return lambda *arguments, **options: _called(name, [self, *arguments], options)

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it refuses, as the following ones do
        _refuse(
            "the function branches on a tensor's value, so its trace would be that of one branch only: "
            "use torch.where(condition, a, b), torch.maximum, torch.minimum, torch.relu or abs"
        )

    def __float__(self) -> NoReturn:
        _refuse("a Python number was asked of a tensor (float, math.sin, ...), so its derivative is lost: use torch's function")

    __int__ = __complex__ = __float__

    def __index__(self) -> NoReturn:  # noqa: PLE0305
        _refuse("a tensor is used as a whole number (range, an index): give that parameter a default and leave it out of --at")

    def __iter__(self) -> NoReturn:
        _refuse("a scalar is used as a sequence: functions of scalars are traced, one parameter a number")

    def __len__(self) -> NoReturn:  # noqa: PLE0303
        self.__iter__()

    def __getitem__(self, index: object) -> NoReturn:
        self.__iter__()

    def __eq__(self, other: object) -> NoReturn:
        _refuse("== and != have no derivative and are not followed: use > or <= with torch.where")

    __hash__ = object.__hash__


def _called(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What torch's function of that name does to scalars; options that change nothing are let through."""
    plain, reflected = _plain(name)
    given = list(reversed(arguments)) if reflected else list(arguments)
    given = [options[key] for key in _FIRST if key in options] + given + [options[key] for key in _LAST if key in options]
    for key, value in options.items():
        if key not in {*_FIRST, *_LAST} and not (key in _HARMLESS and value == _HARMLESS[key]):
            _refuse(f"{plain} with {key}={value!r} is not followed: leave that option out")
    if plain in _MADE_OF:
        return _MADE_OF[plain](*given)
    if plain not in OPERATIONS:
        _refuse(f"{name} is not followed{meant(plain, [*OPERATIONS, *_MADE_OF])}; supported: {supported()}")
    return _apply(OPERATIONS[plain], given)


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
