"""Every way to write: each reads back what it wrote."""

import bz2
import csv
import fcntl
import glob
import gzip
import io
import json
import logging
import logging.handlers
import lzma
import mmap
import os
import pickle
import shutil
import stat
import subprocess
import tarfile
import tempfile
import warnings
import zipfile
from os import remove as remove_imported_by_name
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch


def by_open() -> None:
    """All modes of `open`, on old and new files."""
    with open("old.txt", "a") as file:
        file.write("more\n")
    assert Path("old.txt").read_text() == "old\nmore\n"
    with open("data/a.bin", "r+b") as file:
        file.seek(1)
        file.write(b"XY")
    assert Path("data/a.bin").read_bytes()[:4] == b"\x00XY\x03"
    with open(b"data/new.txt", "x") as file:
        file.write("new")
    with pytest.raises(FileExistsError), open("data/new.txt", "x"):
        pass
    with io.open("old.txt", "w", encoding="utf-8") as file:  # noqa: UP020 - the other name
        file.write("other")
    with open("link") as file:
        assert (file.name, file.read()) == ("link", "other")
    with open(os.open("data/new.txt", os.O_WRONLY | os.O_APPEND), "w") as file:
        file.write("er")
    assert Path("data/new.txt").read_text() == "newer"


def by_os() -> None:
    """Functions of `os`, also with descriptors of folders."""
    os.makedirs("runs/1/2")
    os.removedirs("runs/1/2")
    assert not os.path.exists("runs")
    os.mkfifo("pipe")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    os.setxattr("old.txt", "user.note", b"x")
    assert os.getxattr("old.txt", "user.note") == b"x"
    os.chmod("old.txt", 0o600)
    os.utime("old.txt", ns=(1, 2))
    assert (os.stat("old.txt").st_mode & 0o777, os.stat("link").st_mtime_ns) == (0o600, 2)
    os.truncate("data/a.bin", 3)
    os.renames("data/deep/b.txt", "moved/b.txt")
    assert sorted(os.listdir("data")) == ["a.bin"]
    folder = os.open("data", os.O_RDONLY)
    os.unlink("a.bin", dir_fd=folder)
    os.mkdir("new", dir_fd=folder)
    os.rename("new", "newer", src_dir_fd=folder, dst_dir_fd=folder)
    assert os.listdir(folder) == ["newer"]
    assert [entry.path for entry in os.scandir(folder)] == ["newer"]
    assert stat.S_ISDIR(os.stat("newer", dir_fd=folder).st_mode)
    os.utime(folder, ns=(5, 5))
    os.close(folder)
    with open("old.txt") as file:
        os.utime(file.fileno(), ns=(5, 5))
    assert [(parent, folders) for parent, folders, *_ in os.fwalk("data")] == [("data", ["newer"]), ("data/newer", [])]


def by_pathlib() -> None:
    """Methods of `Path`."""
    Path("a/b").mkdir(parents=True)
    Path("a/b/c.txt").write_text("c")
    Path("a/b/c.txt").rename("a/d.txt")
    Path("old.txt").replace("a/old.txt")
    Path("data/a.bin").unlink()
    Path("a/touched").touch()
    Path("a/linked").symlink_to("d.txt")
    Path("a/hard").hardlink_to("a/d.txt")
    Path("a/d.txt").chmod(0o640)
    Path("empty").rmdir()
    assert sorted(path.name for path in Path("a").iterdir()) == ["b", "d.txt", "hard", "linked", "old.txt", "touched"]
    assert sorted(map(str, Path().rglob("*.txt"))) == ["a/d.txt", "a/old.txt", "data/deep/b.txt"]
    assert (Path("a/hard").read_text(), Path("a/linked").readlink()) == ("c", Path("d.txt"))
    assert Path("a/linked").resolve() == Path.cwd() / "a/d.txt"
    assert Path("a/linked").samefile("a/hard")


def by_shutil() -> None:
    """Whole trees."""
    with pytest.raises(OSError, match="symbolic link"):
        shutil.rmtree("linked")
    shutil.copytree("data", "copied", symlinks=True)
    shutil.copy2("old.txt", "copied/deep")
    shutil.move("data", "copied/moved")
    assert not os.path.exists("data")
    archive = shutil.make_archive("packed", "gztar", "copied")
    shutil.unpack_archive(archive, "unpacked")
    assert Path("unpacked/moved/deep/b.txt").read_text() == "b"
    shutil.rmtree("copied")
    assert not os.path.exists("copied")
    assert shutil.disk_usage("unpacked").total > 0


