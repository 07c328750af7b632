"""Send every write of this process into a scratch folder, so that a trial changes nothing of the user's.

A trial runs the user's script again. It must not overwrite a checkpoint, append to a log or remove a folder, must read
back what it wrote itself, and must not see what the first run left behind, or a script that resumes would resume.
`divert` puts a stand-in in place of each function through which Python code reaches the file system: `open`, the
functions of `os`, and with them pathlib, shutil, tempfile, glob, logging, json, csv, zipfile and numpy, which all call
those; and of each native function of torch and safetensors that takes a path. One table says which arguments of which
function are paths and what is wanted from them; `Overlay` says where they lie.

Left as they are: the scratch folder, /dev, /proc, /sys, open file descriptors, and in the system's temporary folder the
sockets of `multiprocessing` and the cache of `torch.compile`. What `tempfile` makes in no stated folder, and the caches
of other compilers, are real files in the scratch folder: subprocesses have to find them.

Limits. Other native code that opens files by name is not seen: sqlite3, h5py, pyarrow, cv2, tokenizers, `io.FileIO`
given a path, `import`. Nor are subprocesses (`subprocess`, `os.system`, the spawn method of `multiprocessing`: such a
process may itself call `divert` with the same scratch folder), `os.fchmod`, and sockets. A forked process is covered. A
function stored before the block in a default argument or an object is not replaced. What runs after the block, such as
`atexit` handlers, writes for real.
"""

import errno
import functools
import inspect
import io
import os
import posix
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from torchstone.remedy.overlay import READ, SOCKETS, WRITING, Overlay, failure

LOOK = os.O_NOFOLLOW
CHANGE = os.O_RDWR
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
MAKE = os.O_CREAT | os.O_EXCL
KEPT = ("posix", "_io")  # where the real functions stay
OPENER = 7  # its position among the arguments of open

# Compilers run as subprocesses on files that Python wrote, so their caches must be real folders: other ones than the
# user's. Unless the user sets it, inductor's is in the system's temporary folder, and is left there.
COMPILERS = ("TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR")


@dataclass(frozen=True)
class Argument:
    """An argument that is a path; `flags`, those of `open`, say what is wanted from it (None: the path itself)."""

    index: int
    name: str
    flags: int | Callable[..., int] | None


def _mapped(_filename: object, shared: object = None, *_rest: object, **_options: object) -> int:
    """A mapped file is written only where it is shared."""
    return CHANGE | os.O_CREAT if shared else READ


def _path(flags: int | None) -> tuple[Argument, ...]:
    return (Argument(0, "path", flags),)


def _pair(source: int | None, target: int | None) -> tuple[Argument, ...]:
    return (Argument(0, "src", source), Argument(1, "dst", target))


TABLE: dict[str, dict[str, tuple[Argument, ...]]] = {
    "os": {
        **dict.fromkeys(("stat", "access", "statvfs", "pathconf", "getxattr", "listxattr"), _path(READ)),
        **dict.fromkeys(("lstat", "readlink"), _path(LOOK)),
        **dict.fromkeys(("mkdir", "mkfifo", "mknod"), _path(MAKE)),
        **dict.fromkeys(("chmod", "chown", "utime", "truncate", "setxattr", "removexattr"), _path(CHANGE)),
        **dict.fromkeys(("open", "unlink", "remove", "rmdir", "chdir"), _path(None)),
        **dict.fromkeys(("rename", "replace"), _pair(None, None)),
        **dict.fromkeys(("listdir", "scandir", "getcwd", "getcwdb"), ()),
        "lchown": _path(CHANGE | LOOK),
        "link": _pair(CHANGE | LOOK, MAKE),
        "symlink": (Argument(1, "dst", MAKE),),
    },
    "io": {"open": ()},
    "tempfile": dict.fromkeys(("mkdtemp", "mkstemp", "TemporaryFile", "NamedTemporaryFile"), ()),
    "torch": {
        "_C.PyTorchFileWriter.__init__": (Argument(1, "file_name", WRITE),),
        "_C.PyTorchFileReader.__init__": (Argument(1, "arg0", READ),),
        "_C.ScriptModule.save": (Argument(1, "filename", WRITE),),
        "_C.import_ir_module": (Argument(1, "arg1", READ),),
        "_C._autograd._ProfilerResult.save": (Argument(1, "arg0", WRITE),),
        "_C._distributed_c10d.FileStore.__init__": (Argument(1, "file_name", CHANGE | os.O_CREAT),),
        "UntypedStorage.from_file": (Argument(0, "filename", _mapped),),
        "from_file": (Argument(0, "filename", _mapped),),
    },
    "safetensors": {
        "serialize_file": (Argument(1, "filename", WRITE),),
        "safe_open": (Argument(0, "filename", READ),),
        "_safe_open_handle": (Argument(0, "filename", READ),),
    },
}


