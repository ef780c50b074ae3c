"""Measure what it costs that threads may share a sketch.

The locks and marks of an update are timed around an empty block, and those of a query around an empty method.
Their share is that of the whole call, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import BloomFilter, CountMinSketch, HeavyHitters, Race
from mergesketch.lsh import SignedRandomProjection
from mergesketch.sketches.core.guard import changing
from mergesketch.sketches.core.reading import reading

#: Calls that are timed together, and keys of a batch.
CALLS, N = 20, 100_000


def repeated(function: Callable[[], Any]) -> Callable[[], None]:
    def call() -> None:
        for _ in range(CALLS):
            function()

    return call


def costs(name: str, sketch: Any, batch: Any) -> list[dict[str, Any]]:
    """Return the share of locks and marks in an update and in a query of a batch."""
    sketch.update(batch)

    def protected_update() -> None:
        with sketch._lock, changing(sketch, beside_queries=True), changing(sketch):
            pass

    protected_query, plain = reading(lambda asked, keys: None), lambda asked, keys: None
    best = best_of(
        {
            "update": repeated(lambda: sketch.update(batch)),
            "update alone": repeated(protected_update),
            "query": repeated(lambda: sketch.query(batch)),
            "query alone": repeated(lambda: protected_query(sketch, batch)),
            "plain": repeated(lambda: plain(sketch, batch)),
        },
        30,
    )
    own = {"update": best["update alone"], "query": best["query alone"] - best["plain"]}
    return [
        {
            "call": f"{name}, {call} of {len(batch):,}",
            "us": best[call] / CALLS * 1e6,
            "locks and marks us": own[call] / CALLS * 1e6,
            "share %": 100 * own[call] / best[call],
        }
        for call in ("update", "query")
    ]


def main() -> None:
    arguments = parse(__doc__, "threads")
    mergesketch.set_num_threads(1)
    rng = np.random.default_rng(0)
    keys, rows = rng.integers(0, 1 << 40, N), rng.standard_normal((10_000, 20))
    family = SignedRandomProjection(n_features=20, n_hashes=50, power=4, seed=1)
    shares = [
        *costs("BloomFilter", BloomFilter(capacity=1_000_000), keys),
        *costs("CountMinSketch", CountMinSketch(n_rows=4, n_buckets=1 << 16), keys),
        *costs("HeavyHitters", HeavyHitters(frequency=0.01), keys),
        *costs("Race", Race(family), rows),
    ]
    show("Locks and marks", shares)
    write(arguments.json, shares)


if __name__ == "__main__":
    main()
