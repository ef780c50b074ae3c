"""Cases of winner-take-all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import CASES, Case, dense_rows, on_device, to_read
from mergesketch.lsh import WinnerTakeAll


def winner_cases(rng: np.random.Generator, sparse: bool) -> Iterator[Case]:
    # There are few bins, and many mostly empty ones; the last do not fit shared memory.
    for d, n_hashes, group_size, power in ((2, 3, 2, 1), (100, 30, 8, 3), (9000, 7, 3, 1)):
        for n_buckets in (None, 1000):
            family = WinnerTakeAll(
                d, n_hashes, group_size=group_size, power=power, n_buckets=n_buckets, seed=d
            )
            bins, spots, _ = family._layout
            layout = bins, spots, family._n_own, family._n_bins
            for dtype in ("float32", "float64"):
                X = np.round(dense_rows(rng, 9, d, dtype), 1)
                X[4, d // 2 :] = 0.0
                if d > 1000:
                    X[5:, 5:] = 0.0
                out = on_device(np.full((9, n_hashes), 7, np.uint32))
                how = layout, family._settings, family._keys, 1, 9, out
                if sparse:
                    X[rng.random(X.shape) < 0.5] = 0.0
                    rows, columns = np.nonzero(X)
                    indptr = np.searchsorted(rows, np.arange(10)).astype(np.int64)
                    data = X[rows, columns]
                    data[::7] = 0.0  # zeros that are stored
                    yield to_read(indptr), to_read(columns.astype(np.int32)), to_read(data), *how
                else:
                    yield to_read(X), family._dense_groups, *how


CASES["winners_dense"] = lambda rng: winner_cases(rng, False)


CASES["winners_csr"] = lambda rng: winner_cases(rng, True)
