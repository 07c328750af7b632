"""Parts of a forward pass that a backward pass runs again: torch's checkpoint, and autograd functions written by hand."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CellType
from typing import Protocol

import torch
from torch import nn
from torch.utils import checkpoint as torch_checkpoint

from torchstone.core.place import Place
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.remedy.births import flat_tensors


class Part(Protocol):
    """One part of one forward pass. It begins and ends first in the forward pass, then each time it runs again."""

    def begin(self) -> None:
        """It is about to run."""

    def end(self) -> None:
        """It has run, or was stopped."""


Make = Callable[[str, Place, bool, object], Part]


def follow(stack: ExitStack, make: Make) -> None:
    """Have a part made for everything that may run again: by whom, at which line, whether generators are restored, what runs."""
    replace(stack, torch_checkpoint, "checkpoint", lambda original: _checkpoint(original, make))
    apply = vars(torch.autograd.Function)["apply"]
    torch.autograd.Function.apply = classmethod(_apply(apply.__func__, make))  # type: ignore[assignment, method-assign]
    stack.callback(setattr, torch.autograd.Function, "apply", apply)


@contextmanager
def _running(part: Part) -> Iterator[None]:
    part.begin()
    try:
        yield
    finally:
        part.end()


def _checkpoint(original: Function, make: Make) -> Function:
    def checkpoint(function: Function, *arguments: object, **options: object) -> object:
        part = make("checkpoint", user_place(2), bool(options.get("preserve_rng_state", True)), function)

        def run(*given: object, **named: object) -> object:
            with _running(part):
                return function(*given, **named)

        return original(run, *arguments, **options)

    return checkpoint


def _apply(original: Function, make: Make) -> Function:
    def apply(function: type, *arguments: object, **options: object) -> object:
        if function.__module__.partition(".")[0] == "torch":
            return original(function, *arguments, **options)
        what = [one for one in arguments if callable(one) and not isinstance(one, torch.Tensor)]
        part = make(function.__name__, user_place(2), False, what[0] if what else None)  # noqa: FBT003 - nothing is known to restore them
        with _running(part):
            result = original(function, *arguments, **options)
        node = next((tensor.grad_fn for tensor in flat_tensors(result) if tensor.grad_fn is not None), None)
        if node is not None:
            node.register_prehook(lambda _: part.begin())
            node.register_hook(lambda *_: part.end())
        return result

    return apply


Generators = dict[str, object]


def generators() -> Generators:
    """The states of the generators that the whole program shares."""
    found: Generators = {"torch": torch.get_rng_state(), "random": random.getstate()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["torch.cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        found["numpy.random"] = sys.modules["numpy"].random.get_state()
    return found


def restore(states: Generators) -> None:
    """Put generators back to where they were."""
    torch.set_rng_state(states["torch"])  # type: ignore[arg-type]
    random.setstate(states["random"])  # type: ignore[arg-type]
    if "torch.cuda" in states:
        torch.cuda.set_rng_state_all(states["torch.cuda"])  # type: ignore[arg-type]
    if "numpy.random" in states:
        sys.modules["numpy"].random.set_state(states["numpy.random"])


def differing(before: Generators, after: Generators) -> set[str]:
    """The generators whose states are not the same."""
    return {name for name in before if name in after and _text(before[name]) != _text(after[name])}


def _text(state: object) -> object:
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    if isinstance(state, list | tuple):
        return [_text(one) for one in state]
    return getattr(state, "tobytes", lambda: state)()


def module_of(what: object) -> nn.Module | None:
    """The module that a checkpointed function is, or belongs to, or closes over."""
    if isinstance(what, nn.Module):
        return what
    inner = getattr(what, "func", None) or getattr(what, "__self__", None)
    if inner is not None:
        return module_of(inner)
    cells = getattr(what, "__closure__", None) or ()
    held = [_held(cell) for cell in cells]
    return next((one for one in held if isinstance(one, nn.Module)), None)


def _held(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
