"""Where samples come from: seeded draws in float64, and draws that a bound's adversary has made worse."""

from collections.abc import Callable

import torch
from torch import Tensor


class Draws:
    """Random draws from one seed: the same law sees the same samples on every machine of one torch version."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal draws of this shape."""
        return torch.randn(*shape, generator=self.generator, dtype=dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform draws from [low, high)."""
        return low + (high - low) * torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def integer(self, low: int, high: int) -> int:
        """One whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (1,), generator=self.generator).item())

    def integers(self, low: int, high: int, count: int) -> list[int]:
        """Whole numbers from low to high, both included."""
        return torch.randint(low, high + 1, (count,), generator=self.generator).tolist()


def adversarial(objective: Callable[[Tensor], Tensor], start: Tensor, steps: int = 50, rate: float = 0.1) -> Tensor:
    """Make a draw worse: normalised gradient ascent on a scalar objective; the best point seen is returned.

    `objective` is what the bound limits (or its ratio to the bound).
    """
    point, best, record = start.clone().requires_grad_(), start, float("-inf")
    for _ in range(steps + 1):
        value = objective(point)
        if value.item() > record:
            best, record = point.detach().clone(), value.item()
        (gradient,) = torch.autograd.grad(value, point)
        norm = gradient.norm()
        if not torch.isfinite(norm) or norm == 0:
            break
        point = (point.detach() + rate * gradient / norm).requires_grad_()
    return best
