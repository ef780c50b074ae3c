"""Measure TopK: errors of the 100 most frequent keys and speed, beside HeavyHitters and DataSketches.

Streams have Zipf's law. All sketches have about 40 kB: `TopK` and `HeavyHitters` as `nbytes` says, frequent
items of DataSketches as its serialized form, whose table of 2,048 or 4,096 places holds 1,536 or 3,072 keys.
DataSketches takes one key at a time; its keys are the decimal digits of ours. Times are CPU seconds.

The second table has the time of a key in batches of 1 to 1,000,000 keys, with the defaults of our sketches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mergesketch as ms
import numpy as np
from measure import parse, show, write
from numpy.typing import NDArray

N_TOP, BATCH, N_PARTS = 100, 100_000, 10
STREAMS = [
    (exponent, n, universe)
    for exponent in (1.0, 1.2, 1.5)
    for n, universe in ((1_000_000, 100_000), (10_000_000, 1_000_000))
]
Keys = NDArray[np.int64]
#: The keys of the largest estimates, the estimates and lower bounds of some keys, bytes and CPU seconds.
Answer = tuple[list[int], NDArray[np.int64], NDArray[np.int64], int, float]


def zipf(exponent: float, n: int, universe: int) -> Keys:
    """Return n keys of a universe; the key of rank i has a share that is proportional to i**-exponent."""
    rng = np.random.default_rng(7)
    shares = np.cumsum(np.arange(1, universe + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(shares, rng.random(n) * shares[-1])
    return rng.permutation(universe)[ranks].astype(np.int64)


def ours(empty: Any, keys: Keys, asked: Keys, n_parts: int = 1) -> Answer:
    begin = time.process_time()
    parts = [empty.empty_like() for _ in range(n_parts)]
    for part, its_keys in zip(parts, np.array_split(keys, n_parts), strict=True):
        for start in range(0, its_keys.size, BATCH):
            part.update(its_keys[start : start + BATCH])
    sketch = sum(parts)
    took = time.process_time() - begin
    names = [key for key, _ in sketch.top(N_TOP)]
    return names, sketch.query(asked), sketch.lower_bound(asked), sketch.nbytes, took


def peer(log_size: int, texts: list[str], asked: Keys, n_parts: int = 1) -> Answer:
    from datasketches import frequent_items_error_type, frequent_strings_sketch

    begin = time.process_time()
    sketch, size = frequent_strings_sketch(log_size), -(-len(texts) // n_parts)
    for start in range(0, len(texts), size):
        part = frequent_strings_sketch(log_size)
        for text in texts[start : start + size]:
            part.update(text)
        sketch.merge(part)
    took = time.process_time() - begin
    found = sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
    names = [int(item[0]) for item in sorted(found, key=lambda item: -item[1])[:N_TOP]]
    estimates = np.array([sketch.get_estimate(str(key)) for key in asked])
    lowers = np.array([sketch.get_lower_bound(str(key)) for key in asked])
    return names, estimates, lowers, len(sketch.serialize()), took


def cases(keys: Keys, asked: Keys) -> Iterator[tuple[str, Callable[[], Answer]]]:
    small = {"max_key_bytes": 8, "seed": 1}
    empty = ms.TopK(N_TOP, n_counters=1176, **small)
    yield "TopK", lambda: ours(empty, keys, asked)
    yield f"TopK, {N_PARTS} parts merged", lambda: ours(empty, keys, asked, N_PARTS)
    yield "HeavyHitters", lambda: ours(ms.HeavyHitters(0.004, **small), keys, asked)
    try:
        import datasketches  # noqa: F401
    except ImportError:
        print("datasketches is not installed")
        return
    texts = [str(key) for key in keys.tolist()]
    for log_size in (11, 12):
        yield f"DataSketches, 2^{log_size} places", lambda log_size=log_size: peer(log_size, texts, asked)
    yield f"the same, {N_PARTS} parts merged", lambda: peer(12, texts, asked, N_PARTS)


def batches() -> Iterator[dict[str, Any]]:
    """Yield the nanoseconds a key for batches of each size, after a million keys; the best of three."""
    first, keys = np.split(zipf(1.0, 2_000_000, 100_000), 2)
    sketches = {"TopK": ms.TopK().update(first), "HeavyHitters": ms.HeavyHitters().update(first)}
    for size in (1, 10, 100, 1000, 10_000, 1_000_000):
        n_batches = min(500, keys.size // size)
        row: dict[str, Any] = {"keys a batch": size}
        for name, sketch in sketches.items():
            took = []
            for _ in range(3):
                begin = time.process_time()
                for start in range(0, n_batches * size, size):
                    sketch.update(keys[start : start + size])
                took.append(time.process_time() - begin)
            row[f"{name}, ns a key"] = 1e9 * min(took) / (n_batches * size)
        yield row


def main() -> None:
    arguments = parse((__doc__ or "").splitlines()[0], "top_k")
    ms.set_num_threads(1)
    for sketch in (ms.TopK(), ms.HeavyHitters()):  # This compiles.
        sketch.update(np.arange(99)).lower_bound([1])
    rows = []
    for exponent, n, universe in STREAMS:
        keys = zipf(exponent, n, universe)
        truth = np.bincount(keys, minlength=universe)
        best = np.argsort(-truth, kind="stable")[:N_TOP]
        least = truth[best[-1]]
        for name, run in cases(keys, best):
            names, estimates, lowers, size, took = run()
            errors = np.abs(estimates - truth[best]) / truth[best]
            rows.append(
                {
                    "exponent": exponent,
                    "keys": n,
                    "distinct": int(np.count_nonzero(truth)),
                    "sketch": name,
                    "bytes": size,
                    "of the top 100": int(np.count_nonzero(truth[names] >= least)),
                    "right counts": int(np.count_nonzero(errors == 0)),
                    "known to be right": int(np.count_nonzero(estimates == lowers)),
                    "mean error": float(errors.mean()),
                    "ns a key": 1e9 * took / n,
                }
            )
            print(rows[-1], flush=True)
    show("the 100 most frequent keys", rows)
    by_batch = list(batches())
    show("nanoseconds a key", by_batch)
    write(arguments.json, rows + by_batch)


if __name__ == "__main__":
    main()
