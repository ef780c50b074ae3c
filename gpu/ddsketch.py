"""Launchers of ``ddsketch.cu``, the twins of ``sketches/kernels/ddsketch.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["add_to_bins", "find_bins"]

#: Values that are worth a block with counters of its own, for each of its counters.
_VALUES_A_COUNTER = 8


def add_to_bins(
    words: Any,
    weights: Any,
    firsts: Any,
    edges: Any,
    shift: int,
    per_octave: int,
    lowest: int,
    start: int,
    stop: int,
    counts: Any,
) -> None:
    check_array("words", words, np.int64, shape=(None,))
    check_array("counts", counts, np.int32, np.int64, shape=(None,))
    weighted = weights.size > 0
    if weighted:
        check_array("weights", weights, np.int64, shape=words.shape)
    else:
        weights = cupy.empty(0, np.int64)
    n, size = stop - start, counts.nbytes
    how = (words, weights, constant(firsts), constant(edges), shift, per_octave, lowest, int(weighted))
    in_shared = size <= SHARED and n >= _VALUES_A_COUNTER * counts.size
    last = (np.bool_(in_shared), start, stop, counts.size, counts)
    blocks = max(1, min(-(-n // (_VALUES_A_COUNTER * counts.size)), 2048)) if in_shared else None
    name = f"add_to_bins_{counts.dtype.name}"
    launch("ddsketch", name, n, *how, *last, blocks=blocks, shared=size if in_shared else 0)


def find_bins(
    words: Any,
    firsts: Any,
    edges: Any,
    shift: int,
    per_octave: int,
    lowest: int,
    last: int,
    start: int,
    stop: int,
    places: Any,
) -> None:
    check_array("words", words, np.int64, shape=(None,))
    check_array("places", places, np.int64, shape=words.shape)
    how = (words, constant(firsts), constant(edges), shift, per_octave, lowest, last, start, stop, places)
    launch("ddsketch", "find_bins", stop - start, *how)
