"""Launchers of ``float_encoding.cu``, the twins of ``sketches/kernels/float_encoding.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch

__all__ = ["count_tops", "encode_values", "varying_bits"]

_MODULE = "float_encoding"
_BITS = (np.uint8, np.uint16, np.uint32, np.uint64)
_STREAM = 1024


def varying_bits(values: Any) -> int:
    check_array("values", values, *_BITS, shape=(None,))
    found = cupy.zeros(1, np.uint64)
    launch(_MODULE, f"varying_bits_{values.dtype.name}", values.size, values, values.size, found)
    return int(found[0])


def count_tops(values: Any, down: int, counts: Any) -> None:
    check_array("values", values, *_BITS, shape=(None,))
    check_array("counts", counts, np.uint32, shape=(4, None))
    how = (values, values.size, down, counts.shape[1], counts)
    launch(_MODULE, f"count_tops_{values.dtype.name}", values.size, *how)


def encode_values(values: Any, plan: Any, first: int, words: Any, out: Any, lengths: Any) -> int:
    check_array("values", values, *_BITS, shape=(None,))
    check_array("out", out, np.uint8, shape=(None,))
    check_array("lengths", lengths, np.uint16, shape=(None,))
    n, raw = values.size, int(plan[5])
    how = (values, n, int(plan[3]), raw, *map(int, plan[[6, 7, 10]]), int(first), constant(words))
    n_streams = 2 * lengths.size
    sizes = cupy.zeros(n_streams, np.int64)
    launch(_MODULE, f"measure_streams_{values.dtype.name}", n_streams, *how, sizes)
    # A pair has the stored bits of both streams and then their words, so places follow by sums.
    left = np.maximum(0, np.minimum(_STREAM, n - _STREAM * np.arange(n_streams)))
    stored = cupy.asarray((left + 7) // 8 * raw).reshape(-1, 2)
    sizes = sizes.reshape(-1, 2)
    of_words = sizes.sum(axis=1)
    lengths[:] = of_words
    ends = cupy.cumsum(stored.sum(axis=1) + of_words)
    begins = ends - of_words
    starts = begins - stored.sum(axis=1)
    places = cupy.stack([starts, starts + stored[:, 0]], axis=1).reshape(-1)
    streams = cupy.stack([begins, ends - 1], axis=1).reshape(-1)
    launch(_MODULE, f"write_streams_{values.dtype.name}", n, *how, streams, places, out)
    return int(ends[-1])