class Entry:
    """What `scandir` gives in place of an `os.DirEntry`, which cannot be made."""

    def __init__(self, entry: "os.DirEntry[str]", folder: Any, full: str) -> None:
        """Speak of the user's path `folder`, or of the bare name where it is a descriptor."""
        self._entry, self._full = entry, full
        self.name: Any = os.fsencode(entry.name) if isinstance(folder, bytes) else entry.name
        self.path = self.name if isinstance(folder, int) else os.path.join(folder, self.name)

    def __fspath__(self) -> Any:
        """Return the path."""
        return self.path

    def __repr__(self) -> str:
        """Return what the real one shows."""
        return f"<DirEntry {self.name!r}>"

    def inode(self) -> int:
        """Return the number of the file's inode."""
        return self._entry.inode()

    def is_symlink(self) -> bool:
        """Whether this is a symbolic link."""
        return self._entry.is_symlink()

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether this is a folder; a link is followed in the view, not in the real file system."""
        if follow_symlinks and self.is_symlink():
            return Path(self._full).is_dir()
        return self._entry.is_dir(follow_symlinks=False)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether this is a regular file."""
        if follow_symlinks and self.is_symlink():
            return Path(self._full).is_file()
        return self._entry.is_file(follow_symlinks=False)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the file's status."""
        try:
            return Path(self._full).stat() if follow_symlinks and self.is_symlink() else self._entry.stat(follow_symlinks=False)
        except OSError as error:
            error.filename = self.path
            raise


class Listing(Iterator[Entry]):
    """What `scandir` returns: an iterator that can be closed."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Hold the entries."""
        self._entries = iter(entries)

    def __next__(self) -> Entry:
        """Return the next entry."""
        return next(self._entries)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give no more entries."""
        self._entries = iter(())


def _holders() -> Iterator[dict[Any, Any]]:
    """Yield where functions are held: the names of every module, and the one table that numpy opens files by."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if isinstance(names, dict) and names.get("__name__") not in KEPT:
            yield names
    source = sys.modules.get("numpy.lib._datasource")
    if source is not None:
        yield vars(vars(source)["_file_openers"])["_file_openers"]


def _swap(pairs: Mapping[int, tuple[object, object]]) -> None:
    """Replace functions wherever they are held, for `from os import remove` holds its own."""
    for holder in _holders():
        for name, value in list(holder.items()):
            if id(value) in pairs:
                holder[name] = pairs[id(value)][1]


def _restate(error: Exception, spoken: list[Any], upper: str) -> None:
    """Let an error name the paths that the user gave, not those in the scratch folder."""
    if not isinstance(error, OSError) or error.filename is None:
        error.args = tuple(text.replace(upper, "") if isinstance(text, str) else text for text in error.args)
    elif len(spoken) == 1 and error.filename2 is not None:
        error.filename2 = spoken[0]
    elif spoken:
        error.filename = spoken[0]
        if len(spoken) > 1:
            error.filename2 = spoken[1]


