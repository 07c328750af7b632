"""Codes z = mu + sigma e of a step: found by their draws, and taken apart into what the divergence and what the decoder wants."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record import measure
from torchstone.record.replacing import replace
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.draws import Arguments, Draws, Mixed, Options
from torchstone.remedy.probes.products import eager
from torchstone.remedy.probes.window import Window

_CODES = 16  # of one step: a recurrence draws one a step of time
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Code:
    """A code whose mean and deviation are learned and made from data, and the gradients of a loss by it.

    through: by z. weight: w of the pull w mu on the means that does not come through z; residual: the share of it that is not w mu.
    """

    place: Place
    mean: Tensor
    deviation: Tensor
    z: Tensor
    through: Tensor
    weight: float
    residual: float

    def divergences(self) -> Tensor:
        """Nats from N(0, 1) by element, (n, ...) like the code; differentiable."""
        variance = self.deviation.square()
        return 0.5 * (self.mean.square() + variance - 1) - self.deviation.log()


class CodesWindow(Window):
    """A window that follows random draws until they enter codes."""

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._watcher: Watcher | None = None
        self.draws = Draws()
        self.failed = ""

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Operations show at the user's own granularity in eager mode only."""
        self._watcher = watcher
        replace(stack, torch, "compile", functools.partial(eager, stack))
        super().install(watcher, stack)

    def see(self, function: Callable[..., object], arguments: Arguments, options: Options) -> object:
        """Run it; note draws and mixtures."""
        result = function(*arguments, **options)
        watcher = self._watcher
        if self.failed or watcher is None or watcher.in_backward or torch.compiler.is_compiling():
            return result
        try:
            self.draws.note(function, arguments, options, result)
        except Exception as error:  # noqa: BLE001 - a look of ours that fails must not end the script
            self.failed = f"{type(error).__name__}: {error}"[:300]
        return result

    def take(self, root: Tensor) -> list[Code]:
        """The codes that a loss depends on; what was drawn before is forgotten, as soon as there are any."""
        found: list[Code] = []
        for mixed in self.draws.mixed:
            if len(found) < _CODES and (code := _code(mixed, self.draws.origin(mixed.base), root)) is not None:
                found.append(code)
        if found:
            self.draws = Draws()
        return found


def _code(mixed: Mixed, mean: Tensor, root: Tensor) -> Code | None:
    factor, z = mixed.scaled.factor, mixed.result
    if not (isinstance(factor, Tensor) and factor.requires_grad and mean.requires_grad and z.is_floating_point()):
        return None
    # Weights that are drawn (Bayesian layers) have a mean that is a parameter, the same for every sample.
    if mean.is_leaf or z.dim() <= 1 or mean.shape != z.shape or not z.requires_grad:
        return None
    whole, through = _gradients(root, mean, z)
    if whole is None or through is None:
        return None
    with measure.unseen():
        values, pull = mean.double(), (whole - through).double()
        weight = float((pull * values).sum() / values.square().sum().clamp_min(_TINY))
        size = float(pull.norm())
        residual = float((pull - weight * values).norm()) / size if size > 0 else 0.0
    return Code(mixed.place, mean, factor.expand_as(mean), z, through, weight, residual)


def _gradients(root: Tensor, *by: Tensor) -> tuple[Tensor | None, ...]:
    """None by what it does not depend on; the graph stays for the script's own backward pass."""
    return torch.autograd.grad(root, by, retain_graph=True, allow_unused=True)
