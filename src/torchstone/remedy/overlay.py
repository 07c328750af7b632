"""Where a path lives while a trial's writes are kept apart from the user's files.

Two layers make one view. The lower one is the real file system, which is only ever read. The upper one is a folder in
the scratch folder that repeats the absolute paths of whatever the trial wrote. A name is looked up above first, then
below, unless it or a folder above it is *gone*: removed by the trial, or hidden from it from the start. Nothing stops
being gone; what comes back under such a name comes back in the upper layer, so a folder that was removed and made
again does not show its old contents.

What an operation wants from a path is said in the flags of `open`, the one vocabulary that covers them all: a look is
O_RDONLY, `lstat` adds O_NOFOLLOW, `mkdir` is O_CREAT | O_EXCL, `chmod` is O_RDWR.

Which names are gone and which were written is kept in a journal in the scratch folder, so that a forked process and
its parent agree, and a fresh process that is given the same scratch folder takes up the same view.
"""

import contextlib
import errno
import io
import os
import posix
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

READ = os.O_RDONLY
WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
ANONYMOUS = getattr(os, "O_TMPFILE", 0)
LINKS_FOLLOWED = 40  # as in the kernel: more are a loop
SOCKETS = "pymp-"
# Beginnings of names in the system's temporary folder that other programs must find there: the sockets of
# multiprocessing, whose names may not be long, and what torch.compile hands to compilers.
MACHINERY = (SOCKETS, "torchinductor_")
GONE = "-"
WRITTEN = "+"


def failure(code: int, name: str) -> OSError:
    """Build the error that the kernel would have given."""
    return OSError(code, os.strerror(code), name)


