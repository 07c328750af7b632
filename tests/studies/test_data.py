import gzip
import struct

import pytest
import torch

from torchstone.core.errors import UsageError
from torchstone.studies.data import images, mnist


def idx(values, *sizes):
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + bytes(values)


@pytest.fixture
def folder(tmp_path):
    for name, count in (("train", 6), ("t10k", 2)):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(range(count * 4), count, 2, 2))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(range(count), count)))
    return tmp_path


def test_idx_files_are_read_gzipped_or_not(folder):
    found = mnist.from_folder(folder)
    assert found.train.shape == (6, 2, 2)
    assert found.train.dtype == torch.uint8
    assert found.test[1].tolist() == [[4, 5], [6, 7]]
    assert found.test_labels.tolist() == [0, 1]


@pytest.mark.parametrize(("damage", "said"), [
    (lambda raw: raw[:-3], "promises 24 values"),
    (lambda raw: raw + b"x", "promises 24 values"),
    (lambda raw: raw[:6], "is damaged"),
    (lambda raw: b"", "is no IDX file"),
    (lambda raw: b"\0\0\x0d\x03" + raw[4:], "is no IDX file"),
    (lambda raw: gzip.compress(raw)[:-9], "cannot be read"),
])
def test_a_damaged_file_is_refused_in_one_line(folder, damage, said):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=said) as raised:
        mnist.from_folder(folder)
    assert "\n" not in str(raised.value)
    assert path.name in str(raised.value)


def test_files_that_are_missing_or_do_not_belong_together_are_named(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(range(3), 3))
    with pytest.raises(UsageError, match="do not belong together"):
        mnist.from_folder(folder)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match="lacks t10k-labels-idx1-ubyte"):
        mnist.from_folder(folder)


@pytest.mark.parametrize(("name", "values", "said"), [
    ("t10k-labels-idx1-ubyte.gz", idx([3, 200], 2), "test has a label of 200, where 9 is the highest"),
    ("t10k-images-idx3-ubyte", idx(range(18), 2, 3, 3), r"pictures of two sizes \(\(2, 2\) to train on, \(3, 3\) for test"),
    ("train-images-idx3-ubyte", idx([1], 6, 2**32 - 1, 2**32 - 1), f"promises {6 * (2**32 - 1) ** 2} values"),
])
def test_files_that_are_whole_and_yet_wrong_are_refused(folder, name, values, said):
    (folder / name).write_bytes(values)
    with pytest.raises(UsageError, match=said):
        mnist.from_folder(folder)


def test_files_without_pictures_are_refused(folder):
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx([], 0, 2, 2))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx([], 0))
    with pytest.raises(UsageError, match="test has no pictures"):
        mnist.from_folder(folder)


def test_a_folder_without_any_of_them_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UsageError, match="has none of MNIST's files"):
        images.pictures(tmp_path, print)


def test_without_mnist_the_digits_are_used_and_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "CACHE", tmp_path / "none")
    monkeypatch.setattr(mnist, "MIRRORS", ("file:///nowhere/",))
    said = []
    found = images.pictures(None, said.append)
    assert found.train.shape[1:] == (8, 8)
    assert len(found.train) + len(found.test) == 1797
    assert "could not be downloaded" in said[0]
    images.pictures(None, said.append, fetch=False)
    assert "downloads nothing" in said[1]


def test_a_download_is_held_against_its_checksum(monkeypatch, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name in mnist.FILES:
        (mirror / f"{name}.gz").write_bytes(b"not what was published")
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.as_uri() + "/",))
    with pytest.raises(UsageError, match="checksum"):
        mnist.download(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
