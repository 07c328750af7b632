"""Convolutions of every shape that torch has, drawn small enough for plain numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from torchstone.proofs.draws import Draws

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@dataclass(frozen=True)
class Case:
    """One convolution: weight (o, c / groups, *k) over an input (c, *sizes)."""

    weight: tuple[int, ...]
    sizes: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def inputs(self) -> tuple[int, ...]:
        """(c, *sizes)."""
        return (self.weight[1] * self.groups, *self.sizes)

    @property
    def steps(self) -> dict[str, tuple[int, ...]]:
        """Stride, padding and dilation by name."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def arguments(self) -> dict[str, tuple[int, ...] | int]:
        """All that torch's functions and the laws take besides numbers and sizes."""
        return {**self.steps, "groups": self.groups}


def correlate(x: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
    """The convolution of torch on one sample (c, *i), in 1-D, 2-D or 3-D."""
    return CONVOLUTIONS[weight.ndim - 2](x[None], weight, None, **arguments)[0]


def fitted(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut, or filled with zeros, to these sizes: a broken part still answers in the right shape."""
    ends = [(0, size - have) for size, have in zip(sizes, values.shape, strict=True)]
    return functional.pad(values, [end for pair in reversed(ends) for end in pair])


def cases(draws: Draws, count: int, groups: Sequence[int] = (1, 2), filters: int = 2) -> Iterator[Case]:
    """Random cases of one to three axes, the first two with every argument at work."""
    yield Case((groups[0], 2, 3), (9,), (2,), (2,), (1,), groups[0])
    yield Case((2 * groups[-1], 1, 3, 2), (7, 6), (2, 1), (1, 0), (1, 2), groups[-1])
    for number in range(count - 2):
        axes = 3 if number % 7 == 6 else 1 + number % 2  # noqa: PLR2004 - one in seven is 3-D, the rest 1-D and 2-D by turns
        among = groups[draws.integer(0, len(groups) - 1)]
        kernel = tuple(draws.integers(1, 3 if axes < 3 else 2, axes))  # noqa: PLR2004 - 3-D is costly
        dilation = tuple(draws.integers(1, 2, axes))
        sizes = tuple(d * (k - 1) + 1 + extra for k, d, extra in zip(kernel, dilation, draws.integers(0, 4, axes), strict=True))
        stride, padding = tuple(draws.integers(1, 3, axes)), tuple(draws.integers(0, 2, axes))
        yield Case((among * draws.integer(1, filters), draws.integer(1, 2), *kernel), sizes, stride, padding, dilation, among)
