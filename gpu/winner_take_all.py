"""Launchers of ``winner_take_all.cu``, the twins of ``lsh/kernels/winner_take_all.py``.

The argument `groups` is for the CPU only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch_blocks

__all__ = ["winners_csr", "winners_dense"]


def _winners(
    name: str, rows: tuple[Any, ...], layout: Any, settings: Any, keys: Any, start: int, stop: int, out: Any
) -> None:
    check_array("out", out, np.uint32, shape=(None, keys.size))
    bins, spots, own, n_bins = layout
    power, base, n_buckets, attempts, walk_keys, rank_keys = settings
    numbers = (bins.shape[1], len(bins), keys.size, own, n_bins, power, np.uint64(base), np.uint64(n_buckets))
    drawn = (constant(array) for array in (bins, spots, walk_keys, rank_keys, keys))
    # The memory has numbers of 8 bytes and then places of 4, a multiple of 8 in all.
    room = 16 * n_bins + 8 * keys.size + -(-n_bins // 2) * 8
    before = (*rows, *numbers, attempts, *drawn, start, stop)
    launch_blocks("winner_take_all", name, stop - start, room, *before, after=(room, out))


def winners_dense(
    X: Any, groups: Any, layout: Any, settings: Any, keys: Any, start: int, stop: int, out: Any
) -> None:
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
    check_array("X.indptr", indptr, np.int64, shape=(None,))
    check_array("X.indices", indices, np.int32, shape=(None,))
    check_array("X.data", data, np.float32, np.float64, shape=indices.shape)
    rows = (indptr, indices, data)
    _winners(f"winners_csr_{data.dtype.name}", rows, layout, settings, keys, start, stop, out)
