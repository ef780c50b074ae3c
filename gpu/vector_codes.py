"""Launchers of ``vector_codes.cu``, the twins of ``sketches/kernels/vector_codes.py``.

Rotations are drawn on the CPU. CuPy sorts all scores for the best rows.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from ..sketches.kernels.vector_codes import ALL_ROTATED, SCALE_RATIOS
from .launch import check_array, constant, launch, launch_blocks

__all__ = ["code_norms", "encode_rows", "rotate_rows", "round_queries", "score_rows", "score_some_rows"]

#: The lanes of a warp, which takes a row.
_WARP = 32
#: They stand for arrays of which there are none.
_NONE = {np.dtype(dtype): np.zeros(1, dtype) for dtype in (np.float64, np.float32, np.uint16)}


def rotate_rows(
    X: Any,
    center: Any,
    matrix: Any,
    masks: Any,
    start: int,
    stop: int,
    numbers: Any,
    sizes: Any,
    radii: Any,
    offsets: Any,
) -> int:
    n, D = numbers.shape
    check_array("X", X, np.float64, shape=(n, None))
    check_array("numbers", numbers, np.int32)
    for name, array in (("sizes", sizes), ("radii", radii), ("offsets", offsets)):
        check_array(name, array, np.float64, shape=(n,))
    nowhere = np.iinfo(np.int64).max
    refused = cupy.full(1, nowhere, np.int64)
    before = (
        *(X, X.shape[1], *_given(center), *_given(matrix)),
        *(_given(masks)[0], masks.shape[0], masks.shape[1] // 3 * 16),
    )
    after = (start, stop, D, numbers, sizes, radii, offsets, refused)
    launch_blocks("vector_codes", "rotate_rows", stop - start, 8 * D, *before, after=after)
    row = int(refused[0])
    return ALL_ROTATED if row == nowhere else row


def _given(array: Any) -> tuple[Any, np.bool_]:
    """Return an array on the device, and whether it has numbers."""
    return constant(array if array.size else _NONE[array.dtype]), np.bool_(array.size > 0)


def encode_rows(
    numbers: Any, sizes: Any, radii: Any, bits: int, start: int, stop: int, codes: Any, scales: Any
) -> None:
    n, D = numbers.shape
    check_array("numbers", numbers, np.int32)
    check_array("codes", codes, np.uint64, shape=(n, bits * D // 64))
    check_array("scales", scales, np.float32, shape=(n,))
    given = (numbers, D, sizes, radii, constant(SCALE_RATIOS), bits, start, stop)
    launch("vector_codes", "encode_rows", _WARP * (stop - start), *given, codes.view(np.uint32), scales)


def round_queries(
    numbers: Any,
    sizes: Any,
    radii: Any,
    start: int,
    stop: int,
    planes: Any,
    sums: Any,
    steps: Any,
    errors: Any,
) -> None:
    n, D = numbers.shape
    check_array("numbers", numbers, np.int32)
    check_array("planes", planes, np.uint64, shape=(n, None, D // 64))
    check_array("sums", sums, np.int64, shape=(n,))
    given = (numbers, D, sizes, radii, start, stop, planes.shape[1], planes.view(np.uint32))
    launch("vector_codes", "round_queries", _WARP * (stop - start), *given, sums, steps, errors)


def _coded_rows(codes: Any, scales: Any, radii: Any, offsets: Any, planes: Any) -> tuple[Any, ...]:
    """Return the first arguments of kernels that score: the rows and the queries' planes."""
    check_array("codes", codes, np.uint64, shape=(None, None))
    for name, array in (("scales", scales), ("radii", radii)):
        check_array(name, array, np.float32, shape=(len(codes),))
    check_array("planes", planes, np.uint64, shape=(None, None, None))
    _, n_planes, words = planes.shape
    rows = (codes, codes.shape[1] // words, words, scales, radii)
    centred = np.bool_(offsets.size > 0)
    return (*rows, offsets if centred else radii, centred, planes, n_planes)


def score_rows(
    codes: Any,
    scales: Any,
    radii: Any,
    offsets: Any,
    planes: Any,
    terms: Any,
    metric: int,
    start: int,
    stop: int,
    out: Any,
) -> None:
    n_queries = len(planes)
    check_array("terms", terms, np.float64, shape=(n_queries, 5))
    check_array("out", out, np.float64, shape=(n_queries, len(codes)))
    rows = _coded_rows(codes, scales, radii, offsets, planes)
    given = (*rows, terms, n_queries, metric, start, stop, len(codes), out)
    launch("vector_codes", "score_rows", n_queries * (stop - start), *given)


def score_some_rows(
    codes: Any,
    scales: Any,
    radii: Any,
    offsets: Any,
    planes: Any,
    terms: Any,
    metric: int,
    numbers: Any,
    bounds: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("terms", terms, np.float64, shape=(len(planes), 5))
    check_array("numbers", numbers, np.int64, shape=(None,))
    check_array("bounds", bounds, np.int64, shape=(len(planes) + 1,))
    check_array("out", out, np.float64, shape=numbers.shape)
    rows = _coded_rows(codes, scales, radii, offsets, planes)
    # A block takes a query.
    given = (*rows, terms, metric, numbers, bounds, start, stop, out)
    launch("vector_codes", "score_some_rows", stop - start, *given, blocks=min(stop - start, 1 << 16))


def code_norms(codes: Any, bits: int, start: int, stop: int, out: Any) -> None:
    check_array("codes", codes, np.uint64, shape=(None, None))
    check_array("out", out, np.float64, shape=(len(codes),))
    given = (codes, bits, codes.shape[1] // bits, start, stop, out)
    launch("vector_codes", "code_norms", stop - start, *given)
