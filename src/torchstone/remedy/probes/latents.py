"""Codes and noise of one step: z = mu + sigma e with how the loss weighs the divergence, and x_t = a x + b e with its noise."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from torchstone.core.events import FaultRecorded
from torchstone.core.looks import LatentsSeen, NoiseMixed
from torchstone.core.place import NOWHERE, Place
from torchstone.record import measure
from torchstone.record.replacing import replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import name_of
from torchstone.remedy.probes.draws import Arguments, Draw, Draws, Mixed, Options, Table
from torchstone.remedy.probes.products import eager
from torchstone.remedy.probes.window import Window

_CROSS = {"binary_cross_entropy", "binary_cross_entropy_with_logits"}
_LOSSES = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
_SQUARES = {"pow", "square"}
_CALLS = 64
_ALIKE = 1e-4  # how far weights of elements may lie apart and still be one weight, in float32


@dataclass(frozen=True, eq=False)
class Loss:
    """A comparison of two values element by element, or their mean or sum."""

    function: str
    reduction: str
    place: Place
    given: Tensor
    other: Tensor | None
    result: Tensor


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean over so many numbers."""

    over: int
    place: Place
    result: Tensor


class LatentsProbe(Window):
    """Follows random draws through a step, and differentiates the loss by the codes that they entered."""

    KIND = "latents"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._watcher: Watcher | None = None
        self._draws, self._losses, self._means = Draws(), list[Loss](), list[Mean]()
        self._differences: dict[int, tuple[Tensor, Tensor]] = {}
        self._told = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Operations show at the user's own granularity in eager mode only."""
        self._watcher = watcher
        replace(stack, torch, "compile", functools.partial(eager, stack))
        super().install(watcher, stack)

    def see(self, function: Callable[..., object], arguments: Arguments, options: Options) -> object:
        """Run it; note draws, mixtures, losses and means."""
        result = function(*arguments, **options)
        watcher = self._watcher
        if self._told or watcher is None or watcher.in_backward or torch.compiler.is_compiling():
            return result
        try:
            self._note(function, arguments, options, result)
        except Exception as error:  # noqa: BLE001 - a look of ours that fails must not end the script
            self._failed(watcher, "see", error)
        return result

    def _failed(self, watcher: Watcher, where: str, error: Exception) -> None:
        self._told = True
        watcher.writer.add(FaultRecorded(f"latents.{where}", f"{type(error).__name__}: {error}"[:300], watcher.step))

    def _note(self, function: Callable[..., object], arguments: Arguments, options: Options, result: object) -> None:
        self._draws.note(function, arguments, options, result)
        if not isinstance(result, Tensor) or not result.requires_grad:
            return
        name = name_of(function)
        first = arguments[0] if arguments else options.get("input")
        second = arguments[1] if len(arguments) > 1 else options.get("target", options.get("other"))
        if not isinstance(first, Tensor):
            return
        if name in {"sub", "rsub"} and isinstance(second, Tensor) and len(self._differences) < _CALLS:
            self._differences[id(result)] = (result, second if first.requires_grad else first)
        elif name in _CROSS | _LOSSES and len(self._losses) < _CALLS:
            reduction = str(options.get("reduction", "mean"))
            other = second if isinstance(second, Tensor) else None
            self._losses.append(Loss(name, reduction, user_place(4), first, other, result))
        elif (name == "square" or (name == "pow" and second == 2)) and len(self._losses) < _CALLS:  # noqa: PLR2004
            known = self._differences.get(id(first))
            other = known[1] if known is not None and known[0] is first else None
            self._losses.append(Loss("square", "none", user_place(4), first, other, result))
        elif name == "mean" and len(self._means) < _CALLS and result.numel():
            self._means.append(Mean(first.numel() // result.numel(), user_place(4), result))

    def before_backward(self, watcher: Watcher) -> None:
        """Measure, on the first loss of the step that depends on what was seen."""
        if self._mode is None or self._told or watcher.root is None or watcher.root.numel() != 1:
            return
        mixed, self._told = self._draws.mixed, bool(self._draws.mixed)
        try:
            with torch._C.DisableTorchFunction():  # noqa: SLF001 - our own reads are no operations of the user's
                found = next((seen for one in mixed if (seen := self._code(one, watcher.root, watcher.step)) is not None), None)
                if found is not None:
                    watcher.writer.add(found, always=True)
                for noise in self._noises(mixed, watcher.step):
                    watcher.writer.add(noise, always=True)
        except Exception as error:  # noqa: BLE001
            self._failed(watcher, "before_backward", error)
        self._draws, self._losses, self._means = Draws(), [], []
        self._differences.clear()

    # Codes.

    def _code(self, mixed: Mixed, root: Tensor, step: int) -> LatentsSeen | None:
        """A code whose mean and deviation both have gradients."""
        factor, mean, code = mixed.scaled.factor, self._draws.origin(mixed.base), mixed.result
        learned = isinstance(factor, Tensor) and factor.requires_grad and mean.requires_grad
        if not learned or code.dim() <= 1 or mean.shape != code.shape:
            return None
        whole, through = _gradients(root, mean, code)
        if whole is None or through is None:
            return None
        samples, latents = code.shape[0], code[0].numel()
        event = functools.partial(LatentsSeen, step, mixed.place, samples, latents, resolution=float(torch.finfo(whole.dtype).eps))
        with measure.unseen():
            pull, values = (whole - through).double(), mean.detach().double()
            weight = float((pull * values).sum() / (values * values).sum().clamp_min(1e-300))
            size = float(pull.norm())
            residual = float((pull - weight * values).norm()) / size if size > 0 else 0.0
        found = [(loss, one) for loss in self._losses if (one := self._weight(loss, root, code, samples)) is not None]
        if not found:
            return event(kl_weight=weight, residual=residual, reason="no loss that compares its reconstruction was seen")
        loss, likelihood = found[0]
        if any(abs(one - likelihood) > _ALIKE * abs(one) or other.given.numel() != loss.given.numel() for other, one in found):
            return event(kl_weight=weight, residual=residual, reason="several losses of different weights compare what it gives")
        averaged = [one for one in self._means if _depends(one.result, mean) and not _depends(one.result, code)]
        return event(
            elements=loss.given.numel() // samples, kl_weight=weight, residual=residual, likelihood_weight=likelihood,
            function=loss.function, squared=loss.function not in _CROSS, likelihood=loss.place, reduction=loss.reduction,
            averaged=tuple(one.over for one in averaged), averaged_at=averaged[0].place if averaged else NOWHERE,
        )

    def _weight(self, loss: Loss, root: Tensor, code: Tensor, samples: int) -> float | None:
        """The weight of every element in the whole loss, where it has one and its prediction is made of the code."""
        if loss.function in {"l1_loss", "smooth_l1_loss", "huber_loss"} or loss.given.shape[:1] != (samples,):
            return None
        if not _depends(loss.result, code):
            return None
        (gradient,) = _gradients(root, loss.result)
        if gradient is None:
            return None
        with measure.unseen():
            low, high = float(gradient.min()), float(gradient.max())
        if high - low > _ALIKE * abs(high) or high <= 0:
            return None
        return high / loss.given.numel() if loss.reduction == "mean" else high

    # Noise.

    def _noises(self, mixed: list[Mixed], step: int) -> Iterator[NoiseMixed]:
        """Mixtures of data with noise by factors that keep the variance."""
        mixtures = [one for one in mixed if _is_noising(one)][:4]
        losses = {loss: known for loss in self._losses if isinstance(known := self._draws.of(loss.other), Draw)}
        for one in mixtures:
            same = (loss for loss, draw in losses.items() if draw is one.scaled.draw)
            against = next(same, next(iter(losses), None))
            if one.product is None or not isinstance(one.scaled.factor, Tensor):
                continue
            value, noise, draw = one.product.value, one.scaled.noise, one.scaled.draw
            with measure.unseen():
                factors = torch.stack([one.product.factor.double().flatten(), one.scaled.factor.double().flatten()])
                kept = float((factors.square().sum(0) - 1).abs().max())
                spread = noise.double()
                table = _falling(one.table)
                agreement = self._agreement(against, noise) if len(mixtures) == 1 else None
            target = losses.get(against) if against is not None else None
            yield NoiseMixed(
                step, one.place, draw.function, draw.place, value.shape[0], value.numel() // value.shape[0],
                noise.shape[0] if noise.dim() == value.dim() else 1, float(spread.mean()), float(spread.var()), kept,
                len(table), table[-1] ** 2 if table else 0.0,
                against.place if against is not None else NOWHERE, target.place if target is not None else NOWHERE, agreement,
            )

    def _agreement(self, against: Loss | None, noise: Tensor) -> float | None:
        other = against.other if against is not None else None
        if other is None or other.shape != noise.shape or other.requires_grad:
            return None
        pairs = torch.stack([other.detach().double().flatten(), noise.detach().double().flatten()])
        return float(torch.corrcoef(pairs)[0, 1])


def _is_noising(mixed: Mixed) -> bool:
    factor, product = mixed.scaled.factor, mixed.product
    if not isinstance(factor, Tensor) or product is None or mixed.result.requires_grad or not mixed.scaled.draw.untouched:
        return False
    value, sizes = product.value, (product.factor.numel(), factor.numel())
    many = value.dim() > 1 and value.numel() > value.shape[0] and value.is_floating_point()
    return many and sizes in {(1, 1), (value.shape[0], value.shape[0])} and mixed.scaled.noise.numel() > 1


def _falling(table: Table | None) -> list[float]:
    """The entries of a table of factors in [0, 1] that falls from step to step; empty if it is none."""
    entries = table.values.double().tolist() if table is not None else []
    falls = all(later <= earlier for earlier, later in pairwise(entries))
    return entries if entries and falls and entries[-1] >= 0 and entries[0] <= 1 else []


def _gradients(root: Tensor, *by: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of a loss, None by what it does not depend on; the graph stays for the script's own backward pass."""
    return torch.autograd.grad(root, by, retain_graph=True, allow_unused=True)


def _depends(result: Tensor, on: Tensor) -> bool:
    return _gradients(result.sum(), on)[0] is not None
