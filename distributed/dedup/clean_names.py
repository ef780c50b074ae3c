"""Choose where cleaned files lie below the folder of a cleaned corpus, and refuse folders of the input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...errors import DocumentError

__all__ = ["check_apart", "names_below"]

#: Bytes of the longest name of a file that common file systems have.
_LONGEST_NAME = 255


def names_below(paths: Sequence[str], files: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """Return the name of each cleaned file, relative to the folder of the cleaned corpus.

    A file that was found in a folder keeps its path below this folder, and a file that was given by its name
    keeps the last part of its path. If an earlier file has the name already, ``~2`` is put before the first
    dot of the name, or ``~3`` and so on; likewise if a file and a folder would have one name. The part before
    the dot is cut if the name would be too long.

    Parameters
    ----------
    paths : sequence of str
        The files and folders that were given.
    files : sequence of str
        The paths of the files, in order.
    reserved : iterable of str
        Names that no cleaned file may have.

    Returns
    -------
    list of str

    Examples
    --------
    >>> names_below(["a", "b", "c.txt"], ["a/x/1.gz", "b/x/1.gz", "c.txt"])
    ['x/1.gz', 'x/1~2.gz', 'c.txt']
    """
    tops = [(path, os.path.join(path, "")) for path in paths]
    taken: dict[str, bool] = dict.fromkeys(reserved, True)  # True for files, False for folders
    names = []
    for file in files:
        names.append(_free_name(_below(file, tops).split("/"), taken))
    return names


def _below(file: str, tops: list[tuple[str, str]]) -> str:
    for path, top in tops:
        if file == path:
            return os.path.basename(path)
        if file.startswith(top):
            return file[len(top) :].lstrip("/")
    raise ValueError(f"{file} is not one of the files at {[path for path, _ in tops]}")


def _free_name(parts: list[str], taken: dict[str, bool]) -> str:
    """Return the name for which no part is another file, and note the name and its folders."""
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{'/'.join(parts)!r} is not a path below a folder")
    folder = ""
    for i, part in enumerate(parts):
        is_file = i + 1 == len(parts)
        name, number = folder + part, 1
        while name in taken and (is_file or taken[name]):
            number += 1
            name = folder + _numbered(part, number)
        taken[name] = is_file
        folder = name + "/"
    return folder[:-1]


def _numbered(part: str, number: int) -> str:
    # The dot that begins a hidden name is not the beginning of an extension.
    dot = part.find(".", 1)
    stem, end = (part, "") if dot < 0 else (part[:dot], part[dot:])
    while stem and len(os.fsencode(numbered := f"{stem}~{number}{end}")) > _LONGEST_NAME:
        stem = stem[:-1]
    return numbered


def check_apart(folder: str, paths: Sequence[str], files: Iterable[str]) -> None:
    """Raise DocumentError if a folder is, contains or lies in an input; links and mounts are followed.

    Parameters
    ----------
    folder : str
        The folder to write into. It need not exist.
    paths : sequence of str
        The files and folders that were given.
    files : iterable of str
        The files that were found, which may be links to other places.
    """
    above = _folders_above(folder)
    at = _identity(os.path.realpath(folder))
    known: dict[str, bool] = {}

    def lies_in(place: str) -> bool:
        if place not in known:
            known[place] = at is not None and at in _folders_above(place)
        return known[place]

    for path in paths:
        if os.path.isdir(path):
            if _identity(path) in above:
                raise DocumentError(f"cannot write the cleaned corpus to {folder}: it is or lies in {path}")
            if lies_in(os.path.realpath(path)):
                raise DocumentError(f"cannot write the cleaned corpus to {folder}: {path} lies in it")
    for file in files:
        if lies_in(os.path.dirname(os.path.realpath(file))):
            raise DocumentError(f"cannot write the cleaned corpus to {folder}: {file} lies in it")


def _folders_above(path: str) -> set[tuple[int, int]]:
    """Return the identities of a folder and of all folders that contain it, if they exist."""
    found = set()
    place = os.path.realpath(path)
    while True:
        identity = _identity(place)
        if identity is not None:
            found.add(identity)
        above = os.path.dirname(place)
        if above == place:
            return found
        place = above


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