def by_tempfile() -> None:
    """Temporary files, next to the user's and in the system's place."""
    for place in (".", None):
        with tempfile.NamedTemporaryFile("w", dir=place) as file:
            assert os.path.exists(file.name)
        assert not os.path.exists(file.name)
        with tempfile.NamedTemporaryFile("w", dir=place, delete=False) as file:
            file.write("atomic")
        os.replace(file.name, "old.txt")
        assert Path("old.txt").read_text() == "atomic"
        with tempfile.TemporaryDirectory(dir=place) as folder:
            Path(folder, "x").write_text("x")
        assert not os.path.exists(folder)
        with tempfile.TemporaryFile(dir=place) as anonymous:
            anonymous.write(b"x")
        descriptor, name = tempfile.mkstemp(dir=place)
        os.close(descriptor)
        os.remove(name)


def by_text_formats() -> None:
    """The standard library's formats."""
    with open("x.json", "w") as file:
        json.dump({"a": 1}, file)
    with open("x.csv", "w", newline="") as file:
        csv.writer(file).writerow([1, 2])
    with open("x.pickle", "wb") as stream:
        pickle.dump([1], stream)
    assert json.loads(Path("x.json").read_text()) == {"a": 1}
    assert Path("x.csv").read_bytes() == b"1,2\r\n"
    assert pickle.loads(Path("x.pickle").read_bytes()) == [1]


