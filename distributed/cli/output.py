"""Write results: check the output before the work starts, and never write half a file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from typing import Any

from ...sketches.core.atomic import atomic_write
from ..ranks.comm import Communicator
from .messages import naming_file

__all__ = ["check_output", "write_lines"]


def check_output(path: str | None, inputs: Iterable[str], comm: Communicator) -> None:
    """Raise an error on every rank unless rank 0 can write `path` and it is none of the inputs.

    None means no output, which is always possible.
    """
    with comm.agree():
        if comm.rank == 0 and path is not None:
            _check_output(path, inputs)


def _check_output(path: str, inputs: Iterable[str]) -> None:
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
    """Write JSON lines, so that `path` has either all of them or its old contents.

    Raises
    ------
    OSError
        If the file cannot be written; the message names `path`.
    """
    with (
        naming_file(path, "write"),
        atomic_write(os.path.realpath(path)) as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        file.writelines(json.dumps(record) + "\n" for record in records)
