"""What kernels of products take for themselves while they work: copies in another layout, padded channels.

No dispatch mode sees that. On a CPU the allocator's own events do: each kind of product is run once by itself, on zeros.
"""

from collections.abc import Hashable, Iterable
from contextlib import suppress
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import flop_registry

_AUTOGRAD: Any = torch.autograd  # its older profiler, which tells allocations in their order, has no types
_EXPERIMENTAL: Any = torch._C._profiler._ExperimentalConfig  # noqa: SLF001 - an argument that it needs


class _Like(NamedTuple):
    """A tensor but its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def made(self) -> Tensor:
        """Zeros of that kind."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype).zero_()


def workspace(func: Any, args: Any, kwargs: Any) -> int:
    """Bytes at once, at most, that a product takes while it works, its results among them; 0 if unknown or not on a CPU."""
    if func._overloadpacket not in flop_registry:  # noqa: SLF001
        return 0
    tensors = [one for one in args if isinstance(one, Tensor)]
    if not all(one.device.type == "cpu" and one.layout is torch.strided for one in tensors):
        return 0
    with suppress(Exception):  # whoever profiles already, or an argument that cannot be made: then the results alone count
        return _taken(func, _liken(args), tuple((name, _liken(value)) for name, value in kwargs.items()))
    return 0


def _liken(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return _Like(tuple(map(int, value.shape)), tuple(map(int, value.stride())), value.dtype)
    if isinstance(value, list | tuple):
        return tuple(_liken(one) for one in value)
    return value  # type: ignore[no-any-return]


def _made(value: Any) -> Any:
    if isinstance(value, _Like):
        return value.made()
    return [_made(one) for one in value] if isinstance(value, tuple) else value


@cache
def _taken(func: Any, args: Any, kwargs: tuple[tuple[str, Any], ...]) -> int:
    with _disable_current_modes(), torch.no_grad():
        given, named = _made(args), {name: _made(value) for name, value in kwargs}
        return max(accumulate(_allocations(func, given, named)), default=0)


def _allocations(func: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> list[int]:
    """Bytes that come, and go again, while it runs."""
    settings = _AUTOGRAD.ProfilerConfig(_AUTOGRAD.ProfilerState.CPU, False, True, False, False, False, _EXPERIMENTAL())  # noqa: FBT003 - positional only
    _AUTOGRAD._enable_profiler_legacy(settings)  # noqa: SLF001
    try:
        held = func(*args, **kwargs)
    finally:
        events = _AUTOGRAD._disable_profiler_legacy()  # noqa: SLF001
    del held
    return [one.cpu_memory_usage() for thread in events for one in thread if one.kind() == "memory_alloc"]
