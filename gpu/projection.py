"""Launchers of ``projection.cu``, the twins of ``lsh/kernels/projection.py``.

Rows are scaled, multiplied by cuBLAS, and packed into codes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import cupy
import numpy as np

from .launch import check_array, check_csr, constant, launch

__all__ = [
    "hashed_products",
    "hashed_signs",
    "mix_codes",
    "project_signs_csr",
    "project_signs_dense",
    "project_steps_csr",
    "project_steps_dense",
    "sign_margins_csr",
    "sign_margins_dense",
    "step_margins_csr",
    "step_margins_dense",
]

#: The most products, and the most values of rows, of a block of rows: 256 MB each.
_BLOCK_VALUES = 1 << 26
#: Entries of hashed vectors that are drawn from one word.
_ENTRIES_A_WORD = 5
#: Threads for each 32 products: a warp.
_WARP = 32


def mix_codes(keys: Any, n_buckets: Any, codes: Any) -> None:
    check_array("codes", codes, np.uint32, shape=(None, keys.size))
    n, n_hashes = codes.shape
    launch("projection", "mix_codes", codes.size, constant(keys), np.uint64(n_buckets), n, n_hashes, codes)


def _blocks(start: int, stop: int, values: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BLOCK_VALUES // max(1, values))
    return ((left, min(left + rows, stop)) for left in range(start, stop, rows))


def _rounding(d: int) -> float:
    """Bound the error of tensor cores in a product of d numbers, over the norms, beyond that of float32.

    With CUPY_TF32 set they multiply factors of 11 bits and cut off the other bits (the PTX ISA lets them
    ignore these). They also cut off the bits of sums that float32 rounds, which gives up to four times the
    error of each addition. Then more products are in doubt, and no bit or step is wrong.
    """
    if os.environ.get("CUPY_TF32", "0") in ("", "0"):
        return 0.0
    return 2.0**-9 * (1.0 + 2.0**-11) + 3 * (d + 8) * 2.0**-24


def _dense(X: Any, vectors: Any, start: int, stop: int, pack: Callable[..., None]) -> None:
    check_array("X", X, np.float32, np.float64, shape=(None, vectors.shape[1]))
    ours = constant(vectors)
    n_values, d = vectors.shape
    for left, right in _blocks(start, stop, max(n_values, d)):
        n = right - left
        scaled, scales, errors = cupy.empty((n, d), np.float32), cupy.empty(n), cupy.empty(n)
        name = f"scale_rows_dense_{X.dtype.name}"
        launch("projection", name, n * _WARP, X, d, _rounding(d), left, right, scaled, scales, errors)
        values = cupy.matmul(scaled, ours.T)
        pack(f"dense_{X.dtype.name}", (X, values, d, n_values, left), scales, errors, ours, left, n)


def _sparse(
    indptr: Any, indices: Any, data: Any, vectors: Any, panels: Any, start: int, stop: int, pack: Any
) -> None:
    suffix, ours, tiles = check_csr(indptr, indices, data), constant(vectors), constant(panels)
    if stop == start:
        return
    scaled, scales, errors = _scaled(indptr, data, start, stop)
    rows = (indptr, indices, data, scaled, tiles, vectors.shape[1], start, 0)
    pack(f"csr_{suffix}", rows, scales, errors, ours, start, stop - start)


def _scaled(indptr: Any, data: Any, start: int, stop: int) -> tuple[Any, Any, Any]:
    """Return the entries of the sparse rows [start, stop), scaled, with the rows' scales and errors."""
    # There is room for the entries of all rows, because only the device knows where those of a range begin.
    n, scaled = stop - start, cupy.empty(data.size, np.float32)
    scales, errors = cupy.empty(n), cupy.empty(n)
    name = f"scale_rows_csr_{data.dtype.name}"
    launch("projection", name, n * _WARP, indptr, data, 0, start, stop, scaled, scales, errors)
    return scaled, scales, errors


def _signs(vector_norms: Any, n_hashes: int, power: int, out: Any) -> Callable[..., None]:
    check_array("out", out, np.uint32, shape=(None, n_hashes))
    largest = float(vector_norms.max())

    def pack(
        name: str, rows: tuple[Any, ...], scales: Any, errors: Any, vectors: Any, left: int, n: int
    ) -> None:
        how = (scales, errors, vectors, largest, n, n_hashes, power, out[left : left + n])
        launch("projection", f"pack_signs_{name}", _threads(n, n_hashes), *rows, *how)

    return pack


