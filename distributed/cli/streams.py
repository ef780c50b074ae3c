"""Find out where the path of an output leads: to a file that is replaced, or to a stream that is written to.

A stream is the standard output (``-``), an open descriptor of this process (``/dev/stdout``,
``/dev/fd/3``), a pipe, a character device such as ``/dev/null``, or anything below ``/proc``. No new file
ever takes the place of a stream. An open descriptor is written through itself. If it is a file, as in
``>> log.txt``, the output goes to the end of the file. Opening the file once more would overwrite it from its
beginning on.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, BinaryIO, cast

__all__ = ["STANDARD_OUTPUT", "check_stream", "is_stream", "messages_beside", "open_stream", "status_of"]

#: The name of the standard output on the command line.
STANDARD_OUTPUT = "-"
#: Links in a row that the system follows at most.
_MAX_LINKS = 40
#: Folders of the open descriptors of a process, with the process.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(\d+)(?:/task/\d+)?/fd")


def is_stream(path: str) -> bool:
    """Return True if an output to `path` is written to what is there, and replaces no file."""
    if path == STANDARD_OUTPUT:
        return True
    place = _place(path)
    if place.startswith("/proc/") or _descriptor(place) is not None:
        return True
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def status_of(path: str) -> os.stat_result | None:
    """Return the status of the file or the stream at `path`, or None if there is nothing yet.

    Raises
    ------
    OSError
        If it cannot be found out, for example because a descriptor is closed.
    """
    descriptor = _descriptor(path)
    if path == STANDARD_OUTPUT:
        descriptor = _of_standard_output()
        if descriptor is None:
            return None
    if descriptor is not None:
        return os.fstat(descriptor)
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def check_stream(path: str) -> None:
    """Raise OSError unless the stream at `path` can be written to; nothing is opened or written."""
    if _is_closed(path):
        raise OSError(errno.EBADF, "it is closed")
    descriptor = _of_standard_output() if path == STANDARD_OUTPUT else _descriptor(path)
    if descriptor is not None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "it is open for reading only")
    elif path != STANDARD_OUTPUT and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def open_stream(path: str) -> Iterator[BinaryIO]:
    """Open the stream at `path` to write bytes to it. A pipe waits for its reader, as for any program."""
    descriptor = _descriptor(path)
    if path == STANDARD_OUTPUT:
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None) or cast(BinaryIO, _TextOnly())
        yield buffer
        buffer.flush()
        return
    if descriptor is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        opened = os.dup(descriptor)
    else:
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(opened, "wb") as file:
        yield file


@contextmanager
def messages_beside(*paths: str | None) -> Iterator[None]:
    """Run the block; what it prints goes to stderr if one of the outputs goes to the standard output."""
    if any(path is not None and (path == STANDARD_OUTPUT or _descriptor(path) == 1) for path in paths):
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


def _is_closed(path: str) -> bool:
    """Return True if a path leads to a standard output that was closed when the process began.

    Its descriptor may then be that of another file, and ``main`` prints messages for people to nowhere.
    """
    if sys.__stdout__ is not None:
        return False
    if path == STANDARD_OUTPUT:
        return sys.stdout is None or getattr(sys.stdout, "name", None) == os.devnull
    return _descriptor(path) == 1


def _of_standard_output() -> int | None:
    """Return the descriptor of `sys.stdout`, or None if it has none."""
    try:
        return cast(int, sys.stdout.fileno())
    except (AttributeError, OSError, io.UnsupportedOperation):
        return None


def _place(path: str) -> str:
    """Return where the links of a path end; those from an open descriptor to its file are not followed."""
    for _ in range(_MAX_LINKS):
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder or ".")
        path = os.path.join(folder, name)
        if not os.path.islink(path) or _DESCRIPTORS.fullmatch(folder):
            break
        path = os.path.join(folder, os.readlink(path))
    return path


def _descriptor(path: str) -> int | None:
    """Return the open descriptor of this process that a path stands for, if it stands for one."""
    folder, name = os.path.split(_place(path))
    found = _DESCRIPTORS.fullmatch(folder)
    if found is not None and found[1] in (None, str(os.getpid())) and name.isdecimal():
        return int(name)
    return None


class _TextOnly(io.RawIOBase):
    """The standard output where it takes text only, as in a notebook. Bytes come as whole lines."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            sys.stdout.write(bytes(data).decode())
        except UnicodeDecodeError as error:
            raise OSError(errno.EINVAL, "it takes text only here") from error
        return len(data)
