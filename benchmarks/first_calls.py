"""First calls of common classes, each of which `compare.py --first-call` runs in a process of its own.

A function imports what it uses itself, so that the process pays for nothing else.
"""

from __future__ import annotations

import sys


def import_alone() -> None:
    import mergesketch  # noqa: F401


def count_min() -> None:
    from mergesketch import CountMinSketch

    CountMinSketch(3, 50).update([1, 2, 2]).query([2])


def bloom_filter() -> None:
    from mergesketch import BloomFilter

    BloomFilter(capacity=1000, error_rate=0.01).update([1, 2, 3]).contains([1])


def race() -> None:
    import numpy as np
    from mergesketch import Race
    from mergesketch.lsh import SignedRandomProjection

    X = np.random.default_rng(0).standard_normal((100, 16))
    Race(SignedRandomProjection(n_features=16, n_hashes=10, power=4)).update(X).query(X[:5])


def minhash() -> None:
    from mergesketch.lsh import MinHash, shingle

    MinHash(n_hashes=16).hash(shingle(["the cat sat on the mat", "the cat sat on a mat"]))


def static_function() -> None:
    from mergesketch import StaticFunction

    StaticFunction(["a", "b", "c"], [1, 2, 3]).lookup(["a", "b"])


def index() -> None:
    import numpy as np
    from mergesketch import LSHIndex
    from mergesketch.lsh import SignedRandomProjection

    X = np.random.default_rng(0).standard_normal((100, 16))
    LSHIndex(SignedRandomProjection(n_features=16, n_hashes=10, power=4)).add(X).query(X[:5], k=3)


def search_with_probes() -> None:
    import numpy as np
    from mergesketch import LSHIndex
    from mergesketch.lsh import SignedRandomProjection

    X = np.random.default_rng(0).standard_normal((100, 16))
    built = LSHIndex(SignedRandomProjection(n_features=16, n_hashes=10, power=4)).add(X)
    built.search(X[:5], X, k=3, n_probes=2)


def deduplicate() -> None:
    from mergesketch.distributed import deduplicate

    deduplicate(["the cat sat on the mat", "the cat sat on the mat", "a dog ran home"], threshold=0.7)


def density() -> None:
    import numpy as np
    from mergesketch import DensitySketch

    X = np.random.default_rng(0).standard_normal((100, 3))
    DensitySketch(3, 0.5).update(X).density(X[:5])


def heavy_hitters() -> None:
    from mergesketch import HeavyHitters

    HeavyHitters(0.1).update(["tea", "cake", "tea"]).top(1)


def storm() -> None:
    import numpy as np
    from mergesketch import StormSketch

    Z = np.random.default_rng(0).standard_normal((100, 3)) / 10
    StormSketch(3, n_frames=20).update(Z).second_moments()


CALLS = {
    call.__name__: call
    for call in (
        import_alone,
        count_min,
        bloom_filter,
        race,
        minhash,
        static_function,
        index,
        search_with_probes,
        deduplicate,
        density,
        heavy_hitters,
        storm,
    )
}

if __name__ == "__main__":
    # The import of argparse would count as well.
    if sys.argv[1] in ("-h", "--help"):
        print(f"{__doc__}\nusage: python benchmarks/first_calls.py {{{','.join(CALLS)}}}")
    else:
        CALLS[sys.argv[1]]()
