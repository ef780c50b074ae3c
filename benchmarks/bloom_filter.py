"""Measure Bloom filters and rbloom: adding and testing integer keys, and the share of absent keys that pass.

rbloom takes Python objects, so it is timed on existing lists of int, which its user would have. Both filters
are for an error rate of 1 % at the number of keys added. The same number of absent keys is tested.

Bound: a key takes a hash (25 vector operations for 8 keys), a 64-bit product, and 4 to 5 operations for each
of its 6 bits. That is about 24 cycles, the rate while the filter is in cache. For a larger filter a key is a
cache miss. A core can have only a few misses under way; keys in the order of their blocks share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mergesketch
import numpy as np
from measure import parse, seconds, show, write
from mergesketch import BloomFilter
from rbloom import Bloom

ERROR = 0.01
ASKED = 4_000_000


def numbers(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def rate(n: int, function: Callable[[], Any]) -> float:
    """Return millions of keys a second, from the shortest of several times."""
    repeats = 9 if n <= 10**6 else 3
    return n / 1e6 / min(seconds(function, repeats=1, warmups=0) for _ in range(repeats))


def speed(n: int, peers: bool) -> list[dict[str, Any]]:
    keys, absent = numbers(0, n), numbers(1, n)
    peer: dict[str, float] = {}
    if peers:
        peer_keys, peer_absent = keys.tolist(), absent.tolist()
        theirs = Bloom(n, ERROR)
        peer["add"] = rate(n, lambda: theirs.update(peer_keys))
        peer["test"] = rate(n, lambda: [key in theirs for key in peer_absent])
    rows = []
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        ours = BloomFilter(n, ERROR).update(keys)
        ours.contains(absent)  # This warms the caches.
        for what, function in (
            ("add", lambda f=ours: f.update(keys)),
            ("test", lambda f=ours: f.contains(absent)),
        ):
            figure = rate(n, function)
            rows.append(
                {
                    "keys": n,
                    "what": what,
                    "threads": threads,
                    "ours (M/s)": figure,
                    "rbloom (M/s)": peer.get(what, ""),
                    "ratio": figure / peer[what] if what in peer else "",
                }
            )
    return rows


def kinds() -> list[dict[str, Any]]:
    """Measure one million keys that are not integers in an array, on one thread."""
    mergesketch.set_num_threads(1)
    words = [f"key-{i}" for i in range(10**6)]
    rows = []
    for name, keys, listed in (
        ("list of str", words, words),
        ("NumPy S array", np.array(words, dtype="S"), [w.encode() for w in words]),
        ("list of int", list(range(10**6)), list(range(10**6))),
    ):
        ours, theirs = BloomFilter(10**6, ERROR).update(keys), Bloom(10**6, ERROR)
        figure, peer = (
            rate(10**6, lambda f=ours, k=keys: f.update(k)),
            rate(10**6, lambda f=theirs, k=listed: f.update(k)),
        )
        rows.append({"keys are": name, "ours (M/s)": figure, "rbloom (M/s)": peer, "ratio": figure / peer})
    ours = BloomFilter(10**6, ERROR).update(words)
    one = seconds(lambda: [word in ours for word in words[:10_000]]) / 10_000
    theirs = Bloom(10**6, ERROR)
    theirs.update(words)
    peer = seconds(lambda: [word in theirs for word in words[:10_000]]) / 10_000
    rows.append(
        {
            "keys are": "one str at a time",
            "ours (M/s)": 1e-6 / one,
            "rbloom (M/s)": 1e-6 / peer,
            "ratio": peer / one,
        }
    )
    return rows


def errors() -> list[dict[str, Any]]:
    """Return the shares of absent keys that pass at capacity: stated, expected, measured, and rbloom's."""
    rows = []
    mergesketch.set_num_threads(4)
    for n in (10**3, 10**4, 10**5, 10**6, 10**7, 10**8):
        # Small filters differ by chance, so the share is a mean over several.
        n_filters = max(1, 10**5 // n)
        passed, estimates = [], []
        for seed in range(n_filters):
            held = BloomFilter(n, ERROR, seed=seed).update(numbers(seed, n))
            passed.append(float(held.contains(numbers(10**6 + seed, ASKED)).mean()))
            estimates.append(held.cardinality())
        measured = float(np.mean(passed))
        rows.append(
            {
                "keys": n,
                "filters": n_filters,
                "bits a key": 512 * held.n_blocks / n,
                "hashes": held.n_hashes,
                "stated": ERROR,
                "expected": held.expected_error_rate(n),
                "measured": measured,
                "standard error": math.sqrt(measured / ASKED / n_filters + float(np.var(passed)) / n_filters),
                "measured / stated": measured / ERROR,
                "cardinality / keys": float(np.mean(estimates)) / n,
            }
        )
    return rows


def main() -> None:
    arguments = parse(__doc__.splitlines()[0], "bloom_filter")
    speeds = [
        row for n, peers in ((10**6, True), (10**7, True), (5 * 10**7, False)) for row in speed(n, peers)
    ]
    show("Integer keys", speeds)
    kind_rows = kinds()
    show("Other keys, one thread", kind_rows)
    error_rows = errors()
    show("Absent keys that pass", error_rows)
    write(arguments.json, [{"rbloom version": version("rbloom")}, *speeds, *kind_rows, *error_rows])


if __name__ == "__main__":
    main()
