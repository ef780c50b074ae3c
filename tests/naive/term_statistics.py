"""Statistics of terms by sets and dictionaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any


def document_frequencies(documents: Iterable[Sequence[Any]]) -> Counter[Any]:
    """Return the number of documents that hold each term."""
    found: Counter[Any] = Counter()
    for document in documents:
        for term in set(document):
            found[term] += 1
    return found


def weight(frequency: int, n_documents: int, method: str) -> float:
    """Return the weight of a term that `frequency` of the documents hold; 0 for a term of no document."""
    if frequency == 0:
        return 0.0
    odds = (n_documents - frequency + 0.5) / (frequency + 0.5)
    return {
        "lucene": lambda: math.log(1.0 + odds),
        "robertson": lambda: math.log(max(odds, 1.0)),
        "atire": lambda: math.log(n_documents / frequency),
        "bm25l": lambda: math.log((n_documents + 1) / (frequency + 0.5)),
        "bm25+": lambda: math.log((n_documents + 1) / frequency),
    }[method]()
