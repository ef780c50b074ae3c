"""Launchers of ``float_ranges.cu``, the twins of ``sketches/kernels/float_ranges.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["decode_ranges"]

#: Threads of a block, for the streams of a chunk, and the most blocks of a launch.
_THREADS, _MOST = 256, 1 << 16
#: Bytes of shared memory of a block: the table of a code, and of each stream 32 symbols and 4 bytes, which
#: spread them over the banks.
_ROOM = 4096 + _THREADS * 36


def decode_ranges(
    data: Any,
    lengths: Any,
    ends: Any,
    plans: Any,
    word_lengths: Any,
    symbols: Any,
    ranges: Any,
    out: Any,
) -> None:
    check_array("data", data, np.uint8, shape=(None,))
    check_array("ends", ends, np.int64, shape=(lengths.size + 1,))
    check_array("plans", plans, np.int64, shape=(None, 11))
    check_array("word_lengths", word_lengths, np.uint8, shape=(len(plans), 256))
    check_array("symbols", symbols, np.int64, shape=(len(plans), 256))
    check_array("ranges", ranges, np.int64, shape=(None, 4))
    check_array("out", out, np.uint8, np.uint16, np.uint32, np.uint64, shape=(None,))
    n = len(ranges)
    how = (data, data.size, ends, plans, word_lengths, symbols, ranges, n, out)
    launch(
        "float_ranges",
        f"decode_ranges_{out.dtype.name}",
        n,
        *how,
        block=_THREADS,
        blocks=min(n, _MOST),
        shared=_ROOM,
    )
