"""Sums of table entries by shuffles of registers: those of a plain loop, and of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mergesketch.lsh.kernels.compiled import kernel
from mergesketch.sketches.kernels import lookups, product_quantizer


@kernel
def _both(tile, n_bytes, tables, by_shuffles, by_loop):
    lookups.add_lookups(tile, 0, n_bytes, tables, 0, by_shuffles)
    lookups._loop_lookups(tile, 0, n_bytes, tables, 0, by_loop)


@pytest.mark.parametrize("n_bytes", [1, 7, lookups.MOST_BYTES])
def test_shuffles_find_the_sums_of_the_loop(n_bytes: int) -> None:
    rng = np.random.default_rng(n_bytes)
    tile = rng.integers(0, 256, lookups.TILE * n_bytes, dtype=np.uint8)
    for tables in (rng.integers(0, 256, 32 * n_bytes, dtype=np.uint8), np.full(32 * n_bytes, 255, np.uint8)):
        sums = np.arange(lookups.TILE, dtype=np.int32) - 9
        expected = sums.copy()
        _both(tile, n_bytes, tables, sums, expected)
        codes = tile.reshape(n_bytes, -1)
        entries = [
            tables.reshape(n_bytes, 2, 16)[b, part, code].astype(int)
            for b in range(n_bytes)
            for part, code in enumerate((codes[b] & 15, codes[b] >> 4))
        ]
        np.testing.assert_array_equal(expected, np.arange(lookups.TILE) - 9 + sum(entries))
        np.testing.assert_array_equal(sums, expected)


# 700 groups of 4 bits have more bytes than sums of 16 bits allow, and 9 bytes are less than a register.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_groups", "bits"), [(1, 4), (18, 4), (45, 4), (700, 4), (33, 1), (9, 3), (9, 8), (5, 6)]
)
def test_scores_are_the_sums_of_numpy(n_groups: int, bits: int) -> None:
    rng = np.random.default_rng(n_groups)
    n, first, last = 200, 3, 196
    codes = rng.integers(0, 1 << bits, (n, n_groups))
    plain = (codes[:, :, None] >> np.arange(bits)) & 1
    packed = np.packbits(plain.reshape(n, -1).astype(np.uint8), axis=1, bitorder="little")
    tables = rng.integers(0, 256, (3, n_groups, 1 << bits), dtype=np.uint8)
    tables[0] = 255
    sums = tables[:, np.arange(n_groups), codes].astype(int).sum(axis=2)
    lows, steps, out = np.array([1.0, -2.0, 0.0]), np.array([1.0, 0.5, 2.0]), np.zeros((3, n))
    product_quantizer.score_codes(packed, tables, lows, steps, bits, first, last, out)
    expected = lows[:, None] + steps[:, None] * sums
    np.testing.assert_array_equal(out[:, first:last], expected[:, first:last])
    assert not out[:, :first].any()
    assert not out[:, last:].any()
