"""Measure the hashing speed of BitSampling and WinnerTakeAll on one thread and on all, and of NumPy.

No other library has these families for general rows. So the peer is the code that a user would write in
NumPy: ``unpackbits``, indexing and sums of shifted bits; and ``X[:, groups].argmax(axis=2)``.

    python benchmarks/bits_and_ranks.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
import scipy.sparse
from measure import parse, seconds, show, write
from mergesketch.lsh import BitSampling, WinnerTakeAll


def numpy_bits(family: BitSampling, X: np.ndarray) -> np.ndarray:
    shifts = np.arange(family.power, dtype=np.uint32)
    parts = [X[i : i + 1000] for i in range(0, len(X), 1000)]
    return np.concatenate(
        [
            (np.unpackbits(part, axis=1)[:, family._bits].astype(np.uint32) << shifts).sum(axis=2)
            for part in parts
        ]
    )


def numpy_winners(family: WinnerTakeAll, X: np.ndarray) -> np.ndarray:
    """Hash rows without zeros, with power 1, in NumPy."""
    groups = family._layout[2][:, 0]
    parts = [X[i : i + 200] for i in range(0, len(X), 200)]
    return np.concatenate([part[:, groups].argmax(axis=2) for part in parts])


def measure(name: str, family: Any, X: Any, peer: Callable[[Any, Any], np.ndarray] | None) -> dict[str, Any]:
    rows: dict[str, Any] = {"data": name, "hashes": family.n_hashes, "power": family.power}
    n = X.shape[0]
    before = mergesketch.get_num_threads()
    cores = len(os.sched_getaffinity(0))
    for threads in (1, cores):
        mergesketch.set_num_threads(threads)
        rows[f"M rows/s, {threads} threads"] = n / seconds(lambda: family.hash(X), 7) / 1e6
    mergesketch.set_num_threads(before)
    if peer is None:
        return {**rows, "NumPy, M rows/s": "", "ratio, 1 thread": ""}
    some = X[: max(1000, n // 20)]
    assert (peer(family, some) == family.hash(some)).all()
    rate = len(some) / seconds(lambda: peer(family, some), 3) / 1e6
    return {**rows, "NumPy, M rows/s": rate, "ratio, 1 thread": rows["M rows/s, 1 threads"] / rate}


def main() -> None:
    arguments = parse(__doc__ or "", "bits_and_ranks")
    rng = np.random.default_rng(0)
    bits = [
        measure(
            f"{n_bits} bits",
            BitSampling(n_bits, n_hashes, power=power),
            rng.integers(0, 256, (200_000, n_bits // 8), dtype=np.uint8),
            numpy_bits if power <= 32 else None,
        )
        for n_bits, n_hashes, power in [
            (256, 8, 32),
            (256, 32, 16),
            (784, 50, 16),
            (1024, 100, 1),
            (1024, 100, 64),
        ]
    ]
    show("BitSampling", bits)
    dense = rng.standard_normal((20_000, 784)).astype(np.float32)
    thin = dense * (rng.random(dense.shape) < 0.2).astype(np.float32)
    wide = scipy.sparse.random_array((5000, 10**6), density=1e-4, format="csr", rng=rng, dtype=np.float32)
    winners = [
        measure("784 features", WinnerTakeAll(784, 100), dense, numpy_winners),
        measure("784 features, float64", WinnerTakeAll(784, 100), dense.astype(np.float64), numpy_winners),
        measure("784 features", WinnerTakeAll(784, 100, power=4), dense, None),
        measure("128 features", WinnerTakeAll(128, 64), dense[:, :128].copy(), numpy_winners),
        measure("784 features, 80 % zeros", WinnerTakeAll(784, 100), thin, None),
        measure("the same in CSR", WinnerTakeAll(784, 100), scipy.sparse.csr_array(thin), None),
        measure("10**6 features, 100 entries", WinnerTakeAll(10**6, 100, n_buckets=2**20), wide, None),
        measure(
            "the same, groups of 20,000",
            WinnerTakeAll(10**6, 100, group_size=20_000, n_buckets=2**20),
            wide,
            None,
        ),
    ]
    show("WinnerTakeAll", winners)
    write(arguments.json, [*bits, *winners])


if __name__ == "__main__":
    main()
