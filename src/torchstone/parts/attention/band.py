"""The band of local attention cut into blocks of queries, each with the window of keys that its queries see.

Axis letters: s sequences (batch and heads as one), n blocks, t positions, d features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# So many scores at a time, and what is computed from them, stay near one core (measured: 2**16 and 2**18 are 3 to 10 % slower).
_CACHED = 2**17
# A GPU wants few and large calls; 2**26 scores of float32 are 256 MB.
_ON_A_GPU = 2**26
_SMALLEST, _LARGEST, _WIDEST_SHARE = 32, 128, 8


@dataclass(frozen=True)
class Segment:
    """Blocks of queries alike but for their place: `count` of `block` queries from `first`, windows of `size` keys from `start`."""

    first: int
    block: int
    count: int
    start: int
    size: int

    @property
    def apart(self) -> int:
        """Blocks so many places apart have windows that share no key."""
        return min(self.count, -(-self.size // self.block))

    @property
    def scores(self) -> int:
        """Comparisons of a query with a key that are computed."""
        return self.count * self.block * self.size


def block_size(left: int, right: int) -> int:
    """Queries in a block: few, since a block of b computes (b + left + right) scores a query for the left + 1 + right asked for.

    32 is the least that keeps a matrix product efficient (measured on CPU, windows of 65 and 257: 16 and 64 are slower).
    """
    return max(_SMALLEST, min(_LARGEST, (left + right) // _WIDEST_SHARE))


def segments(length: int, left: int, right: int, block: int | None = None) -> list[Segment]:
    """The band over `length` positions: queries before the first whole window, all blocks with a whole window, queries after.

    Windows are cut at the ends, so nothing is padded. One block of everything where no whole window fits between the ends.
    """
    left, right = min(left, length), min(right, length)
    block = block or block_size(left, right)
    ahead = -(-left // block) * block
    count = (length - right - ahead) // block
    if count < 1:
        return [Segment(0, length, 1, 0, length)]
    behind = ahead + count * block
    return [
        *([Segment(0, ahead, 1, 0, ahead + right)] if ahead else []),
        Segment(ahead, block, count, ahead - left, left + block + right),
        *([Segment(behind, length - behind, 1, behind - left, length - behind + left)] if behind < length else []),
    ]


def allowed(segment: Segment, left: int, right: int, device: torch.device) -> Tensor:
    """Which keys of its window each query of a block sees, (block, size): the band itself."""
    queries = torch.arange(segment.first, segment.first + segment.block, device=device)
    keys = torch.arange(segment.start, segment.start + segment.size, device=device)
    distance = keys - queries[:, None]
    return (distance >= -left) & (distance <= right)


def barren(ignored: Tensor, left: int, right: int) -> Tensor:
    """Queries with no key left in their window: ignored (*, t) to (*, t)."""
    length = ignored.shape[-1]
    kept = torch.nn.functional.pad((~ignored).long().cumsum(-1), (1, 0))
    positions = torch.arange(length, device=ignored.device)
    return kept[..., (positions + right + 1).clamp(max=length)] == kept[..., (positions - left).clamp(min=0)]


@dataclass(frozen=True)
class Chunk:
    """Some blocks of a segment, `step` apart, for some of the sequences."""

    segment: Segment
    sequences: slice
    at: int
    step: int
    count: int

    def queries(self, rows: Tensor) -> Tensor:
        """The blocks as a view: (s, t, d) to (n, s, block, d)."""
        return self._view(rows, self.segment.first, self.segment.block)

    def windows(self, rows: Tensor) -> Tensor:
        """The windows as a view, overlapping unless step >= apart: (s, t, d) to (n, s, size, d)."""
        return self._view(rows, self.segment.start, self.segment.size)

    def _view(self, rows: Tensor, begin: int, size: int) -> Tensor:
        rows = rows[self.sequences]
        across, along, inner = rows.stride()
        strides = (self.step * self.segment.block * along, across, along, inner)
        offset = rows.storage_offset() + (begin + self.at * self.segment.block) * along
        return rows.as_strided((self.count, rows.shape[0], size, rows.shape[2]), strides, offset)


def chunks(segment: Segment, sequences: int, device: torch.device, step: int = 1) -> Iterator[Chunk]:
    """All blocks of all sequences, so many at a time as the cache holds the scores of."""
    room = _ON_A_GPU if device.type == "cuda" else _CACHED * torch.get_num_threads()
    blocks = max(1, room // (segment.block * segment.size))
    count = min(blocks, -(-segment.count // step))
    together = max(1, blocks // count)
    for first in range(0, sequences, together):
        for phase in range(step):
            for at in range(phase, segment.count, step * count):
                yield Chunk(segment, slice(first, first + together), at, step, min(count, -(-(segment.count - at) // step)))


def as_rows(ignored: Tensor | None, *tensors: Tensor) -> Iterator[tuple[Tensor | None, list[Tensor]]]:
    """(b, h, t, d) as (s, t, d) without a copy: all at once where the layout allows it, else batch element by batch element.

    With each comes which of its keys are ignored, (t,).
    """
    heads = tensors[0].shape[1]
    if ignored is None and all(one.stride(0) == heads * one.stride(1) for one in tensors):
        yield None, [one.flatten(0, 1) for one in tensors]
    else:
        for number in range(tensors[0].shape[0]):
            yield None if ignored is None else ignored[number], [one[number] for one in tensors]
