"""From a running frame to the user's own file and line."""

import inspect
import os
import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

from torchstone.core.place import NOWHERE, Place

_OWN = str(Path(__file__).resolve().parents[1]) + os.sep


def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages())
    folders.add(site.getusersitepackages())
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


_LIBRARIES = _library_folders()
_claimed: list[str] = []


def claim(folder: str) -> None:
    """Count a folder as the user's although it lies among the libraries (`-m package` of an installed one)."""
    _claimed.append(os.path.realpath(folder) + os.sep)
    is_user_file.cache_clear()


@lru_cache(maxsize=4096)
def is_user_file(file: str) -> bool:
    """Whether a code object's file name is the user's: no library's, not ours, not made up by Python."""
    if file.startswith("<"):
        return file.startswith("<ipython") or file == "<stdin>"
    path = os.path.realpath(file)
    if path.startswith(_OWN):
        return False
    if path.startswith(tuple(_claimed)):
        return True
    return not path.startswith(_LIBRARIES)


@lru_cache(maxsize=4096)
def shown(file: str) -> str:
    """A file as reports name it: relative where it lies under the working directory."""
    path = os.path.realpath(file)
    here = os.path.realpath(os.getcwd()) + os.sep  # noqa: PTH109 - the hot path stays with strings
    return path.removeprefix(here) if not file.startswith("<") else file


def user_frame(depth: int = 1) -> FrameType | None:
    """The nearest frame, outwards, that runs the user's own code."""
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - documented for this purpose in `sys`
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_place(depth: int = 1) -> Place:
    """The user's file (relative to the working directory where it lies under it) and line."""
    frame = user_frame(depth + 1)
    return NOWHERE if frame is None else Place(shown(frame.f_code.co_filename), frame.f_lineno)


def name_of(target: object, depth: int = 1) -> str:
    """The name that the user's code calls an object by: a local, a global, or an attribute of one of them.

    A function's f_locals is a snapshot that Python 3.11 keeps on the frame, with references to everything in it;
    it is emptied again so that nothing of the user's lives longer for having been looked at.
    """
    frame = user_frame(depth + 1)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            found = _name_in(frame, target)
            if found:
                return found
        frame = frame.f_back
    return ""


def _name_in(frame: FrameType, target: object) -> str:
    is_function = frame.f_locals is not frame.f_globals
    variables = frame.f_locals
    try:
        items = [(name, value) for name, value in variables.items() if not name.startswith("__")]
        direct = next((name for name, value in items if value is target), "")
        return direct or next((found for name, value in items if (found := _attribute(name, value, target))), "")
    finally:
        if is_function and isinstance(variables, dict) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            variables.clear()


def _attribute(name: str, holder: object, target: object) -> str:
    attributes = getattr(holder, "__dict__", None)
    if not isinstance(attributes, dict) or isinstance(holder, type(sys)):
        return ""
    key = next((key for key, value in list(attributes.items()) if value is target), "")
    return str(key) if key and name == "self" else (f"{name}.{key}" if key else "")
