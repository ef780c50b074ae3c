"""Write results: check the output before the work starts, and never write half a file.

A path leads to a stream or to a file. A stream is written to as it is (see `streams`). A file is written
beside its place and then renamed, so that readers see the old contents or all of the new ones. If the path is
a link, the file that it leads to is replaced, and the link stays.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ...sketches.core.atomic import atomic_write
from ..documents.compressing import compressing
from ..documents.files import InputFile
from ..documents.formats import detect
from ..documents.own_files import OWN_REASONS
from ..ranks.comm import Communicator
from .messages import naming_file
from .streams import STANDARD_OUTPUT, check_stream, is_stream, open_stream, status_of

__all__ = ["check_output", "own_files", "shown_output", "write_lines", "writing"]


def check_output(
    path: str | None, inputs: Iterable[str], comm: Communicator, *, compressed: bool = False
) -> None:
    """Raise an error on every rank unless rank 0 can write `path` and it is none of the inputs.

    None means no output, which is always possible. With `compressed`, the name says how to compress it.
    """
    with comm.agree():
        if comm.rank == 0 and path is not None:
            if compressed:
                compressing(path)
            _check_output(path, inputs)


def _check_output(path: str, inputs: Iterable[str]) -> None:
    if is_stream(path):
        with naming_file(shown_output(path), "write"):
            check_stream(path)
            existing = status_of(path)
    else:
        folder = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write {path}: no permission to write into {folder}")
        existing = status_of(path)
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            raise ValueError(f"cannot write {path}: it exists and is not a file")
    if existing is None or not stat.S_ISREG(existing.st_mode):
        return
    for other in inputs:
        try:
            same = os.path.samestat(os.stat(other), existing)
        except OSError:
            continue
        if same:
            raise ValueError(f"cannot write {shown_output(path)}: it is one of the files to read")


def own_files(paths: Iterable[str]) -> list[str]:
    """Return the files that a command with the outputs `paths` writes to, which it must not read as input.

    These are the standard output and stderr, and those outputs that an earlier run has written or that are
    empty. Other files are not left out, so that `check_output` protects them.
    """
    return ["/dev/stdout", "/dev/stderr", *(path for path in paths if _is_own(path))]


def _is_own(path: str) -> bool:
    if is_stream(path):
        return True
    status = status_of(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    return status.st_size == 0 or detect(InputFile(path, "text", None, 0)).reason in OWN_REASONS


def shown_output(path: str) -> str:
    """Return the name of an output for messages."""
    return "the standard output" if path == STANDARD_OUTPUT else path


@contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """Open an output to write bytes to it; a file takes its place at the end of the block if that succeeds.

    Raises
    ------
    OSError
        If it cannot be written; the message names `path`. A pipe whose reader has gone stays a
        BrokenPipeError, because that is no failure.
    """
    with naming_file(shown_output(path), "write"):
        if is_stream(path):
            with open_stream(path) as file:
                yield file
            return
        with atomic_write(os.path.realpath(path)) as temporary, temporary.open("wb") as file:
            yield file


def write_lines(path: str, records: Iterable[Any]) -> None:
    """Write JSON lines, compressed if the name says so.

    Raises
    ------
    OSError
        See `writing`.
    """
    compress = compressing(path)
    with writing(path) as file, compress(file) as out:
        # Writers of zstandard have no `writelines`.
        for record in records:
            out.write(json.dumps(record).encode() + b"\n")
