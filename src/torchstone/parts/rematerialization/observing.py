"""Finding the chain in a model: which modules hand one tensor from one to the next, seen in one forward pass."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchstone.core.errors import UsageError, told

Hook = Any


@dataclass
class Call:
    """One call of a module: its children's calls, and how tensors came in and went out."""

    name: str
    module: nn.Module
    single: bool = False
    linked: bool = False  # its input is what the call before it returned, or, of a first child, what its parent was given
    alias: bool = False  # its output lies in its input's storage
    writes: bool = False  # it changes its input
    children: list["Call"] = field(default_factory=list)
    given: Any = None
    version: int = 0
    returned: Any = None


@dataclass(frozen=True)
class Region:
    """The chain: `carriers` are the modules that their parent calls one after another, `units` what can be a layer, by names."""

    carriers: tuple[str, ...]
    units: tuple[tuple[str, ...], ...]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """What happens inside leaves random numbers, buffers and gradients as they were."""
    owned = [(module, name, one) for module in model.modules() for name, one in module._buffers.items() if one is not None]  # noqa: SLF001
    buffers = [(module, name, buffer, buffer.detach().clone()) for module, name, buffer in owned]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    devices = sorted({one.device.index or 0 for one in model.parameters() if one.is_cuda})
    with torch.random.fork_rng(devices=devices):
        for parameter, _ in gradients:
            parameter.grad = None
        try:
            yield
        finally:
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer  # noqa: SLF001 - a forward pass may have put another one in its place
                buffer.data.copy_(before)  # past the version counter: no graph of the user's is made invalid
            for parameter, gradient in gradients:
                parameter.grad = gradient


def observe(model: nn.Module, inputs: Sequence[Any]) -> Region:
    """The longest chain in a model. Raises UsageError if it cannot be run, or hands no tensor from module to module."""
    root = _calls(model, inputs)
    runs = [run for call in _walk(root) for run in _runs(call)]
    units = [[unit for call in run for unit in _flat(call)] for run in ([[root]] if _opens(root) else runs)]
    if not units or max(map(len, units)) < 2:  # noqa: PLR2004 - two layers make a chain
        message = (
            f"{type(model).__name__} is no chain: none of its modules hands one tensor, and nothing else, to the next; "
            "put the blocks into an nn.Sequential, or plan a part of the model"
        )
        raise UsageError(message)
    best = max(range(len(units)), key=lambda place: len(units[place]))
    run = [root] if _opens(root) else runs[best]
    return Region(tuple(call.name for call in run), _joined(units[best]))


def _walk(call: Call) -> Iterator[Call]:
    """Every call whose children are called by its own code."""
    if not _opens(call):
        yield call
    for child in call.children:
        yield from _walk(child)


def _opens(call: Call) -> bool:
    """Whether a module does nothing but call its children in turn, with no hook that would miss it."""
    module = call.module
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks  # noqa: SLF001
    return type(module).forward is nn.Sequential.forward and not hooked and bool(call.children) and call.single


def _flat(call: Call) -> list[Call]:
    return [unit for child in call.children for unit in _flat(child)] if _opens(call) else [call]


def _runs(parent: Call) -> Iterator[list[Call]]:
    """Children called one after another, each with what the one before it returned, and each once."""
    names = [call.name for call in parent.children]
    run: list[Call] = []
    for call in parent.children:
        usable = call.single and names.count(call.name) == 1
        if run and not (usable and call.linked):
            yield run
            run = []
        if usable:
            run.append(call)
    if run:
        yield run


def _joined(calls: Sequence[Call]) -> tuple[tuple[str, ...], ...]:
    """A module that works in its input's storage belongs to what made it: at a border, running again would see it changed."""
    if calls[0].writes:
        message = (
            f"{calls[0].name or 'the first module'} ({type(calls[0].module).__name__}) changes its input in place, which "
            "running it again would need unchanged: give it inplace=False"
        )
        raise UsageError(message)
    units: list[list[str]] = []
    only_views = True  # of the input: no layer yet
    for call in calls:
        if units and (call.alias or call.writes or only_views):
            units[-1].append(call.name)
        else:
            units.append([call.name])
        only_views = only_views and call.alias
    return tuple(map(tuple, units))


def _calls(model: nn.Module, inputs: Sequence[Any]) -> Call:
    """The tree of calls in one forward pass."""
    stack = [Call("", nn.Module())]
    counts: dict[str, int] = {}

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        parent = stack[-1]
        alone = len(args) == 1 and isinstance(args[0], Tensor) and not any(value is not None for value in kwargs.values())
        call = Call(name, module, single=alone)
        if alone:
            call.given, call.version = weakref.ref(args[0]), args[0]._version  # noqa: SLF001
            before = parent.children[-1].returned if parent.children else None
            call.linked = before is not None and before() is args[0]
        parent.children.append(call)
        counts[name] = counts.get(name, 0) + 1
        stack.append(call)

    def leave(args: Any, output: Any) -> None:
        call = stack.pop()
        call.single = call.single and isinstance(output, Tensor)
        if call.single:
            call.returned = weakref.ref(output)
            call.alias = output.untyped_storage()._cdata == args[0].untyped_storage()._cdata  # noqa: SLF001
            call.writes = args[0]._version != call.version  # noqa: SLF001

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_before(enter, name), with_kwargs=True))
        handles.append(module.register_forward_hook(lambda _, args, output: leave(args, output)))
    try:
        with undisturbed(model), torch.no_grad():
            model(*inputs)
    except Exception as error:
        message = f"the model cannot be run on these inputs: {told(error)}"
        raise UsageError(message) from error
    finally:
        for handle in handles:
            handle.remove()
    return stack[0].children[0]


def _before(enter: Any, name: str) -> Hook:
    return lambda module, args, kwargs: enter(name, module, args, kwargs)
