"""Every GPU kernel's time, its share of the device's measured bandwidth, and its speed beside all CPU cores.

Needs an NVIDIA GPU and CuPy; writes results/gpu.json with the device's name. Bytes are those that a kernel
must move at least: what it reads and writes once, random accesses in whole sectors of 32 bytes. Where tables
lie in the second-level cache the share may pass 100 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mergesketch as ms
import numpy as np
from measure import RESULTS, seconds, show, write
from mergesketch.lsh import (
    CrossPolytope,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
    hash_keys,
)
from mergesketch.lsh.support.backend import backend_of

SECTOR = 32


class Job(NamedTuple):
    """Work on arrays of one device, how many items it takes, and the bytes that it must move."""

    name: str
    #: What is measured, from arrays where it is to run.
    prepare: Callable[[tuple[Any, ...], str], Callable[[], Any]]
    arrays: tuple[np.ndarray, ...]
    items: int
    n_bytes: float
    #: Items for the CPU, which may take fewer.
    cpu_items: int


def on(make: Callable[..., Any], ask: Callable[..., Any]) -> Callable[[tuple[Any, ...], str], Any]:
    """Make a job that queries an object, which is made before and not timed."""
    return lambda arrays, device: partial(ask, make(arrays, device), *arrays)


def update(sketch: Callable[[], Any]) -> Callable[[tuple[Any, ...], str], Any]:
    """Make a job that updates a new sketch several times."""
    return on(lambda arrays, device: sketch().to(device), lambda s, X: s.update(X))


def jobs(scale: float, least: int = 256) -> Iterator[Job]:
    """All jobs, of `scale` times the items that fill a large GPU."""
    rng = np.random.default_rng(0)

    def many(n: int) -> int:
        return max(least, int(n * scale))

    def whole(n: int) -> np.ndarray:
        return rng.integers(0, 2**64, n, dtype=np.uint64)

    n = many(1 << 26)
    keys = whole(n)
    yield Job("hash 64-bit integers", lambda a, _: partial(hash_keys, a[0]), (keys,), n, 16 * n, n)

    n, d, R = many(400_000), 784, 500
    X = rng.standard_normal((n, d), dtype=np.float32)
    few = max(least, n // 40)
    signs = SignedRandomProjection(d, n_hashes=R, power=8, seed=1)
    rotations = SignedRandomProjection(d, n_hashes=R, power=8, projection="hadamard", seed=1)
    steps = PStable(d, n_hashes=R, power=2, width=20.0, n_buckets=256, seed=1)
    for label, family, values in (
        ("signs, 500 x 8", signs, 4000),
        ("Hadamard signs, 500 x 8", rotations, 0),
        ("p-stable, 500 x 2", steps, 1000),
    ):
        # Rows are read and scaled, products of float32 written and read, codes written.
        moved = n * (4 * d + 8 * d * (values > 0) + 8 * values + 4 * R)
        hashing = on(lambda *_, f=family: f, lambda f, X: f.hash(X))
        yield Job(f"hash rows of {d}: {label}", hashing, (X,), n, moved, few)
        counting = update(partial(ms.Race, family))
        yield Job(f"Race.update, rows of {d}: {label}", counting, (X,), n, moved + 4 * n * R, few)
    asking = on(lambda a, _: ms.Race(signs).update(a[0][:1000]), lambda s, X: s.query(X))
    yield Job("Race.query, rows of 784", asking, (X,), n, n * (12 * d + 32_000 + 8 * R), few)

    n, d, R = many(1 << 18), 128, 64
    X = np.abs(rng.standard_normal((n, d), dtype=np.float32))
    for label, family in (
        ("cross-polytope, 64 x 2", CrossPolytope(d, n_hashes=R, power=2, seed=1)),
        ("hashed projections, 64 x 4", SignedRandomProjection(None, R, power=4, projection="sparse")),
        ("winner take all, 64 x 2", WinnerTakeAll(d, n_hashes=R, power=2, seed=1)),
        ("weighted MinHash, 64", WeightedMinHash(R, seed=1)),
    ):
        hashing = on(lambda *_, f=family: f, lambda f, X: f.hash(X))
        name, moved = f"hash rows of {d}: {label}", n * (4 * d + 4 * R)
        yield Job(name, hashing, (X,), n, moved, max(least, n // 40))
    signs = SignedRandomProjection(d, n_hashes=R, power=12, seed=1)
    for label, family, values in (
        ("signs, 64 x 12", signs, 768),
        ("cross-polytope, 64", CrossPolytope(d, n_hashes=R, seed=1), 64 * 128),
    ):
        probing = on(lambda *_, f=family: f, lambda f, X: f.probe(X, 16))
        name, moved = f"16 probes of rows of {d}: {label}", n * (4 * d + 8 * values + 64 * R)
        yield Job(name, probing, (X,), n, moved, max(least, n // 40))

    n, size, m = many(1 << 20), 100, 128
    sets = whole(n * size), np.arange(n + 1) * size
    for scheme in ("permutations", "one-permutation", "fast-similarity"):
        minhash = MinHash(m, scheme=scheme, seed=1)
        signing = on(lambda *_, f=minhash: f, lambda f, *pair: f.signatures(pair))
        name, moved = f"MinHash {scheme}, 100 tokens, {m} values", n * (8 * size + 4 * m)
        yield Job(name, signing, sets, n, moved, max(least, n // 16))

    n = many(1 << 26)
    keys = whole(n)
    for cls in (ms.CountMinSketch, ms.CountSketch):
        table = partial(cls, 5, 1 << 16)
        moved = n * (16 + 5 * SECTOR)
        yield Job(f"{cls.__name__}.update", update(table), (keys,), n, moved, n // 4)
        asking = on(lambda a, d, t=table: t().to(d).update(a[0]), lambda s, keys: s.query(keys))
        yield Job(f"{cls.__name__}.query", asking, (keys,), n, moved + 8 * n, n // 4)
    yield Job("HyperLogLog.update", update(ms.HyperLogLog), (keys,), n, n * (8 + SECTOR), n // 4)
    values = rng.lognormal(3.0, 2.0, n)
    bins = partial(ms.DDSketch, relative_error=0.01)
    yield Job("DDSketch.update", update(bins), (values,), n, 8 * n, n // 4)
    for capacity, where in ((many(1 << 22), "in cache"), (many(1 << 29), "in memory")):
        empty = partial(ms.BloomFilter, capacity, 0.01)
        moved = n * (8 + 2 * SECTOR)
        yield Job(f"BloomFilter.update, {where}", update(empty), (keys,), n, moved, n // 4)
        asking = on(lambda a, d, t=empty: t().to(d).update(a[0]), lambda s, keys: s.contains(keys))
        yield Job(f"BloomFilter.contains, {where}", asking, (keys,), n, moved + n, n // 4)

    n = many(1 << 27)
    weights = rng.standard_normal(n, dtype=np.float32).astype(np.float16)
    packing = on(lambda a, _: None, lambda _, weights: ms.CompressedFloats(weights))
    yield Job("CompressedFloats, float16", packing, (weights,), n, 6 * n, n // 4)
    reading = on(lambda a, _: ms.CompressedFloats(a[0]), lambda floats, _: floats.decode())
    yield Job("CompressedFloats.decode, float16", reading, (weights,), n, 3.7 * n, n // 4)

    n = many(1 << 22)
    rows, gradients, moved = whole(n), rng.standard_normal((n, 64), dtype=np.float32), n * (8 + 4 * 64)
    shared = partial(ms.SharedParameters, 1 << 20)
    adding = on(lambda _, d: shared().to(d), lambda s, rows, gradients: s.update(rows, gradients))
    yield Job("SharedParameters.update, 64 columns", adding, (rows, gradients), n, moved, n // 4)
    asking = on(lambda _, d: shared().to(d), lambda s, rows: s.gather(rows, 64))
    yield Job("SharedParameters.gather, 64 columns", asking, (rows,), n, moved, n // 4)

    nodes, n = many(1 << 20), many(1 << 24)
    pairs = tuple(rng.integers(0, nodes, n) for _ in "uv")

    def signed(arrays: tuple[Any, ...], device: str) -> Any:
        edges = backend_of(arrays[0]).xp.stack(arrays, axis=1)
        return ms.BloomSignatures(nodes, 1024).update(edges)

    asking = on(signed, lambda s, u, v: s.common_neighbors(u, v))
    name, moved = "BloomSignatures.common_neighbors, 1,024 bits", n * (16 + 256 + 8)
    yield Job(name, asking, pairs, n, moved, max(least, n // 16))

    n, stored = many(1 << 26), many(1 << 20)
    keys = whole(stored)
    asked = rng.choice(keys, n)
    for label, chance in (("2 bits of entropy", 0.5), ("0.5 bits of entropy", 0.9)):
        values = np.minimum(rng.geometric(chance, stored), 255).astype(np.uint8)
        function = ms.StaticFunction(keys, values, progress=False)
        asking = on(lambda _, d, f=function: f.to(d), lambda f, keys: f.lookup(keys))
        name, moved = f"StaticFunction.lookup, {stored:,} keys, {label}", n * (17 + 2 * SECTOR)
        yield Job(name, asking, (asked,), n, moved, n // 4)

    n, L = many(1 << 21), 32
    X = rng.standard_normal((n, 32), dtype=np.float32)
    family = SignedRandomProjection(32, n_hashes=L, power=14, seed=2)
    index = partial(ms.LSHIndex, family, capacity=64)
    moved = n * (12 * 32 + 8 * 14 * L + 4 * L + L * 4 * SECTOR)
    yield Job(f"LSHIndex.update, {L} tables", update(index), (X,), n, moved, max(least, n // 16))
    asking = on(lambda a, d: index().to(d).update(a[0]), lambda s, X: s.query(X, 10))
    yield Job(f"LSHIndex.query, {L} tables", asking, (X,), n, n * L * 256, max(least, n // 16))
    searching = on(lambda a, d: index().to(d).update(a[0]), lambda s, X: s.search(X, X, 10, n_candidates=100))
    name, moved = "LSHIndex.search, 100 candidates", n * (L * 256 + 100 * 128)
    yield Job(name, searching, (X,), n, moved, max(least, n // 16))

    n, d = many(1 << 20), 31
    X = rng.standard_normal((n, d), dtype=np.float32)
    storm = partial(ms.StormSketch, d, 100, max_norm=10.0)
    moved = n * (4 * d + 24 * d + 8 * 3200 + 8 * 100)
    yield Job("StormSketch.update, 100 frames of 32", update(storm), (X,), n, moved, max(least, n // 16))
    n = many(1 << 23)
    X = rng.standard_normal((n, 2))
    moved = n * (16 + 8 * (8 + 8 + 8 + 8 + 2 * 5 * SECTOR))
    density = update(partial(ms.DensitySketch, 2, 0.2))
    yield Job("DensitySketch.update, 2 features, 8 grids", density, (X,), n, moved, max(least, n // 16))


def bandwidth(cupy: Any, n_bytes: int) -> float:
    """Bytes a second that a copy reads and writes."""
    a = cupy.zeros(n_bytes // 8, np.float64)
    b = cupy.zeros(n_bytes // 8, np.float64)

    def copy() -> None:
        b[...] = a

    return 2 * n_bytes / timed(cupy, copy)


def timed(cupy: Any, function: Callable[[], Any], repeats: int = 7) -> float:
    """Median seconds of a call until the device has done its work, after two that are not counted."""
    device = cupy.cuda.Device()

    def once() -> None:
        function()
        device.synchronize()

    return seconds(once, repeats=repeats, warmups=2)


def measure(cupy: Any, scale: float, least: int = 256) -> Iterator[dict[str, Any]]:
    """Yield a row for a copy, then one for each job."""
    measured = bandwidth(cupy, max(1 << 16, int(scale * (1 << 31))))
    yield {"job": "copy", "GB/s": measured / 1e9}
    for job in jobs(scale, least):
        there = timed(cupy, job.prepare(tuple(cupy.asarray(a) for a in job.arrays), "gpu"))
        cut = [a[: max(1, job.cpu_items)] for a in job.arrays]
        if job.name.startswith("MinHash"):
            cut[1] = job.arrays[1][: job.cpu_items + 1]
            cut[0] = job.arrays[0][: cut[1][-1]]
        here = seconds(job.prepare(tuple(cut), "cpu"), repeats=3, warmups=1)
        rate = job.items / there
        yield {
            "job": job.name,
            "items": job.items,
            "ms": 1e3 * there,
            "items/s": rate,
            "GB/s": job.n_bytes / there / 1e9,
            "% of a copy's bandwidth": 100 * job.n_bytes / there / measured,
            "times all CPU cores": rate / (job.cpu_items / here),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="items, as a share of the usual ones")
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu.json", help="where results go")
    arguments = parser.parse_args()
    try:
        import cupy

        if not cupy.cuda.is_available():
            raise ImportError("CuPy finds no GPU")
    except ImportError as error:
        print(f"benchmarks/gpu.py needs an NVIDIA GPU: {error}", file=sys.stderr)
        return 2
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode()
    start = time.perf_counter()
    rows = []
    for row in measure(cupy, arguments.scale):
        rows.append({**row, "device": name})
        show("", [row])
        # A run that stops early keeps what it has measured.
        write(arguments.json, rows)
    show(f"{name}, {time.perf_counter() - start:.0f} s", rows[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
