"""Nothing of the user's changes while a block's writes are diverted, and the block cannot tell."""

import bz2
import contextlib
import csv
import fcntl
import functools
import glob
import gzip
import io
import json
import logging
import logging.handlers
import lzma
import mmap
import multiprocessing
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import remove as remove_imported_by_name
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from torchstone.remedy.divert import TABLE, divert

Snapshot = dict[str, tuple[Any, ...]]


def snapshot(folder: Path, *, times: bool = True) -> Snapshot:
    """Names, kinds, modes, contents and times of everything under a folder."""
    found: Snapshot = {}
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in folders + files)):
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            content: Any = None
            if kind == stat.S_IFLNK:
                content = path.readlink()
            elif kind == stat.S_IFREG:
                content = path.read_bytes()
            mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
            found[str(path.relative_to(folder))] = (kind, mode, content, status.st_mtime_ns if times else 0)
    return found


def fill(folder: Path) -> None:
    """What the user has before the trial."""
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "old.txt").write_text("old\n")
    (folder / "data" / "a.bin").write_bytes(bytes(range(256)))
    (folder / "data" / "deep" / "b.txt").write_text("b")
    (folder / "link").symlink_to("old.txt")
    (folder / "linked").symlink_to("data")
    (folder / "dangling").symlink_to("nothing")
    torch.save({"step": 1}, folder / "old.pt")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, the working one, which no test may change."""
    folder = tmp_path / "user"
    folder.mkdir()
    fill(folder)
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    yield folder
    os.chdir(folder)
    assert snapshot(folder) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"user", "scratch"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the writes go."""
    return tmp_path / "scratch"


# Every way to write: it reads back what it wrote, and what it named is reported.


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


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_writer_changes_nothing_and_reads_back(user: Path, scratch: Path, write: Callable[[], None]) -> None:
    """The `user` fixture holds the folder against what it was."""
    with divert(scratch) as diverted:
        write()
    assert diverted.paths
    assert len(set(diverted.paths)) == len(diverted.paths)
    assert all(Path(path).is_relative_to(user) or path.startswith(tempfile.gettempdir()) for path in diverted.paths)


def test_paths_are_the_users_in_order(user: Path, scratch: Path) -> None:
    """The report names them; a read is not among them."""
    with divert(scratch) as diverted:
        Path("b.txt").write_text("b")
        Path("old.txt").read_text()
        torch.save([1], "a.pt")
        Path("b.txt").write_text("c")
        os.remove("old.txt")
        assert diverted.paths == tuple(str(user / name) for name in ("b.txt", "a.pt", "old.txt"))


def test_hidden_paths_do_not_exist_until_made(user: Path, scratch: Path) -> None:
    """A script that resumes from what the first run left would not be the same run."""
    hidden = [user / "old.pt", Path("data"), user / "link"]
    with divert(scratch, hidden):
        assert sorted(os.listdir()) == ["dangling", "empty", "linked", "old.txt"]
        assert not any(os.path.lexists(path) for path in ("old.pt", "data", "data/a.bin", "link"))
        assert not os.path.exists("linked")
        for read in (open, torch.load, os.stat, os.listdir, safetensors.torch.load_file):
            with pytest.raises(FileNotFoundError):
                read("old.pt")
        with pytest.raises(FileNotFoundError), open("data/new.txt", "w"):
            pass
        with pytest.raises(RuntimeError, match="Parent directory"):
            torch.save([1], "data/x.pt")
        Path("data").mkdir()
        assert os.listdir("data") == os.listdir("linked") == []
        torch.save({"step": 2}, "old.pt")
        Path("data/a.bin").write_text("mine")
        assert torch.load("old.pt") == {"step": 2}
        assert Path("linked/a.bin").read_text() == "mine"


