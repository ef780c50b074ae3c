"""Test XXH3-64 against the reference implementation (the xxhash package)."""

import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.lsh.kernels.xxh3 import hash_fixed, hash_slices, hash_u64
from mergesketch.lsh.support.backend import read_only

SEEDS = [0, 1, 0x9E3779B97F4A7C15, 2**63, 2**64 - 1]
seeds = st.integers(0, 2**64 - 1) | st.sampled_from(SEEDS)

# Around every boundary between the length classes, the stripes of 64 bytes and the blocks of 1024.
LENGTHS = [*range(260), *range(300, 340), 448, 449, 511, 512, 513, 1023, 1024, 1025, 1087, 1088, 1089]
LENGTHS += [2047, 2048, 2049, 2112, 2113, 3071, 3072, 3073, 4097, 10_000]


def hash_one(data: bytes, seed: int, shift: int = 0) -> int:
    """Hash `data` at an offset in a larger buffer, so that reads outside it would change the result."""
    buffer = np.full(shift + len(data) + 9, 0xA5, dtype=np.uint8)
    buffer[shift : shift + len(data)] = np.frombuffer(data, dtype=np.uint8)
    buffer.flags.writeable = False
    out = np.zeros(1, dtype=np.uint64)
    offsets = np.array([shift, shift + len(data)], dtype=np.int64)
    offsets.flags.writeable = False
    hash_slices(buffer, offsets, np.uint64(seed), 0, 1, out)
    return int(out[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_length_class(seed: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, 10_000, dtype=np.uint8).tobytes()
    for length in LENGTHS:
        assert hash_one(data[:length], seed, length % 8) == xxhash.xxh3_64_intdigest(data[:length], seed), (
            length
        )


@given(st.binary(max_size=700), seeds, st.integers(0, 9))
@example(b"\0" * 1024, 2**64 - 1, 3)
@settings(max_examples=300, deadline=None)
def test_against_reference(data: bytes, seed: int, shift: int) -> None:
    assert hash_one(data, seed, shift) == xxhash.xxh3_64_intdigest(data, seed)


@given(st.integers(0, 2**64 - 1), seeds)
@settings(max_examples=200, deadline=None)
def test_integers(value: int, seed: int) -> None:
    out = np.zeros(1, dtype=np.uint64)
    hash_u64(read_only(np.array([value], dtype=np.uint64)), np.uint64(seed), 0, 1, out)
    assert int(out[0]) == xxhash.xxh3_64_intdigest(value.to_bytes(8, "little"), seed)


def test_vectors() -> None:
    """Saved sketches depend on these values."""
    assert hash_one(b"", 0) == 0x2D06800538D394C2
    assert hash_one(b"a", 0) == 0xE6C632B61E964E1F
    assert hash_one(b"abc", 0) == 0x78AF5F94892F3950


def test_ranges_touch_only_their_rows() -> None:
    values = read_only(np.arange(10, dtype=np.uint64))
    out = np.zeros(10, dtype=np.uint64)
    hash_u64(values, np.uint64(0), 3, 5, out)
    assert np.flatnonzero(out).tolist() == [3, 4]
    fields = np.frombuffer(b"ab\0\0c\0\0\0\0\0\0\0", dtype=np.uint8)
    out = np.zeros(3, dtype=np.uint64)
    hash_fixed(fields, 4, np.uint64(0), 1, 3, out)
    assert out.tolist() == [0, xxhash.xxh3_64_intdigest(b"c"), xxhash.xxh3_64_intdigest(b"")]
