"""Which files hold the documents, and in what order.

Paths keep the order they were given in; a folder is walked to the bottom, its entries in the order of
their names (by code point, so that no locale changes it). In a folder

- names that begin with a dot are left out, files and folders alike, as ``grep`` users expect of ``.git``;
- links to folders are not followed, so that no loop of links can catch the walk; links to files are;
- what is no regular file (a pipe, a socket, a device) is reported and never opened: it could hang;
- a file that is reached twice, through overlapping paths or a link, is taken once.

A path that is named itself is taken whatever its name is.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from typing import NamedTuple

from ...errors import DocumentError
from ...sketches.core.file_format import never_wait

__all__ = ["InputFile", "Listing", "check_listed", "json_lines_by_other_names", "list_files", "open_listed"]


class InputFile(NamedTuple):
    """A file of documents.

    Attributes
    ----------
    path : str
    kind : str
        "text" (one document), "jsonl" (one a line) or "parquet" (one a row).
    compressed : bool
        By gzip.
    size : int
        Bytes of the file when it was listed.
    """

    path: str
    kind: str
    compressed: bool
    size: int


class Listing(NamedTuple):
    """The files to read, and the names with reasons of what was left out."""

    files: list[InputFile]
    refused: list[tuple[str, str]]


def list_files(paths: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Listing:
    """The files of documents at `paths`, in the order that numbers them.

    Parameters
    ----------
    paths : sequence of str
        Files and folders.
    include, exclude : sequences of str
        Patterns of the shell (``*``, ``?``, ``[...]``), compared with the names of files and folders;
        those with a slash with the whole path below the folder given. With `include`, only files that
        match one of them are taken; what matches one of `exclude` is not, nor is anything below a
        folder that does.

    Raises
    ------
    DocumentError
        If a path does not exist or is neither file nor folder, or a folder holds no file to read.
    """
    files: list[InputFile] = []
    refused: list[tuple[str, str]] = []
    seen: set[str] = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise DocumentError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:  # a null byte
            raise DocumentError(f"cannot read {path!r}: {error}") from error
        real = os.path.realpath(path)
        if stat.S_ISREG(status.st_mode):
            if real not in seen:
                seen.add(real)
                files.append(_input_file(path, status.st_size))
        elif stat.S_ISDIR(status.st_mode):
            n_refused = len(refused)
            found = 0
            for name, real_name, size in _walk(path, real, include, exclude, refused):
                found += 1
                if real_name not in seen:
                    seen.add(real_name)
                    files.append(_input_file(name, size))
            if not found:
                raise DocumentError(_nothing_in(path, include, exclude, refused[n_refused:]))
        else:
            raise DocumentError(f"cannot read {path}: it is neither a file nor a folder")
    return Listing(files, refused)


def open_listed(path: str) -> io.FileIO:
    """Open a file that was listed, to read; OSError if it has become something else.

    A pipe would be waited for, perhaps forever.
    """
    file = io.FileIO(path, opener=never_wait)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


def json_lines_by_other_names(files: Sequence[InputFile]) -> list[str]:
    """Return those of the first 100 files named ``.json`` whose first two lines are JSON objects.

    They are read as one document each, as their names have it, which is hardly meant.
    """
    named = [file for file in files if file.path.lower().removesuffix(".gz").endswith(".json")]
    return [file.path for file in named[:100] if _begins_with_json_lines(file)]


def _begins_with_json_lines(file: InputFile) -> bool:
    try:
        with open_listed(file.path) as stored, gzip.open(stored) if file.compressed else stored as opened:
            lines = opened.read(1 << 16).split(b"\n")[:-1]
        return len(lines) > 1 and all(isinstance(json.loads(line), dict) for line in lines[:2])
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return False


def check_listed(path: str) -> None:
    """Raise DocumentError unless a file that was listed can still be opened and is a file."""
    try:
        open_listed(path).close()
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}") from error


def _nothing_in(
    path: str, include: Sequence[str], exclude: Sequence[str], refused: list[tuple[str, str]]
) -> str:
    told = "" if not (include or exclude) else " that the include and exclude patterns leave"
    told = f"the folder {path} holds no file of documents{told}"
    return told + (f" ({refused[0][0]}: {refused[0][1]})" if refused else "")


def _input_file(path: str, size: int) -> InputFile:
    name = path.lower()
    compressed = name.endswith(".gz")
    if compressed:
        name = name[: -len(".gz")]
    kind = "text"
    if name.endswith((".jsonl", ".ndjson")):
        kind = "jsonl"
    elif name.endswith(".parquet") and not compressed:
        kind = "parquet"
    return InputFile(path, kind, compressed, size)


def _matcher(patterns: Sequence[str]) -> Callable[[str, str], bool]:
    """Whether a name, or the path below the folder given, matches any of the patterns."""
    of_names = [translate(p) for p in patterns if "/" not in p]
    of_paths = [translate(p) for p in patterns if "/" in p]
    # One compiled expression for all patterns: a folder of a million files asks it a million times.
    name_matches, path_matches = (re.compile("|".join(p)).match for p in (of_names, of_paths))

    def matches(name: str, below: str) -> bool:
        return bool((of_names and name_matches(name)) or (of_paths and path_matches(below)))

    return matches


def _walk(
    top: str,
    real_top: str,
    include: Sequence[str],
    exclude: Sequence[str],
    refused: list[tuple[str, str]],
) -> Iterator[tuple[str, str, int]]:
    """(path, real path, size) of each file below `top`; not recursive, so no depth is too deep."""
    prefix = os.path.join(top, "")
    real_prefix = os.path.join(real_top, "")
    included, excluded = _matcher(include), _matcher(exclude)
    stack = [iter(_entries(top, refused))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        below = entry.path[len(prefix) :]
        name = entry.name
        if name[0] == "." or (exclude and excluded(name, below)):
            continue
        try:
            if entry.is_dir():
                if not entry.is_symlink():
                    stack.append(iter(_entries(entry.path, refused)))
                continue
            if include and not included(name, below):
                continue
            status = entry.stat()
            if not stat.S_ISREG(status.st_mode):
                refused.append((entry.path, "not a regular file"))
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else real_prefix + below
        except OSError as error:
            refused.append((entry.path, error.strerror or str(error)))
            continue
        yield entry.path, real, status.st_size


def _entries(folder: str, refused: list[tuple[str, str]]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        refused.append((folder, f"cannot be listed: {error.strerror or error}"))
        return []
