"""Keys of text by Python's own means: lines, words, and fields by the module csv."""

from __future__ import annotations

import csv
import io

__all__ = ["fields", "lines", "words"]


def lines(text: str) -> list[str]:
    """Return the lines without their ends."""
    return [line.removesuffix("\r") for line in text.split("\n")[:-1]]


def words(text: str, column: int) -> tuple[list[str], int]:
    """Return a word of each line, "" where there is none, and the number of lines that are too short."""
    rows = [line.replace("\r", " ").replace("\t", " ").split(" ") for line in text.split("\n")[:-1]]
    rows = [[word for word in row if word] for row in rows]
    found = [row[column] if column < len(row) else "" for row in rows]
    return found, sum(0 < len(row) <= column for row in rows)


def fields(text: str, column: int, delimiter: str) -> tuple[list[str], int]:
    """Return a field of each record, "" where there is none, and the number of records that are too short."""
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    found = [row[column] if column < len(row) else "" for row in rows]
    return found, sum(0 < len(row) <= column for row in rows)
