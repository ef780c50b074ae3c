"""A lock that lets one process compile a function while others that need it wait for the result.

All locks are bytes of one file in the cache folder. The system releases those of a process that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from zlib import crc32

from numba.core.compiler_lock import global_compiler_lock

__all__ = ["CompileLock"]

#: Seconds after which a process stops waiting and compiles the function itself.
_PATIENCE = 120.0
_FILE_NAME = "mergesketch.lock"

#: Descriptors of lock files, by folder and process. Closing one would release all locks of the process.
_files: dict[tuple[str, int], int] = {}


# The child of a fork has only the thread that forked. If another thread of the parent had Numba's lock at
# that moment, the child would wait for it forever at its first compilation. So a fork waits until no thread
# compiles.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)


class CompileLock:
    """The lock of one function, which several processes want to compile into one folder.

    Where files cannot be locked, nobody waits, and processes may compile a function more than once.
    """

    def __init__(self, folder: str, function: str) -> None:
        self._folder = folder
        self._byte = crc32(function.encode())
        self._locked = False

    def acquire(self) -> bool:
        """Take the lock, and return whether another process had it in the meantime."""
        waited = False
        deadline = time.monotonic() + _PATIENCE
        try:
            file = self._open()
            while True:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
                except (BlockingIOError, PermissionError):
                    if time.monotonic() > deadline:
                        return waited
                    waited = True
                    time.sleep(0.02)
                else:
                    self._locked = True
                    return waited
        except OSError:
            return waited

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        if self._locked:
            self._locked = False
            fcntl.lockf(self._open(), fcntl.LOCK_UN, 1, self._byte)

    def _open(self) -> int:
        key = (self._folder, os.getpid())
        if key not in _files:
            path = os.path.join(self._folder, _FILE_NAME)
            _files[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return _files[key]
