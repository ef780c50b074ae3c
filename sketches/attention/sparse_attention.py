"""Attention over few tokens: which to select, and the exact softmax over those."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.support.backend import CPU, read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..kernels import sparse_attention as kernels
from .selected_rows import read_dense, read_numbers

__all__ = ["AttentionOutput", "sparse_attention", "top_tokens"]

#: Queries that are worth a thread of their own.
_QUERIES = 16


class AttentionOutput(NamedTuple):
    """Contain the outputs of n queries, and the total weight of the tokens of each query."""

    #: float64, shape (n, n_values): means of values, NaN for a query without tokens.
    outputs: NDArray[np.float64]
    #: float64, shape (n,): the logarithm of the sum of exp(scale q . k) over the tokens, minus infinity
    #: without tokens. Its exponential, over that of all tokens, is the share of the attention that is kept.
    log_masses: NDArray[np.float64]


def top_tokens(
    scores: ArrayLike, k: int, *, sinks: int = 0, window: int = 0, positions: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Select k tokens for each query: the first ones, the latest ones, and those with the largest scores.

    Parameters
    ----------
    scores : array_like of shape (n_queries, n)
        A score of each token for each query, such as `VectorCodes.scores` returns. They are compared as
        float64. A token with the score minus infinity is never selected, also not as one of the first or
        latest: so a mask is added to scores as in PyTorch. Infinity is allowed.
    k : int
        The number of tokens, at least 1.
    sinks : int, default 0
        The number of first tokens that are always selected (attention sinks), unless they are masked.
    window : int, default 0
        The number of latest tokens that are always selected, unless they are masked. `sinks` and `window` are
        at most k in all.
    positions : array_like of n_queries integers, optional
        The position of each query, from -1 to n - 1. Later tokens are not selected, and the latest tokens end
        with the position. By default it is the last token for all queries.

    Returns
    -------
    ndarray of shape (n_queries, k), int64
        The numbers of the tokens, rising, and -1 behind them where there are fewer than k. At equal scores
        earlier tokens are selected.

    Raises
    ------
    TypeError, ValueError
        If scores are NaN or not a matrix of real numbers, or another argument lies outside its range.

    Notes
    -----
    A query takes one pass over its scores, and O(log k) for each token that is among the best so far.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> mergesketch.top_tokens([[0.1, 0.9, 0.5, 0.7, 0.2, 0.3]], 4, sinks=1, window=1)
    array([[0, 1, 3, 5]])
    >>> mergesketch.top_tokens([[0.3, -np.inf, -np.inf, -np.inf]], 2)  # a mask
    array([[ 0, -1]])
    """
    refuse_gpu("top_tokens", scores, positions)
    array = check_numbers("scores", scores)
    if array.ndim != 2:
        raise ValueError(f"scores must have shape (n_queries, n), got {array.shape}")
    if np.isnan(array).any():
        raise ValueError("scores must not be NaN, got NaN")
    n_queries, n = array.shape
    k = check_int("k", k, 1, 1 << 31)
    sinks, window = check_int("sinks", sinks, 0, 1 << 31), check_int("window", window, 0, 1 << 31)
    if sinks + window > k:
        raise ValueError(f"sinks + window must be at most k = {k}, got {sinks} + {window}")
    at = np.full(n_queries, n - 1)
    if positions is not None:
        at = read_numbers("positions", positions, (n_queries,), n)
    out = np.full((n_queries, k), -1, np.int64)
    kept = out[:, : min(k, n)]
    found = np.empty(kept.shape, np.int64)
    # With fewer tokens than k all are selected, and no sinks or window are needed.
    first, last = (sinks, window) if k <= n else (0, 0)
    scores_, at = read_only(array), read_only(at)
    CPU.map_blocks(
        lambda a, b: kernels.select_tokens(scores_, at, first, last, a, b, found), n_queries, _QUERIES
    )
    kept[:] = found
    return out


def sparse_attention(
    Q: RowsLike, K: RowsLike, V: RowsLike, tokens: ArrayLike | None = None, *, scale: float | None = None
) -> AttentionOutput:
    """Return the exact softmax attention of queries over selected tokens.

    Parameters
    ----------
    Q : array_like of shape (n_queries, n_features)
    K : array_like of shape (n, n_features)
    V : array_like of shape (n, n_values)
    tokens : array_like of integers, of shape (k,) or (n_queries, k), optional
        The tokens of all queries, or those of each, as `top_tokens` returns them: from 0 to n - 1, or -1 for
        none. By default these are all tokens. A token that is given twice counts twice.
    scale : float, optional
        The factor of inner products, any finite number; ``1 / sqrt(n_features)`` by default.

    Returns
    -------
    AttentionOutput
        ``(outputs, log_masses)``.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, tokens lie outside their range, or numbers of selected tokens or products with
        them are not finite. Rows of `K` and `V` that no query selects are not read, and neither is a query
        without tokens.

    Notes
    -----
    Only the selected rows of `K` and `V` are read, also to find NaN: ``k (n_features + n_values)`` numbers a
    query, whose memory accesses are what it costs. Sums are those of float64. If `K` and `V` are both of
    float32, or both of float64, in C order, they are used where they are; others are converted as a whole.

    Outputs over two disjoint sets of tokens, of two machines for example, merge into that over both: it is
    their mean with the weights ``exp(log_mass)``. Leave out parts without tokens, whose mass is 0 and whose
    output is NaN.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> K = np.eye(3)
    >>> outputs, log_masses = mergesketch.sparse_attention(K[:1], K, [[1.0], [2.0], [3.0]], [[0, 2]])
    >>> outputs.round(3)
    array([[1.719]])
    """
    refuse_gpu("sparse_attention", Q, K, V, tokens)
    queries, keys, values = read_dense("Q", Q), read_dense("K", K), read_dense("V", V)
    n, d = keys.shape
    if d == 0:
        raise ValueError("K must have at least one column, got none")
    if queries.shape[1] != d:
        raise ValueError(f"Q must have {d} columns, as K has, got {queries.shape[1]}")
    if len(values) != n:
        raise ValueError(f"V must have {n} rows, one for each row of K, got {len(values)}")
    factor = 1.0 / math.sqrt(d) if scale is None else check_real("scale", scale, -math.inf, math.inf)
    chosen = np.arange(n) if tokens is None else check_array("tokens", tokens)
    if tokens is not None:
        shape = (len(queries), chosen.shape[-1]) if chosen.ndim == 2 else (chosen.size,)
        chosen = read_numbers("tokens", tokens, shape, n)
    chosen = np.broadcast_to(chosen, (len(queries), chosen.shape[-1]))
    dtype = np.result_type(keys, values)
    ours = (
        read_only(np.ascontiguousarray(queries, np.float64)),
        *(read_only(np.ascontiguousarray(rows, dtype)) for rows in (keys, values)),
    )
    numbers = read_only(np.ascontiguousarray(chosen, np.int64))
    outputs, masses = np.empty((len(queries), values.shape[1])), np.empty(len(queries))
    CPU.map_blocks(
        lambda a, b: kernels.attend_selected(*ours, numbers, factor, a, b, outputs, masses),
        len(queries),
        _QUERIES,
    )
    wild = np.flatnonzero(np.isnan(masses))
    if wild.size:
        raise ValueError(
            f"Q, K and scale must be finite, and so their products, got others for query {wild[0]}"
        )
    if not np.isfinite(outputs[masses > -math.inf]).all():
        raise ValueError("V must be finite, got NaN or infinity in the values of selected tokens")
    return AttentionOutput(outputs, masses)


publish("mergesketch", __all__, globals())
