"""Launchers of ``shared_parameters.cu``, the twins of ``sketches/kernels/shared_parameters.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = [
    "cyclic_runs",
    "gather_hashed",
    "gather_runs",
    "hashed_runs",
    "scatter_hashed",
    "scatter_runs",
    "tile_runs",
]

_MODULE = "shared_parameters"
_REALS = (np.float32, np.float64)


def _bags(offsets: Any, factors: Any, dtype: Any) -> tuple[Any, ...]:
    """Check the bags of rows, and return them as the kernels take them."""
    check_array("offsets", offsets, np.int64, shape=(None,))
    check_array("factors", factors, dtype, shape=(None,))
    return offsets, int(offsets.size > 0), factors, int(factors.size > 0)


def _runs(starts: Any, lengths: Any, run_words: Any) -> tuple[Any, ...]:
    """Check written runs, and return them as the kernels take them."""
    check_array("starts", starts, np.int64, shape=(None, None, None))
    check_array("lengths", lengths, np.int64, shape=starts.shape)
    is_signed = run_words.size > 0
    check_array("run_words", run_words, np.uint64, shape=starts.shape if is_signed else (None, None, None))
    return starts, lengths, run_words, int(is_signed), *starts.shape[1:]


def gather_hashed(
    weights: Any,
    words: Any,
    offsets: Any,
    factors: Any,
    keys: Any,
    block: int,
    scale: float,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("weights", weights, *_REALS, shape=(None,))
    check_array("words", words, np.uint64, shape=(None,))
    check_array("out", out, weights.dtype, shape=(None, None))
    n, given = out.shape[1], (words, *_bags(offsets, factors, weights.dtype))
    how = (weights, weights.size, *given, constant(keys), keys.size, block, float(scale), start, stop, n, out)
    launch(_MODULE, f"gather_hashed_{weights.dtype.name}", (stop - start) * n, *how)


def scatter_hashed(
    words: Any,
    offsets: Any,
    factors: Any,
    gradients: Any,
    keys: Any,
    block: int,
    scale: float,
    start: int,
    stop: int,
    weights: Any,
) -> None:
    check_array("weights", weights, *_REALS, shape=(None,))
    check_array("words", words, np.uint64, shape=(None,))
    check_array("gradients", gradients, weights.dtype, shape=(None, None))
    bags, rows = _bags(offsets, factors, weights.dtype), (gradients, *gradients.shape)
    how = (*rows, constant(keys), keys.size, block, float(scale), start, stop, weights.size, weights)
    launch(_MODULE, f"scatter_hashed_{weights.dtype.name}", gradients.size, words, *bags, *how)


def gather_runs(
    weights: Any,
    starts: Any,
    lengths: Any,
    run_words: Any,
    offsets: Any,
    factors: Any,
    scale: float,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("weights", weights, *_REALS, shape=(None,))
    check_array("out", out, weights.dtype, shape=(None, None))
    n, runs = out.shape[1], _runs(starts, lengths, run_words)
    how = (*_bags(offsets, factors, weights.dtype), float(scale), start, stop, n, out)
    launch(
        _MODULE, f"gather_runs_{weights.dtype.name}", (stop - start) * n, weights, weights.size, *runs, *how
    )


def scatter_runs(
    starts: Any,
    lengths: Any,
    run_words: Any,
    offsets: Any,
    factors: Any,
    gradients: Any,
    scale: float,
    start: int,
    stop: int,
    weights: Any,
) -> None:
    check_array("weights", weights, *_REALS, shape=(None,))
    check_array("gradients", gradients, weights.dtype, shape=(None, None))
    runs, bags = _runs(starts, lengths, run_words), _bags(offsets, factors, weights.dtype)
    how = (gradients, *gradients.shape, float(scale), start, stop, weights.size, weights)
    launch(_MODULE, f"scatter_runs_{weights.dtype.name}", gradients.size, *runs, *bags, *how)


def hashed_runs(
    words: Any,
    keys: Any,
    block: int,
    n_columns: int,
    m: int,
    start: int,
    stop: int,
    starts: Any,
    lengths: Any,
    run_words: Any,
) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    runs, (n_copies, n_runs) = _runs(starts, lengths, run_words)[:3], starts.shape[1:]
    how = (n_copies, n_runs, block, n_columns, m, start, stop, *runs)
    launch(_MODULE, "hashed_runs", (stop - start) * n_copies * n_runs, words, constant(keys), *how)


def tile_runs(
    words: Any,
    key: Any,
    n_rows: int,
    n_columns: int,
    width: int,
    m: int,
    start: int,
    stop: int,
    starts: Any,
    lengths: Any,
    run_words: Any,
) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    runs, n_runs = _runs(starts, lengths, run_words)[:3], starts.shape[2]
    how = (n_rows, n_columns, width, m, n_runs, start, stop, *runs)
    launch(_MODULE, "tile_runs", (stop - start) * n_runs, words, np.uint64(key), *how)


def cyclic_runs(
    words: Any,
    key: Any,
    first: int,
    n_columns: int,
    m: int,
    start: int,
    stop: int,
    starts: Any,
    lengths: Any,
) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    check_array("starts", starts, np.int64, shape=(None, None, None))
    check_array("lengths", lengths, np.int64, shape=starts.shape)
    how = (first, n_columns, m, starts.shape[2], start, stop, starts, lengths)
    launch(_MODULE, "cyclic_runs", stop - start, words, np.uint64(key), *how)
