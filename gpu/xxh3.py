"""Launchers of ``xxh3.cu``, the twins of ``lsh/kernels/xxh3.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["hash_fixed", "hash_slices", "hash_u64"]


def hash_u64(values: Any, seed: Any, start: int, stop: int, out: Any) -> None:
    check_array("values", values, np.uint64, shape=(None,))
    check_array("out", out, np.uint64, shape=values.shape)
    launch("xxh3", "hash_u64", stop - start, values, np.uint64(seed), start, stop, out)


def hash_slices(data: Any, offsets: Any, seed: Any, start: int, stop: int, out: Any) -> None:
    check_array("data", data, np.uint8, shape=(None,))
    check_array("offsets", offsets, np.int64, shape=(None,))
    check_array("out", out, np.uint64, shape=(None,))
    launch("xxh3", "hash_slices", stop - start, data, offsets, np.uint64(seed), start, stop, out)


def hash_fixed(data: Any, width: int, seed: Any, start: int, stop: int, out: Any) -> None:
    check_array("data", data, np.uint8, shape=(None,))
    check_array("out", out, np.uint64, shape=(None,))
    launch("xxh3", "hash_fixed", stop - start, data, int(width), np.uint64(seed), start, stop, out)
