"""Read the values of a further field of given documents, and check that some file has the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DocumentError
from .arrow import has_arrow_column
from .chunks import ChunkPlan, check_field_of_records
from .contents import contents
from .fields import as_id
from .files import UNREADABLE, InputFile
from .jsonl import Lines
from .names import split_ids
from .parquet import has_column
from .tar import TarMember, tar_members

__all__ = ["check_some_file_has", "ids_of"]


def check_some_file_has(files: Sequence[InputFile], field: str, argument: str) -> None:
    """Raise DocumentError if there are files of records and none of them has the field.

    An archive may have it, and so may a file that cannot be read.
    """
    first: DocumentError | None = None
    for file in files:
        if file.kind in ("text", "unread"):
            continue
        try:
            _check(file, field)
        except UNREADABLE:
            return
        except DocumentError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise DocumentError(f"no file has the {argument} {field!r}: {first}")


def _check(file: InputFile, field: str) -> None:
    if file.kind in ("parquet", "arrow") and not file.compressed:
        with file.open_anywhere() as opened:
            has = has_column if file.kind == "parquet" else has_arrow_column
            if not has(file.path, field, opened):
                raise DocumentError(f"{file.path} has no column {field!r}")
    else:
        check_field_of_records(file, field)


def ids_of(
    plan: ChunkPlan, documents: ArrayLike, text_field: str, id_field: str, form: str
) -> list[str | int | None]:
    """Return the value under `id_field` of each document, and the path of a document that is a file.

    Only the chunks that have such documents are read, each up to the last of them.

    Raises
    ------
    ValueError
        If an id is not one of the plan's.
    DocumentError
        If a file cannot be read any more.
    """
    chunks, records = split_ids(documents, plan)
    found: list[Any] = [None] * len(chunks)
    order = np.lexsort((records, chunks))
    cuts = np.flatnonzero(np.diff(chunks[order])) + 1
    for places in np.split(order, cuts) if len(order) else []:
        chunk = int(chunks[places[0]])
        file = plan.files[int(plan.file[chunk])]
        wanted = records[places]
        try:
            blocks = _blocks(plan, chunk, file, text_field, id_field, form, int(wanted[-1]))
            for place, value in zip(places.tolist(), _pick(blocks, wanted), strict=True):
                found[place] = value
        except UNREADABLE as error:
            raise DocumentError(f"cannot read {file.path} again: {error}") from error
    return found


def _blocks(
    plan: ChunkPlan, chunk: int, file: InputFile, text_field: str, id_field: str, form: str, last: int
) -> Iterator[tuple[int, dict[int, Any]]]:
    """Yield (first record behind, values by record) of the blocks of a chunk, until the record `last`."""
    members: Iterable[InputFile | TarMember] = tar_members(file, form) if file.kind == "tar" else [file]
    start, stop = int(plan.start[chunk]), int(plan.stop[chunk])
    record = 0
    for member in members:
        if member.kind in ("text", "unread"):
            yield record + 1, {record: member.path}
            record += 1
            continue
        begin = record
        try:
            for block in contents(member, text_field, start=start, stop=stop, extra=id_field):
                if isinstance(block, Lines):
                    values = {record + i: value for i, value in zip(block.records, block.extra, strict=True)}
                    record += block.n_lines
                else:
                    values = dict(enumerate(block.extra, start=record))
                    record += len(block.offsets) - 1
                yield record, values
                if record > last:
                    return
        except (*UNREADABLE, DocumentError):
            # What was read before is good; a damaged member of an archive is no reason to leave the others.
            if file.kind != "tar":
                raise
        record += record == begin and file.kind == "tar"


def _pick(blocks: Iterator[tuple[int, dict[int, Any]]], wanted: NDArray[np.int64]) -> Iterator[Any]:
    """Yield the values of records that are given in rising order."""
    behind, values = 0, dict[int, Any]()
    for record in wanted.tolist():
        while record >= behind:
            behind, values = next(blocks, (record + 1, {}))
        yield as_id(values.get(record))
