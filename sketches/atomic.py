"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

__all__ = ["atomic_write"]


def _fsync_folder(folder: Path) -> None:
    # A rename is durable once its folder is; some file systems have no such operation.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes if not.

    The file keeps its permissions if it existed, and has those of any new file if not. Through a
    symbolic link the file that it points to is replaced, not the link. A pipe or a device is refused:
    a rename would put a file in its place.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):  # a folder refuses the rename
        raise FileExistsError(errno.EEXIST, "it exists and is not a file", os.fspath(path))
    temporary = target.parent / f".mergesketch-{secrets.token_hex(8)}.tmp"
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _fsync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