def _threads(n: int, n_hashes: int) -> int:
    return n * -(-n_hashes // _WARP) * _WARP


def project_signs_dense(
    X: Any, vectors: Any, panels: Any, vector_norms: Any, n_hashes: int, start: int, stop: int, out: Any
) -> None:
    _dense(X, vectors, start, stop, _signs(vector_norms, n_hashes, len(vectors) // n_hashes, out))


def project_signs_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    vectors: Any,
    panels: Any,
    vector_norms: Any,
    n_hashes: int,
    start: int,
    stop: int,
    out: Any,
) -> None:
    pack = _signs(vector_norms, n_hashes, len(vectors) // n_hashes, out)
    _sparse(indptr, indices, data, vectors, panels, start, stop, pack)


def _steps(
    vector_norms: Any, offsets: Any, width: float, keys: Any, n_buckets: Any, power: int, out: Any
) -> Callable[..., None]:
    check_array("out", out, np.uint32, shape=(None, keys.size))
    parameters = (
        constant(vector_norms),
        constant(offsets),
        float(width),
        constant(keys),
        np.uint64(n_buckets),
    )

    def pack(
        name: str, rows: tuple[Any, ...], scales: Any, errors: Any, vectors: Any, left: int, n: int
    ) -> None:
        how = (scales, errors, vectors, *parameters, n, keys.size, power, out[left : left + n])
        launch("projection", f"pack_steps_{name}", _threads(n, keys.size), *rows, *how)

    return pack


def project_steps_dense(
    X: Any,
    vectors: Any,
    panels: Any,
    vector_norms: Any,
    offsets: Any,
    width: float,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    power = len(vectors) // keys.size
    _dense(X, vectors, start, stop, _steps(vector_norms, offsets, width, keys, n_buckets, power, out))


def project_steps_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    vectors: Any,
    panels: Any,
    vector_norms: Any,
    offsets: Any,
    width: float,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    pack = _steps(vector_norms, offsets, width, keys, n_buckets, len(vectors) // keys.size, out)
    _sparse(indptr, indices, data, vectors, panels, start, stop, pack)


def sign_margins_dense(X: Any, vectors: Any, panels: Any, vector_norms: Any, start: int, stop: int) -> Any:
    pack, values = _sign_margins(vectors, vector_norms, start, stop)
    _dense(X, vectors, start, stop, pack)
    return values


def sign_margins_csr(
    indptr: Any, indices: Any, data: Any, vectors: Any, panels: Any, vector_norms: Any, start: int, stop: int
) -> Any:
    pack, values = _sign_margins(vectors, vector_norms, start, stop)
    _sparse(indptr, indices, data, vectors, panels, start, stop, pack)
    return values


def _sign_margins(vectors: Any, vector_norms: Any, start: int, stop: int) -> tuple[Callable[..., None], Any]:
    P, largest = len(vectors), float(vector_norms.max())
    values = cupy.empty((stop - start, P), np.float32)

    def pack(
        name: str, rows: tuple[Any, ...], scales: Any, errors: Any, ours: Any, left: int, n: int
    ) -> None:
        part = values[left - start : left - start + n]
        how = (scales, errors, ours, largest, n, P, part)
        launch("projection", f"sign_margins_{name}", _threads(n, P), *rows, *how)

    return pack, values


def step_margins_dense(
    X: Any,
    vectors: Any,
    panels: Any,
    vector_norms: Any,
    offsets: Any,
    width: float,
    start: int,
    stop: int,
) -> tuple[Any, Any]:
    pack, margins = _step_margins(vectors, vector_norms, offsets, width, start, stop)
    _dense(X, vectors, start, stop, pack)
    return margins


def step_margins_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    vectors: Any,
    panels: Any,
    vector_norms: Any,
    offsets: Any,
    width: float,
    start: int,
    stop: int,
) -> tuple[Any, Any]:
    pack, margins = _step_margins(vectors, vector_norms, offsets, width, start, stop)
    _sparse(indptr, indices, data, vectors, panels, start, stop, pack)
    return margins


def _step_margins(
    vectors: Any, vector_norms: Any, offsets: Any, width: float, start: int, stop: int
) -> tuple[Callable[..., None], tuple[Any, Any]]:
    P = len(vectors)
    steps, above = cupy.empty((stop - start, P), np.int64), cupy.empty((stop - start, P))
    parameters = (constant(vector_norms), constant(offsets), float(width))

    def pack(
        name: str, rows: tuple[Any, ...], scales: Any, errors: Any, ours: Any, left: int, n: int
    ) -> None:
        part = slice(left - start, left - start + n)
        how = (scales, errors, ours, *parameters, n, P, steps[part], above[part])
        launch("projection", f"step_margins_{name}", _threads(n, P), *rows, *how)

    return pack, (steps, above)


def hashed_products(
    indptr: Any, indices: Any, data: Any, key: Any, quantiles: Any, start: int, stop: int, out: Any
) -> None:
    check_array("out", out, np.float32, shape=(stop - start, None))
    check_csr(indptr, indices, data)
    entries = _scaled(indptr, data, start, stop)[0]
    _add_hashed(indptr, indices, entries, key, quantiles, start, stop, out)


def _add_hashed(
    indptr: Any, indices: Any, entries: Any, key: Any, quantiles: Any, start: int, stop: int, out: Any
) -> None:
    work = (stop - start) * -(-out.shape[1] // _ENTRIES_A_WORD)
    how = (np.uint64(key), constant(quantiles), start, stop, out.shape[1], out)
    launch("projection", f"hashed_products_{indices.dtype.name}", work, indptr, indices, entries, *how)


def hashed_signs(
    indptr: Any,
    indices: Any,
    data: Any,
    key: Any,
    quantiles: Any,
    n_hashes: int,
    power: int,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("out", out, np.uint32, shape=(None, n_hashes))
    check_csr(indptr, indices, data)
    entries = _scaled(indptr, data, start, stop)[0]
    for left, right in _blocks(start, stop, n_hashes * power):
        products = cupy.empty((right - left, n_hashes * power), np.float32)
        _add_hashed(indptr, indices, entries, key, quantiles, left, right, products)
        how = (products, right - left, n_hashes, power, out[left:right])
        launch("projection", "signs_of_products", (right - left) * n_hashes, *how)
