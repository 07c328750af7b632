"""Whether calls without gradients are evaluations, and which of them are noisy."""

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from torchstone.core.looks import EvaluationSeen
from torchstone.record import measure
from torchstone.record.replacing import Function, replace
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import flat_tensors, name_of
from torchstone.remedy.probes.window import Window

_DROPOUT = {"dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"}
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_COMPARED = {"eq", "ne", "allclose", "isclose"}
_LOSSES = {"cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
_SQUARED = {"pow", "square", "abs", "norm", "vector_norm"}


class EvaluationProbe(Window):
    """Looks at the calls of every model without gradients between two steps."""

    KIND = "evaluation"
    BEFORE = 1

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._watcher: Watcher | None = None
        self._counts: dict[int, list[int]] = {}  # model: passes, noisy, repeated
        self._inside: int | None = None
        self._noisy = False
        self._loss = False
        self._trained: set[tuple[object, ...]] = set()
        self._given: set[tuple[object, ...]] = set()
        self._from: dict[int, tuple[weakref.ref[Tensor], tuple[int, int]]] = {}  # made of the output of (model, pass)
        self._differences: dict[int, weakref.ref[Tensor]] = {}
        self._compared: set[tuple[int, int]] = set()
        self._told = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow calls of models besides the operations."""
        self._watcher = watcher
        stack.callback(self._tell)
        replace(stack, nn.Module, "__call__", self._calling)
        super().install(watcher, stack)

    def _calling(self, original: Function) -> Function:
        def call(module: nn.Module, *arguments: object, **options: object) -> object:
            number = self._number(module)
            if number < 0:
                return original(module, *arguments, **options)
            self._enters(number, module, (arguments, options))
            result = original(module, *arguments, **options)
            self._leaves(number, result)
            return result

        return call

    def finish(self, watcher: Watcher) -> None:
        """Tell, then end."""
        self._tell()
        super().finish(watcher)

    def _number(self, module: nn.Module) -> int:
        watcher = self._watcher
        if watcher is None or self._mode is None or watcher.models.top(module) is not module:
            return -1
        return watcher.models.number_of(module)

    def _enters(self, number: int, module: nn.Module, given: object) -> None:
        with measure.unseen():
            seen = tuple(_print(tensor) for tensor in flat_tensors(given))
        if torch.is_grad_enabled():
            self._trained.add(seen)
            return
        # Sampling gives one model the same again; its best weights, loaded back, and another model are evaluated on the same data.
        again = (number, sum(parameter._version for parameter in module.parameters()), seen)  # noqa: SLF001 - no public name
        if self._watcher is not None and self._watcher.step == self._last:
            counts = self._counts.setdefault(number, [0, 0, 0])
            counts[0] += 1
            counts[2] += bool(seen) and (seen in self._trained or again in self._given)
            self._inside, self._noisy, self._loss = number, False, False
        self._given.add(again)

    def _leaves(self, number: int, output: object) -> None:
        if self._inside != number:
            return
        counts = self._counts[number]
        counts[1] += self._noisy
        outputs = list(flat_tensors(output if isinstance(output, Tensor | list | tuple | Mapping) else vars(output)))
        if self._loss and any(tensor.dim() == 0 for tensor in outputs):  # given its targets, the model compares by itself
            self._compared.add((number, counts[0]))
        for tensor in outputs:
            self._from[id(tensor)] = (weakref.ref(tensor), (number, counts[0]))
        self._inside = None

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Note noise inside calls, and comparisons of what they gave."""
        result = function(*arguments, **options)
        name = name_of(function)
        if self._inside is not None:
            self._noisy = self._noisy or _is_noisy(name, arguments, options)
            self._loss = self._loss or _is_loss(name)
        elif not torch.is_grad_enabled() and self._from:
            self._follow(name, arguments, options, result)
        return result

    def _follow(self, name: str, arguments: tuple[object, ...], options: dict[str, object], result: object) -> None:
        given = list(flat_tensors((arguments, options)))
        sources = [source for tensor in given if (source := self._source(tensor)) is not None]
        if not sources:
            return
        others = len(sources) < len(given)
        compares = (name in _COMPARED or _is_loss(name)) and others
        squares = name in _SQUARED and any(self._is_difference(tensor) for tensor in given)
        if compares or squares:
            self._compared.update(sources)
        for tensor in flat_tensors(result):
            self._from[id(tensor)] = (weakref.ref(tensor), sources[0])
            if (name in {"sub", "rsub"} and others) or any(self._is_difference(one) for one in given):
                self._differences[id(tensor)] = weakref.ref(tensor)

    def _source(self, tensor: Tensor) -> tuple[int, int] | None:
        known = self._from.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _is_difference(self, tensor: Tensor) -> bool:
        known = self._differences.get(id(tensor))
        return known is not None and known() is tensor

    def _tell(self) -> None:
        if self._told or self._watcher is None:
            return
        self._told = True
        for number, (passes, noisy, repeated) in self._counts.items():
            compared = sum(model == number for model, _ in self._compared)
            event = EvaluationSeen(number, self._last, passes, noisy, compared, repeated)
            self._watcher.writer.add(event, always=True)


def _print(tensor: Tensor) -> tuple[object, ...]:
    """What tells one input from another."""
    if not measure.is_plain(tensor) or tensor.numel() == 0:
        return (id(tensor),)
    flat = tensor.detach().reshape(-1)
    numbers = flat.abs() if flat.is_complex() else flat
    weights = torch.arange(1, min(numbers.numel(), 64) + 1, device=flat.device, dtype=torch.float64)
    return (tuple(tensor.shape), float(numbers.double().sum()), float((numbers[: len(weights)].double() * weights).sum()))


def _is_loss(name: str) -> bool:
    return name in _LOSSES or name.endswith("_loss")


def _is_noisy(name: str, arguments: tuple[object, ...], options: dict[str, object]) -> bool:
    """Whether an operation draws noise or takes in the batch's statistics."""
    if name in {"rrelu", "batch_norm"}:
        return bool(_given(arguments, options, 3 if name == "rrelu" else 5, "training", default=False))
    if name in _DROPOUT:
        rate = _given(arguments, options, 1, "p", default=0.5)
        return bool(rate) and bool(_given(arguments, options, 2, "training", default=True))
    if name in _RECURRENT:
        numbers = [value for value in arguments if isinstance(value, bool | int | float)]
        # bias, layers, dropout, train, ...: as torch's own call gives them
        return len(numbers) > 3 and bool(numbers[2]) and bool(numbers[3])  # noqa: PLR2004
    if name == "multi_head_attention_forward":
        rate = _given(arguments, options, 10, "dropout_p", default=0.0)
        return bool(rate) and bool(_given(arguments, options, 13, "training", default=True))
    if name == "scaled_dot_product_attention":
        return bool(_given(arguments, options, 4, "dropout_p", default=0.0))
    return False


def _given(arguments: tuple[object, ...], options: dict[str, object], place: int, name: str, *, default: object) -> object:
    return arguments[place] if len(arguments) > place else options.get(name, default)