class Diverted:
    """The writes of a block that are being sent elsewhere."""

    def __init__(self, overlay: Overlay, stack: ExitStack) -> None:
        """Put the stand-ins in place; `stack` takes them out."""
        self._overlay, self._stack, self._open = overlay, stack, io.open
        self._adopted: set[str] = set()
        self._acts: dict[str, Callable[..., Any]] = {
            **dict.fromkeys(("os.unlink", "os.remove"), overlay.unlink),
            **dict.fromkeys(("os.rename", "os.replace"), overlay.rename),
            "os.open": overlay.open,
            "io.open": self._open_file,
            "os.rmdir": overlay.rmdir,
            "os.chdir": overlay.chdir,
            "os.getcwd": overlay.folder,
            "os.getcwdb": lambda: os.fsencode(overlay.folder()),
            "os.listdir": lambda path=None: [entry.name for entry in self._list(path)],
            "os.scandir": lambda path=None: Listing(self._list(path)),
        }
        for name, index in (("mkdtemp", 2), ("mkstemp", 2), ("TemporaryFile", 6), ("NamedTemporaryFile", 6)):
            self._acts[f"tempfile.{name}"] = functools.partial(self._make_temporary, getattr(tempfile, name), index)
        self._active = True
        stack.callback(self._rest)
        for name in TABLE:
            if name in sys.modules:
                self.adopt(sys.modules[name])

    @property
    def paths(self) -> tuple[str, ...]:
        """The user's paths whose writes were diverted, absolute and free of links, in order of their first time."""
        return self._overlay.written

    def adopt(self, module: ModuleType) -> None:
        """Divert what a module that has just been imported writes natively: torch, safetensors or a part of them."""
        package = module.__name__.partition(".")[0]
        if package in self._adopted or package not in TABLE:
            return
        self._adopted.add(package)
        pairs: dict[int, tuple[object, object]] = {}
        for dotted, arguments in TABLE[package].items():
            *owners, name = dotted.split(".")
            try:
                owner: Any = functools.reduce(getattr, owners, sys.modules[package])
                original = getattr(owner, name)
            except AttributeError:  # not on this platform, or not in this version
                continue
            stand_in = self._stand_in(original, arguments, self._acts.get(f"{package}.{dotted}"))
            if isinstance(owner, ModuleType):
                stand_in.__module__ = owner.__name__  # `os.remove` is pickled by this name
                pairs[id(original)] = (original, stand_in)
            else:
                self._set(owner, name, staticmethod(stand_in) if inspect.isbuiltin(original) else stand_in)
        _swap(pairs)
        self._stack.callback(_swap, {id(new): (new, old) for old, new in pairs.values()})

    def _rest(self) -> None:
        """Let the stand-ins that someone still holds do what the real functions do."""
        self._active = False

    def _set(self, owner: object, name: str, value: object) -> None:
        """Set an attribute until the end."""
        if name in vars(owner):
            self._stack.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._stack.callback(delattr, owner, name)
        setattr(owner, name, value)

    def set_process(self) -> None:
        """Set what else decides where this process writes: caches of compilers, bytecode, and copies of functions."""
        self._set(sys, "dont_write_bytecode", value=True)
        for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids"):
            known = {function.__name__ for function in getattr(os, name)}
            self._set(os, name, getattr(os, name) | {getattr(os, one) for one in known if hasattr(os, one)})
        close = vars(tempfile)["_TemporaryFileCloser"].close  # holds os.unlink as a default argument
        self._stack.callback(setattr, close, "__defaults__", close.__defaults__)
        close.__defaults__ = tuple(os.unlink if one is posix.unlink else one for one in close.__defaults__)
        for name in COMPILERS if COMPILERS[-1] in os.environ else COMPILERS[:-1]:
            before = os.environ.get(name)
            undo = functools.partial(os.environ.pop, name, None)
            self._stack.callback(undo if before is None else functools.partial(os.environ.__setitem__, name, before))
            os.environ[name] = f"{self._overlay.scratch}/compiled/{name.lower()}"

    def _stand_in(
        self, original: Callable[..., Any], arguments: tuple[Argument, ...], act: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        """Build the function that takes the place of `original`: it calls that, or `act`, with the real paths."""

        @functools.wraps(original)
        def stand_in(*positional: Any, **options: Any) -> Any:
            if not self._active:  # held by someone beyond the block
                return original(*positional, **options)
            values, function = list(positional), act or original
            given = [values[one.index] if one.index < len(values) else options.get(one.name) for one in arguments]
            try:
                for argument, path in zip(arguments, given, strict=True):
                    real = self._real(argument, path, values, options)
                    if real is None:
                        function = original
                    elif argument.index < len(values):
                        values[argument.index] = real
                    else:
                        options[argument.name] = real
                return function(*values, **options)
            except Exception as error:
                spoken = [os.fspath(path) if isinstance(path, os.PathLike) else path for path in given]
                _restate(error, spoken, self._overlay.upper)
                raise

        return stand_in

    def _real(self, argument: Argument, given: Any, values: list[Any], options: dict[str, Any]) -> str | bytes | None:
        """Return what to hand on in place of a path; None where it is none, but a descriptor or a buffer."""
        folder = options.pop(f"{argument.name}_dir_fd", None) or options.pop("dir_fd", None)
        flags = argument.flags(*values, **options) if callable(argument.flags) else argument.flags
        if isinstance(given, int) and flags is not None and flags & WRITING:
            text = self._overlay.name_of(given)
            given = text if text.startswith("/") else None
        if not given or not isinstance(given, (str, bytes, os.PathLike)):
            return None
        text = os.fsdecode(given)
        if folder is not None:
            text = os.path.join(self._overlay.name_of(folder), text)
        if flags is None:
            return text
        follow = options.get("follow_symlinks", True)
        real = self._overlay.place(text, flags if follow else flags | LOOK)
        return os.fsencode(real) if isinstance(given, bytes) else real

    def _list(self, path: Any) -> list[Entry]:
        """List a folder given by path or descriptor."""
        folder: Any = "." if path is None else path if isinstance(path, int) else os.fspath(path)
        try:
            if isinstance(folder, int):
                name = self._overlay.name_of(folder)
            elif folder:
                name = self._overlay.resolve(os.fsdecode(folder), follow=True)
            else:
                raise failure(errno.ENOENT, folder)
            found = self._overlay.entries(name)
            return [Entry(entry, folder, os.path.join(name, entry.name)) for entry in found.values()]
        except OSError as error:
            error.filename = folder
            raise

    def _make_temporary(self, original: Callable[..., Any], index: int, *arguments: Any, **options: Any) -> Any:
        """Put what is to have a fresh name, and no folder of the user's, where subprocesses can see it too."""
        given = arguments[index] if index < len(arguments) else options.get("dir")
        if given is None and options.get("prefix") != SOCKETS:
            folder = self._overlay.temporary
            in_bytes = any(isinstance(one, bytes) for one in (*arguments, *options.values()))
            given = os.fsencode(folder) if in_bytes else folder
        if index < len(arguments):
            return original(*arguments[:index], given, *arguments[index + 1 :], **options)
        return original(*arguments, **options | {"dir": given})

    def _open_file(self, *arguments: Any, **options: Any) -> Any:
        """Open a file by way of `os.open`, so that the file keeps the name the user gave."""
        file = arguments[0] if arguments else options.get("file")
        if not isinstance(file, int) and len(arguments) <= OPENER and not options.get("opener"):
            options["opener"] = lambda name, flags: os.open(name, flags, 0o666)
        return self._open(*arguments, **options)


@contextmanager
def divert(scratch: Path, hidden: Iterable[Path] = ()) -> Iterator[Diverted]:
    """Send every write of this process into `scratch` while the block runs.

    Paths in `hidden` do not exist in the block until it makes them. The scratch folder should be new, and no folder of
    the user's; given again, it is taken up as it was left.
    """
    with ExitStack() as stack:
        diverted = Diverted(Overlay(str(scratch), map(str, hidden)), stack)
        diverted.set_process()
        yield diverted
