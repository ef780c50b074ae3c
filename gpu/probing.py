"""Launchers of ``probing.cu``, the twins of ``lsh/kernels/probing.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, given_keys, with_memory

__all__ = ["probe_signs", "probe_steps"]


def _room(n_changes: int, n_sets: int) -> int:
    """Return the bytes of memory that a thread needs."""
    return 8 * (3 * n_changes + 2 * n_sets) + 4 * (n_changes + 7 * n_sets)


def probe_signs(products: Any, n_hashes: int, power: int, keys: Any, n_buckets: Any, out: Any) -> None:
    check_array("products", products, np.float32, shape=(None, None))
    n, _, n_probes = out.shape
    check_array("out", out, np.uint32, shape=(n, n_hashes, None))
    mixing = (*given_keys(keys), np.uint64(n_buckets))
    how = (products, products.shape[1], n, n_hashes, power, *mixing, n_probes)
    with_memory("probing", "probe_signs", n * n_hashes, _room(power, n_probes), *how, last=out)


def probe_steps(steps: Any, above: Any, keys: Any, n_buckets: Any, out: Any) -> None:
    n, n_hashes, n_probes = out.shape
    power = steps.shape[1] // n_hashes
    check_array("steps", steps, np.int64, shape=(n, power * n_hashes))
    check_array("above", above, np.float64, shape=steps.shape)
    check_array("out", out, np.uint32)
    how = (steps, above, n, n_hashes, power, constant(keys), np.uint64(n_buckets), n_probes)
    with_memory("probing", "probe_steps", n * n_hashes, _room(2 * power, n_probes), *how, last=out)
