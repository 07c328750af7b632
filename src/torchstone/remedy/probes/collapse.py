"""Whether codes still tell their samples apart, and whether the decoder still asks: at a few steps of a run and at its last."""

import torch
from torch import Tensor

from torchstone.core.events import FaultRecorded
from torchstone.core.looks import CodesHeld
from torchstone.record import measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.codes import Code, CodesWindow
from torchstone.remedy.probes.draws import Draws

FIRST = 1  # of the steps looked at: the first whose own draws are told apart from what was drawn to begin with


class CollapseProbe(CodesWindow):
    """Measures the codes of the second step, and of those at every quarter of the run."""

    KIND = "collapse"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._first = FIRST
        self._marks = {FIRST, *(step * quarter // 4 for quarter in (1, 2, 3, 4))}
        self._told = False

    def after_step(self, watcher: Watcher) -> None:
        """Follow the operations of the steps that are looked at, and of no others."""
        self._told, self.draws = False, Draws()
        if watcher.step > self._last:
            self.finish(watcher)
        elif watcher.step not in self._marks:
            self._leave()
        elif self._mode is None:
            self._enter()

    def before_backward(self, watcher: Watcher) -> None:
        """The first loss of a step that depends on codes."""
        root = watcher.root
        if self._mode is None or self._told or root is None or root.numel() != 1:
            return
        try:
            with torch._C.DisableTorchFunction():  # noqa: SLF001 - our own reads are no operations of the user's
                for code in self.take(root):
                    self._told = True
                    watcher.writer.add(_held(code, float(root.detach()), watcher.step), always=True)
        except Exception as error:  # noqa: BLE001 - as above
            self.failed = f"{type(error).__name__}: {error}"[:300]
        if self.failed:
            watcher.writer.add(FaultRecorded("collapse", self.failed, watcher.step), always=True)
            self.failed, self._marks = "", set()


def _held(code: Code, loss: float, step: int) -> CodesHeld:
    with measure.unseen():
        samples, mean, slopes = code.z.shape[0], code.mean.double(), code.through.double()
        slope = float(slopes.square().sum() / samples) ** 0.5
        told = -float((slopes * (mean - mean.mean(0))).sum()) / samples
        nats, divergence = _nats(mean, code.deviation.double()), float(code.divergences().double().sum()) / samples
    return CodesHeld(
        step, code.place, samples, code.z[0].numel(), nats, divergence, code.weight, code.residual, slope, told,
        loss - code.weight * samples * divergence, float(torch.finfo(code.z.dtype).eps),
    )


def _nats(mean: Tensor, deviation: Tensor) -> float:
    """The mean divergence of a sample's code from one normal, fitted to all: any common prior bounds what codes tell.

    Of (n, k) a normal a unit; of more axes one for all, as the first may be of time.
    """
    over = 0 if mean.dim() == 2 else tuple(range(mean.dim()))  # noqa: PLR2004
    variance = deviation.square()
    fitted = variance.mean(over) + mean.var(over, correction=0)
    gained = fitted.log() - variance.log().mean(over)
    units = 1 if mean.dim() == 2 else mean[0].numel()  # noqa: PLR2004
    return max(0.0, 0.5 * float(gained.sum())) * units
