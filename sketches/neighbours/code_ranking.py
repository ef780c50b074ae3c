"""Ranking of candidates by vector codes, where the rows themselves are not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.wording import counted
from ..kernels import code_ranking, vector_codes

__all__ = ["code_ranker", "has_ids"]

#: Candidates that are scored at a time, so that their numbers and scores stay in a cache.
_SCORED = 1 << 16
#: Bits of a query's coordinate; more of them hardly find more neighbours, with codes of any number of bits.
_QUERY_BITS = 8


def _angles(keys: NDArray[np.float64]) -> NDArray[np.float64]:
    # Keys are negative cosines, whose estimates may be beyond 1.
    return np.where(np.isfinite(keys), np.arccos(np.clip(-keys, -1.0, 1.0)), np.inf)


def _lengths(keys: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(keys, 0.0))


def _products(keys: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.0 - keys


#: What is estimated for each metric of families, and how a key becomes a distance in the family's units.
_ESTIMATED: dict[str, tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "angle": ("cosine", _angles),
    "euclidean": ("sqeuclidean", _lengths),
    "inner_product": ("inner_product", _products),
}


def code_ranker(
    family: HashFamily, Q: Any, codes: Any
) -> tuple[Callable[..., int], Callable[[Any], Any], Callable[[int], str]]:
    """Return the parts of a `Ranker` that ranks candidates by the scores of a `VectorCodes`.

    Parameters
    ----------
    family : HashFamily
    Q : n rows
        The queries, which may have been read by the family.
    codes : VectorCodes
        The codes of all rows that candidates stand for.

    Raises
    ------
    TypeError, ValueError
        If codes do not estimate the family's metric, or have another width than the queries.
    """
    if family.metric not in _ESTIMATED:
        raise TypeError(
            f"rows must be the rows themselves for {type(family).__name__} of metric {family.metric!r}; "
            f"VectorCodes estimates {', '.join(_ESTIMATED)}"
        )
    width = read_rows(Q, name="Q").dense.shape[1]
    if width != codes.n_features:
        raise ValueError(f"rows must have {width} columns, as the queries, got codes of {codes.n_features}")
    refuse_gpu("LSHIndex.search by VectorCodes", Q, codes._arrays["codes"])
    metric, in_units = _ESTIMATED[family.metric]
    queries = codes._round(Q, metric, _QUERY_BITS)
    # One look at the arrays, because updates put others in their place.
    arrays = codes._arrays
    rows = [read_only(arrays[name]) for name in ("codes", "scales", "radii", "offsets")]
    given, n_rows = read_only(arrays["ids"]), len(arrays["codes"])
    sign = 1.0 if metric == "sqeuclidean" else -1.0

    def rank(candidates: Any, offsets: Any, sizes: Any, k: int, first: int, ids: Any, keys: Any) -> int:
        ends = np.concatenate([[0], np.cumsum(sizes)])
        start = 0
        while start < sizes.size:
            most = int(np.searchsorted(ends, ends[start] + _SCORED, "right")) - 1
            stop = max(start + 1, min(most, sizes.size))
            bounds = ends[start : stop + 1] - ends[start]
            numbers, scores = np.empty(bounds[-1], np.int64), np.empty(bounds[-1])
            found = candidates, offsets[start : stop + 1], sizes[start:stop]
            missing: int = code_ranking.numbers_of_ids(*found, given, n_rows, bounds, numbers)
            if missing != code_ranking.ALL_FOUND:
                return missing
            asked = queries.cut(first + start, first + stop)[:3]
            vector_codes.score_some_rows(*rows, *asked, numbers, bounds, 0, stop - start, scores)
            code_ranking.nearest_scored(*found, bounds, scores, sign, k, first + start, ids, keys)
            start = stop
        return code_ranking.ALL_FOUND

    def refusal(number: int) -> str:
        held = counted(n_rows, "row")
        return f"rows must have a row for each id found, got codes of {held} and none of id {number}"

    return rank, in_units, refusal


def has_ids(codes: Any) -> bool:
    """Tell whether the rows of a `VectorCodes` were given ids; those without are numbered from 0 on."""
    return codes._arrays["ids"].size > 0
