"""Read the float archive of one safetensors file: its tensors one by one, or the file as it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.threads import run_tasks
from .archive_format import CODED, DIFFERENCE, RAW, SAME, Segment, read_index
from .base_model import BaseModel
from .compressed_floats import CompressedFloats
from .float_parts import StoredPart, Values, form_of
from .safetensors_file import BLOCK, FLOATS, NUMPY_TYPES, Tensor, open_file, read_exactly

__all__ = ["ArchivedFile"]


class ArchivedFile:
    """An open archive of one safetensors file. It is closed when nothing refers to it any more.

    Parameters
    ----------
    path : str
    name : str
        The path of the safetensors file in its folder, by which the tensors of a base are found.
    base : BaseModel, optional
        What some tensors are differences from.
    """

    def __init__(self, path: str, name: str, base: BaseModel | None = None) -> None:
        self.path, self.name, self._base = path, name, base
        with open_file(path) as (descriptor, size):
            self.index = read_index(descriptor, size)
            # The file stays this one, even if another one takes its place.
            self._file = os.fdopen(os.dup(descriptor), "rb")
        # It is mapped once, because each map has a descriptor of its own. Slices of a plain array are made
        # faster than those of a `memmap`.
        self._bytes: NDArray[np.uint8] = np.memmap(self._file, np.uint8, "r").view(np.ndarray)
        self.nbytes = size
        self.segments = {segment.tensor.name: segment for segment in self.index.segments if segment.tensor}
        self.tensors = {tensor.name: tensor for tensor in self.index.tensors}

    def read(self, name: str) -> CompressedFloats | NDArray[Any]:
        """Return a tensor: as `CompressedFloats` if it has floats, and as an array otherwise."""
        tensor, segment = self.tensors[name], self.segments.get(name)
        if segment is not None and self._kept(segment).kind == CODED:
            return self._mapped(self._kept(segment)).floats(tensor.shape)
        data = np.empty(0, np.uint8) if segment is None else self._checked(segment)
        if tensor.dtype in FLOATS:
            bits = data.view(f"<u{form_of(tensor).width // 8}").reshape(tensor.shape)
            return CompressedFloats(bits, dtype=FLOATS[tensor.dtype], coding="raw")
        if tensor.dtype in NUMPY_TYPES:
            return data.view(np.dtype(NUMPY_TYPES[tensor.dtype]).newbyteorder("<")).reshape(tensor.shape)
        return data

    def decode(self, name: str) -> NDArray[Any]:
        """Return a tensor as an array."""
        found = self.read(name)
        return found if isinstance(found, np.ndarray) else found.decode()

    def values(self, name: str) -> Values:
        """Return what decodes some of the bits of a tensor."""
        segment = self.segments.get(name)
        if segment is None:
            return lambda start, stop: np.empty(stop - start, f"u{_width(self.tensors[name])}")
        return self._values(segment)

    def original(self, advance: Callable[[int], object] = lambda _: None) -> Iterator[Any]:
        """Yield the bytes of the safetensors file in its order.

        Raises
        ------
        SketchFormatError
            If a checksum does not match; what was yielded before is worthless then.
        """
        digest = xxhash.xxh3_128()
        header = self.index.header
        start = len(header).to_bytes(8, "little") + header
        digest.update(start)
        yield start
        for group in self._groups():
            for piece in self._pieces(group):
                digest.update(piece.data)
                yield piece
                advance(piece.nbytes)
        if digest.hexdigest() != self.index.checksum:
            raise SketchFormatError("the checksum of the original file does not match")

    # -- how it is kept ---------------------------------------------------------------------------

    def _kept(self, segment: Segment) -> Segment:
        """Return the segment that has the part of a segment."""
        return self.index.segments[segment.place] if segment.kind == SAME else segment

    def _mapped(self, segment: Segment) -> StoredPart:
        assert segment.tensor is not None
        part = self._bytes[segment.place : segment.place + segment.length]
        return StoredPart(part, form_of(segment.tensor))

    def _values(self, segment: Segment) -> Values:
        kept, width = self._kept(segment), _width(segment.tensor)
        dtype = f"u{width}"
        if kept.kind == RAW:
            descriptor, place = self._file.fileno(), kept.place

            def values(start: int, stop: int) -> NDArray[Any]:
                return read_exactly(descriptor, place + start * width, place + stop * width).view(dtype)

            return values
        n = (segment.stop - segment.start) // width
        if kept.kind == CODED:
            floats = self._mapped(kept).floats((n,))
            return lambda start, stop: floats[start:stop].view(dtype)
        assert kept.tensor is not None
        return self._mapped(kept).restored(self._base_of(kept.tensor), n)

    def _base_of(self, tensor: Tensor) -> Values:
        if self._base is None:
            raise SketchFormatError(
                f"{tensor.name!r} is kept as its difference from the model {self.index.base!r}: name it as "
                "the base"
            )
        found = self._base.find(self.name, tensor)
        if found is None:
            raise SketchFormatError(
                f"expected the base {self.index.base!r}, and {self._base.name!r} has no {tensor.name!r} of "
                "the same type and shape"
            )
        return found

    # -- blocks of bytes --------------------------------------------------------------------------

    def _groups(self) -> Iterator[list[Segment]]:
        """Yield large segments alone, and small ones in groups that the threads share."""
        group: list[Segment] = []
        total = 0
        for segment in self.index.segments:
            size = segment.stop - segment.start
            is_large = size > BLOCK // 4
            if group and (is_large or total + size > BLOCK):
                yield group
                group, total = [], 0
            if is_large:
                yield [segment]
                continue
            group.append(segment)
            total += size
        if group:
            yield group

    def _pieces(self, group: list[Segment]) -> Iterator[NDArray[np.uint8]]:
        if len(group) > 1:
            yield from run_tasks(lambda i: self._checked(group[i]), len(group))
            return
        (segment,) = group
        values, width, digest = self._values(segment), _width(segment.tensor), xxhash.xxh3_64()
        n = (segment.stop - segment.start) // width
        for start in range(0, n, BLOCK // width):
            block = values(start, min(start + BLOCK // width, n)).view(np.uint8)
            digest.update(block.data)
            yield block
        self._check(segment, digest.intdigest())

    def _checked(self, segment: Segment) -> NDArray[np.uint8]:
        """Return the bytes of a segment, after their checksum was compared."""
        n = (segment.stop - segment.start) // _width(segment.tensor)
        data = self._values(segment)(0, n).view(np.uint8)
        self._check(segment, xxhash.xxh3_64_intdigest(data.data))
        return data

    def _check(self, segment: Segment, checksum: int) -> None:
        if checksum == segment.checksum:
            return
        what = "bytes between tensors" if segment.tensor is None else repr(segment.tensor.name)
        reason = "the archive is damaged"
        if self._kept(segment).kind == DIFFERENCE:
            reason += f", or the base is not the model {self.index.base!r} that it was packed with"
        raise SketchFormatError(f"the checksum of {what} does not match: {reason}")


def _width(tensor: Tensor | None) -> int:
    """Return the bytes of a float of a tensor, and 1 for anything else."""
    return form_of(tensor).width // 8 if tensor is not None and tensor.dtype in FLOATS else 1
