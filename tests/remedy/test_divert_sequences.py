"""A random sequence of operations, on the view and on a real copy: each has the same outcome, and so has the whole."""

import functools
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remedy.tree import fill, snapshot
from torchstone.remedy.divert import divert

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
