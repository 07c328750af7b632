"""Puts every hook in and takes every hook out: one context manager, nothing else touches torch.

Two rules keep the script as it was. A hook begins by asking whether torch.compile is tracing it and then does
nothing, so compiled graphs stay the same; hooks are never put in or taken out during a run, so nothing recompiles.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn import init
from torch.nn.modules import module as nn_module
from torch.optim import optimizer as optim_module
from torch.utils.checkpoint import CheckpointFunction

from torchstone.core.events import RecomputedSeen
from torchstone.record import checkpoints, clipping, schedules
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher, guarded

LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss")
_compiling = torch.compiler.is_compiling


@contextmanager
def hooked(watcher: Watcher) -> Iterator[None]:
    """Everything that watches is in while the block runs, and out after it, also after an exception."""
    with ExitStack() as stack:
        _hook_registration(watcher, stack)
        _hook_modules(watcher, stack)
        _hook_optimizers(watcher, stack)
        _wrap_losses(watcher, stack)
        _wrap_backward(watcher, stack)
        _wrap_origins(watcher, stack)
        clipping.install(watcher, stack)
        schedules.install(watcher, stack)
        replace(stack, CheckpointFunction, "apply", functools.partial(checkpoints.noting, watcher))
        _wrap_checkpoints(watcher, stack)
        for intervention in watcher.interventions:
            intervention.install(watcher, stack)
        yield


def _hook_modules(watcher: Watcher, stack: ExitStack) -> None:
    graded, is_known = torch.is_grad_enabled, watcher.models.is_known

    def before(module: nn.Module, arguments: object) -> None:
        del arguments
        if _compiling():  # first of all: a traced `deep` would be guarded on, and recompile
            return
        if watcher.deep and watcher.in_backward:
            _runs_again(watcher)
        elif watcher.deep:
            watcher.before_forward(module)
        elif (module.training is not watcher.training or not watcher.training or not graded()) and is_known(module):
            watcher.mode_differs(module)

    def after(module: nn.Module, arguments: object, output: object) -> None:
        del module, arguments, output
        if not _compiling() and watcher.deep:
            watcher.after_forward()

    replace(stack, nn_module, "_has_any_global_hook", _others_than_ours)
    stack.callback(nn_module.register_module_forward_pre_hook(before).remove)
    stack.callback(nn_module.register_module_forward_hook(after).remove)


def _hook_registration(watcher: Watcher, stack: ExitStack) -> None:
    def parameter_registered(module: nn.Module, name: str, parameter: object) -> None:
        if not _compiling() and watcher.is_here():
            watcher.models.parameter_registered(module, name, parameter)

    def module_registered(parent: nn.Module, name: str, module: object) -> None:
        if not _compiling() and watcher.is_here():
            watcher.models.module_registered(parent, name, module)
            watcher.replicas.module_registered(parent, name)

    stack.callback(nn_module.register_module_parameter_registration_hook(parameter_registered).remove)
    stack.callback(nn_module.register_module_module_registration_hook(module_registered).remove)


def _others_than_ours(original: Function) -> Function:
    """torch.compile warns when it sees global hooks on modules; ours do nothing in a compiled module, so it need not."""
    own = {"torchstone"}

    def has_any_global_hook() -> bool:
        tables = (value for name, value in vars(nn_module).items() if name.startswith("_global_") and isinstance(value, dict))
        hooks = [hook for table in tables for hook in table.values() if callable(hook)]
        return bool(original()) and any(str(hook.__module__).partition(".")[0] not in own for hook in hooks)

    return has_any_global_hook


def _hook_optimizers(watcher: Watcher, stack: ExitStack) -> None:
    def has_closure(arguments: tuple[object, ...], options: dict[str, object]) -> bool:
        return (len(arguments) > 1 and callable(arguments[1])) or callable(options.get("closure"))

    def before(optimizer: torch.optim.Optimizer, arguments: tuple[object, ...], options: dict[str, object]) -> None:
        if not _compiling():
            watcher.before_step(optimizer, with_closure=has_closure(arguments, options))

    def after(optimizer: torch.optim.Optimizer, arguments: tuple[object, ...], options: dict[str, object]) -> None:
        if not _compiling():
            watcher.after_step(optimizer, with_closure=has_closure(arguments, options))

    def built(arguments: tuple[object, ...]) -> None:
        if arguments and isinstance(arguments[0], torch.optim.Optimizer):
            watcher.optimizer_built(arguments[0])

    replace(stack, torch.optim.Optimizer, "__init__", functools.partial(_noting, watcher, built))
    stack.callback(optim_module.register_optimizer_step_pre_hook(before).remove)
    stack.callback(optim_module.register_optimizer_step_post_hook(after).remove)


def _wrap_losses(watcher: Watcher, stack: ExitStack) -> None:
    for name in LOSSES:
        replace(stack, torch.nn.functional, name, functools.partial(_loss_wrapper, watcher, name))
    replace(stack, torch.nn.functional, "embedding", functools.partial(_embedding_wrapper, watcher))


def _loss_wrapper(watcher: Watcher, name: str, original: Function) -> Function:
    def loss(*arguments: object, **options: object) -> object:
        if _compiling():
            return original(*arguments, **options)
        if watcher.interventions:
            arguments, options = _intervene(watcher, name, arguments, options)
        result = original(*arguments, **options)
        if watcher.deep:
            watcher.loss_computed(name, arguments, options, result)
        return result

    return loss


def _embedding_wrapper(watcher: Watcher, original: Function) -> Function:
    def embedding(*arguments: object, **options: object) -> object:
        if not _compiling() and watcher.deep:
            given = dict(zip(("input", "weight"), arguments, strict=False)) | options
            watcher.tokens_embedded(given.get("input"), given.get("weight"))
        return original(*arguments, **options)

    return embedding


def _intervene(
    watcher: Watcher, name: str, arguments: tuple[object, ...], options: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    given = arguments[0] if arguments else options.get("input")
    if not isinstance(given, torch.Tensor):
        return arguments, options
    value = given
    for intervention in watcher.interventions:
        value = intervention.loss_input(name, value, user_place(3))
    return ((value, *arguments[1:]), options) if arguments else (arguments, {**options, "input": value})


def _wrap_backward(watcher: Watcher, stack: ExitStack) -> None:
    def wrapper_of(original: Function) -> Function:
        def backward(*arguments: object, **options: object) -> object:
            if _compiling():
                return original(*arguments, **options)
            roots = arguments[0] if arguments else options.get("tensors")
            if watcher.in_backward:
                watcher.nested_backward(roots)
                return original(*arguments, **options)
            watcher.before_backward(roots)
            watcher.in_backward = True
            try:
                return original(*arguments, **options)
            finally:
                watcher.in_backward = False

        return backward

    replace(stack, torch.autograd, "backward", wrapper_of)


def _wrap_origins(watcher: Watcher, stack: ExitStack) -> None:
    """Where values of parameters come from: torch.nn.init, a state dict, a file of weights."""

    def initialized(arguments: tuple[object, ...]) -> None:
        if arguments:
            watcher.models.initialized(arguments[0])

    def loaded(arguments: tuple[object, ...]) -> None:
        if arguments and isinstance(arguments[0], nn.Module):
            watcher.models.loaded(arguments[0])

    def scaled(arguments: tuple[object, ...]) -> None:
        watcher.scaled |= bool(arguments) and getattr(arguments[0], "_enabled", True)

    replace(stack, torch.amp.GradScaler, "scale", functools.partial(_noting, watcher, scaled))
    for name, value in list(vars(init).items()):
        if name.endswith("_") and not name.startswith("_") and callable(value):
            replace(stack, init, name, functools.partial(_noting, watcher, initialized))
    replace(stack, nn.Module, "load_state_dict", functools.partial(_noting, watcher, loaded))


def _wrap_checkpoints(watcher: Watcher, stack: ExitStack) -> None:
    """Parts of a forward pass that are kept to run again. torch.compile does without."""

    def kept(arguments: tuple[object, ...]) -> None:
        if arguments and watcher.deep:
            _runs_again(watcher)

    frame = getattr(torch.utils.checkpoint, "_CheckpointFrame", None)  # of every part that is checkpointed without re-entry
    if frame is not None:
        replace(stack, frame, "__init__", functools.partial(_noting, watcher, kept))


@guarded
def _runs_again(watcher: Watcher) -> None:
    if not watcher.recomputed:
        watcher.recomputed = True
        watcher.emit([RecomputedSeen(watcher.step)])


def _noting(watcher: Watcher, note: Callable[[tuple[object, ...]], None], original: Function) -> Function:
    def noting(*arguments: object, **options: object) -> object:
        result = original(*arguments, **options)
        if not _compiling() and watcher.is_here():
            note(arguments)
        return result

    return noting
