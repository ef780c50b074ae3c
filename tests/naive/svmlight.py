"""Rows of svmlight text."""

from __future__ import annotations


def svmlight_rows(text: str) -> list[tuple[float, list[tuple[int, float]]]]:
    """Return the label and the (index, value) entries of every row."""
    rows = []
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        if words:
            entries = [word.split(":") for word in words[1:] if not word.startswith("qid:")]
            rows.append((float(words[0]), [(int(index), float(value)) for index, value in entries]))
    return rows
