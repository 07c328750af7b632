"""Which pictures a study trains on: MNIST where it can be had, else the 8x8 digits that come with scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import torch

from torchstone.core.errors import UsageError
from torchstone.studies.data import mnist
from torchstone.studies.data.mnist import Images

CACHE = Path.home() / ".cache" / "torchstone" / "mnist"
_TEST_SHARE = 5  # every fifth digit is held out


def digits() -> Images:
    """scikit-learn's 1,797 digits of 8x8 pixels, scaled to 0..255; every fifth is the test set."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = "the digits need scikit-learn; pip install 'torchstone[studies]'"
        raise UsageError(message) from error
    found = load_digits()
    pictures = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(found.target).long()
    held = torch.arange(len(labels)) % _TEST_SHARE == 0
    return Images(pictures[~held], labels[~held], pictures[held], labels[held])


def pictures(
    folder: Path | None, remark: Callable[[str], None], tell: Callable[[int, int], None] | None = None, *, fetch: bool = True
) -> Images:
    """MNIST from the user's folder, from the cache, or downloaded; where that fails, the digits, and the report says so."""
    if folder is not None:
        found = mnist.from_folder(folder)
        if found is None:
            message = f"--data {folder} has none of MNIST's files ({', '.join(mnist.FILES)}, gzipped or not)"
            raise UsageError(message)
        return found
    cached = mnist.from_folder(CACHE) if CACHE.is_dir() else None
    if cached is not None:
        return cached
    if fetch:
        try:
            return mnist.download(CACHE, tell)
        except (UsageError, OSError) as error:
            reason = str(error)
    else:
        reason = "a quick run downloads nothing"
    remark(f"trained on scikit-learn's 8x8 digits instead of MNIST: {reason}")
    return digits()
