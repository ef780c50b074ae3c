"""Cases of hashes of keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("hash_u64")
def integers(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 700):
        out = np.zeros(n, np.uint64)
        yield to_read(words(rng, n)), np.uint64(rng.integers(2**63)), n // 3, n, on_device(out)


@case("hash_slices")
def slices(rng: np.random.Generator) -> Iterator[Case]:
    # Each range of lengths is hashed in another way: 0, 1 to 3, 4 to 8, 9 to 16, 17 to 128, 129 to 240, more.
    lengths = np.concatenate([np.arange(300), [1023, 1024, 1025, 2049, 5000]])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    data = rng.integers(0, 256, offsets[-1], dtype=np.uint8)
    for seed in (0, 12345678901234567890):
        yield (
            to_read(data),
            to_read(offsets),
            np.uint64(seed),
            1,
            305,
            on_device(np.zeros(305, np.uint64)),
        )


@case("hash_fixed")
def fields(rng: np.random.Generator) -> Iterator[Case]:
    for width in (1, 7, 40):
        data = rng.integers(0, 3, 100 * width, dtype=np.uint8)
        yield to_read(data), width, np.uint64(3), 0, 100, on_device(np.zeros(100, np.uint64))
