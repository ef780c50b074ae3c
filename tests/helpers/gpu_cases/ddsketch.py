"""Cases of bins of numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.sketches.counts.log_bins import LogBins, log_bins


def parameters(bins: LogBins) -> tuple[object, ...]:
    return bins.firsts, bins.cell_edges, bins.shift, bins.per_octave, bins.lowest + 1023


def bits(rng: np.random.Generator, n: int) -> np.ndarray:
    values = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n)
    values[:4] = 0.0, -0.0, 5e-324, -1.7e308
    return values.view(np.int64)


@case("add_to_bins")
def numbers_to_count(rng: np.random.Generator) -> Iterator[Case]:
    # The last one has more values than counters, so that each block counts in shared memory.
    for bins, n in ((log_bins(35, -10, 10), 200), (log_bins(1, -1022, 1023), 200), (log_bins(3, -3, 3), 900)):
        for dtype in (np.int32, np.int64):
            counts = rng.integers(0, 100, bins.n_bins).astype(dtype)
            for weights in (np.empty(0, np.int64), rng.integers(0, 9, n)):
                words = to_read(bits(rng, n))
                yield words, to_read(weights), *parameters(bins), 0, n, on_device(counts)


@case("find_bins")
def numbers_to_find(rng: np.random.Generator) -> Iterator[Case]:
    bins = log_bins(35, -10, 10)
    words, places = on_device(bits(rng, 200)), on_device(np.zeros(200, np.int64))
    yield words, *parameters(bins), bins.n_bins // 2, 10, 200, places
