"""Pack models into float archives, and unpack them into the very files that they were."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO, NamedTuple

import xxhash

from ...errors import SketchFormatError
from ...lsh.support.progress import progress_bar
from ..core.atomic import atomic_folder, atomic_write
from ..core.file_format import name_file
from .archive_packing import Packed, pack_file
from .base_model import BaseModel
from .model_archive import FloatArchive, open_base
from .model_folder import MANIFEST, PACKED, KeptFile, ModelFile, files_of_model, files_read, write_manifest
from .safetensors_file import is_safetensors, open_file, read_blocks, read_tensors

__all__ = [
    "PackedFile",
    "check_files",
    "check_space",
    "pack_into",
    "pack_model",
    "unpack_into",
    "unpack_model",
]


class PackedFile(NamedTuple):
    """Report what has become of a file of a model."""

    kept: KeptFile
    #: What was written of its tensors, or None if the file is kept as it is.
    packed: Packed | None
    #: Why a file of tensors is kept as it is.
    reason: str | None


def pack_model(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    progress: bool = False,
) -> None:
    """Compress the float tensors of a model of safetensors files, bit for bit.

    Parameters
    ----------
    source : path
        A safetensors file, or a folder of them and of other files, as models of Hugging Face are. Links are
        followed, so that it may be a snapshot in the cache of Hugging Face.
    target : path
        Of a file: the archive, which is replaced. Of a folder: a folder that does not exist or is empty. It
        gets an archive ``NAME.safetensors.floats`` for each safetensors file, and the other files as they
        are.
    base : path, optional
        A model, packed or not, that this one differs little from, for example the one that it was fine-tuned
        from. Tensors of the same name, type and shape are kept as differences where this is smaller. Whoever
        unpacks the archive needs the same base.
    progress : bool
        Show a progress bar on stderr if it is a terminal.

    Raises
    ------
    SketchFormatError
        If a single `source` is no safetensors file. In a folder such a file is kept as it is.
    OSError
        If a file cannot be read or written. Nothing is left at `target` then.
    ValueError
        If two files would get one name.

    See Also
    --------
    unpack_model : Give the files back.
    FloatArchive : Read single tensors.

    Notes
    -----
    All bytes of the files come back, and tensors that repeat are kept once. Integers and booleans are kept as
    they are. The permissions of files, empty folders and the folder ``.git`` are not kept.

    Examples
    --------
    >>> import numpy as np
    >>> import safetensors.numpy
    >>> from pathlib import Path
    >>> from mergesketch import pack_model, unpack_model
    >>> weights = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    >>> safetensors.numpy.save_file({"layer.weight": weights}, "model.safetensors")
    >>> pack_model("model.safetensors", "model.floats")
    >>> Path("model.floats").stat().st_size < 0.95 * Path("model.safetensors").stat().st_size
    True
    >>> unpack_model("model.floats", "again.safetensors")
    >>> Path("again.safetensors").read_bytes() == Path("model.safetensors").read_bytes()
    True
    """
    source, target = os.fsdecode(source), os.fsdecode(target)
    model = open_base(base)
    if not os.path.isdir(source):
        _check_not_read(source, base, target)
        with (
            name_file(source),
            open_file(source) as (descriptor, size),
            progress_bar("packing", size, progress) as advance,
            atomic_write(target) as temporary,
            temporary.open("wb") as out,
        ):
            pack_file(descriptor, out, base=model, advance=advance)
        return
    files = files_of_model(source)
    check_files(source, files)
    total = sum(file.size for file in files)
    with progress_bar("packing", total, progress) as advance, atomic_folder(target) as folder:
        packed = [pack_into(str(folder), file, model, advance) for file in files]
        write_manifest(str(folder), [file.kept for file in packed])


def unpack_model(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    progress: bool = False,
) -> None:
    """Write the files of a model that `pack_model` has packed, byte for byte as they were.

    Parameters
    ----------
    source : path
        What `pack_model` has written: a file, or a folder.
    target : path
        Of a file: the safetensors file, which is replaced. Of a folder: a folder that does not exist or is
        empty.
    base : path, optional
        The model that was the base of `pack_model`, packed or not.
    progress : bool
        Show a progress bar on stderr if it is a terminal.

    Raises
    ------
    SketchFormatError
        If the archive is damaged, or if `base` is not the model that it was packed with. Nothing is left at
        `target` then.
    OSError
        If a file cannot be read or written, or the disk has no space for the model.

    Examples
    --------
    >>> import numpy as np
    >>> import safetensors.numpy
    >>> from mergesketch import pack_model, unpack_model
    >>> safetensors.numpy.save_file({"bias": np.zeros(1000, np.float16)}, "model.safetensors")
    >>> pack_model("model.safetensors", "model.floats")
    >>> unpack_model("model.floats", "again.safetensors")
    >>> int(safetensors.numpy.load_file("again.safetensors")["bias"].size)
    1000
    """
    source, target = os.fsdecode(source), os.fsdecode(target)
    archive = FloatArchive(source, base=base)
    check_space(target, archive.raw_nbytes)
    if not os.path.isdir(source):
        _check_not_read(source, base, target)
    with progress_bar("unpacking", archive.raw_nbytes, progress) as advance:
        if not os.path.isdir(source):
            with atomic_write(target) as temporary, temporary.open("wb") as out:
                for piece in archive.original(advance=advance):
                    out.write(piece)
            return
        with atomic_folder(target) as folder:
            for file in archive.kept:
                unpack_into(str(folder), archive, file.name, advance)


def check_files(folder: str, files: list[ModelFile]) -> None:
    """Refuse a folder whose files cannot have their names in an archive.

    Raises
    ------
    ValueError
        If it has no files, is an archive already, or has files with the names of archives.
    """
    names = {file.name for file in files}
    if not files:
        raise ValueError(f"source must be a folder with files, and {folder} has none")
    if MANIFEST in names:
        raise ValueError(f"source must be a model, and {folder} is packed already: it has {MANIFEST}")
    for name in names:
        if is_safetensors(name) and name + PACKED in names:
            raise ValueError(
                f"source must not have the file {name + PACKED} beside {name}, whose archive has that name"
            )


def check_space(target: str, nbytes: int) -> None:
    """Raise OSError if the disk of a file or folder that will be written has no space for some bytes."""
    parent = os.path.dirname(os.path.realpath(target))
    if os.path.isdir(parent) and shutil.disk_usage(parent).free < nbytes:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {nbytes:,} bytes", target)


def _check_not_read(source: str, base: str | PathLike[str] | None, target: str) -> None:
    """Refuse to replace a file that is read: without its base an archive of differences is lost."""
    if not os.path.exists(target):
        return
    for name, paths in (
        ("source", [source]),
        ("base", files_read(None if base is None else os.fsdecode(base))),
    ):
        if any(os.path.samefile(path, target) for path in paths):
            raise ValueError(f"target must be another file than {name}, got {target!r} for both")


def pack_into(
    folder: str, file: ModelFile, base: BaseModel | None, advance: Callable[[int], object]
) -> PackedFile:
    """Pack a file of a model into the folder of its archive, or copy it if it has no tensors."""
    with name_file(file.path), open_file(file.path) as (descriptor, size):
        reason = None
        if is_safetensors(file.name):
            try:
                read_tensors(descriptor, size)
            except SketchFormatError as error:
                reason = str(error)
        if is_safetensors(file.name) and reason is None:
            name = file.name + PACKED
            with _new_file(folder, name) as out:
                packed = pack_file(descriptor, out, name=file.name, base=base, advance=advance)
            return PackedFile(KeptFile(file.name, name, size, packed.checksum), packed, None)
        digest = xxhash.xxh3_128()
        with _new_file(folder, file.name) as out:
            for block in read_blocks(descriptor, 0, size):
                digest.update(block.data)
                out.write(block.data)
                advance(block.size)
        return PackedFile(KeptFile(file.name, None, size, digest.hexdigest()), None, reason)


def unpack_into(folder: str, archive: FloatArchive, name: str, advance: Callable[[int], object]) -> None:
    """Write a file of a model into a new folder."""
    with _new_file(folder, name) as out:
        for piece in archive.original(name, advance):
            out.write(piece)


@contextmanager
def _new_file(folder: str, name: str) -> Iterator[BinaryIO]:
    """Open a new file below a folder of ours, and write it to the disk at the end."""
    path = os.path.join(folder, *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
