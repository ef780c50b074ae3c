"""Write float archives of safetensors files, segment by segment in the order of the file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.threads import run_tasks
from .archive_format import CODED, DIFFERENCE, KINDS, RAW, SAME, PartWriter, is_archive
from .base_model import BaseModel
from .float_parts import PartPlan, Values, form_of, part_pieces, plan_part
from .safetensors_file import BLOCK, FLOATS, Tensor, read_blocks, read_exactly, read_tensors, segments

__all__ = ["Packed", "pack_file"]

#: Bytes of a tensor that are compared first, at its beginning and at its end, to find equal ones.
_PROBE = 4096
#: Bytes of the smallest tensor that is coded: the numbers at the end of a part take a tenth of them.
_LEAST = 512
#: A range of bytes of the original file, and the tensor that fills it.
Range = tuple[int, int, Tensor | None]


class Packed(NamedTuple):
    """Report what has become of a file."""

    #: XXH3-128 of the file, in hexadecimal.
    checksum: str
    #: Bytes of the archive.
    nbytes: int
    #: The number of tensors that are kept in each way, by the names of `KINDS`.
    kinds: Counter[str]


def pack_file(
    descriptor: int,
    file: BinaryIO,
    *,
    name: str = "",
    base: BaseModel | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Packed:
    """Write the archive of an open safetensors file.

    Parameters
    ----------
    descriptor : int
        The open file.
    file : binary file object
        Is written from front to back.
    name : str
        The path of the file in its folder, by which the tensors of a base are found.
    base : BaseModel, optional
    advance : callable
        Is called with the number of bytes that have been encoded.

    Returns
    -------
    Packed

    Raises
    ------
    SketchFormatError
        If the file is no safetensors file, or changes while it is read.
    """
    status = os.fstat(descriptor)
    size = status.st_size
    if is_archive(descriptor):
        raise SketchFormatError("expected a safetensors file, got a float archive, which is packed already")
    header, tensors = read_tensors(descriptor, size)
    ranges = segments(tensors, 8 + len(header), size)
    packing = _Packing(descriptor, PartWriter(file), name, base, advance)
    packing.digest.update(len(header).to_bytes(8, "little") + header)
    packing.kinds += [RAW for tensor in tensors if tensor.start == tensor.stop]
    packing.add(ranges, _find_equal(descriptor, ranges))
    after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns) != (size, status.st_mtime_ns):
        raise SketchFormatError("the file changed while it was read")
    checksum = packing.digest.hexdigest()
    base_name = base.name if base is not None and DIFFERENCE in packing.kinds else None
    packing.out.finish(header, size, checksum, base_name)
    return Packed(checksum, packing.out.place, Counter(KINDS[kind] for kind in packing.kinds))


def _find_equal(descriptor: int, ranges: list[Range]) -> dict[int, int]:
    """Return for ranges whose tensor has the bytes of an earlier one the number of that one.

    Only tensors of one type and shape are compared, and whole ones only if their ends are equal.
    """
    alike: dict[Any, list[int]] = {}
    for i, (_, _, tensor) in enumerate(ranges):
        if tensor is not None:
            alike.setdefault((tensor.dtype, tensor.shape), []).append(i)
    for pieces in (_ends, _whole):
        finer: dict[Any, list[int]] = {}
        for key, members in alike.items():
            for i in members if len(members) > 1 else ():
                digest = xxhash.xxh3_128()
                for piece in pieces(descriptor, *ranges[i][:2]):
                    digest.update(piece.data)
                finer.setdefault((key, digest.digest()), []).append(i)
        alike = finer
    return {i: members[0] for members in alike.values() for i in members[1:]}


def _ends(descriptor: int, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
    yield read_exactly(descriptor, start, min(start + _PROBE, stop))
    yield read_exactly(descriptor, max(start, stop - _PROBE), stop)


_whole = read_blocks


class _Packing:
    """The work on one file."""

    def __init__(
        self,
        descriptor: int,
        out: PartWriter,
        name: str,
        base: BaseModel | None,
        advance: Callable[[int], object],
    ) -> None:
        self.descriptor, self.out, self.name, self.base, self.advance = descriptor, out, name, base, advance
        self.digest = xxhash.xxh3_128()
        self.kinds: list[int] = []

    def add(self, ranges: list[Range], equal: dict[int, int]) -> None:
        """Write all segments; small tensors are gathered, so that each thread encodes its own."""
        gathered: list[Range] = []
        total = 0
        for i, (start, stop, tensor) in enumerate(ranges):
            is_small = i not in equal and tensor is not None and tensor.dtype in FLOATS
            is_small = is_small and stop - start <= BLOCK // 4
            if gathered and (not is_small or total + stop - start > BLOCK):
                self._encode(gathered)
                gathered, total = [], 0
            if is_small:
                gathered.append((start, stop, tensor))
                total += stop - start
            elif i in equal:
                self._refer(start, stop, ranges[equal[i]][0], equal[i])
            elif tensor is not None and tensor.dtype in FLOATS:
                self._encode_large(start, stop, tensor)
            else:
                self._copy(start, stop, tensor)
        if gathered:
            self._encode(gathered)

    def _copy(self, start: int, stop: int, tensor: Tensor | None) -> None:
        place, digest = self.out.begin(), xxhash.xxh3_64()
        for block in read_blocks(self.descriptor, start, stop):
            digest.update(block.data)
            self.digest.update(block.data)
            self.out.write(block.data)
            self.advance(block.size)
        if tensor is None:
            self.out.add(RAW, place, stop - start, digest.intdigest())
        else:
            self._added(RAW, place, digest.intdigest())

    def _refer(self, start: int, stop: int, original: int, number: int) -> None:
        """Refer to an equal segment, after a look at every byte, because hashes can be equal by design."""
        digest = xxhash.xxh3_64()
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            ours = read_exactly(self.descriptor, first, last)
            its = read_exactly(self.descriptor, first - start + original, last - start + original)
            if not np.array_equal(ours, its):
                raise SketchFormatError("the file changed while it was read")
            digest.update(ours.data)
            self.digest.update(ours.data)
            self.advance(ours.size)
        self.out.add(SAME, number, 0, digest.intdigest())
        self.kinds.append(SAME)

    def _encode(self, ranges: list[Range]) -> None:
        """Encode small tensors that lie one behind another, each on a thread."""
        data = [read_exactly(self.descriptor, start, stop) for start, stop, _ in ranges]
        parts = run_tasks(lambda i: self._encode_small(data[i], ranges[i][2]), len(ranges))
        for piece, (kind, part) in zip(data, parts, strict=True):
            place = self.out.begin()
            self.out.write(part)
            self.digest.update(piece.data)
            self._added(kind, place, xxhash.xxh3_64_intdigest(piece.data))
            self.advance(piece.size)

    def _encode_small(self, data: NDArray[np.uint8], tensor: Tensor | None) -> tuple[int, Any]:
        if data.size < _LEAST or tensor is None:
            return RAW, data.data
        base, form = self._base_of(tensor), form_of(tensor)
        bits = data.view(form.bits_dtype)

        def values(start: int, stop: int) -> NDArray[Any]:
            return bits[start:stop]

        # Without a base it is encoded, and what comes out decides.
        plan = PartPlan(True, None) if base is None else plan_part(values, base, bits.size, form)
        if plan.is_coded:
            part = b"".join(part_pieces(values, base, bits.size, form, plan.rule))
            if len(part) < data.size:
                return _kind_of(plan), part
        return RAW, data.data

    def _encode_large(self, start: int, stop: int, tensor: Tensor) -> None:
        """Encode a tensor block by block, in the memory of a block."""
        form, digest = form_of(tensor), xxhash.xxh3_64()
        width = form.width // 8

        def values(first: int, last: int) -> NDArray[Any]:
            data = read_exactly(self.descriptor, start + first * width, start + last * width)
            return data.view(f"u{width}")

        def seen(first: int, last: int) -> NDArray[Any]:
            block = values(first, last)
            self.digest.update(block.data)
            digest.update(block.data)
            self.advance(block.nbytes)
            return block

        n, base = (stop - start) // width, self._base_of(tensor)
        plan = plan_part(values, base, n, form)
        if not plan.is_coded:
            self._copy(start, stop, tensor)
            return
        place = self.out.begin()
        for piece in part_pieces(seen, base, n, form, plan.rule):
            self.out.write(piece)
        self._added(_kind_of(plan), place, digest.intdigest())

    def _base_of(self, tensor: Tensor) -> Values | None:
        return None if self.base is None else self.base.find(self.name, tensor)

    def _added(self, kind: int, place: int, checksum: int) -> None:
        """Note the part that was written last."""
        self.out.add(kind, place, self.out.place - place, checksum)
        self.kinds.append(kind)


def _kind_of(plan: PartPlan) -> int:
    return CODED if plan.rule is None else DIFFERENCE
