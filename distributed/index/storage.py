"""Store a distributed index in a folder: a sketch file for each rank, and a list of these parts.

The list ``index.json`` has the format and its version, the number of rows, and the names of the parts in the
order of the ranks that wrote them. Every save gives its parts new names, so that the parts of the old index
stay complete until the list is replaced.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import SketchFormatError
from ...lsh.support.wording import counted
from ...sketches.core.atomic import atomic_write
from ...sketches.neighbours.index import LSHIndex
from ..documents.files import open_listed
from ..ranks.comm import Communicator

__all__ = ["load", "save"]

LIST = "index.json"
_FORMAT, _VERSION = "mergesketch-index", "1"
#: The most bytes of the list. A list of a hundred thousand ranks has 5 million.
_LONGEST_LIST = 1 << 23


def save(local: LSHIndex, n_rows: int, folder: str, comm: Communicator) -> None:
    """Write the parts of all ranks and the list; see `DistributedIndex.save`."""
    comm.check_same("the folder to save into", folder)
    path = Path(folder)
    with comm.agree():
        if comm.rank == 0:
            path.mkdir(parents=True, exist_ok=True)
    token = comm.bcast(secrets.token_hex(8))
    parts = [f"part-{rank:05d}-{token}.sketch" for rank in range(comm.size)]
    try:
        with comm.agree():
            local.save(path / parts[comm.rank])
        with comm.agree():
            if comm.rank == 0:
                listed = {"format": _FORMAT, "format_version": _VERSION, "n_rows": n_rows, "parts": parts}
                with atomic_write(path / LIST) as temporary:
                    temporary.write_text(json.dumps(listed, indent=1) + "\n")
    except BaseException:
        # An error while removing the part, as on a file system that became read-only, would hide this one.
        with suppress(OSError):
            (path / parts[comm.rank]).unlink()
        raise
    if comm.rank == 0:
        # The index is saved. Old parts that cannot be removed do no harm.
        with suppress(OSError):
            for old in set(path.glob("part-*.sketch")) - {path / part for part in parts}:
                old.unlink(missing_ok=True)


def load(folder: str, comm: Communicator) -> tuple[LSHIndex, int]:
    """Return this rank's part of the index in `folder`, and the number of rows on all ranks."""
    comm.check_same("the folder to load", folder)
    n_rows, parts = comm.call_on_first(_read_list, os.path.join(folder, LIST))
    with comm.agree():
        first, last = (-(-rank * len(parts) // comm.size) for rank in (comm.rank, comm.rank + 1))
        # A rank without a part loads one for its configuration.
        index = LSHIndex.load(os.path.join(folder, parts[min(first, len(parts) - 1)]), mmap=first == last)
        if first == last:
            index = index.empty_like()
        for name in parts[first + 1 : last]:
            part = LSHIndex.load(os.path.join(folder, name))
            # Any rank may have an id that another rank has numbered and then lost.
            index.count_default_ids_as_numbered()
            part.count_default_ids_as_numbered()
            index.merge(part)
    n_found = comm.sum(index.n_updates)
    if n_found != n_rows:
        raise SketchFormatError(f"{folder}: expected parts of {counted(n_rows, 'row')}, got {n_found}")
    return index, n_rows


def _read_list(path: str) -> tuple[int, list[str]]:
    with open_listed(path) as file:
        text = file.read(_LONGEST_LIST)
    try:
        listed: Any = json.loads(text)
        if listed["format"] != _FORMAT:
            raise ValueError(f"format {listed['format']!r}")
        if listed["format_version"] != _VERSION:
            raise ValueError(f"format version {listed['format_version']!r}")
        n_rows, parts = listed["n_rows"], listed["parts"]
        if type(n_rows) is not int or n_rows < 0 or not isinstance(parts, list) or not parts:
            raise ValueError("no number of rows or no parts")
        for part in parts:
            # The name must not lead out of the folder.
            if not isinstance(part, str) or os.path.basename(part) != part or not part.startswith("part-"):
                raise ValueError(f"the part {part!r}")
        if len(set(parts)) < len(parts):
            raise ValueError("a part that is listed twice")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SketchFormatError(
            f"{path}: expected the list of a distributed index of version {_VERSION}: {error}"
        ) from error
    return n_rows, parts
