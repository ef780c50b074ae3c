"""Cases of static functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, Decoding, case, on_device, words
from mergesketch import RibbonFilter, StaticTable
from mergesketch.lsh import hash_keys


def static_columns(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield values that need filters, prefixes, long words, escapes, or no bits at all."""
    n = 3000
    yield rng.geometric(0.5, n)
    yield np.where(rng.random(n) < 0.97, 7, rng.integers(0, 50, n))
    yield rng.integers(0, 100, n)
    yield rng.integers(0, 2**62, n)
    yield np.where(rng.random(n) < 0.5, rng.geometric(0.1, n), rng.integers(0, 2**40, n))
    yield np.minimum(rng.zipf(1.2, n), 2**40)
    yield np.zeros(n, np.int64)


@case("look_up")
def keys_with_values(rng: np.random.Generator) -> Iterator[Case]:
    keys = words(rng, 3000)
    asked = np.concatenate([keys, words(rng, 100)])
    for values in static_columns(rng):
        made = StaticTable(keys, np.stack([values, values[::-1]], axis=1), progress=False)
        hashes = hash_keys(asked, made.seed)
        for column, (thresholds, solution, *arguments, _) in zip(
            made._columns, made._look_up_arguments, strict=True
        ):
            ribbons = on_device(thresholds), on_device(solution)
            out = on_device(np.zeros(hashes.size, np.uint64))
            yield on_device(hashes), *ribbons, *arguments, Decoding(column.codebook), out


@case("check_keys")
def keys_with_fingerprints(rng: np.random.Generator) -> Iterator[Case]:
    keys = words(rng, 2000)
    for bits in (1, 9, 50):
        made = RibbonFilter(keys, 2.0**-bits, progress=False)
        hashes, arrays = hash_keys(np.concatenate([keys, words(rng, 500)]), made.seed), made._arrays
        where = (np.uint64(made.n_shards), made._plan, 0)
        ribbons = on_device(arrays["thresholds"]), on_device(arrays["solution"])
        yield on_device(hashes), *ribbons, *where, 0, bits, on_device(np.zeros(hashes.size, np.bool_))