def functions() -> dict[str, Any]:
    """Whatever the block replaces, as it is now."""
    held: dict[str, Any] = {"builtins.open": open, "environ": dict(os.environ)}
    held["by name"] = remove_imported_by_name
    held["closer"] = vars(tempfile)["_TemporaryFileCloser"].close.__defaults__
    held |= {name: getattr(os, name) for name in dir(os) if name.startswith("supports_") and "bytes" not in name}
    held["numpy"] = vars(np.lib._datasource._file_openers)["_file_openers"][None]  # type: ignore[attr-defined]
    for package, rows in TABLE.items():
        for dotted in rows:
            *owners, name = dotted.split(".")
            owner = functools.reduce(getattr, owners, sys.modules[package])
            held[f"{package}.{dotted}"] = vars(owner).get(name)
    held["safetensors.torch"] = (safetensors.torch.serialize_file, safetensors.torch.safe_open)
    return held


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
@pytest.mark.usefixtures("user")
def test_everything_is_put_back(scratch: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None) -> None:
    """Also where the block fails."""
    before = functions()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    with contextlib.suppress(KeyboardInterrupt), divert(scratch) as diverted:
        during = functions()
        assert sys.dont_write_bytecode
        assert [name for name in before if before[name] is not None and during[name] is before[name]] == []
        diverted.adopt(torch)
        kept = open
        if error:
            raise error
    after = functions()
    assert all(after[name] is before[name] or after[name] == before[name] for name in before)
    assert not sys.dont_write_bytecode
    assert after["io.open"] is before["io.open"]
    with kept(scratch / "x", "w") as file:  # a stand-in that someone still holds is the real function again
        file.write("x")
    assert (scratch / "x").read_text() == "x"


def test_a_module_imported_in_the_block_is_adopted(user: Path, scratch: Path) -> None:
    """The caller says when torch has come; before that, its native functions are not replaced."""
    code = f"""
import os, sys
from pathlib import Path
from torchstone.remedy.divert import divert
assert "torch" not in sys.modules
with divert(Path({str(scratch)!r})) as diverted:
    import torch, safetensors.torch
    diverted.adopt(torch)
    diverted.adopt(safetensors.torch)
    torch.save([1], "old.pt")
    safetensors.torch.save_file(dict(x=torch.ones(1)), "x.safetensors")
    assert torch.load("old.pt") == [1] and safetensors.torch.load_file("x.safetensors")["x"].item() == 1
    print(*map(os.path.basename, diverted.paths))
assert sorted(os.listdir()) == {sorted(os.listdir())!r}
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=user, env=environment, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"old.pt x.safetensors\n", b"")


@pytest.mark.usefixtures("user")
def test_left_as_they_are(scratch: Path) -> None:
    """Devices, kernel files, descriptors, pipes, and the scratch folder itself."""
    with divert(scratch) as diverted:
        with open("/dev/null", "w") as file:
            file.write("gone")
        with open(f"/dev/shm/torchstone-{os.getpid()}", "w") as file:
            file.write("shared")
        os.unlink(file.name)
        Path("/proc/self/comm").write_text("trial")
        read, write = os.pipe()
        with open(write, "w") as file:
            file.write("piped")
        with open(read) as file:
            assert file.read() == "piped"
        (scratch / "note").write_text("note")
        (scratch / "note").rename(scratch / "noted")
        assert diverted.paths == ()
    assert (scratch / "noted").read_text() == "note"


def test_the_scratch_folder_survives_a_script_that_clears_around_it(user: Path) -> None:
    """It may lie within the user's folder, and is not seen there."""
    scratch = user / "runs" / "scratch"
    before = snapshot(user)
    with divert(scratch):
        Path("runs/log").write_text("log")
        assert os.listdir("runs") == ["log"]
        shutil.rmtree(user)
        assert not user.exists()
        user.mkdir()
        assert os.listdir(user) == []
    assert scratch.is_dir()
    shutil.rmtree(user / "runs")
    now = snapshot(user)
    assert {name: now[name] for name in now if name != "."} == {name: before[name] for name in before if name != "."}
    os.utime(user, ns=(before["."][3], before["."][3]))


class Loading(Dataset[torch.Tensor]):
    """Reads a file of the user's and one of the trial's, and writes, in a worker."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        """Give an item."""
        Path("made", str(index)).write_text("by a worker")
        return torch.frombuffer(bytearray(Path("data/a.bin").read_bytes() + Path("made/x").read_bytes()), dtype=torch.uint8)


@pytest.mark.parametrize("strategy", ["file_descriptor", "file_system"])
def test_workers_are_diverted_too(user: Path, scratch: Path, strategy: str) -> None:
    """They share memory with this process through sockets and files of their own."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy(strategy)
    try:
        with divert(scratch) as diverted:
            os.mkdir("made")
            Path("made/x").write_bytes(b"!")
            batches = list(DataLoader(Loading(), batch_size=2, num_workers=2, multiprocessing_context="fork"))
            assert sorted(os.listdir("made")) == ["0", "1", "2", "3", "x"]
            assert str(user / "made/3") in diverted.paths
    finally:
        torch.multiprocessing.set_sharing_strategy(before)
    assert [batch.shape for batch in batches] == [(2, 257), (2, 257)]


def remove_all() -> None:
    """Remove and remake, in another process."""
    shutil.rmtree("data")
    os.mkdir("data")
    os.rename("old.txt", "data/old.txt")