def by_archives() -> None:
    """Compressed files."""
    for module, name in ((gzip, "x.gz"), (bz2, "x.bz2"), (lzma, "x.xz")):
        with module.open(name, "wb") as file:  # type: ignore[attr-defined]
            file.write(b"text")
        with module.open(name) as file:  # type: ignore[attr-defined]
            assert file.read() == b"text"
    with zipfile.ZipFile("x.zip", "w") as packed:
        packed.write("old.txt")
    with zipfile.ZipFile("x.zip") as packed:
        packed.extract("old.txt", "unzipped")
    with tarfile.open("x.tar", "w") as tar:
        tar.add("data")
    with tarfile.open("x.tar") as tar:
        tar.extractall("untarred", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert Path("unzipped/old.txt").read_text() == "old\n"
    assert Path("untarred/data/deep/b.txt").read_text() == "b"


def by_logging() -> None:
    """Handlers that append and rotate."""
    logger = logging.Logger("trial")  # noqa: LOG001 - known to no one else
    plain = logging.FileHandler("old.txt")
    rotating = logging.handlers.RotatingFileHandler("rotating.log", maxBytes=10, backupCount=2)
    for handler in (plain, rotating):
        logger.addHandler(handler)
    for number in range(5):
        logger.warning("line %d", number)
    plain.close()
    rotating.close()
    assert Path("old.txt").read_text().startswith("old\nline 0\n")
    assert sorted(glob.glob("rotating.log*")) == ["rotating.log", "rotating.log.1", "rotating.log.2"]


def by_mapping() -> None:
    """Mapped memory and locks."""
    with open("data/a.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        fcntl.flock(file, fcntl.LOCK_EX)
        mapped[0] = 9
    assert Path("data/a.bin").read_bytes()[0] == 9


def by_numpy() -> None:
    """Arrays, through `open` and natively."""
    array = np.arange(6.0)
    np.save("x.npy", array)
    np.savez("x.npz", array=array)
    np.savez_compressed("y.npz", array=array)
    np.savetxt("x.txt", array)
    np.savetxt("x.txt.gz", array)
    array.tofile("x.raw")
    array.dump("x.dump")
    shared = np.memmap("x.map", dtype="float64", mode="w+", shape=(6,))
    shared[:] = array
    shared.flush()
    opened = np.lib.format.open_memmap("y.npy", mode="w+", dtype="float64", shape=(6,))
    opened[:] = array
    opened.flush()
    np.memmap("data/a.bin", mode="r+", dtype="uint8")[0] = 7
    results = (np.load("x.npy"), np.load("x.npz")["array"], np.load("y.npz")["array"], np.loadtxt("x.txt"))
    more = (
        np.loadtxt("x.txt.gz"),
        np.fromfile("x.raw"),
        np.load("y.npy", mmap_mode="r"),
        np.memmap("x.map", "float64"),
    )
    assert all(np.array_equal(result, array) for result in results + more)
    assert Path("data/a.bin").read_bytes()[0] == 7


def by_torch_save() -> None:
    """Checkpoints, in both formats, by name and by file, whole and mapped."""
    state = {"weight": torch.arange(6.0)}
    for number, path in enumerate(("old.pt", Path("data/new.pt"), os.path.abspath("link"), "na\u00efve.pt")):
        torch.save(state | {"step": number}, path)
        assert torch.load(path)["step"] == number
        assert torch.equal(torch.load(path, mmap=True)["weight"], state["weight"])
    torch.save(state, "legacy.pt", _use_new_zipfile_serialization=False)
    with open("by_file.pt", "wb") as file:
        torch.save(state, file)
    for path in ("legacy.pt", "by_file.pt"):
        assert torch.equal(torch.load(path)["weight"], state["weight"])
    with pytest.raises(RuntimeError, match=r"Parent directory .*user/missing does not exist"):
        torch.save(state, "missing/x.pt")


def by_torch_script() -> None:
    """Compiled modules, which C++ writes by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.script(torch.nn.Linear(2, 2))
        torch.jit.save(module, "scripted.pt")
        module.save("data/scripted.pt")
        assert torch.jit.load("scripted.pt")(torch.ones(1, 2)).shape == (1, 2)


def by_torch_natively() -> None:
    """What else torch writes by name in C++."""
    with torch.package.PackageExporter("package.pt") as exporter:
        exporter.save_pickle("one", "one.pkl", [1])
    assert torch.package.PackageImporter("package.pt").load_pickle("one", "one.pkl") == [1]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch.ones(2).sum()
    profile.export_chrome_trace("trace.json")
    assert "traceEvents" in json.loads(Path("trace.json").read_text())
    store = torch.distributed.FileStore("store", 1)
    store.set("key", "value")
    assert store.get("key") == b"value"
    assert Path("store").stat().st_size > 0
    torch.from_file("shared.bin", shared=True, size=4).fill_(1.0)
    torch.from_file("data/a.bin", shared=True, size=4).fill_(1.0)
    assert torch.from_file("shared.bin", size=4).tolist() == [1.0] * 4
    assert Path("data/a.bin").read_bytes()[:4] == b"\x00\x00\x80?"


def by_safetensors() -> None:
    """Weights."""
    tensors = {"weight": torch.arange(6.0)}
    safetensors.torch.save_file(tensors, "x.safetensors")
    safetensors.torch.save_file(tensors, Path("data/new.safetensors"))
    safetensors.numpy.save_file({"weight": np.arange(6.0)}, "y.safetensors")
    safetensors.torch.save_model(torch.nn.Linear(2, 2), "model.safetensors")
    safetensors.torch.load_model(torch.nn.Linear(2, 2), "model.safetensors")
    assert torch.equal(safetensors.torch.load_file("x.safetensors")["weight"], tensors["weight"])
    assert safetensors.numpy.load_file("y.safetensors")["weight"].sum() == 15
    with safetensors.safe_open("data/new.safetensors", "pt") as file:
        assert list(file.keys()) == ["weight"]
    with pytest.raises(FileNotFoundError, match="missing"):
        safetensors.torch.load_file("missing.safetensors")


def by_imported_name() -> None:
    """A function that a module took by name before the block."""
    remove_imported_by_name("old.txt")
    assert not os.path.exists("old.txt")


def by_changed_folder() -> None:
    """Work in a folder that only the trial has, as experiment managers do."""
    os.makedirs("runs/1")
    os.chdir("runs/1")
    assert os.getcwd().endswith("user/runs/1")
    assert os.getcwdb() == os.fsencode(Path.cwd())
    Path("x").write_text("x")
    torch.save([1], "x.pt")
    assert sorted(os.listdir("..")) == ["1"]
    assert sorted(os.listdir()) == ["x", "x.pt"]
    assert Path("../../old.txt").read_text() == "old\n"
    os.chdir("../..")
    assert subprocess.run(["/bin/ls", "old.txt"], check=True, capture_output=True).stdout == b"old.txt\n"


WRITERS = [act for name, act in sorted(globals().items()) if name.startswith("by_")]
