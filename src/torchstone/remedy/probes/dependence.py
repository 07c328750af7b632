"""What the rows of a loss depend on: gradients of a few of them by every cell of the batch."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from torchstone.core.place import Place
from torchstone.record import graph, measure
from torchstone.record.models import clean
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import StopWatching, Watcher
from torchstone.remedy.births import name_of
from torchstone.remedy.probes.attention_calls import SPELLINGS, AttentionCall, attention_call
from torchstone.remedy.probes.held_apart import Forward, ModuleCall, hold_apart
from torchstone.remedy.probes.origins import Origins, named
from torchstone.remedy.probes.rows import LOSSES, distinct, leading, rows_of
from torchstone.remedy.probes.taps import Declared, Tap, declared_in, padding_declared, padding_of
from torchstone.remedy.probes.window import Window

R = TypeVar("R")
_TAPS, _CALLS, _LOSS_LIMIT = 12, 64, 2
_MIXERS = (nn.RNNBase, nn.MultiheadAttention)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass
class _Running:
    """The model that runs: the masks that it was given."""

    declared: list[Declared]


class DependenceProbe(Window):
    """Differentiates rows of a loss by tokens and inputs; BatchNorm uses its running statistics meanwhile, and mixes nothing."""

    KIND = "dependence"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._watcher: Watcher | None = None
        self._origins = Origins()
        self._taps: list[Tap] = []
        self._calls: list[AttentionCall] = []
        self._modules: list[ModuleCall] = []
        self._path: list[nn.Module] = []
        self._running = _Running([])
        self._measured = 0
        self._busy = self._done = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow calls of modules and batches of loaders, besides the operations; compiled models run as they were written."""
        self._watcher = watcher
        replace(stack, nn.Module, "__call__", self._calling)
        replace(stack, torch, "compile", _eagerly)
        replace(stack, torch.utils.checkpoint, "checkpoint", _not_reentrant)
        self._origins.follow_loaders(stack, self._is_open)
        super().install(watcher, stack)

    def _is_open(self) -> bool:
        return self._mode is not None and not self._done and not self._busy

    # Modules.

    def _calling(self, original: Function) -> Function:
        def call(module: nn.Module, *arguments: object, **options: object) -> object:
            if torch.compiler.is_compiling() or not (self._watcher and self._watcher.is_here()):
                return original(module, *arguments, **options)
            # Through the whole step: a checkpoint that recomputes must find what it found.
            frozen = self._first <= self._watcher.step <= self._last and _mixes(module)
            if frozen:
                module.training = False
            try:
                return self._followed(original, module, arguments, options)
            finally:
                if frozen:
                    module.training = True

        return call

    def _followed(self, original: Function, module: nn.Module, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        if not self._is_open():
            return original(module, *arguments, **options)
        if not self._path and torch.is_grad_enabled():
            arguments, options = self._safely(lambda: self._entered(module, arguments, options), (arguments, options))
        self._path.append(module)
        try:
            result = original(module, *arguments, **options)
        finally:
            self._path.pop()
        if isinstance(module, _MIXERS) and torch.is_grad_enabled() and len(self._modules) < _CALLS:
            self._safely(lambda: self._note_module(module, arguments, result), None)
        return result

    def _entered(
        self, module: nn.Module, arguments: tuple[object, ...], options: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The outermost module is called: put taps on its floating inputs, and see the masks that it is given."""
        self._running = _Running(declared_in(module, arguments, options))
        if next(module.parameters(), None) is None:
            return arguments, options
        place = user_place()
        given = {key: self._tapped(value, place) for key, value in options.items()}
        return tuple(self._tapped(value, place) for value in arguments), given

    def _tapped(self, value: object, place: Place) -> object:
        if not isinstance(value, Tensor) or not measure.is_plain(value) or not value.is_floating_point() or value.requires_grad:
            return value
        if value.dim() < 2 or len(self._taps) >= _TAPS or any(one.value is value for one in self._running.declared):  # noqa: PLR2004
            return value
        leaf = value.detach().requires_grad_()
        sizes = (value.shape[0], value.shape[1])
        tap = Tap(leaf, None, sizes, place, *self._origins.samples_of(value))
        rest = value.detach().cpu()

        def constant(cells: Tensor) -> bool:
            return bool(cells.any()) and distinct(rest[cells].flatten(1)) == 1

        if value.dim() > 2:  # noqa: PLR2004 - positions with features
            found = (padding_declared(one, None, sizes, constant) for one in self._running.declared)
            tap.padding = next((padding for padding in found if padding is not None), None)
        self._taps.append(tap)
        return leaf.clone()  # the program may write into it, which a leaf would refuse

    def _note_module(self, module: nn.Module, arguments: tuple[object, ...], result: object) -> None:
        output = result[0] if isinstance(result, tuple) else result
        given = arguments[0] if arguments else None
        if isinstance(output, nn.utils.rnn.PackedSequence):
            self._modules.append(self._module_call(module, given, output.data, packed=True))
        elif isinstance(output, Tensor) and output.dim() == 3:  # noqa: PLR2004 - a batch of sequences
            self._modules.append(self._module_call(module, given, output, packed=False))

    def _module_call(self, module: nn.Module, given: object, output: Tensor, *, packed: bool) -> ModuleCall:
        holder = next((one for one in (*self._path, module) if isinstance(one, _LAYERS)), module)
        paths = self._path_of(holder), self._path_of(module)
        return ModuleCall(type(holder).__name__, user_place(), *paths, module, output, given, packed)

    # Operations.

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Run it; note where tokens are looked up, where attention is, what is viewed; differentiate at a loss."""
        name = name_of(function)
        if not self._is_open() or not torch.is_grad_enabled():
            return function(*arguments, **options)
        if name in LOSSES:
            self._safely(lambda: self._loss(name, arguments, options), None)
        result = function(*arguments, **options)
        if name == "embedding" or (name == "getitem" and _looks_up(arguments)):
            return self._safely(lambda: self._embedded(name, arguments, options, result), result)
        if name in SPELLINGS and len(self._calls) < _CALLS:
            self._safely(lambda: self._attended(name, function, (arguments, options), result), None)
        else:
            self._origins.note(name, arguments, result, self._site)
        return result

    def _site(self) -> tuple[Place, str]:
        return user_place(), self._path_of(self._path[-1]) if self._path else ""

    def _path_of(self, module: nn.Module) -> str:
        """A module's path; copies of a layer, as transformers make them, are found in the tree of what was called."""
        if self._watcher is None:
            return ""
        root = self._path[0] if self._path else module
        path = next((path for path, one in root.named_modules() if one is module), None)
        name = self._watcher.models.path_of(root)
        return clean(f"{name}.{path}") if path else self._watcher.models.path_of(module) if path is None else name

    def _embedded(self, name: str, arguments: tuple[object, ...], options: Mapping[str, object], result: object) -> object:
        names = ("input", "weight", "padding_idx") if name == "embedding" else ("weight", "input")
        given = named(options, arguments, *names)
        looked_up, matrix, index = given.get("input"), given.get("weight"), given.get("padding_idx")
        if isinstance(looked_up, Tensor) and looked_up.is_floating_point():  # torch.embedding takes the matrix first
            looked_up, matrix = matrix, looked_up
        if not isinstance(looked_up, Tensor) or not isinstance(result, Tensor) or len(self._taps) >= _TAPS:
            return result
        if looked_up.dim() < 1 or looked_up.numel() < 2 or not measure.is_plain(looked_up):  # noqa: PLR2004
            return result
        tap = result if result.requires_grad else result.requires_grad_()
        view = self._origins.view_of(looked_up)
        before = view.source if view is not None else looked_up
        tokens = before.detach().cpu()
        tokens = tokens[None] if tokens.dim() == 1 else leading(tokens, 2)
        sizes = (tokens.shape[0], tokens.shape[1])
        new = Tap(tap, tokens, sizes, user_place(), *self._origins.samples_of(before), view=view)
        if isinstance(index, int) and index >= 0 and before.dim() == 2:  # noqa: PLR2004
            new.padding = padding_of(tokens, tokens == index, f"padding_idx={index}")
        if new.padding is None and before.dim() == 2:  # noqa: PLR2004
            found = (padding_declared(one, tokens, sizes, lambda _: True) for one in self._running.declared)
            new.padding = next((padding for padding in found if padding is not None), None)
        self._taps.append(new)
        return tap.clone()  # the program may write into it

    def _attended(self, name: str, function: Function, given: tuple[tuple[object, ...], dict[str, object]], result: object) -> None:
        call = attention_call(name, function, given, result, self._site(), self._taps)
        if call is not None:
            self._calls.append(call)

    # Losses.

    def _loss(self, name: str, arguments: tuple[object, ...], options: dict[str, object]) -> None:
        given = named(options, arguments, *(("input", "dim", "index") if name == "gather" else ("input", "target")))
        prediction = given.get("input")
        if name == "gather" and not (isinstance(prediction, Tensor) and graph.makers(prediction) & {"logsoftmax"}):
            return
        if self._measured >= _LOSS_LIMIT or self._watcher is None:
            return
        rows = rows_of(name, prediction, given.get("index" if name == "gather" else "target"), given)
        if rows is None or not self._taps:
            return
        forward = Forward(self._taps, self._calls, self._modules, self._origins)
        found = list(hold_apart(rows, forward, self._watcher.step, user_place()))
        for event in found:
            self._watcher.writer.add(event, always=True)
        self._measured += bool(found)

    def _safely(self, do: Callable[[], R], otherwise: R) -> R:
        """Ours must not end the script: a fault is noted."""
        self._busy = True
        try:
            return do()
        except Exception as error:  # noqa: BLE001 - the promise
            if self._watcher is not None:
                self._watcher.fault("dependence", error)
            return otherwise
        finally:
            self._busy = False

    # The step's end.

    def before_backward(self, watcher: Watcher) -> None:
        """The first training backward after a loss that was measured: enough was seen."""
        if self._mode is None or self._done:
            return
        self._forget()
        if self._measured:
            self._done = True
            self._leave()
            if self._ends:
                watcher.stopped = "probed"
                raise StopWatching

    def _forget(self) -> None:
        self._taps, self._calls, self._modules = [], [], []
        self._origins.clear()

    def after_step(self, watcher: Watcher) -> None:
        """Nothing outlives its step."""
        self._forget()
        super().after_step(watcher)


def _mixes(module: nn.Module) -> bool:
    """Whether a module normalises by the statistics of its batch, and has others."""
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - the parent of them all
    return is_norm and module.training and bool(module.track_running_stats)


def _looks_up(arguments: tuple[object, ...]) -> bool:
    """Whether x[tokens] reads rows of a trained matrix."""
    matrix, index = (*arguments, None)[:2]
    is_matrix = isinstance(matrix, Tensor) and matrix.requires_grad and matrix.is_leaf and matrix.dim() == 2  # noqa: PLR2004
    return is_matrix and isinstance(index, Tensor) and index.dtype in {torch.int64, torch.int32} and index.dim() > 0


def _eagerly(original: Function) -> Function:
    def compile_nothing(*arguments: object, **options: object) -> object:
        torch.compiler.set_stance("force_eager")
        return original(*arguments, **options)

    return compile_nothing


def _not_reentrant(original: Function) -> Function:
    """The other kind of checkpoint cannot be differentiated by anything but its parameters."""

    def checkpoint(*arguments: object, **options: object) -> object:
        return original(*arguments, **{**options, "use_reentrant": False})

    return checkpoint
