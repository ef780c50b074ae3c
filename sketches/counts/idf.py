"""Weights of terms by the number of documents that hold them (inverse document frequency)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "Method", "inverse_frequencies"]

Method = Literal["lucene", "robertson", "atire", "bm25l", "bm25+"]
METHODS: tuple[str, ...] = get_args(Method)


def inverse_frequencies(frequencies: NDArray[np.int64], n_documents: int, method: str) -> NDArray[np.float64]:
    """Return the inverse document frequencies by a method; 0 for terms of no document."""
    n, found = frequencies.astype(np.float64), np.zeros(frequencies.size)
    is_known = frequencies > 0
    n = n[is_known]
    odds = (n_documents - n + 0.5) / (n + 0.5)
    if method == "lucene":
        ratio = 1.0 + odds
    elif method == "robertson":
        ratio = np.maximum(odds, 1.0)
    elif method == "atire":
        ratio = n_documents / n
    else:
        ratio = (n_documents + 1) / (n + 0.5 if method == "bm25l" else n)
    found[is_known] = np.log(ratio)
    return found
