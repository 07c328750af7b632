"""Bytes that tensors hold while something runs: every storage that an operation creates, until it is freed.

A dispatch mode, hence the same on CPU, CUDA and fake tensors. What a kernel allocates for itself alone is not seen.
"""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storage_key(tensor: Tensor) -> int:
    """What two tensors over one storage have in common while it lives."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the storage's own identity; data_ptr is 0 for all fake tensors


def storage_bytes(tensor: Tensor) -> int:
    """Bytes of the whole storage under a tensor."""
    return tensor.untyped_storage().nbytes()


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """`with Meter() as meter:` counts; `current` bytes are there now, `events` is what came and went, in its order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current = 0
        self.events: list[tuple[int, int]] = []  # (number of the storage, bytes that came or, negative, went)
        self._numbers: dict[int, int] = {}
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then note the storages that are new."""
        del types
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return result

    def _note(self, tensor: Tensor) -> None:
        key, size = storage_key(tensor), storage_bytes(tensor)
        if key in self._numbers or key in self._known or not size:
            return
        self._count += 1
        self._numbers[key] = self._count
        self._change(self._count, size)
        weakref.finalize(tensor.untyped_storage(), self._freed, key, self._count, size).atexit = False

    _known: frozenset[int] = frozenset()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave out what was there before, which operations in place return again."""
        self._known = self._known | {storage_key(tensor) for tensor in tensors}

    def _freed(self, key: int, number: int, size: int) -> None:
        self._numbers.pop(key, None)
        self._change(number, -size)

    def _change(self, number: int, size: int) -> None:
        self.current += size
        self.events.append((number, size))

    def hold(self, owner: object, size: int) -> None:
        """Count bytes that no operation makes, for as long as their owner lives."""
        self._count += 1
        self._change(self._count, size)
        weakref.finalize(owner, self._change, self._count, -size).atexit = False

    def pulse(self, size: int) -> None:
        """Count bytes that come and go within an operation."""
        if size:
            self._count += 1
            self.events += [(self._count, size), (self._count, -size)]

    def numbers(self, tensors: Iterable[Tensor]) -> set[int]:
        """The storages under these tensors that were counted."""
        return {self._numbers[key] for key in map(storage_key, tensors) if key in self._numbers}

    def peak(self, since: int = 0, without: Iterable[int] = ()) -> int:
        """The most bytes at once since event `since`, above what was there then; storages `without` do not count."""
        left_out, now, most = set(without), 0, 0
        for number, size in self.events[since:]:
            if number not in left_out:
                now += size
                most = max(most, now)
        return most

    def change(self, since: int, without: Iterable[int] = ()) -> int:
        """Bytes more now than at event `since`."""
        left_out = set(without)
        return sum(size for number, size in self.events[since:] if number not in left_out)
