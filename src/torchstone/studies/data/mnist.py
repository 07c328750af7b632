"""MNIST from IDX files: from a folder, or downloaded once from public mirrors and held against checksums.

IDX (LeCun's own format): two zero bytes, a type (8: unsigned byte), the number of axes, each axis' size as a big-endian
32-bit number, then the values. Axis letters: n pictures, h rows, w columns.
"""

import gzip
import hashlib
import math
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.core.files import whole

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# MD5 of the gzipped files, as published with the data (and in torchvision): against damage, not against malice.
FILES = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
CLASSES = 10
_UNSIGNED_BYTE = 8
_BLOCK = 1 << 16
_TIMEOUT = 20  # seconds without a byte


@dataclass(frozen=True)
class Images:
    """Grey pictures and their classes, training and test apart."""

    train: UInt8[Tensor, "n h w"]
    train_labels: Int[Tensor, "n"]
    test: UInt8[Tensor, "n h w"]
    test_labels: Int[Tensor, "n"]


def read_idx(path: Path) -> UInt8[Tensor, "..."]:
    """One IDX file, gzipped or not. Raises UsageError for a file that is cut short, damaged, or of another kind."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        message = f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); fetch it again"
        raise UsageError(message) from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE:  # noqa: PLR2004 - the format's own header
        message = f"{path} is no IDX file of bytes (it begins {raw[:4].hex() or 'nowhere'}, not 000008..); name MNIST's own files"
        raise UsageError(message)
    axes = raw[3]
    sizes = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes]) if len(raw) >= 4 + 4 * axes else ()
    values = raw[4 + 4 * axes :]
    wanted = math.prod(sizes) if sizes else -1
    if len(values) != wanted:
        message = f"{path} is damaged: its header promises {max(wanted, 0)} values of shape {sizes}, {len(values)} are there"
        raise UsageError(message)
    if not values:
        return torch.zeros(sizes, dtype=torch.uint8)
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).reshape(sizes)


def from_folder(folder: Path) -> Images | None:
    """MNIST from a folder that has its four files; None where it has none of them. UsageError for some of them only."""
    found = {name: next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), None) for name in FILES}
    missing = [name for name, path in found.items() if path is None]
    if len(missing) == len(FILES):
        return None
    if missing:
        message = f"{folder} lacks {', '.join(missing)} (gzipped or not); all four files of MNIST are needed"
        raise UsageError(message)
    train, labels, test, test_labels = (read_idx(path) for path in found.values() if path is not None)
    _check(folder, train, labels, test, test_labels)
    return Images(train, labels.long(), test, test_labels.long())


def _check(folder: Path, train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor) -> None:
    for images, classes, which in ((train, labels, "train"), (test, test_labels, "test")):
        if images.dim() != 3 or classes.dim() != 1 or len(images) != len(classes):  # noqa: PLR2004 - n, h, w
            shapes = f"{tuple(images.shape)} pictures for {tuple(classes.shape)} labels"
            message = f"{folder}: {which} has {shapes}; they do not belong together"
            raise UsageError(message)
        if not len(images) or classes.max() >= CLASSES:
            came = f"a label of {classes.max()}, where {CLASSES - 1} is the highest" if len(images) else "no pictures"
            message = f"{folder}: {which} has {came}; fetch MNIST's files again"
            raise UsageError(message)
    if train.shape[1:] != test.shape[1:]:
        sizes = f"{tuple(train.shape[1:])} to train on, {tuple(test.shape[1:])} for test"
        message = f"{folder} has pictures of two sizes ({sizes}); they do not belong together"
        raise UsageError(message)


def download(folder: Path, tell: Callable[[int, int], None] | None = None) -> Images:
    """Fetch what is missing into a folder, check it, and read it. Raises UsageError where no mirror gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (name, digest) in enumerate(FILES.items()):
        target = folder / f"{name}.gz"
        if not target.exists():
            _fetch(f"{name}.gz", digest, target)
        if tell is not None:
            tell(place + 1, len(FILES))
    found = from_folder(folder)
    assert found is not None  # noqa: S101 - the loop above has put every file there
    return found


def _fetch(name: str, digest: str, target: Path) -> None:
    failures = []
    for mirror in MIRRORS:
        try:
            with whole(target) as part:
                came = _stream(mirror + name, part)
                if came != digest:
                    message = f"checksum {came}, not {digest}"
                    raise OSError(message)  # noqa: TRY301 - the block below is where every mirror's failure goes
        except (OSError, urllib.error.URLError) as error:
            failures.append(f"{mirror}: {getattr(error, 'reason', None) or error}")
        else:
            return
    message = f"{name} could not be downloaded ({'; '.join(failures)}); name a folder that has it with --data"
    raise UsageError(message)


def _stream(address: str, part: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer, part.open("wb") as file:  # noqa: S310 - https, from the list above
        while block := answer.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
