"""Where results go: refused before the work starts if they cannot, and written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from typing import Any

from ...errors import readable
from ...sketches.core.atomic import atomic_write

__all__ = ["check_output", "readable", "write_lines"]


def check_output(path: str, inputs: Iterable[str]) -> None:
    """Raise ValueError or OSError unless `path` can be written and is none of the inputs."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: no permission to write into {folder}")
    try:
        existing = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(existing.st_mode):
        raise ValueError(f"cannot write {path}: it exists and is not a file")
    for other in inputs:
        try:
            same = os.path.samestat(os.stat(other), existing)
        except OSError:
            continue
        if same:
            raise ValueError(f"cannot write {path}: it is one of the files to read")


def write_lines(path: str, records: Iterable[Any]) -> None:
    """Write JSON lines, so that `path` holds all of them or what it held before.

    Raises
    ------
    OSError
        Naming `path`, if the disk is full for one.
    """
    try:
        with atomic_write(os.path.realpath(path)) as temporary, temporary.open("w", encoding="ascii") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
