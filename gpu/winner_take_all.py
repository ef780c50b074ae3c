"""Launchers of ``winner_take_all.cu``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["winners_csr", "winners_dense"]

_MOST_BLOCKS, _MEMORY = 4096, 1 << 29


def _winners(
    name: str, rows: tuple[Any, ...], layout: Any, settings: Any, keys: Any, start: int, stop: int, out: Any
) -> None:
    check_array("out", out, np.uint32, shape=(None, keys.size))
    bins, spots, own, n_bins = layout
    power, base, n_buckets, attempts, walk_keys, rank_keys = settings
    numbers = (bins.shape[1], len(bins), keys.size, own, n_bins, power, np.uint64(base), np.uint64(n_buckets))
    drawn = (constant(array) for array in (bins, spots, walk_keys, rank_keys, keys))
    # Numbers of 8 bytes and then places of 4: a multiple of 8 in all.
    room = 16 * n_bins + 8 * keys.size + -(-n_bins // 2) * 8
    in_shared = room <= SHARED
    launched = min(stop - start, _MOST_BLOCKS if in_shared else max(1, min(_MOST_BLOCKS, _MEMORY // room)))
    memory = cupy.empty(0 if in_shared else max(0, launched) * room, np.uint8)
    how = (start, stop, np.bool_(in_shared), memory, room, out)
    shared = room if in_shared else 0
    arguments = (*rows, *numbers, attempts, *drawn, *how)
    launch("winner_take_all", name, stop - start, *arguments, blocks=launched, shared=shared)


def winners_dense(
    X: Any, groups: Any, layout: Any, settings: Any, keys: Any, start: int, stop: int, out: Any
) -> None:
    """Codes of the dense rows [start, stop) to the same rows of `out`; `groups` is for the CPU."""
    check_array("X", X, np.float32, np.float64, shape=(None, layout[0].shape[1]))
    _winners(f"winners_dense_{X.dtype.name}", (X,), layout, settings, keys, start, stop, out)


def winners_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    layout: Any,
    settings: Any,
    keys: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    """Codes of the sparse rows [start, stop) to the same rows of `out`."""
    check_array("X.indptr", indptr, np.int64, shape=(None,))
    check_array("X.indices", indices, np.int32, shape=(None,))
    check_array("X.data", data, np.float32, np.float64, shape=indices.shape)
    rows = (indptr, indices, data)
    _winners(f"winners_csr_{data.dtype.name}", rows, layout, settings, keys, start, stop, out)
