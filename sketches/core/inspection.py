"""Describe saved sketches without building them."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ...errors import SketchFormatError
from .file_format import data_checksum, parse_json
from .file_objects import Source, opened

__all__ = ["inspect"]


def inspect(path: Source) -> dict[str, Any]:
    """Describe a saved sketch without building it: class, configuration, arrays, size, checksum.

    Parameters
    ----------
    path : path or binary file object
        As for `mergesketch.load`.

    Returns
    -------
    dict
        "class", "config", "n_updates", "arrays", "bytes", "format_version", "intact".

    Raises
    ------
    SketchFormatError
        If the file has no whole header of a known version.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, os, mergesketch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.sketch")
    ...     mergesketch.CountMinSketch(n_rows=4, n_buckets=256).update([1, 2, 2]).save(path)
    ...     mergesketch.inspect(path)["n_updates"]
    3
    """
    with opened(path, mmap=isinstance(path, (str, bytes, PathLike))) as (header, begin):
        fetch = begin()
        arrays = {name: fetch(*entry) for name, entry in header.arrays.items()}
        metadata = header.metadata
        try:
            config = parse_json(metadata.get("config", ""))
        except ValueError as error:
            raise SketchFormatError(f"its configuration is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise SketchFormatError(f"its configuration must be an object, got a {type(config).__name__}")
    counted = arrays.get("n_updates")
    if counted is not None and (counted.size != 1 or counted.dtype.kind != "i"):
        counted = None
    return {
        "class": metadata.get("class", ""),
        "config": config,
        "n_updates": None if counted is None else int(counted.flat[0]),
        "arrays": {name: f"{a.dtype.name}{list(a.shape)}" for name, a in arrays.items()},
        "bytes": header.size,
        "format_version": metadata["format_version"],
        "intact": metadata.get("data_xxh3") == data_checksum(arrays),
    }
