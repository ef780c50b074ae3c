"""Cases of sampled bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("sample_bits")
def bits_to_sample(rng: np.random.Generator) -> Iterator[Case]:
    for power in (1, 31, 70):
        X = to_read(rng.integers(0, 256, (20, 9), dtype=np.uint8))
        columns, shape = np.array([0, 3, 8]), (6, power)
        places, masks = rng.integers(0, 3, shape), (1 << rng.integers(0, 8, shape)).astype(np.uint8)
        words_each = -(-power // 32)
        out = on_device(np.zeros((18, 10 * words_each), np.uint32))
        yield X, columns, places, masks, 3, 2, 20, out


@case("mix_words")
def words_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for W in (1, 3):
        for probes in (1, 4):
            sampled = on_device(rng.integers(0, 2**32, (15, 5, W), dtype=np.uint32))
            flips = rng.integers(0, 2**32, (5, probes, W), dtype=np.uint32)
            for n_buckets in (0, 2, 2**32):
                out = on_device(np.zeros((15, 5, probes), np.uint32))
                yield sampled, flips, words(rng, 5), np.uint64(n_buckets), out
