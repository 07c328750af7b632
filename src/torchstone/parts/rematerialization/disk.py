"""Activations on disk: what autograd saves is written to one file and read back in the backward pass.

The disk works while the model computes: writing to it begins when a few megabytes have gathered, and what lies before the
activation that is read now, which the backward pass needs next, is asked for ahead.
"""

import ctypes
import errno
import os
import tempfile
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from torchstone.core.errors import UsageError, told

_GATHERED = 8 << 20  # bytes: less makes more calls, more leaves the disk idle for longer
_AHEAD = 64 << 20  # bytes asked for before they are needed
_ASKED = 1 << 20  # bytes: Linux reads ahead no more than a device's own limit, at least 128 kB, for one request
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE: pages begin to go to the disk, nobody waits

_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None) if os.name == "posix" else None  # Linux alone has it


@dataclass
class Disk:
    """What was written and read, in bytes, while activations are on disk, and the `seconds` that took."""

    path: str
    handle: int
    smallest: int
    left_out: frozenset[int]
    written: int = 0
    read: int = 0
    records: int = 0
    seconds: float = 0.0
    closed: bool = False
    _end: int = 0
    _started: int = 0  # up to here the disk has been told to write
    _asked: int = 0  # from here on the disk has been told to read
    _hints: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "torchstone-disk"))
    _seen: dict[int, "tuple[weakref.ref[Any], int, weakref.ref[_Record]]"] = field(default_factory=dict)

    def pack(self, tensor: Tensor) -> "_Stored | Tensor":
        """A place in the file; parameters, small tensors and what is not plain dense memory stay in memory."""
        if not self._takes(tensor):
            return tensor
        storage = tensor.untyped_storage()
        seen = self._seen.get(storage._cdata)  # noqa: SLF001 - the storage's identity
        record = seen[2]() if seen and seen[0]() is storage and seen[1] == tensor._version else None  # noqa: SLF001
        if record is None:
            record = self._write(storage, tensor.device)
            self._seen[storage._cdata] = (weakref.ref(storage), tensor._version, weakref.ref(record))  # noqa: SLF001
        return _Stored(record, tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def _takes(self, tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_meta
        dense = plain and not tensor.is_conj() and not tensor.is_neg()
        return dense and storage.nbytes() >= self.smallest and storage._cdata not in self.left_out  # noqa: SLF001

    def _write(self, storage: Any, device: torch.device) -> "_Record":
        here = storage if device.type == "cpu" else storage.cpu()
        size, place, began = here.nbytes(), self._end, time.perf_counter()
        view = memoryview((ctypes.c_char * size).from_address(here.data_ptr())).cast("B")
        try:
            done = 0
            while done < size:
                done += os.pwrite(self.handle, view[done:], place + done)
        except OSError as error:
            full = "there is no room left" if error.errno == errno.ENOSPC else told(error)
            message = f"activations cannot be written to {self.path}: {full}; name a folder on another disk"
            raise UsageError(message) from error
        self._end, self.written, self.records = place + size, self.written + size, self.records + 1
        self._asked = self._end
        self._start_writing()
        self.seconds += time.perf_counter() - began
        record = _Record(self, place, size, device)
        weakref.finalize(record, self._gone).atexit = False
        return record

    def _start_writing(self) -> None:
        if _sync_file_range is not None and self._end - self._started >= _GATHERED:
            start, count = ctypes.c_int64(self._started), ctypes.c_int64(self._end - self._started)
            self._hints.submit(_sync_file_range, self.handle, start, count, _START_WRITING)
            self._started = self._end

    def ask_ahead(self, place: int) -> None:
        """What lies before a record that is read now is needed next."""
        if not hasattr(os, "posix_fadvise"):
            return
        lowest = max(place - _AHEAD, 0)
        while self._asked > lowest:
            self._asked = max(min(self._asked, place) - _ASKED, 0)
            self._hints.submit(os.posix_fadvise, self.handle, self._asked, _ASKED, os.POSIX_FADV_WILLNEED)

    def _gone(self) -> None:
        """After the last activation of a step the file begins anew."""
        self.records -= 1
        if self.records == 0 and not self.closed:
            self._end = self._started = self._asked = 0

    def close(self) -> None:
        """The file is gone, and the thread that gave the disk hints."""
        self.closed = True
        self._hints.shutdown(cancel_futures=True)  # waits: the handle's number may be another file's afterwards
        os.close(self.handle)

    def unpack(self, stored: "_Stored | Tensor") -> Tensor:
        """The tensor again."""
        return stored if isinstance(stored, Tensor) else stored.tensor()


@dataclass(eq=False)
class _Record:
    """A storage in the file; read once for all tensors over it that are needed at the same time."""

    disk: Disk
    place: int
    size: int
    device: torch.device
    loaded: "weakref.ref[Any] | None" = None

    def storage(self) -> Any:
        """The bytes in memory again."""
        there = self.loaded() if self.loaded is not None else None
        if there is not None:
            return there
        if self.disk.closed:
            message = "the backward pass came after `store_on_disk` had ended: call backward() inside the with block"
            raise UsageError(message)
        storage = torch.empty(self.size, dtype=torch.uint8).untyped_storage()
        view = memoryview((ctypes.c_char * self.size).from_address(storage.data_ptr())).cast("B")
        done, began = 0, time.perf_counter()
        self.disk.ask_ahead(self.place)
        while done < self.size:
            came = os.preadv(self.disk.handle, [view[done:]], self.place + done)
            if came == 0:
                message = f"{self.disk.path} is shorter than what was written: something else has changed it"
                raise UsageError(message)
            done += came
        self.disk.read += self.size
        self.disk.seconds += time.perf_counter() - began
        moved = storage if self.device.type == "cpu" else storage.to(device=self.device)
        self.loaded = weakref.ref(moved)
        return moved


@dataclass(frozen=True, eq=False)
class _Stored:
    """A tensor over a storage in the file."""

    record: _Record
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def tensor(self) -> Tensor:
        """The tensor again, bit for bit."""
        storage = self.record.storage()
        return torch.empty(0, dtype=self.dtype, device=self.record.device).set_(storage, self.offset, self.shape, self.stride)


@contextmanager
def store_on_disk(folder: str | Path, model: nn.Module | None = None, *, smallest: int = 1 << 16) -> Iterator[Disk]:
    """Inside, what autograd saves goes to one file in `folder` and comes back for the backward pass, which must come inside too.

    Parameters and buffers of `model` stay in memory, as do storages under `smallest` bytes. Gradients are bit for bit the same.
    The file is removed at the end, after an error too. Writes are sequential; the system may still hold them in its page cache.
    Raises UsageError if the folder is missing or the disk full.
    """
    try:
        handle, path = tempfile.mkstemp(prefix="torchstone-activations-", dir=folder)
    except OSError as error:
        message = f"activations cannot be stored in {folder}: {error.strerror or error}; name a folder that can be written to"
        raise UsageError(message) from error
    own = [] if model is None else [*model.parameters(), *model.buffers()]
    disk = Disk(path, handle, max(1, smallest), frozenset(one.untyped_storage()._cdata for one in own))  # noqa: SLF001
    try:
        with suppress(OSError):
            Path(path).unlink()  # no name is left behind even if the process is killed; the file lives while it is open
        with saved_tensors_hooks(disk.pack, disk.unpack):
            yield disk
    finally:
        disk.close()