def exists(path: str) -> bool:
    """Whether the real file system has this name, be it a dangling link."""
    try:
        posix.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class Overlay:
    """One view of the file system whose changes all lie in `scratch`."""

    def __init__(self, scratch: str, hidden: Iterable[str] = ()) -> None:
        """Take up the view that `scratch` holds, or begin one in which `hidden` does not exist."""
        self.scratch = os.path.realpath(scratch)
        self.upper = self.scratch + "/files"
        self.temporary = self.scratch + "/temporary"
        self._journal = self.scratch + "/journal"
        self._read = 0
        self._gone: set[str] = set()
        self._written: dict[str, None] = {}
        temporary = os.path.realpath(tempfile.gettempdir())
        self._foreign = (self.scratch + "/", "/dev/", "/proc/", "/sys/", *(f"{temporary}/{one}" for one in MACHINERY))
        for folder in (self.upper, self.temporary):
            Path(folder).mkdir(parents=True, exist_ok=True)
        self._record(GONE, [self.scratch])  # a script that empties the folder around it must not empty this too
        self._record(GONE, [self.resolve(path, follow=False) for path in hidden])

    @property
    def written(self) -> tuple[str, ...]:
        """The paths that were written, made or removed in this view, in order of their first time."""
        self._refresh()
        return tuple(self._written)

    def _record(self, kind: str, names: Iterable[str]) -> None:
        """Append to the journal: one write, which the kernel does not mix with those of other processes."""
        records = b"".join(os.fsencode(kind + name) + b"\0" for name in names)
        journal = posix.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            posix.write(journal, records)
        finally:
            posix.close(journal)
        self._refresh()

    def _refresh(self) -> None:
        """Read what this or another process added to the journal since the last time."""
        start = self._read
        if posix.stat(self._journal).st_size == start:
            return
        with io.FileIO(self._journal) as journal:
            journal.seek(start)
            records = journal.readall()
        for record in map(os.fsdecode, records.split(b"\0")[:-1]):
            if record.startswith(GONE):
                self._gone.add(record[1:])
            else:
                self._written[record[1:]] = None
        self._read = start + len(records)

    def note(self, name: str) -> None:
        """Remember for the report that a write to this path was diverted."""
        if name not in self._written:
            self._record(WRITTEN, [name])

    def bury(self, name: str) -> None:
        """Let the real file under this name no longer be seen."""
        if exists(name) and not self.hides(name):
            self._record(GONE, [name])

    def hides(self, name: str) -> bool:
        """Whether the lower layer is not to be seen under this name."""
        while name and self._gone:
            if name in self._gone:
                return True
            name = name.rpartition("/")[0]
        return False

    def foreign(self, name: str) -> bool:
        """Whether this path is left as it is: devices, kernel files, the scratch folder itself."""
        return (name + "/").startswith(self._foreign)

    def spoken(self, path: str) -> str:
        """Return the user's name for a real path: that of a file in the upper layer is what it stands for."""
        inside = path == self.upper or path.startswith(self.upper + "/")
        return (path[len(self.upper) :] or "/") if inside else path

    def folder(self) -> str:
        """Return the current working folder as the user knows it."""
        return self.spoken(posix.getcwd())

    def name_of(self, descriptor: int) -> str:
        """Return the user's name for an open file; of a pipe or a socket, something that is no absolute path."""
        posix.fstat(descriptor)
        return self.spoken(posix.readlink(f"/proc/self/fd/{descriptor}"))

    def resolve(self, path: str, *, follow: bool) -> str:
        """Return the one absolute path, free of links and dots, for a path in this view."""
        self._refresh()
        name, links = "", 0
        parts = (path if path.startswith("/") else f"{self.folder()}/{path}").split("/")[::-1]
        while parts:
            part = parts.pop()
            if part == "..":
                posix.stat(self.where(name or "/") + "/")  # fails where there is no such folder
                name = name.rpartition("/")[0]
            if part in {"", ".", ".."}:
                continue
            step = f"{name}/{part}"
            target = self._link(step) if follow or parts else None
            if target is None:
                name = step
                continue
            links += 1
            if links > LINKS_FOLLOWED:
                raise failure(errno.ELOOP, path)
            name = "" if target.startswith("/") else name
            parts.extend(target.split("/")[::-1])
        return name or "/"

    def _link(self, name: str) -> str | None:
        """Return what the symbolic link of this name points to; None if it is none."""
        if self.foreign(name):
            return None
        for layer in (self.upper + name, name):
            try:
                return posix.readlink(layer)
            except FileNotFoundError:
                if self.hides(name):
                    return None
            except OSError:
                return None
        return None

    def where(self, name: str) -> str:
        """Return the real path at which this resolved name is to be read."""
        if self.foreign(name):
            return name
        upper = self.upper + name
        try:
            posix.lstat(upper)
        except FileNotFoundError:
            return upper if self.hides(name) else name
        except NotADirectoryError:
            return upper
        return upper

    def status(self, name: str) -> os.stat_result | None:
        """Return what `lstat` says in this view; None where there is nothing."""
        try:
            return posix.lstat(self.where(name))
        except FileNotFoundError:
            return None

    def entries(self, name: str) -> dict[str, "os.DirEntry[str]"]:
        """List a folder: the real names in their real order, then what the trial added."""
        found: dict[str, os.DirEntry[str]] = {}
        place, parent = self.where(name), name.rstrip("/")
        if place != name and exists(name) and not self.hides(name):
            found = {entry.name: entry for entry in posix.scandir(name) if f"{parent}/{entry.name}" not in self._gone}
        for entry in posix.scandir(place):
            if place != name or f"{parent}/{entry.name}" not in self._gone:
                found[entry.name] = entry
        return found

    def place(self, path: str, flags: int) -> str:
        """Return the real path to hand to an operation which wants from `path` what `flags` say.

        For a write this is in the upper layer, made ready: the folder there, and the file's copy unless it is to be
        emptied anyway. Where the operation has to fail, this is a path at which it fails for the same reason: one that
        does not exist, one that does, one below a file.
        """
        name = self.resolve(path, follow=not flags & (os.O_NOFOLLOW | os.O_EXCL))
        slash = "/" * path.endswith("/")
        if self.foreign(name) or not flags & WRITING:
            return self.where(name) + slash
        parent = os.path.dirname(name)
        try:
            status = self.status(name)
        except NotADirectoryError:
            return self._journal + "/x"
        if status is None and (not flags & os.O_CREAT or self.status(parent) is None):
            return self.upper + name + slash
        if status is None:
            self._open_folder(parent)
        elif flags & os.O_EXCL:
            return self.upper + slash
        elif stat.S_IFMT(status.st_mode) not in ({stat.S_IFDIR} if slash else {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}):
            return self.where(name) + slash
        else:
            self._lift(name, data=not flags & os.O_TRUNC)
        if not ANONYMOUS or flags & ANONYMOUS != ANONYMOUS:
            self.note(name)
        return self.upper + name + slash

    def _open_folder(self, name: str) -> None:
        """Make a folder ready in the upper layer for a change to what it holds."""
        place = self.where(name)
        posix.stat(place + "/")  # fails where there is none
        below = exists(name) and not self.hides(name)  # then the user's own, not its copy, says who may write
        if not posix.access(name if below else place, os.W_OK | os.X_OK):
            raise failure(errno.EACCES, name)
        self._lift(name)

    def _lift(self, name: str, *, data: bool = True) -> None:
        """Copy what lies below under this name, and the folders above it, into the upper layer."""
        upper = self.upper + name
        if exists(upper):
            return
        self._lift(os.path.dirname(name))
        with contextlib.suppress(FileExistsError):  # another thread or process was first
            self._copy(name, posix.lstat(name), data=data)

    def _copy(self, name: str, status: os.stat_result, *, data: bool) -> None:
        """Copy one thing into the upper layer, where it is either whole or not there."""
        if stat.S_ISLNK(status.st_mode):
            posix.symlink(posix.readlink(name), self.upper + name)
        elif stat.S_ISDIR(status.st_mode):
            posix.mkdir(self.upper + name)
            posix.chmod(self.upper + name, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
        else:
            part = f"{self.scratch}/part-{os.getpid()}-{threading.get_ident()}"
            if stat.S_ISREG(status.st_mode):
                with io.FileIO(name if data else os.devnull) as original, io.FileIO(part, "w") as copy:
                    shutil.copyfileobj(original, copy, 1 << 20)
            else:
                posix.mknod(part, status.st_mode)
            posix.chmod(part, stat.S_IMODE(status.st_mode))
            posix.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
            try:
                posix.link(part, self.upper + name)
            finally:
                posix.unlink(part)

    def _lift_tree(self, name: str) -> None:
        """Copy a file, or a folder with all it holds, into the upper layer."""
        self._lift(name)
        if stat.S_ISDIR(posix.lstat(self.upper + name).st_mode):
            for entry in self.entries(name):
                self._lift_tree(f"{name}/{entry}")

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Open as `os.open` does."""
        return posix.open(self.place(path, flags), flags, mode)

    def chdir(self, path: str) -> None:
        """Enter a folder: the real one where there is one, for the sake of subprocesses."""
        name = self.resolve(path, follow=True)
        below = exists(name) and stat.S_ISDIR(posix.lstat(name).st_mode) and not self.hides(name)
        posix.chdir(name if below else self.where(name))

    def _entry(self, path: str) -> str:
        """Resolve the path of what is to be removed or moved itself: no link is followed, not even before a slash."""
        return self.resolve(path.rstrip("/") or "/", follow=False)

    def unlink(self, path: str) -> None:
        """Remove a file from the view."""
        name = self._entry(path)
        if self.foreign(name):
            posix.unlink(name)
            return
        if stat.S_ISDIR(posix.lstat(self.where(name)).st_mode):
            raise failure(errno.EISDIR, name)
        if path.endswith("/"):
            raise failure(errno.ENOTDIR, name)
        self._open_folder(os.path.dirname(name))
        if exists(self.upper + name):
            posix.unlink(self.upper + name)
        self.bury(name)
        self.note(name)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder from the view."""
        name = self._entry(path)
        if self.foreign(name):
            posix.rmdir(name)
            return
        if not stat.S_ISDIR(posix.lstat(self.where(name)).st_mode):
            raise failure(errno.ENOTDIR, name)
        if self.entries(name):
            raise failure(errno.ENOTEMPTY, name)
        self._open_folder(os.path.dirname(name))
        if exists(self.upper + name):
            posix.rmdir(self.upper + name)
        self.bury(name)
        self.note(name)

    def rename(self, source: str, target: str) -> None:
        """Move within the view; what is moved is copied up first."""
        names = self._entry(source), self._entry(target)
        old, new = (name if self.foreign(name) else self.upper + name for name in names)
        for name in names:
            if not self.foreign(name):
                self._open_folder(os.path.dirname(name))
        self._check_rename(*names, slash=source.endswith("/") or target.endswith("/"))
        if old != names[0]:
            self._lift_tree(names[0])
        posix.rename(old, new)
        for name in names:
            if not self.foreign(name) and names[0] != names[1]:
                self.bury(name)
                self.note(name)

    def _check_rename(self, source: str, target: str, *, slash: bool) -> None:
        """Raise what the kernel would: it cannot know of a folder that is full in the lower layer only."""
        folder = stat.S_ISDIR(posix.lstat(self.where(source)).st_mode)
        if slash and not folder:
            raise failure(errno.ENOTDIR, source)
        if folder and target.startswith(source + "/"):
            raise failure(errno.EINVAL, target)
        if source.startswith(target + "/"):
            raise failure(errno.ENOTEMPTY, target)
        there = self.status(target)
        if there is None or source == target:
            return
        if folder != stat.S_ISDIR(there.st_mode):
            raise failure(errno.ENOTDIR if folder else errno.EISDIR, target)
        if folder and self.entries(target):
            raise failure(errno.ENOTEMPTY, target)
