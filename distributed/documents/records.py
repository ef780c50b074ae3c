"""Gather records that are read one by one into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .files import UNREADABLE
from .jsonl import BLOCK, Lines

__all__ = ["Record", "in_blocks"]

#: The most records in a block.
MAX_RECORDS = 1 << 12


class Record(NamedTuple):
    """A record of a file.

    Attributes
    ----------
    text : bytes or None
        The text of the document in UTF-8, or None if the record has none.
    problem : str
        The reason why it has none. If that is empty, the record is no document and nothing is missing. Of a
        record with a text, the reason why it is not valid Unicode.
    extra : object
        The value of a further field.
    """

    text: bytes | None
    problem: str = ""
    extra: Any = None


def in_blocks(records: Iterable[Record], *, extra: bool) -> Iterator[Lines]:
    """Yield records as blocks of about a megabyte, whose `Lines.extra` has values only with `extra`.

    If reading fails, the records before are given out before the error is raised.
    """
    block, size = Lines(0, [], [], [], [], []), 0
    n = 0
    failed: Exception | None = None
    source = iter(records)
    while True:
        try:
            record = next(source, None)
        except UNREADABLE as error:
            failed, record = error, None
        if record is None:
            break
        if record.text is not None:
            block.records.append(n)
            block.texts.append(record.text)
            size += len(record.text)
            if extra:
                block.extra.append(record.extra)
            if record.problem:
                block.damaged.append((n, record.problem))
        elif record.problem:
            block.problems.append((n, record.problem))
        n += 1
        if n == MAX_RECORDS or size > BLOCK:
            yield block._replace(n_lines=n)
            block, size, n = Lines(0, [], [], [], [], []), 0, 0
    if n:
        yield block._replace(n_lines=n)
    if failed is not None:
        raise failed
