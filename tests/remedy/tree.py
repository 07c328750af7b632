"""A user's folder and what it looks like, for the tests of diverted writes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

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
