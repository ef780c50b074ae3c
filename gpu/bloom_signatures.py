"""Launchers of ``bloom_signatures.cu``, the twins of ``sketches/kernels/bloom_signatures.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = [
    "count_signature_bits",
    "fill_node_bits",
    "pass_signatures",
    "set_neighbour_bits",
    "weigh_signatures",
]


def fill_node_bits(key: Any, n_bits: Any, start: int, stop: int, bits: Any) -> None:
    check_array("bits", bits, np.int64, shape=(None,))
    launch(
        "bloom_signatures",
        "fill_node_bits",
        stop - start,
        np.uint64(key),
        np.uint64(n_bits),
        start,
        stop,
        bits,
    )


def _check_edges(sources: Any, targets: Any, signatures: Any) -> None:
    check_array("sources", sources, np.int64, shape=(None,))
    check_array("targets", targets, np.int64, shape=sources.shape)
    check_array("signatures", signatures, np.uint64, shape=(None, None))


def set_neighbour_bits(
    sources: Any, targets: Any, both: bool, key: Any, first: int, last: int, signatures: Any
) -> None:
    _check_edges(sources, targets, signatures)
    n, W = sources.size, signatures.shape[1]
    how = (sources, targets, n, np.bool_(both), np.uint64(key), W, first, last, signatures)
    launch("bloom_signatures", "set_neighbour_bits", n, *how)


def pass_signatures(
    sources: Any, targets: Any, signatures: Any, both: bool, first: int, last: int, out: Any
) -> None:
    _check_edges(sources, targets, signatures)
    check_array("out", out, np.uint64, shape=signatures.shape)
    n, W = sources.size, signatures.shape[1]
    how = (sources, targets, signatures, n, np.bool_(both), W, first, last, out)
    launch("bloom_signatures", "pass_signatures", n * W, *how)


def _check_pairs(signatures: Any, u: Any, v: Any) -> None:
    check_array("signatures", signatures, np.uint64, shape=(None, None))
    check_array("u", u, np.int64, shape=(None,))
    check_array("v", v, np.int64, shape=u.shape)


def count_signature_bits(
    signatures: Any, others: Any, u: Any, v: Any, start: int, stop: int, counts: Any
) -> None:
    _check_pairs(signatures, u, v)
    check_array("others", others, np.uint64, shape=(None, signatures.shape[1]))
    check_array("counts", counts, np.int64, shape=(u.size, 3))
    how = (signatures, others, signatures.shape[1], u, v, start, stop, counts)
    launch("bloom_signatures", "count_signature_bits", 32 * (stop - start), *how)


def weigh_signatures(signatures: Any, u: Any, v: Any, weights: Any, start: int, stop: int, sums: Any) -> None:
    _check_pairs(signatures, u, v)
    check_array("weights", weights, np.float64, shape=(64 * signatures.shape[1], None))
    K = weights.shape[1]
    check_array("sums", sums, np.float64, shape=(u.size, K))
    how = (signatures, signatures.shape[1], u, v, weights, K, start, stop, sums)
    launch("bloom_signatures", "weigh_signatures", stop - start, *how)
