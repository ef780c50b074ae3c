"""Launchers of ``static.cu``, the twins of ``sketches/kernels/static.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["address_of", "check_keys", "look_up"]


def address_of(array: Any) -> np.uint64:
    """Return the address of the device's copy of `array`; it is valid while both live."""
    return np.uint64(constant(array).data.ptr)


def _check(keys: Any, thresholds: Any, solution: Any) -> None:
    check_array("keys", keys, np.uint64, shape=(None,))
    check_array("thresholds", thresholds, np.uint8, shape=(None,))
    check_array("solution", solution, np.uint64, shape=(None,))


def check_keys(
    keys: Any,
    thresholds: Any,
    solution: Any,
    n_shards: Any,
    plan: Any,
    ribbon: int,
    purpose: int,
    bits: int,
    out: Any,
) -> None:
    _check(keys, thresholds, solution)
    check_array("out", out, np.bool_, shape=keys.shape)
    where = (thresholds, solution, np.uint64(n_shards), constant(plan), ribbon)
    launch("static", "check_keys", keys.size, keys, keys.size, *where, purpose, bits, out)


def look_up(
    keys: Any,
    thresholds: Any,
    solution: Any,
    n_shards: Any,
    plan: Any,
    first_ribbon: int,
    filter_bits: Any,
    filter_values: Any,
    prefix_bits: int,
    table_bits: int,
    code_bits: int,
    decoder: Any,
    out: Any,
) -> None:
    _check(keys, thresholds, solution)
    check_array("out", out, np.uint64, shape=keys.shape)
    where = (thresholds, solution, np.uint64(n_shards), constant(plan), first_ribbon)
    filters = (constant(filter_bits), constant(filter_values), filter_bits.size)
    code = (prefix_bits, table_bits, code_bits, *map(np.uint64, decoder))
    launch("static", "look_up", keys.size, keys, keys.size, *where, *filters, *code, out)
