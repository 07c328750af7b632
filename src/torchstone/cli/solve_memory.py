"""`torchstone solve memory`."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from torchstone.cli.app import apart, errors, solving, writable, write
from torchstone.core.errors import UsageError, meant, told

if TYPE_CHECKING:
    from torch import Tensor, nn

_MODEL = "file.py:name or package.module:name: a function or class that makes the model, called without arguments, or a model."
_INPUT = "An input's shape and type, such as 32x256 or 8x512:int64 (zeros); may be repeated. [default type: float32, drawn]"
_BUDGET = "What a forward and backward pass may take beyond parameters and their gradients: 2GB (10^9), 512MiB (2^20)."
_STRATEGY = (
    "best; of a chain: level (one level of segments), nested, uniform (even segments); of any model: graph (modules run again, the "
    "best found with a lower bound)."
)


def complete_strategy(typed: str) -> list[str]:
    """Strategies that begin as typed, for the shell."""
    from torchstone.laws.rematerialization.modules import MODEL_STRATEGIES

    return [name for name in MODEL_STRATEGIES if name.startswith(typed)]


@solving.command(
    "memory",
    epilog="Examples:  torchstone solve memory model.py:make --budget 2GB --input 32x256  ·  "
    "torchstone solve memory mypackage.models:Encoder --budget 512MiB --input 8x512:int64 --strategy graph --json plan.json",
)
def memory(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    *,
    budget: Annotated[str, typer.Option(help=_BUDGET)],
    shapes: Annotated[list[str], typer.Option("--input", help=_INPUT)],
    strategy: Annotated[str, typer.Option(help=_STRATEGY, autocompletion=complete_strategy)] = "best",
    svg: Annotated[Path | None, typer.Option(help="Write a drawing of the schedule to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the schedule and the measured layers to this file as JSON.")] = None,
) -> None:
    """Find which activations of a model to keep and which layers to run again, so that a training step fits a memory budget.

    The model's file is run, and its chain of layers measured one layer at a time on the inputs; a model that is no chain is
    measured on a copy without numbers, and the modules to run again are searched for, with a lower bound of the work. In Python,
    torchstone.parts.rematerialization.plan(model, inputs, memory="2GB").apply(model) does the same and makes the model run so.

    Exit code: 0, or 2 for bad input, among it a budget that is too small (with the least that is enough).
    """
    from torchstone.laws.rematerialization.modules import GraphPlan
    from torchstone.laws.rematerialization.planning import read_bytes
    from torchstone.report.memory import drawn, plan_to_json, print_plan
    from torchstone.report.rerun import graph_drawn, graph_plan_to_json, print_graph_plan

    with errors():
        apart(json, svg)
        writable(json)
        writable(svg, "--svg")
        read_bytes(budget)
        inputs = [read_input(shape) for shape in shapes]
        from torchstone.parts.rematerialization import plan

        found = plan(find_model(model), inputs, budget, strategy=strategy)
        if isinstance(found, GraphPlan):
            print_graph_plan(found, Console(highlight=False))
            write(json, graph_plan_to_json(found))
            write(svg, graph_drawn(found).svg)
            return
        print_plan(found, Console(highlight=False))
        write(json, plan_to_json(found))
        write(svg, drawn(found).svg)


def read_input(text: str) -> "Tensor":
    """A tensor of a shape as typed: normal draws, or zeros of a type that is not floating. Raises UsageError for another text."""
    import torch

    found = re.fullmatch(r"(\d+(?:x\d+)*)(?::(\w+))?", text.strip())
    dtype = getattr(torch, (found[2] or "float32") if found else "", None)
    if found is None or not isinstance(dtype, torch.dtype):
        message = f"--input is a shape, and a type if it is not float32: 32x256 or 8x512:int64; {text!r} came"
        raise UsageError(message)
    shape = [int(size) for size in found[1].split("x")]
    try:
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    except RuntimeError as error:
        message = f"--input {text} cannot be made: {told(error)}; give a smaller one"
        raise UsageError(message) from error


def find_model(place: str) -> "nn.Module":
    """The model that a place names; its file is run, as an import would run it. Raises UsageError where there is none."""
    from torch import nn

    home, _, name = place.rpartition(":")
    if not home or not name.isidentifier():
        message = f"MODEL is file.py:name or package.module:name; {place!r} came"
        raise UsageError(message)
    things = _things(home, place)
    if name not in things:
        here = things.get("__name__")
        own = [key for key, value in things.items() if callable(value) and getattr(value, "__module__", "") == here]
        message = f"{home} has no {name}{meant(name, own)}; it has {', '.join(own) or 'nothing to call'}"
        raise UsageError(message)
    made = things[name]
    if not isinstance(made, nn.Module) and callable(made):
        with _told(f"{place} cannot be called without arguments or fails"):
            made = made()
    if not isinstance(made, nn.Module):
        message = f"{place} gives no nn.Module but {type(made).__name__}: name what makes the model"
        raise UsageError(message)
    return made


def _things(home: str, place: str) -> dict[str, Any]:
    path = Path(home)
    if path.suffix != ".py":
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
        with _told(f"{home} cannot be imported (MODEL is file.py:name or package.module:name)"):
            return vars(importlib.import_module(home))
    if not path.is_file():
        message = f"there is no file {home}: MODEL is file.py:name or package.module:name; {place!r} came"
        raise UsageError(message)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        message = f"{home} is no Python file: MODEL is file.py:name"
        raise UsageError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent.resolve()))  # as `python file.py` does
    with _told(f"{home} cannot be run"):
        spec.loader.exec_module(module)
    return vars(module)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The user's code may raise anything."""
    try:
        yield
    except SystemExit as error:
        message = f"{what}: it ends the program (SystemExit: {error.code}); put that under if __name__ == '__main__'"
        raise UsageError(message) from error
    except Exception as error:
        message = f"{what}: {told(error)}"
        raise UsageError(message) from error
