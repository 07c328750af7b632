"""A Python function of torch scalars: found in a file, followed onto a tape, and run as it is for comparison."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from torchstone.core.errors import UsageError, meant, told
from torchstone.traces.expression import Argument, Expression, Row
from torchstone.traces.scalar import NOT_THE_USERS, Scalar


def follow(function: Callable[..., object], variables: Sequence[str]) -> Expression:
    """The tape of a function of the named parameters; the other parameters keep their defaults.

    Raises UsageError if the parameters do not fit, or, with the user's line, if the function does what cannot be followed.
    """
    chosen = _variables(function, variables)
    rows: list[Row] = []
    scalars = {name: Scalar(rows, index + 1 - len(chosen)) for index, name in enumerate(chosen)}
    with torch.enable_grad():
        returned = _call(function, scalars)
    name = getattr(function, "__name__", type(function).__name__)
    if not isinstance(returned, Scalar):
        _unusable(name, returned)
    return _alive(Expression(f"{name}({', '.join(chosen)})", chosen, tuple(rows), returned.position))


def _unusable(name: str, returned: object) -> NoReturn:
    if isinstance(returned, tuple | list | dict | set):
        message = f"{name} returns a {type(returned).__name__} of {len(returned)}: one scalar is traced, return one of them"
    elif returned is None:
        message = f"{name} returns nothing: is a `return` missing?"
    else:
        message = f"{name} returns {str(returned)[:60]}, which does not depend on its variables: return a scalar computed from them"
    raise UsageError(message)


def _variables(function: Callable[..., object], named: Sequence[str]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        message = f"a Python function is traced; {function!r} came ({error})"
        raise UsageError(message) from None
    shown = ", ".join(parameters) or "none"
    for name, parameter in parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            message = f"the parameter {parameter} has no name to give a number to: write plain parameters, one a variable"
            raise UsageError(message)
        if name not in named and parameter.default is parameter.empty:
            message = f"no value was given for the parameter {name}; the function has {shown}"
            raise UsageError(message)
    strange = [name for name in named if name not in parameters]
    if strange:
        message = f"{strange[0]} is no parameter of the function, which has {shown}{meant(strange[0], parameters)}"
        raise UsageError(message)
    if not named:
        message = f"no variable was given, so there is nothing to differentiate by; the function has {shown}"
        raise UsageError(message)
    return tuple(name for name in parameters if name in named)


def _call(function: Callable[..., object], given: Mapping[str, object]) -> object:
    """Call the user's function; what it raises is told with its line."""
    try:
        return function(**given)
    except UsageError:
        raise
    except SystemExit as error:
        message = f"{_place(error)}the function ends the program (SystemExit: {error.code}): let it return a scalar"
        raise UsageError(message) from error
    except Exception as error:
        message = f"{_place(error)}the function raised {told(error)}: a function of scalar tensors is needed"
        raise UsageError(message) from error


def _place(error: BaseException) -> str:
    """The user's line that raised an error, for a message: file:line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(NOT_THE_USERS)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""


def _alive(expression: Expression) -> Expression:
    """The tape without the rows that the result does not use."""
    needed = {expression.result}
    for position in range(len(expression.rows), 0, -1):
        if position in needed:
            needed.update(expression.rows[position - 1].positions)
    kept = [position for position in range(1, len(expression.rows) + 1) if position in needed]
    moved = {position: index for index, position in enumerate(kept, 1)}
    rows = [expression.rows[position - 1] for position in kept]
    renamed = [Row(row.operation, tuple(_renamed(argument, moved) for argument in row.arguments)) for row in rows]
    return Expression(expression.text, expression.variables, tuple(renamed), moved.get(expression.result, expression.result))


def _renamed(argument: Argument, moved: Mapping[int, int]) -> Argument:
    return moved.get(argument, argument) if isinstance(argument, int) else argument


def run(function: Callable[..., object], variables: Sequence[str], at: Sequence[float]) -> tuple[float, ...]:
    """The value and the gradient as the function itself has them, in float64 by torch.autograd."""
    leaves = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in at]
    with torch.enable_grad():  # whatever the caller's mode is; clones, because the function may write in place
        returned = _call(function, {name: leaf.clone() for name, leaf in zip(variables, leaves, strict=True)})
    if not isinstance(returned, Tensor) or returned.numel() != 1:
        _unusable(getattr(function, "__name__", "the function"), returned)
    if not returned.requires_grad:
        return (returned.item(), *(0.0 for _ in leaves))
    try:
        gradient = torch.autograd.grad(returned, leaves, torch.ones_like(returned), allow_unused=True)
    except RuntimeError as error:
        message = f"torch cannot differentiate the function as it is: {told(error)}"
        raise UsageError(message) from error
    return (returned.item(), *(0.0 if one is None else one.item() for one in gradient))


def find_function(place: str) -> Callable[..., object]:
    """The function at 'file.py:name'; the file is run, as an import would run it. Raises UsageError if there is none."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not file or not name.isidentifier():
        message = f"--function needs file.py:name; {place!r} came"
        raise UsageError(message)
    if not path.is_file():
        message = f"there is no file {file}: --function needs file.py:name"
        raise UsageError(message)
    functions = vars(_module(path))
    if name not in functions:
        own = [key for key, value in functions.items() if inspect.isfunction(value)]
        message = f"{file} has no function {name}{meant(name, own)}; it has {', '.join(own) or 'none'}"
        raise UsageError(message)
    if not callable(functions[name]):
        message = f"{name} in {file} is no function but {type(functions[name]).__name__}"
        raise UsageError(message)
    return functions[name]  # type: ignore[no-any-return]


def _module(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        message = f"{path} is no Python file: --function needs file.py:name"
        raise UsageError(message)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as `python file.py` does, so that its own imports work
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        message = f"{path} cannot be run: it ends the program (SystemExit: {error.code}); put that under if __name__ == '__main__'"
        raise UsageError(message) from error
    except Exception as error:
        message = f"{path} cannot be run: {told(error)}"
        raise UsageError(message) from error
    finally:
        sys.path.pop(0)
    return module
