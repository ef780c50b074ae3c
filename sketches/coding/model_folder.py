"""List the files of a model, and read and write the list of those of an archive."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import SketchFormatError
from ..core.file_format import name_file, parse_json
from .safetensors_file import open_file

__all__ = [
    "MANIFEST",
    "PACKED",
    "KeptFile",
    "ModelFile",
    "files_of_model",
    "files_read",
    "read_manifest",
    "write_manifest",
]

#: The list of files of an archive that is a folder.
MANIFEST = "float_archive.json"
#: What is added to the name of a safetensors file that is packed.
PACKED = ".floats"
_VERSION = 1
_MAX_MANIFEST = 1 << 24
#: Folders that are left out, because they hold copies of the files and nothing of the model.
_LEFT_OUT = (".git",)


class ModelFile(NamedTuple):
    """A file of a model: its path in the model's folder, its path on the disk, and its size."""

    name: str
    path: str
    size: int


class KeptFile(NamedTuple):
    """A file in the list of an archive."""

    #: The path in the model's folder, with slashes.
    name: str
    #: The path of its float archive, or None if the file is kept as it is.
    packed: str | None
    size: int
    #: XXH3-128 of the original file, in hexadecimal.
    checksum: str


def files_of_model(folder: str) -> list[ModelFile]:
    """Return the files below a folder, ordered by name. Links are followed; the folder ``.git`` is left out.

    Raises
    ------
    OSError
        If a folder cannot be read, or a link leads nowhere.
    ValueError
        If a link leads back to a folder above it, or something is neither a file nor a folder.
    """
    return sorted(_below(folder, "", ()))


def files_read(path: str | None) -> list[str]:
    """Return the paths of the files of a model, which is a file or a folder, or None for no model."""
    if path is None:
        return []
    return [file.path for file in files_of_model(path)] if os.path.isdir(path) else [path]


def _below(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[ModelFile]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise ValueError(f"the link {folder} leads to a folder above it")
    for entry in sorted(os.listdir(folder)):
        path, name = os.path.join(folder, entry), prefix + entry
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            if entry not in _LEFT_OUT:
                yield from _below(path, name + "/", (*above, here))
        elif stat.S_ISREG(status.st_mode):
            _check_name(name)
            yield ModelFile(name, path, status.st_size)
        else:
            raise ValueError(f"{path}: it is neither a file nor a folder")


def _check_name(name: Any) -> str:
    """Refuse a path that leads out of its folder, or that file systems do not take."""
    if not isinstance(name, str) or not name or len(name) > 4096 or "\0" in name:
        raise ValueError("a file has no name")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the name {name!r} is not UTF-8") from error
    if "\\" in name:
        raise ValueError(f"the name {name!r} has a backslash, which separates folders on some systems")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"the name {name!r} leads out of its folder")
    return name


def write_manifest(folder: str, files: list[KeptFile]) -> None:
    """Write the list of the files of an archive into its folder."""
    listed = [
        {
            "path": file.name,
            **({"packed": file.packed} if file.packed else {}),
            "size": file.size,
            "xxh3": file.checksum,
        }
        for file in files
    ]
    content = {"format": "mergesketch floats", "version": _VERSION, "files": listed}
    with open(os.path.join(folder, MANIFEST), "w", encoding="utf-8") as out:
        json.dump(content, out, indent=1)
        out.write("\n")


def read_manifest(folder: str) -> list[KeptFile]:
    """Return the checked list of the files of an archive.

    Raises
    ------
    SketchFormatError
        If it is missing or damaged, or names files that are not below the folder, or one name for two files.
    OSError
        If it cannot be read.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.exists(path):
        raise SketchFormatError(f"{folder}: expected a packed model, and it has no {MANIFEST}")
    with name_file(path), open_file(path) as (descriptor, size):
        if size > _MAX_MANIFEST:
            raise SketchFormatError(f"it has {size:,} bytes, more than a list of files has")
        text = os.pread(descriptor, size, 0)
    try:
        content = parse_json(text.decode())
        if content["format"] != "mergesketch floats" or content["version"] != _VERSION:
            raise ValueError("it has another format or version")
        files = [_parse_file(entry) for entry in content["files"]]
        _check_distinct([file.name for file in files])
        _check_distinct([MANIFEST, *(file.packed or file.name for file in files)])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SketchFormatError(f"{path}: expected the list of an archive: {error}") from error
    return files


def _parse_file(entry: dict[str, Any]) -> KeptFile:
    name, packed = _check_name(entry["path"]), entry.get("packed")
    size, checksum = entry["size"], entry["xxh3"]
    if packed is not None:
        _check_name(packed)
    if type(size) is not int or not 0 <= size < 1 << 62 or not isinstance(checksum, str):
        raise ValueError(f"the entry of {name!r} is damaged")
    return KeptFile(name, packed, size, checksum)


def _check_distinct(names: list[str]) -> None:
    """Refuse two files of one name, and a file that has the name of a folder."""
    taken = set(names)
    if len(taken) < len(names):
        raise ValueError("two files have one name")
    for name in names:
        parts = name.split("/")
        if any("/".join(parts[:n]) in taken for n in range(1, len(parts))):
            raise ValueError(f"the folder of {name!r} is a file, too")
