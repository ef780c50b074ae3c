"""Replace files as a whole or not at all, and make folders as a whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path

__all__ = ["atomic_folder", "atomic_write"]

_PREFIX, _SUFFIX = ".mergesketch-", ".tmp"
#: Seconds after which a temporary file of another machine is assumed to belong to a killed process.
_LEFT_BEHIND = 86_400.0
#: Least ratio of the time between searches for such files to the time of a search.
_IDLE = 20.0
#: The next time to look into each folder, because looking takes long if there are many files.
_next_look: dict[Path, float] = {}


def _fsync_folder(folder: Path) -> None:
    # A rename is durable after its folder is synchronised. Some file systems do not support that.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@cache
def _machine() -> str:
    """Return an identifier of the running kernel, whose processes respect each other's locks of files."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:8]
    except OSError:
        return "0" * 8


def _lock(descriptor: int) -> bool:
    """Try to lock a file until it is closed, as it is when its process ends; return the success."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _create(folder: Path, mode: int | None) -> tuple[Path, int]:
    """Create a temporary file, or without a mode a temporary folder; return its path and descriptor.

    It is locked where the file system has locks.
    """
    while True:
        path = folder / f"{_PREFIX}{_machine()}-{secrets.token_hex(8)}{_SUFFIX}"
        try:
            if mode is None:
                path.mkdir()
                descriptor = os.open(path, os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
            # Before it is locked, another process may take it for a file that was left behind: it locks the
            # file and then removes it. This waits for that lock, and sees whether the file is still there.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except FileNotFoundError:
            # A folder was removed before it was opened, or there is no place for it.
            if not folder.exists():
                raise
            continue
        except BaseException:
            # A signal may interrupt the program here.
            with suppress(OSError):
                (os.rmdir if mode is None else os.unlink)(path)
            raise
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def _remove_left_behind(folder: Path) -> None:
    """Remove the temporary files of killed processes. Running processes have locked theirs."""
    start = time.monotonic()
    if start < _next_look.get(folder, start):
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _remove_unless_used(entry)
    end = time.monotonic()
    if len(_next_look) > 100:
        _next_look.clear()
    _next_look[folder] = end + _IDLE * (end - start)


def _remove_unless_used(entry: os.DirEntry[str]) -> None:
    is_ours = entry.name.startswith(_PREFIX + _machine() + "-")
    if not (is_ours or time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND):
        return
    is_folder = entry.is_dir(follow_symlinks=False)
    flags = os.O_DIRECTORY if is_folder else os.O_RDWR
    descriptor = os.open(entry.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(descriptor):
            (shutil.rmtree if is_folder else os.unlink)(entry.path)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Make errors name the file at `path` if they name the temporary file, or none, as for a full disk."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if error.errno is None or (
            isinstance(name, (str, bytes)) and not os.path.basename(os.fsdecode(name)).startswith(_PREFIX)
        ):
            raise
        raise OSError(error.errno, error.strerror, path) from error


@contextmanager
def atomic_write(path: str | PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it if the block succeeds and is removed if not.

    A file that exists keeps its permissions, and the temporary file has them too; otherwise the permissions
    are those of any new file. If `path` is a symbolic link, the file that it points to is replaced, not the
    link. A folder, a pipe or a device is refused, because a rename would replace it by a file. A process that
    is killed leaves its temporary file, until another process writes a file into the folder.

    Without `durable`, the file may be lost or cut short if the machine stops within seconds. This saves the
    milliseconds that a disk needs for each file.
    """
    name = os.fsdecode(path)
    target = Path(os.path.realpath(name))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    replaced = target.exists()
    if replaced and not target.is_file():
        raise FileExistsError(errno.EEXIST, "it exists and is not a file", name)
    _remove_left_behind(target.parent)
    with _named(name):
        temporary, descriptor = _create(target.parent, 0o600 if replaced else 0o666)
        try:
            if replaced:
                # A user who could not read the old file must not be able to read the new one.
                os.fchmod(descriptor, target.stat().st_mode & 0o777 | 0o600)
            yield temporary
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(target)
            if durable:
                _fsync_folder(target.parent)
        finally:
            # An error here would hide the first one, for example if the file system has become read-only.
            with suppress(OSError):
                temporary.unlink()
            os.close(descriptor)


@contextmanager
def atomic_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which gets that name if the block succeeds.

    It is removed with its contents if the block fails. An empty folder at `path` is replaced, and anything
    else there is refused. A process that is killed leaves its temporary folder, until another process writes
    a file or a folder beside it. Files that must survive a stop of the machine are synchronised by the block.
    """
    name = os.fsdecode(path)
    target = Path(os.path.realpath(name))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(errno.EEXIST, "it exists and is not an empty folder", name)
    _remove_left_behind(target.parent)
    with _named(name):
        temporary, descriptor = _create(target.parent, None)
        try:
            yield temporary
            _fsync_folder(temporary)
            temporary.replace(target)
            _fsync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(descriptor)
