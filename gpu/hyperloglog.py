"""Launchers of ``hyperloglog.cu``, the twins of ``sketches/kernels/hyperloglog.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["add_keys", "count_pairs", "count_registers", "find_tokens", "join_registers"]


def add_keys(
    keys: Any, seed: Any, hashed: bool, n_registers: int, first: int, start: int, stop: int, registers: Any
) -> None:
    check_array("keys", keys, np.uint64, shape=(None,))
    check_array("registers", registers, np.uint8, shape=(None,))
    if registers.size % 4:
        raise ValueError(f"registers must be whole words of four bytes, got {registers.size} bytes")
    bits = (n_registers - 1).bit_length()
    how = (np.uint64(seed), np.bool_(hashed), n_registers, bits, first, registers.size, start, stop)
    launch("hyperloglog", "add_keys", stop - start, keys, *how, registers.view(np.uint32))


def find_tokens(keys: Any, seed: Any, hashed: bool, start: int, stop: int, tokens: Any) -> None:
    check_array("keys", keys, np.uint64, shape=(None,))
    check_array("tokens", tokens, np.uint32, shape=(None,))
    how = (np.uint64(seed), np.bool_(hashed), start, stop)
    launch("hyperloglog", "find_tokens", stop - start, keys, *how, tokens)


def join_registers(others: Any, start: int, stop: int, registers: Any) -> None:
    _check(registers, others)
    launch("hyperloglog", "join_registers", stop - start, others, start, stop, registers)


def count_registers(registers: Any, start: int, stop: int, counts: Any) -> None:
    check_array("registers", registers, np.uint8, shape=(None,))
    check_array("counts", counts, np.int64, shape=(256,))
    launch("hyperloglog", "count_registers", stop - start, registers, start, stop, counts)


def count_pairs(registers: Any, others: Any, start: int, stop: int, counts: Any) -> None:
    _check(registers, others)
    check_array("counts", counts, np.int64, shape=(256, 256))
    launch("hyperloglog", "count_pairs", stop - start, registers, others, start, stop, counts)


def _check(registers: Any, others: Any) -> None:
    check_array("registers", registers, np.uint8, shape=(None,))
    check_array("others", others, np.uint8, shape=registers.shape)