def test_another_process_agrees_on_what_is_gone(user: Path, scratch: Path) -> None:
    """One that was forked does by itself; a fresh one takes up the same folder."""
    with divert(scratch, [user / "old.pt"]) as diverted:
        process = multiprocessing.get_context("fork").Process(target=remove_all)
        process.start()
        process.join()
        assert sorted(os.listdir()) == ["dangling", "data", "empty", "link", "linked"]
        assert os.listdir("data") == ["old.txt"]
        assert str(user / "old.txt") in diverted.paths
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(os.remove, ["data/old.txt"])
    with divert(scratch):
        assert os.listdir("data") == []
        assert not os.path.exists("old.pt")


@pytest.mark.usefixtures("user")
def test_threads_copy_a_file_up_once(scratch: Path) -> None:
    """What one wrote is not lost when another comes to the same file for the first time."""

    def write(number: int) -> None:
        start.wait()
        Path(f"data/deep/{number}").write_text("x")
        with open("old.txt", "a") as file:
            file.write(f"{number}\n")

    start = threading.Barrier(8)
    with divert(scratch), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(8))) == [None] * 8
        assert sorted(Path("old.txt").read_text().split()) == [*map(str, range(8)), "old"]
        assert len(os.listdir("data/deep")) == 9


@pytest.mark.usefixtures("user")
def test_subprocesses_find_temporary_files_and_caches(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers run as subprocesses, on files that Python wrote for them."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "cache")
    with divert(scratch) as diverted:
        folders = [Path(os.environ[f"{name}_DIR"]) for name in ("TORCHINDUCTOR_CACHE", "TRITON_CACHE", "TORCH_EXTENSIONS")]
        folders += [Path(tempfile.mkdtemp()), Path(os.fsdecode(tempfile.mkdtemp(b"x", None, None)))]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "x.cpp").write_text("int main() {}")
            assert subprocess.run(["/bin/cat", folder / "x.cpp"], check=True, capture_output=True).stdout
            assert folder.is_relative_to(scratch)
        with tempfile.NamedTemporaryFile("w", -1, None, None, ".txt", None, None, delete=False) as file:
            file.write("x")
        assert subprocess.run(["/bin/cat", file.name], check=True, capture_output=True).stdout == b"x"
        assert diverted.paths == ()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "cache"


@pytest.mark.skipif(os.getuid() == 0, reason="root may do everything")
@pytest.mark.usefixtures("user")
def test_permission_is_asked_of_the_real_folder(scratch: Path) -> None:
    """A script that falls back where it may not write must fall back in the trial."""
    mode = os.stat("empty").st_mode
    os.chmod("empty", 0o500)
    try:
        with divert(scratch), pytest.raises(PermissionError):
            Path("empty/x").touch()
    finally:
        os.chmod("empty", mode)


@pytest.mark.usefixtures("user")
def test_errors_name_the_users_paths(scratch: Path) -> None:
    """As they would be: relative where they were given so."""
    with divert(scratch):
        for act, kind in (
            (lambda: Path("missing/x").write_text(""), FileNotFoundError),
            (lambda: Path("missing").read_text(), FileNotFoundError),
            (lambda: os.mkdir("data"), FileExistsError),
            (lambda: os.rmdir("data"), OSError),
            (lambda: os.unlink("data"), IsADirectoryError),
            (lambda: os.listdir("old.txt"), NotADirectoryError),
            (lambda: os.rename("nothing", "old.txt"), FileNotFoundError),
            (lambda: Path("data").write_bytes(b""), IsADirectoryError),
            (lambda: np.load("nothing.npy"), FileNotFoundError),
        ):
            with pytest.raises(kind) as caught:
                act()
            assert not os.path.isabs(caught.value.filename)
            assert str(scratch) not in str(caught.value)


# A random sequence of operations, on the view and on a real copy: each has the same outcome, and so has the whole.

NAMES = ("a", "b", "old.txt", "data", "data/a.bin", "data/new", "data/deep", "data/deep/b.txt", "data/deep/c", "empty")
STRANGE = ("empty/x", "link", "linked", "linked/a.bin", "linked/y", "dangling", "old.txt/z", "missing/x")
LAST = ("data/", "a/", "./old.txt", "data/../b", "linked/deep/../a.bin", "")


def put(mode: str, path: str) -> Any:
    """Write through `open` and say what was there."""
    with open(path, mode + "b") as file:
        file.write(b"text")
        file.seek(0)
        return file.read() if "+" in mode else file.name


