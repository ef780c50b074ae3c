"""Measure the cost of each structure on one thread: bytes, and CPU nanoseconds an update and a query.

The figures of docs/choose.md. Rows are 20 standard normal features in float32, keys random 64-bit integers,
sets 100 random tokens; batches are of 100,000 items, the best of seven.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mergesketch as ms
import numpy as np
from measure import parse, show, write
from mergesketch import lsh

N, FEATURES, TOKENS = 100_000, 20, 100


def seconds(function: Callable[[], Any]) -> float:
    """Return the least CPU seconds of seven calls, which other programs change less than the median."""
    function()
    times = []
    for _ in range(7):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def structures(rng):
    """Of each structure: its settings, what makes an empty one, what it takes in and what it is asked."""
    X = rng.standard_normal((N, FEATURES)).astype(np.float32)
    y = X[:, 0].astype(np.float64)
    keys = rng.integers(0, 2**63, N)
    often = (rng.zipf(1.2, N) % 10**6).astype(np.int64)
    numbers = rng.lognormal(3.0, 2.0, N)
    sets = rng.integers(0, 2**63, N // 10 * TOKENS, dtype=np.uint64), np.arange(N // 10 + 1) * TOKENS
    signs = lsh.SignedRandomProjection(FEATURES, 100, power=8, seed=1)
    steps = lsh.PStable(FEATURES, 100, width=9.0, power=2, n_buckets=1024, seed=1)
    angles = lsh.SignedRandomProjection(FEATURES, 16, power=14, seed=1)
    minhash = lsh.MinHash(16, power=8, n_buckets=2**18, seed=1)
    return [
        ("Race", "100 x 256 counters", lambda: ms.Race(signs), (X,), "density", X),
        (
            "RaceWindow",
            "the same, 24 panes",
            lambda: ms.RaceWindow(signs, n_panes=24),
            (X, None, 0),
            "density",
            X,
        ),
        ("AceSketch", "100 x 1,024 counters", lambda: ms.AceSketch(steps), (X,), "score_samples", X),
        (
            "NadarayaWatsonSketch",
            "100 x 1,024 counters",
            lambda: ms.NadarayaWatsonSketch(steps),
            (X, y),
            "predict",
            X,
        ),
        (
            "DensitySketch",
            "2 features, sized for 100,000 rows",
            lambda: ms.DensitySketch.for_sample(X[:2000, :2], n_expected=N, seed=1),
            (X[:, :2].copy(),),
            "density",
            X[:, :2].copy(),
        ),
        (
            "FourierSketch",
            "Gaussian kernel, 1,024 components",
            lambda: ms.FourierSketch(FEATURES, 1024, width=4.0, seed=1),
            (X,),
            "density",
            X,
        ),
        (
            "StormSketch",
            "100 frames",
            lambda: ms.StormSketch(FEATURES, 100, max_norm=8.0),
            (X,),
            None,
            None,
        ),
        (
            "CountMinSketch",
            "5 x 27,183 counters",
            lambda: ms.CountMinSketch(5, 27_183),
            (often,),
            "query",
            often,
        ),
        ("CountSketch", "5 x 27,183 counters", lambda: ms.CountSketch(5, 27_183), (often,), "query", often),
        ("HeavyHitters", "frequency 0.001", lambda: ms.HeavyHitters(0.001), (often,), "query", often),
        ("TopK", "1,024 counters", lambda: ms.TopK(), (often,), "query", often),
        ("BloomFilter", "1 % of error", lambda: ms.BloomFilter(N, 0.01), (keys,), "contains", keys),
        ("ScalableBloomFilter", "1 % of error", lambda: ms.ScalableBloomFilter(), (keys,), "contains", keys),
        ("DDSketch", "1 % of error", lambda: ms.DDSketch(0.01), (numbers,), None, None),
        ("KLLSketch", "k = 800", lambda: ms.KLLSketch(800), (numbers,), "rank", numbers),
        ("HyperLogLog", "4,096 registers", lambda: ms.HyperLogLog(), (keys,), None, None),
        ("MinHashSketch", "1 set, 1,024 bins", lambda: ms.MinHashSketch(1, 1024), (keys,), None, None),
        ("LSHIndex", "angles, 16 tables", lambda: ms.LSHIndex(angles, capacity=64), (X,), "query", X),
        (
            "LSHIndex",
            "sets of 100, 16 tables",
            lambda: ms.LSHIndex(minhash, capacity=8),
            (sets,),
            "query",
            sets,
        ),
    ]


def static(rng):
    """Measure the immutable structures, which are built from all keys at once."""
    keys = rng.integers(0, 2**63, 10 * N)
    values = rng.geometric(0.5, 10 * N)
    result = []
    for name, build in {
        "StaticFunction": lambda: ms.StaticFunction(keys, values, progress=False),
        "RibbonFilter": lambda: ms.RibbonFilter(keys, 0.01),
    }.items():
        built = build()
        ask = built.lookup if name == "StaticFunction" else built.contains
        result.append(
            {
                "structure": name,
                "settings": "10^6 keys, 2 bits of entropy each"
                if name == "StaticFunction"
                else "10^6 keys, 1 %",
                "bytes": built.nbytes,
                "ns an update": 1e9 * seconds(build) / len(keys),
                "ns a query": 1e9 * seconds(lambda ask=ask: ask(keys)) / len(keys),
            }
        )
    return result


def main() -> None:
    options = parse(__doc__, "choose")
    before = ms.get_num_threads()
    ms.set_num_threads(1)
    rng = np.random.default_rng(0)
    rows = []
    for name, settings, make, taken, method, asked in structures(rng):
        sketch = make()
        take = sketch.add if name == "LSHIndex" else sketch.update
        take(*taken)
        items = N // 10 if isinstance(taken[0], tuple) else N

        row = {"structure": name, "settings": settings, "bytes": sketch.nbytes}
        row["ns an update"] = 1e9 * seconds(lambda take=take, taken=taken: take(*taken)) / items
        if method:
            ask = getattr(sketch, method)
            arguments = (asked, 10) if name == "LSHIndex" else (asked,)
            row["ns a query"] = 1e9 * seconds(lambda ask=ask, a=arguments: ask(*a)) / items
        rows.append(row)
    rows += static(rng)
    ms.set_num_threads(before)
    show("What each structure costs on one thread", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
