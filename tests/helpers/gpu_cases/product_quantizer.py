"""Cases of codes of groups of channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.lsh.support.backend import read_only

#: Groups, channels of a group, and bits of a code.
SHAPES = [(1, 1, 1), (11, 2, 3), (9, 3, 8)]


def packed_codes(rng: np.random.Generator, n: int, n_groups: int, bits: int) -> np.ndarray:
    codes = rng.integers(0, 256, (n, -(-n_groups * bits // 8)), dtype=np.uint8)
    if spare := -n_groups * bits % 8:
        codes[:, -1] >>= spare
    return codes


@case("encode_groups")
def rows_to_encode(rng: np.random.Generator) -> Iterator[Case]:
    for n_groups, width, bits in SHAPES:
        # Small integers have many centroids at equal distances.
        X = rng.integers(-3, 4, (70, n_groups * width)).astype(float)
        centroids = rng.integers(-3, 4, (n_groups, width, 1 << bits)).astype(float)
        packed = np.zeros((70, -(-n_groups * bits // 8)), np.uint8)
        weights = rng.integers(0, 3, n_groups * width).astype(float)
        yield to_read(X), read_only(weights), read_only(centroids), bits, 3, 69, on_device(packed)


@case("decode_codes")
def codes_to_decode(rng: np.random.Generator) -> Iterator[Case]:
    for n_groups, width, bits in SHAPES:
        centroids, out = rng.normal(size=(n_groups, width, 1 << bits)), np.zeros((70, n_groups * width))
        yield (
            to_read(packed_codes(rng, 70, n_groups, bits)),
            read_only(centroids),
            bits,
            3,
            69,
            on_device(out),
        )


@case("score_codes")
def codes_to_score(rng: np.random.Generator) -> Iterator[Case]:
    # The tables of 30 groups of float64 do not fit shared memory.
    for n_groups, bits in ((1, 1), (11, 3), (30, 8)):
        packed = to_read(packed_codes(rng, 5000, n_groups, bits))
        shape = (3, n_groups, 1 << bits)
        rounded = on_device(rng.integers(0, 256, shape, dtype=np.uint8))
        constants = on_device(rng.normal(size=3)), on_device(rng.gamma(1.0, size=3))
        for tables in (rounded, on_device(rng.normal(size=shape))):
            yield packed, tables, *constants, bits, 3, 4999, on_device(np.zeros((3, 5000)))
