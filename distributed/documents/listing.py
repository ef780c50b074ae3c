"""List the files that contain documents, in the order that numbers the documents.

Paths keep the order in which they were given. A folder is walked to the bottom, its entries in the order of
their names (by code point, so that no locale changes it). In a folder

- names that begin with a dot are left out, files and folders alike, as users of ``grep`` expect of ``.git``;
- links to folders are not followed, so that no loop of links can trap the walk; links to files are followed;
- an entry that is no regular file (a pipe, a socket, a device) is reported and never opened, because opening
  it could wait forever;
- a file that is reached twice, through overlapping paths, a link or a hard link, is taken once, under the
  first of its names, or under the first that promises a format if the name does not, as in caches whose
  files are named by a hash and have links to them;
- a file that the caller writes to is left out.

A path that the caller names is taken whatever its name is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from typing import NamedTuple

from ...errors import DocumentError
from .compression import split_suffix
from .files import InputFile
from .formats import kind_by_name

__all__ = ["STANDARD_INPUT", "Listing", "list_files"]

#: The path that stands for the standard input.
STANDARD_INPUT = "-"


class Listing(NamedTuple):
    """The files to read, and the name of each file that was left out with the reason."""

    files: list[InputFile]
    refused: list[tuple[str, str]]


def list_files(
    paths: Sequence[str],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    standard_input: InputFile | None = None,
    leave_out: Sequence[str] = (),
) -> Listing:
    """List the files of documents at `paths`, in the order that numbers them, with the kinds of their names.

    Parameters
    ----------
    paths : sequence of str
        Files and folders.
    include, exclude : sequences of str
        Patterns of the shell (``*``, ``?``, ``[...]``), compared with the names of files and folders. A
        pattern with a slash is compared with the whole path below the folder given. If there is an
        `include` pattern, only files that match one of them are taken. Files that match an `exclude`
        pattern are left out, and so is everything below a folder that matches one.
    standard_input : InputFile or None
        The file that the path ``-`` stands for; None means a file of this name.
    leave_out : sequence of str
        Files that are left out of folders, by whatever name they are reached. They need not exist.

    Raises
    ------
    DocumentError
        If a path does not exist or is neither file nor folder, or a folder has no file to read.
    """
    files: dict[str | tuple[int, int], InputFile] = {}
    refused: list[tuple[str, str]] = []
    left_out = set(map(_identity, leave_out))
    for path in paths:
        if path == STANDARD_INPUT and standard_input is not None:
            files[path] = standard_input
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            raise DocumentError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:  # a null byte
            raise DocumentError(f"cannot read {path!r}: {error}") from error
        real = os.path.realpath(path)
        if stat.S_ISREG(status.st_mode):
            found: Iterable[tuple[str, str, os.stat_result]] = [(path, real, status)]
        elif stat.S_ISDIR(status.st_mode):
            found = _walk(path, real, _Patterns(include or ["*"]), _Patterns(exclude), refused)
        else:
            raise DocumentError(f"cannot read {path}: it is neither a file nor a folder")
        n_found, n_refused = 0, len(refused)
        for name, real_name, its in found:
            if name != path and (its.st_dev, its.st_ino) in left_out:
                continue
            n_found += 1
            # A number of a file is trusted only if the file has several names: file systems of a network may
            # give one number to several files.
            place = (its.st_dev, its.st_ino) if its.st_nlink > 1 else real_name
            files[place] = _better(files.get(place), name, its.st_size)
        if not n_found:
            raise DocumentError(_nothing_in(path, bool(include or exclude), refused[n_refused:]))
    return Listing(list(files.values()), refused)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _nothing_in(path: str, has_patterns: bool, refused: list[tuple[str, str]]) -> str:
    left = " that the include and exclude patterns leave" if has_patterns else ""
    first = f" ({refused[0][0]}: {refused[0][1]})" if refused else ""
    return f"the folder {path} holds no file of documents{left}{first}"


def _input_file(path: str, size: int) -> InputFile:
    stem, compression = split_suffix(path)
    return InputFile(path, kind_by_name(stem), compression, size)


def _better(earlier: InputFile | None, path: str, size: int) -> InputFile:
    """Return a file under a further name if only that one promises a format, and under the earlier if not."""
    later = _input_file(path, size)
    if earlier is None:
        return later
    is_open = earlier.kind == "text" and not _stem(earlier).endswith((".txt", ".json"))
    return later if is_open and (later.kind != "text" or _stem(later).endswith(".json")) else earlier


def _stem(file: InputFile) -> str:
    return split_suffix(file.path)[0]


class _Patterns:
    """Patterns of the shell as two regular expressions, because a large folder is matched many times."""

    def __init__(self, patterns: Sequence[str]) -> None:
        of_names = [translate(pattern) for pattern in patterns if "/" not in pattern]
        of_paths = [translate(pattern) for pattern in patterns if "/" in pattern]
        # The expression (?!) never matches.
        self._of_names, self._of_paths = (re.compile("|".join(p) or "(?!)") for p in (of_names, of_paths))

    def match(self, name: str, below: str) -> bool:
        """Return True if a pattern matches the name, or the path below the folder given."""
        return bool(self._of_names.match(name) or self._of_paths.match(below))


def _walk(
    top: str, real_top: str, include: _Patterns, exclude: _Patterns, refused: list[tuple[str, str]]
) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield (path, real path, status) of each file below `top`, without recursion: no depth is too deep."""
    prefix = os.path.join(top, "")
    real_prefix = os.path.join(real_top, "")
    stack = [iter(_entries(top, refused))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        below = entry.path[len(prefix) :]
        if entry.name[0] == "." or exclude.match(entry.name, below):
            continue
        try:
            if entry.is_dir():
                if not entry.is_symlink():
                    stack.append(iter(_entries(entry.path, refused)))
                continue
            if not include.match(entry.name, below):
                continue
            status = entry.stat()
            if not stat.S_ISREG(status.st_mode):
                refused.append((entry.path, "not a regular file"))
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else real_prefix + below
        except OSError as error:
            refused.append((entry.path, error.strerror or str(error)))
            continue
        yield entry.path, real, status


def _entries(folder: str, refused: list[tuple[str, str]]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        refused.append((folder, f"cannot be listed: {error.strerror or error}"))
        return []
