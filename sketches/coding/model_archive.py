"""Define `FloatArchive`, which reads the tensors of a packed model one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.wording import counted
from ..core.file_format import name_file
from .archive_format import CODED, KINDS, is_archive
from .archive_reading import ArchivedFile
from .base_model import BaseModel, BaseTensor
from .compressed_floats import CompressedFloats
from .float_parts import Values, form_of
from .model_folder import MANIFEST, KeptFile, files_of_model, read_manifest
from .safetensors_file import Tensor, is_safetensors, open_file, read_blocks, read_exactly, read_tensors

__all__ = ["FloatArchive", "TensorInfo", "open_base"]


class TensorInfo(NamedTuple):
    """Describe how an archive stores a tensor.

    Attributes
    ----------
    file : str
        The file of the model that has it, or "" if the model is one file.
    name, dtype : str
        As in the safetensors file, for example "BF16".
    shape : tuple of int
    raw_nbytes, nbytes : int
        Bytes of the tensor, and of its part of the archive.
    kept : str
        "coded", "raw", "difference" from the base's tensor, or "same" as an earlier tensor.
    entropy : float or None
        For a coded tensor, if it was asked for, the bits that a value takes at least; see
        `CompressedFloats.entropy`.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    raw_nbytes: int
    nbytes: int
    kept: str
    entropy: float | None


class FloatArchive(Mapping[str, "CompressedFloats | NDArray[Any]"]):
    """Read the tensors of a model that `pack_model` has written, each when it is asked for.

    The archive is a mapping from the names of tensors. Floats are `CompressedFloats`, which are mapped from
    the file and decoded by their own methods; integers and booleans are arrays. Only the index is read when
    an archive is opened.

    Parameters
    ----------
    path : path
        A file or a folder of `pack_model`.
    base : path, optional
        The model that the archive was packed with as base, packed or not. Tensors that are kept as
        differences from it cannot be read without it.

    Attributes
    ----------
    base : str or None
        The name of the model that some tensors are differences from.
    files : dict of str to ArchivedFile
        The safetensors files of the model. The name is "" if the model is one file.
    kept : list of KeptFile
        All files of a model that is a folder, with their sizes and checksums.

    Raises
    ------
    SketchFormatError
        If the archive is damaged. Nothing in it is executed, and no more memory is taken than the index
        needs.
    OSError
        If it cannot be read.

    Notes
    -----
    Tensors of types that NumPy does not have, and that `CompressedFloats` does not have either, are arrays
    of their bytes. Tensors are mapped, and their checksums are not compared when they are read; `verify` does
    so.

    Examples
    --------
    >>> import numpy as np
    >>> import safetensors.numpy
    >>> from mergesketch import FloatArchive, pack_model
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(64, 256)).astype(np.float32)
    >>> safetensors.numpy.save_file({"layer.weight": weights}, "model.safetensors")
    >>> pack_model("model.safetensors", "model.floats")
    >>> archive = FloatArchive("model.floats")
    >>> list(archive)
    ['layer.weight']
    >>> bool(np.all(archive["layer.weight"].decode() == weights))
    True
    """

    def __init__(
        self, path: str | PathLike[str], *, base: str | PathLike[str] | BaseModel | None = None
    ) -> None:
        self.path = os.fsdecode(path)
        model = open_base(base)
        self.kept: list[KeptFile] = []
        if os.path.isdir(self.path):
            self.kept = read_manifest(self.path)
            packed = [(file.name, os.path.join(self.path, file.packed)) for file in self.kept if file.packed]
        else:
            packed = [("", self.path)]
        self.files = {name: _open(place, name, model) for name, place in packed}
        for kept in self.kept:
            if kept.packed:
                index = self.files[kept.name].index
                if (kept.size, kept.checksum) != (index.size, index.checksum):
                    raise SketchFormatError(f"{self.path}: {kept.packed} is not the archive of {kept.name}")
        bases = {file.index.base for file in self.files.values() if file.index.base is not None}
        self.base = min(bases, default=None)
        self._holders: dict[str, list[ArchivedFile]] = {}
        for file in self.files.values():
            for name in file.tensors:
                self._holders.setdefault(name, []).append(file)

    def __getitem__(self, name: str) -> CompressedFloats | NDArray[Any]:
        return self._holder(name).read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)

    def __repr__(self) -> str:
        return (
            f"<FloatArchive {self.path!r}: {counted(len(self), 'tensor')}, {self.raw_nbytes:,} bytes in "
            f"{self.nbytes:,}>"
        )

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the files of the model."""
        return sum(file.size for file in self.kept) or sum(file.index.size for file in self.files.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the files of the archive, without the list of them."""
        plain = sum(file.size for file in self.kept if file.packed is None)
        return plain + sum(file.nbytes for file in self.files.values())

    def decode(self, name: str) -> NDArray[Any]:
        """Return a tensor as an array, in the type of `CompressedFloats.decode` if it has floats.

        Parameters
        ----------
        name : str

        Returns
        -------
        ndarray

        Raises
        ------
        KeyError
            If the archive has no such tensor.
        ValueError
            If several files have one; see `files`.
        """
        return self._holder(name).decode(name)

    def tensors(self, *, entropy: bool = False) -> Iterator[TensorInfo]:
        """Yield how each tensor is kept, in the order of the files and of the bytes in them.

        Parameters
        ----------
        entropy : bool
            Compute the entropy of coded tensors, which takes the time to decode them.

        Yields
        ------
        TensorInfo
        """
        for file in self.files.values():
            for tensor in file.tensors.values():
                yield _info(file, tensor, entropy)

    def verify(self, *, advance: Callable[[int], object] = lambda _: None) -> None:
        """Decode all files and compare them with the checksums of the original files.

        Parameters
        ----------
        advance : callable
            Is called with each number of bytes that have been verified.

        Raises
        ------
        SketchFormatError
            If a checksum does not match; the message names the file, and the tensor if it is one.
        """
        for name in [file.name for file in self.kept] or [""]:
            for _ in self.original(name, advance):
                pass

    def original(self, name: str = "", advance: Callable[[int], object] = lambda _: None) -> Iterator[Any]:
        """Yield the bytes of a file of the model, in pieces.

        Parameters
        ----------
        name : str
            The path of the file in the folder of the model; "" if the model is one file.
        advance : callable
            Is called with each number of bytes that have been yielded.

        Yields
        ------
        bytes-like

        Raises
        ------
        KeyError
            If the model has no such file.
        SketchFormatError
            If a checksum does not match; what was yielded before is worthless then.
        """
        if name in self.files:
            with name_file(self.files[name].path):
                yield from self.files[name].original(advance)
            return
        kept = {file.name: file for file in self.kept}[name]
        path, digest = os.path.join(self.path, name), xxhash.xxh3_128()
        with name_file(path), open_file(path) as (descriptor, size):
            if size != kept.size:
                raise SketchFormatError(f"it has {size:,} bytes, and the model's file has {kept.size:,}")
            for block in read_blocks(descriptor, 0, size):
                digest.update(block.data)
                yield block
                advance(block.size)
            if digest.hexdigest() != kept.checksum:
                raise SketchFormatError("the checksum of the file does not match")

    def _holder(self, name: str) -> ArchivedFile:
        holders = self._holders[name]
        if len(holders) > 1:
            files = ", ".join(sorted(file.name for file in holders)[:3])
            raise ValueError(f"name must be that of one tensor, and {name!r} is in {files}: see `files`")
        return holders[0]


