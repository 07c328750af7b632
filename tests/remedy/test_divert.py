"""Nothing of the user's changes while a block's writes are diverted, and the block cannot tell."""

import contextlib
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
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
from torch.utils.data import DataLoader, Dataset

from remedy.tree import snapshot
from remedy.writers import WRITERS
from torchstone.remedy.divert import TABLE, divert


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
