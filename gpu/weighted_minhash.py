"""Launchers of ``weighted_minhash.cu``, the twins of ``lsh/kernels/weighted_minhash.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["overlap_weights", "weighted_minhash"]


def weighted_minhash(offsets: Any, indices: Any, weights: Any, key: Any, keys: Any, out: Any) -> None:
    n, m = offsets.size - 1, keys.size
    check_array("offsets", offsets, np.int64, shape=(None,))
    check_array("indices", indices, np.uint64, shape=(None,))
    check_array("weights", weights, np.float64, shape=indices.shape)
    check_array("out", out, np.uint32, shape=(n, m))
    how = (offsets, indices, weights, np.uint64(key), constant(keys), n, m, out)
    launch("weighted_minhash", "weighted_minhash", n * -(-m // 32) * 32, *how)


def overlap_weights(
    x_indptr: Any,
    x_indices: Any,
    x_data: Any,
    y_indptr: Any,
    y_indices: Any,
    y_data: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    for name, rows in (("X", (x_indptr, x_indices, x_data)), ("Y", (y_indptr, y_indices, y_data))):
        for part, array, dtype in zip(
            ("indptr", "indices", "data"), rows, (np.int64, np.int64, np.float64), strict=True
        ):
            check_array(f"{name}.{part}", array, dtype, shape=(None,))
    check_array("out", out, np.float64, shape=(x_indptr.size - 1, y_indptr.size - 1))
    both = (x_indptr, x_indices, x_data, y_indptr, y_indices, y_data)
    launch(
        "weighted_minhash",
        "overlap_weights",
        (stop - start) * out.shape[1],
        *both,
        start,
        stop,
        out.shape[1],
        out,
    )
