"""How sharp a batch's loss is, in the direction that its optimizer's steps are the largest for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.core.looks import CurvatureSeen
from torchstone.parts.optimization.curvature import HessianProduct, lanczos
from torchstone.record import measure
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.window import Window

_ITERATIONS = 16
_NUMBERS = 2**28  # of the Krylov basis: a gigabyte in float32


class CurvatureProbe(Window):
    """Measures the largest eigenvalue of the loss's Hessian, scaled by the learning rates, before that step."""

    KIND = "curvature"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._seen: dict[int, tuple[float, int, list[float]]] = {}
        self._fast = ExitStack()
        self._open = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Compiled models and fused layers cannot be differentiated twice: they are run plainly."""
        torch.compiler.set_stance("force_eager")
        stack.callback(torch.compiler.set_stance, "default")
        stack.callback(self._fast.close)
        self._open_if_near(watcher)

    def _open_if_near(self, watcher: Watcher) -> None:
        if not self._open and watcher.step == self._last:
            self._open = True
            self._fast.enter_context(_twice_differentiable())

    def before_backward(self, watcher: Watcher) -> None:
        """At the step that is looked at: the graph is whole, and nothing has used it yet."""
        root = watcher.root
        if not self._open or watcher.step != self._last or root is None or root.numel() != 1 or watcher.scaled:
            return
        for reference in watcher.optimizers.built:
            optimizer = reference()
            if optimizer is not None and id(optimizer) not in self._seen:
                found = _largest(root, optimizer)
                if found is not None:
                    self._seen[id(optimizer)] = (*found, _rates(optimizer))

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Tell it with the learning rate that this step really takes."""
        seen = self._seen.pop(id(optimizer), None) if watcher.step == self._last else None
        if seen is None:
            return
        product, iterations, before = seen
        factor = max((now / then for now, then in zip(_rates(optimizer), before, strict=False) if then), default=1.0)
        group = optimizer.param_groups[0]
        momentum, dampening = (float(group.get(name) or 0.0) for name in ("momentum", "dampening"))
        event = CurvatureSeen(
            watcher.step, watcher.optimizers.follow(optimizer).number, product * factor, max(_rates(optimizer)), momentum,
            dampening, bool(group.get("nesterov")), iterations, user_place(4),
        )
        watcher.writer.add(event, always=True)

    def after_step(self, watcher: Watcher) -> None:
        """Let the fast paths back in."""
        if watcher.step > self._last:
            self._fast.close()
            self.finish(watcher)
        else:
            self._open_if_near(watcher)


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    attention = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    efficient = torch.backends.cuda.mem_efficient_sdp_enabled()  # type: ignore[no-untyped-call]
    recurrence, kernels = torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled
    torch.backends.cuda.enable_flash_sdp(enabled=False)
    torch.backends.cuda.enable_mem_efficient_sdp(enabled=False)
    torch.backends.cudnn.enabled = False
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment] # a property of the module's own making
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(enabled=attention)
        torch.backends.cuda.enable_mem_efficient_sdp(enabled=efficient)
        torch.backends.cudnn.enabled = recurrence
        torch.backends.mkldnn.enabled = kernels


def _largest(root: Tensor, optimizer: torch.optim.Optimizer) -> tuple[float, int] | None:
    """The largest eigenvalue of D½ (H + decay) D½, D the learning rates, as Lanczos' iteration finds it: from below."""
    if any(group.get("maximize") for group in optimizer.param_groups):
        return None  # it climbs: its loss is meant to rise
    rows = [(p, group) for group in optimizer.param_groups for p in group["params"] if p.requires_grad and measure.is_plain(p)]
    try:
        with torch.enable_grad():
            product = HessianProduct(root, [parameter for parameter, _ in rows])
        roots = _spread([(p, float(group["lr"]) ** 0.5) for p, group in rows], product)
        decay = _spread([(p, float(group.get("weight_decay") or 0.0)) for p, group in rows], product)
        start = torch.randn(len(roots), generator=torch.Generator().manual_seed(0), dtype=product.dtype).to(product.device)
        iterations = max(2, min(_ITERATIONS, _NUMBERS // max(len(roots), 1)))
        found = lanczos(lambda vector: roots * (product(roots * vector) + decay * roots * vector), start, iterations)
        values, _ = found.ritz()
    except (UsageError, RuntimeError):
        return None  # what cannot be differentiated twice, or is too large: nothing is held of it
    return values[-1].item(), len(values)


def _spread(values: list[tuple[Tensor, float]], product: HessianProduct) -> Tensor:
    """One number a parameter as a flat vector of all their elements."""
    return torch.cat([torch.full((p.numel(),), value, device=product.device, dtype=product.dtype) for p, value in values])