def get(path: str) -> Any:
    """Read a file."""
    return Path(path).read_bytes()


def statuses(path: str) -> Any:
    """All the questions about a path."""
    answers = [question(path) for question in (os.path.exists, os.path.lexists, os.path.isfile, os.path.isdir)]
    status = os.stat(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return answers, os.path.islink(path), os.access(path, os.W_OK), status.st_mode, size, os.lstat(path).st_mode


def walked(path: str) -> Any:
    """List a tree."""
    return sorted((parent, sorted(folders), sorted(files)) for parent, folders, files in os.walk(path))


def scanned(path: str) -> Any:
    """List a folder with what `scandir` knows."""
    with os.scandir(path) as entries:
        return sorted((e.name, e.path, e.is_dir(), e.is_file(), e.is_symlink(), e.stat().st_mode) for e in entries)


def temporary(path: str) -> Any:
    """Make and drop a named temporary file in a folder."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path) as file:
            return os.path.exists(file.name)
    except OSError as error:
        return error.errno


def copied(source: str, target: str) -> Any:
    """Copy a tree, but not into itself, which has no end."""
    if not os.path.realpath(target).startswith(os.path.realpath(source)):
        shutil.copytree(source, target, symlinks=True)


ONE: dict[str, Callable[[str], Any]] = {
    **{f"put {mode}": functools.partial(put, mode) for mode in ("w", "a", "x", "r+", "w+", "a+")},
    "get": get,
    "statuses": statuses,
    "listdir": lambda path: sorted(os.listdir(path)),
    "scanned": scanned,
    "walked": walked,
    "glob": lambda path: sorted(glob.glob(f"{path}/*")),
    "realpath": lambda path: os.path.relpath(os.path.realpath(path)),
    "mkdir": lambda path: os.mkdir(path),
    "makedirs": lambda path: os.makedirs(path, exist_ok=True),
    "rmdir": lambda path: os.rmdir(path),
    "unlink": lambda path: os.unlink(path),
    "remove": lambda path: os.remove(path),
    "rmtree": lambda path: shutil.rmtree(path),
    "readlink": lambda path: os.readlink(path),
    "truncate": lambda path: os.truncate(path, 2),
    "chmod": lambda path: os.chmod(path, 0o700),
    "utime": lambda path: (os.utime(path, (1, 2)), os.stat(path).st_mtime),
    "touch": lambda path: Path(path).touch(),
    "temporary": temporary,
    "chdir": lambda path: (os.chdir(path), os.path.basename(os.getcwd()))[1],
}
TWO: dict[str, Callable[[str, str], Any]] = {
    "rename": lambda source, target: os.rename(source, target),
    "replace": lambda source, target: os.replace(source, target),
    "symlink": lambda source, target: os.symlink(source, target),
    "link": lambda source, target: os.link(source, target),
    "copy": shutil.copy2,
    "copytree": copied,
    "move": shutil.move,
}
PATHS = st.sampled_from(NAMES + STRANGE)  # of two faulty paths the kernel does not always name the first
STEPS = st.one_of(
    st.tuples(st.sampled_from(sorted(ONE)), st.sampled_from(NAMES + STRANGE + LAST)),
    st.tuples(st.sampled_from(sorted(TWO)), PATHS, PATHS),
)


def outcomes(folder: Path, steps: list[tuple[str, ...]]) -> list[Any]:
    """What each step returns or raises, run in a folder."""
    found: list[Any] = []
    os.chdir(folder)
    for name, *paths in steps:
        act: Callable[..., Any] = ONE.get(name) or TWO[name]
        try:
            found.append((name, paths, act(*paths)))
        except shutil.Error as error:
            found.append((name, paths, type(error)))
        except OSError as error:
            named = name not in {"utime", "symlink"}  # which do not always name what they were given
            found.append((name, paths, type(error), error.errno, *(error.filename, error.filename2) * named))
    return found


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=25))
def test_any_sequence_has_the_same_outcome_as_on_real_files(steps: list[tuple[str, ...]]) -> None:
    """The view cannot be told from the real file system, and the real one stays as it was."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as top:
        user, real = Path(top, "user", "f"), Path(top, "real", "f")
        for folder in (user, real):
            folder.mkdir(parents=True)
            fill(folder)
        before = snapshot(user)
        try:
            expected = outcomes(real, steps)
            with divert(Path(top, "scratch")):
                assert outcomes(user, steps) == expected
                os.chdir(user)
                assert snapshot(user, times=False) == snapshot(real, times=False)
        finally:
            os.chdir(here)
        assert snapshot(user) == before