def _open(path: str, name: str, base: BaseModel | None) -> ArchivedFile:
    with name_file(path):
        return ArchivedFile(path, name, base)


def _info(file: ArchivedFile, tensor: Tensor, with_entropy: bool) -> TensorInfo:
    segment = file.segments.get(tensor.name)
    if segment is None:
        return TensorInfo(file.name, tensor.name, tensor.dtype, tensor.shape, 0, 0, "raw", None)
    entropy = None
    if segment.kind == CODED and with_entropy:
        found = file.read(tensor.name)
        entropy = None if isinstance(found, np.ndarray) else found.entropy
    return TensorInfo(
        file.name,
        tensor.name,
        tensor.dtype,
        tensor.shape,
        segment.stop - segment.start,
        segment.length,
        KINDS[segment.kind],
        entropy,
    )


def open_base(path: str | PathLike[str] | BaseModel | None) -> BaseModel | None:
    """Return the model at a path, packed or not, whose tensors are found by their names.

    None is returned as it is, and so is a model that was opened before.
    """
    if path is None or isinstance(path, BaseModel):
        return path
    path = os.fsdecode(path)
    found = list(_tensors_of(path))
    if not found:
        raise SketchFormatError(f"{path}: it has no tensors in safetensors files")
    return BaseModel(os.path.basename(os.path.realpath(path)), found)


def _tensors_of(path: str) -> Iterator[BaseTensor]:
    if _is_packed(path):
        archive = FloatArchive(path)
        if archive.base is not None:
            raise SketchFormatError(
                f"{path}: a base must be whole, and this archive has differences from the model "
                f"{archive.base!r}: unpack it first"
            )
        for name, file in archive.files.items():
            for tensor in file.tensors.values():
                yield BaseTensor(name, tensor, partial(file.values, tensor.name))
        return
    places = [("", path)]
    if os.path.isdir(path):
        places = [(file.name, file.path) for file in files_of_model(path) if is_safetensors(file.name)]
    for name, place in places:
        with name_file(place), open_file(place) as (descriptor, size):
            for tensor in read_tensors(descriptor, size)[1]:
                yield BaseTensor(name, tensor, partial(_open_values, place, tensor))


def _is_packed(path: str) -> bool:
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, MANIFEST))
    with name_file(path), open_file(path) as (descriptor, _):
        return is_archive(descriptor)


def _open_values(path: str, tensor: Tensor) -> Values:
    width = form_of(tensor).width // 8

    def values(start: int, stop: int) -> NDArray[Any]:
        with name_file(path), open_file(path) as (descriptor, _):
            place = tensor.start
            return read_exactly(descriptor, place + start * width, place + stop * width).view(f"u{width}")

    return values
