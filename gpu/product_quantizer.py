"""Launchers of ``product_quantizer.cu``, the twins of ``sketches/kernels/product_quantizer.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["decode_codes", "encode_groups", "score_codes"]

#: Rows that a block scores for one query, as in ``product_quantizer.cu``.
_CHUNK = 4096
#: The most blocks of a launch.
_MOST_BLOCKS = 1 << 16


def encode_groups(
    X: Any, weights: Any, centroids: Any, bits: int, start: int, stop: int, packed: Any
) -> None:
    G, c, K = centroids.shape
    check_array("X", X, np.float64, shape=(None, G * c))
    check_array("packed", packed, np.uint8, shape=(len(X), None))
    work = (stop - start) * -(-G // 8)
    given = (X, constant(weights), constant(centroids), G, c, K, bits, start, stop)
    launch("product_quantizer", "encode_groups", work, *given, packed.shape[1], packed)


def decode_codes(packed: Any, centroids: Any, bits: int, start: int, stop: int, out: Any) -> None:
    G, c, K = centroids.shape
    check_array("packed", packed, np.uint8, shape=(None, None))
    check_array("out", out, np.float64, shape=(len(packed), G * c))
    given = (packed, packed.shape[1], constant(centroids), G, c, K, bits, start, stop, out)
    launch("product_quantizer", "decode_codes", (stop - start) * G, *given)


def score_codes(
    packed: Any, tables: Any, lows: Any, steps: Any, bits: int, start: int, stop: int, out: Any
) -> None:
    Q, G, K = tables.shape
    check_array("packed", packed, np.uint8, shape=(None, None))
    check_array("tables", tables, np.uint8, np.float64)
    check_array("lows", lows, np.float64, shape=(Q,))
    check_array("steps", steps, np.float64, shape=(Q,))
    check_array("out", out, np.float64, shape=(Q, len(packed)))
    work = Q * -(-(stop - start) // _CHUNK)
    room = G * K * tables.itemsize
    in_shared = room <= SHARED
    launch(
        "product_quantizer",
        f"score_codes_{tables.dtype.name}",
        work,
        packed,
        packed.shape[1],
        tables,
        lows,
        steps,
        Q,
        G,
        K,
        bits,
        np.bool_(in_shared),
        start,
        stop,
        len(packed),
        out,
        blocks=min(work, _MOST_BLOCKS),
        shared=room if in_shared else 0,
    )
