"""Compare projection families with the bare matrix product of the same rows and directions.

The product is in float32 by NumPy's BLAS; its output is reused and not read. The faster of two products
counts: one large product on BLAS's own threads, and blocks of rows on our threads, each with BLAS on one
thread. "hash" is all work of a family from rows to codes. "update" also counts the codes in a RACE sketch.
"probes" are the codes of several buckets of each table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
import scipy.sparse
from measure import best_of, parse, show, write
from mergesketch import Race
from mergesketch.lsh import HashFamily, PStable, SignedRandomProjection
from mergesketch.lsh.support.threads import map_blocks
from threadpoolctl import threadpool_limits

THREADS = (1, 4)
#: Numbers of features, hashes, bits a hash, and rows.
SHAPES = ((20, 200, 4, 65_536), (784, 500, 8, 4_096), (4096, 500, 8, 1_024))


def products(X: np.ndarray, directions: np.ndarray, threads: int) -> dict[str, Callable[[], Any]]:
    n, block = len(X), 512
    out = np.empty((n, directions.shape[1]), dtype=np.float32)

    def whole() -> None:
        with threadpool_limits(threads, user_api="blas"):
            np.matmul(X, directions, out=out)

    def run(start: int, stop: int) -> None:
        for left in range(start, stop, block):
            right = min(left + block, stop)
            np.matmul(X[left:right], directions, out=out[:block][: right - left])

    def blocks() -> None:
        with threadpool_limits(1, user_api="blas"):
            map_blocks(run, n, block)

    return {"product whole": whole, "product in blocks": blocks}


def families(d: int, n_hashes: int, power: int) -> dict[str, HashFamily]:
    made: dict[str, HashFamily] = {
        projection: SignedRandomProjection(d, n_hashes, power=power, projection=projection)
        for projection in ("gaussian", "hadamard", "sparse")
    }
    made["L2"] = PStable(d, n_hashes, power=power, width=float(d) ** 0.5)
    made["L1"] = PStable(d, n_hashes, p=1, power=power, width=float(d))
    return made


def dense(d: int, n_hashes: int, power: int, n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)).astype(np.float32)
    directions = rng.standard_normal((d, n_hashes * power)).astype(np.float32)
    rows = []
    for name, family in families(d, n_hashes, power).items():
        # Each hashed entry costs a hash, so a few rows are enough.
        part = X[: n // 64] if name == "sparse" else X
        race = Race(family) if n_hashes * family.n_buckets <= 1 << 25 else None
        for threads in THREADS:
            mergesketch.set_num_threads(threads)
            jobs = products(X, directions, threads)
            jobs["hash"] = lambda family=family, part=part: family.hash(part)
            if race is not None:
                jobs["update"] = lambda race=race, part=part: race.update(part)
            took = best_of(jobs)
            product = min(took["product whole"], took["product in blocks"]) / n
            row: dict[str, Any] = {
                "d": d,
                "values": f"{n_hashes} x {power}",
                "family": name,
                "threads": threads,
                "product rows/s": 1 / product,
                "hash rows/s": len(part) / took["hash"],
                "hash time / product's": took["hash"] / len(part) / product,
                "update time / product's": "",
            }
            if race is not None:
                row["update time / product's"] = took["update"] / len(part) / product
            rows.append(row)
    return rows


def sparse(d: int, n_entries: int, n_hashes: int, power: int, n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((n, d), density=n_entries / d, format="csr", dtype=np.float32, rng=rng)
    rows = []
    for projection in ("gaussian", "sparse"):
        family = SignedRandomProjection(d, n_hashes, power=power, projection=projection)
        directions = rng.standard_normal((d, n_hashes * power)).astype(np.float32)
        for threads in THREADS:
            mergesketch.set_num_threads(threads)
            took = best_of(
                {
                    "scipy": lambda X=X, directions=directions: X @ directions,
                    "hash": lambda X=X, family=family: family.hash(X),
                },
                3,
            )
            rows.append(
                {
                    "d": d,
                    "non-zeros a row": n_entries,
                    "values": f"{n_hashes} x {power}",
                    "projection": projection,
                    "threads": threads,
                    "scipy product rows/s (1 thread)": n / took["scipy"],
                    "hash rows/s": n / took["hash"],
                    "hash time / product's": took["hash"] / took["scipy"],
                }
            )
    return rows


def probing(d: int, n_hashes: int, n: int) -> list[dict[str, Any]]:
    """Measure probes of every table on one thread; a single probe is the code alone."""
    mergesketch.set_num_threads(1)
    Q = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    made = {
        "gaussian": SignedRandomProjection(d, n_hashes, power=14),
        "hadamard": SignedRandomProjection(d, n_hashes, power=14, projection="hadamard"),
        "L2": PStable(d, n_hashes, power=8, width=float(d) ** 0.5),
    }
    rows = []
    for name, family in made.items():
        took = best_of({str(t): lambda t=t, family=family: family.probe(Q, t) for t in (1, 8, 32)}, 3)
        rows += [
            {
                "d": d,
                "values": f"{n_hashes} x {family.power}",
                "family": name,
                "threads": 1,
                "probes": int(t),
                "us a query and table": 1e6 * seconds / (n * n_hashes),
            }
            for t, seconds in took.items()
        ]
    return rows


def main() -> None:
    arguments = parse(__doc__, "projection")
    before = mergesketch.get_num_threads()
    try:
        rows = [row for shape in SHAPES for row in dense(*shape)]
        show("Dense rows", rows)
        others = [*sparse(2_000, 100, 100, 4, 4_096), *sparse(100_000, 50, 100, 4, 4_096)]
        show("Sparse rows", others)
        probes = probing(128, 50, 2_000)
        show("Probes", probes)
    finally:
        mergesketch.set_num_threads(before)
    write(arguments.json, rows + others + probes)


if __name__ == "__main__":
    main()
