"""Keep the record of what was written into the folder of a cleaned corpus, so that a run can be resumed.

The manifest lists the files that belong to the cleaned corpus, each with the input that it comes from. It is
written before the first of them. A file that exists is complete, because it was renamed when it was. Only
files that the manifest lists are ever replaced or deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DocumentError
from ...sketches.core.atomic import atomic_write

__all__ = ["MANIFEST", "Entry", "Manifest", "check_settings", "read_manifest", "write_manifest"]

#: The name of the manifest, which begins with a dot so that the corpus can be read as a folder.
MANIFEST = ".mergesketch-clean.json"
_VERSION = 1


class Entry(NamedTuple):
    """A file of the cleaned corpus.

    Attributes
    ----------
    input : str
        The file that it comes from.
    size, mtime : int
        Bytes of the input, and the time of its last change in nanoseconds, when it was read.
    removed : str
        A digest of the numbers of the records that were removed.
    absent : bool
        True if the input was removed as a whole, so that there is no file.
    written : tuple of (int, int) or None
        Bytes and time of last change of the cleaned file; None while the corpus is not complete.
    """

    input: str
    size: int
    mtime: int
    removed: str
    absent: bool
    written: tuple[int, int] | None = None

    def is_same(self, other: Entry | None) -> bool:
        """Return True if both entries describe the same contents."""
        return other is not None and self[:5] == other[:5]


class Manifest(NamedTuple):
    """The settings of a cleaned corpus, the names of its files and lists, and what its files come from."""

    settings: dict[str, Any]
    files: dict[str, Entry]


def read_manifest(folder: str) -> Manifest | None:
    """Return the manifest of a folder, or None if the folder is empty or does not exist.

    Raises
    ------
    DocumentError
        If the folder has files and no manifest, or the manifest is damaged.
    """
    path = os.path.join(folder, MANIFEST)
    try:
        text = Path(path).read_text(encoding="ascii")
    except NotADirectoryError:
        raise DocumentError(f"cannot write the cleaned corpus to {folder}: it is not a folder") from None
    except FileNotFoundError:
        if os.path.lexists(folder) and _has_files(folder):
            raise DocumentError(
                f"cannot write the cleaned corpus to {folder}: it is not empty, and this command has not "
                "written it"
            ) from None
        return None
    except ValueError as error:
        raise DocumentError(f"{path} is damaged: {error}") from error
    try:
        value = json.loads(text)
        if value["version"] != _VERSION:
            raise ValueError(f"version {value['version']!r}")
        files = {str(name): _entry(fields) for name, fields in value["files"].items()}
        return Manifest(dict(value["settings"]), files)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DocumentError(f"{path} is damaged: {error!r}") from error


def _has_files(folder: str) -> bool:
    if not os.path.isdir(folder):
        raise DocumentError(f"cannot write the cleaned corpus to {folder}: it is not a folder")
    # A process that was killed while it wrote the manifest has left its temporary file.
    return any(not name.startswith(".mergesketch-") for name in os.listdir(folder))


def _entry(fields: Any) -> Entry:
    source, size, mtime, removed, absent, written = fields
    if not (isinstance(source, str) and isinstance(removed, str) and isinstance(absent, bool)):
        raise ValueError("an entry has values of wrong types")
    version = None if written is None else (int(written[0]), int(written[1]))
    return Entry(source, int(size), int(mtime), removed, absent, version)


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Replace the manifest of a folder, which must exist."""
    value = {"version": _VERSION, "settings": manifest.settings, "files": manifest.files}
    with atomic_write(os.path.join(folder, MANIFEST)) as temporary:
        temporary.write_text(json.dumps(value, indent=0), encoding="ascii")


def check_settings(folder: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise DocumentError, which names the setting, unless a corpus was written with the same settings."""
    for name in [*new, *old]:
        if old.get(name) != new.get(name):
            raise DocumentError(
                f"{folder} was written with other settings: {name} was {old.get(name)!r}, and is "
                f"{new.get(name)!r} now; write to another folder, or delete this one"
            )
