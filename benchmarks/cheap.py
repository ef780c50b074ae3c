"""Small benchmarks of every public class and family, which `compare.py` runs in two versions of the package.

Each function below builds its data and yields cases: a name and a call that can be repeated. It uses
public names only, so that versions with different folders can run it; a name that a version lacks ends
the cases of that function there. Calls at 10 rows show the cost of a call, those at 20,000 rows the
cost of a row.

Run as a script, this file is the worker of `compare.py`: it prints the names of its cases, then reads a
case and a number of loops from each line of its input and prints the CPU seconds of one loop.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import mergesketch as ms
import numpy as np
from mergesketch import lsh
from numpy.typing import NDArray

Call = Callable[[], object]
Cases = Iterator[tuple[str, Call]]

BENCHMARKS: list[Callable[[], Cases]] = []
SIZES = (10, 20_000)

#: Least CPU seconds of the loops that are timed together, and how often they are timed; the least counts.
LEAST, REPEATS = 0.01, 5


def benchmark(function: Callable[[], Cases]) -> Callable[[], Cases]:
    """Register a function that yields cases."""
    BENCHMARKS.append(function)
    return function


def integers(n: int) -> NDArray[np.uint64]:
    """Return n keys, some of them frequent."""
    return np.random.default_rng(1).zipf(1.3, n).astype(np.uint64)


def words(n: int) -> list[str]:
    return [f"key-{i % 7919}" for i in range(n)]


def rows(n: int, n_features: int = 16) -> NDArray[np.float32]:
    return np.random.default_rng(2).standard_normal((n, n_features), dtype=np.float32)


def sets(n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return n sets of 20 tokens as tokens and offsets."""
    return np.random.default_rng(3).integers(0, 2**40, 20 * n, dtype=np.uint64), np.arange(n + 1) * 20


def texts(n: int) -> list[str]:
    """Return n texts of 60 words, every tenth of which resembles the one before."""
    rng = np.random.default_rng(4)
    drawn = [[f"word{w}" for w in rng.integers(0, 5000, 60)] for _ in range(n)]
    for i in range(1, n, 10):
        drawn[i] = [*drawn[i - 1][:-2], "other", "end"]
    return [" ".join(text) for text in drawn]


def signs() -> lsh.SignedRandomProjection:
    return lsh.SignedRandomProjection(n_features=16, n_hashes=40, power=8, seed=1)


@benchmark
def hash_keys() -> Cases:
    for n in SIZES:
        yield f"integers, {n:,}", partial(lsh.hash_keys, integers(n))
        yield f"strings, {n:,}", partial(lsh.hash_keys, words(n))


@benchmark
def shingle() -> Cases:
    for n in (10, 1000):
        yield f"words, {n:,}", partial(lsh.shingle, texts(n))
        yield f"characters, {n:,}", partial(lsh.shingle, texts(n), unit="character")


@benchmark
def families_of_rows() -> Cases:
    families = {
        "SignedRandomProjection": signs(),
        "SignedRandomProjection, hadamard": lsh.SignedRandomProjection(
            16, 40, power=8, projection="hadamard", seed=1
        ),
        "SignedRandomProjection, sparse": lsh.SignedRandomProjection(
            16, 40, power=8, projection="sparse", seed=1
        ),
        "PStable": lsh.PStable(16, 40, width=2.0, power=2, seed=1),
        "CrossPolytope": lsh.CrossPolytope(16, 20, seed=1),
        "InnerProduct": lsh.InnerProduct(16, 40, max_norm=10.0, power=4, seed=1),
        "WinnerTakeAll": lsh.WinnerTakeAll(16, 40, group_size=4, seed=1),
    }
    for name, family in families.items():
        for n in SIZES:
            yield f"{name}, {n:,}", partial(family.hash, rows(n))


@benchmark
def families_of_sets() -> Cases:
    for n in SIZES:
        yield f"MinHash, {n:,}", partial(lsh.MinHash(64, seed=1).hash, sets(n))
        one = lsh.MinHash(64, scheme="one-permutation", seed=1)
        yield f"MinHash, one permutation, {n:,}", partial(one.hash, sets(n))
        yield f"BBitMinHash, {n:,}", partial(lsh.BBitMinHash(64, 2, seed=1).hash, sets(n))
    for n in (10, 500):
        weights = np.maximum(rows(n), 0)
        yield f"WeightedMinHash, {n:,}", partial(lsh.WeightedMinHash(16, seed=1).hash, weights)


@benchmark
def bit_sampling() -> Cases:
    for n in SIZES:
        packed = np.random.default_rng(5).integers(0, 256, (n, 16), dtype=np.uint8)
        yield f"hash, {n:,}", partial(lsh.BitSampling(128, 40, power=12, seed=1).hash, packed)


@benchmark
def counting() -> Cases:
    for sketch in (
        ms.CountMinSketch(5, 4000),
        ms.CountMinSketch(5, 4000, conservative=True),
        ms.CountSketch(5, 4000),
    ):
        name = type(sketch).__name__ + (", conservative" if getattr(sketch, "conservative", False) else "")
        for n in SIZES:
            yield f"{name}, update, {n:,}", partial(sketch.update, integers(n))
            yield f"{name}, query, {n:,}", partial(sketch.query, integers(n))


@benchmark
def heavy_hitters() -> Cases:
    for n in SIZES:
        for kind, keys in (("integers", integers(n)), ("strings", words(n))):
            sketch = ms.HeavyHitters(0.01).update(keys)
            yield f"update, {kind}, {n:,}", partial(sketch.update, keys)
    yield "top", partial(sketch.top, 10)


@benchmark
def hyperloglog() -> Cases:
    for n in SIZES:
        for kind, keys in (("integers", integers(n)), ("strings", words(n))):
            sketch = ms.HyperLogLog().update(keys)
            yield f"update, {kind}, {n:,}", partial(sketch.update, keys)
    yield "cardinality", sketch.cardinality
    yield "intersection_cardinality", partial(sketch.intersection_cardinality, sketch.copy(), return_std=True)


@benchmark
def term_statistics() -> Cases:
    for n in SIZES:
        offsets = np.arange(0, n + 1, 10)
        for kind, terms in (("integers", integers(n)), ("strings", words(n))):
            statistics = ms.TermStatistics().update((terms, offsets))
            yield f"update, {kind}, {n:,}", partial(statistics.update, (terms, offsets))
            yield f"weights, {kind}, {n:,}", partial(statistics.weights, terms)


@benchmark
def ddsketch() -> Cases:
    for n in SIZES:
        values, sketch = np.random.default_rng(5).lognormal(3.0, 2.0, n), ms.DDSketch(relative_error=0.01)
        yield f"update, {n:,}", partial(sketch.update, values)
        yield f"cdf, {n:,}", partial(sketch.cdf, values)


@benchmark
def kll() -> Cases:
    for n in SIZES:
        values, sketch = np.random.default_rng(5).lognormal(3.0, 2.0, n), ms.KLLSketch(k=200)
        yield f"update, {n:,}", partial(sketch.update, values)
        yield f"cdf, {n:,}", partial(sketch.cdf, values)


@benchmark
def top_k() -> Cases:
    for n in SIZES:
        for kind, keys in (("integers", integers(n)), ("strings", words(n))):
            sketch = ms.TopK(10, n_counters=1000).update(keys)
            yield f"update, {kind}, {n:,}", partial(sketch.update, keys)
    yield "top", sketch.top
    yield "query, 20,000", partial(sketch.query, keys)


@benchmark
def bloom_filter() -> Cases:
    for n in SIZES:
        keys, sketch = integers(n), ms.BloomFilter(capacity=100_000, error_rate=0.01)
        yield f"update, {n:,}", partial(sketch.update, keys)
        yield f"contains, {n:,}", partial(sketch.contains, keys)


@benchmark
def scalable_bloom_filter() -> Cases:
    for n in SIZES:
        keys, sketch = integers(n), ms.ScalableBloomFilter(error_rate=0.01)
        yield f"update, {n:,}", partial(sketch.update, keys)
        yield f"contains, {n:,}", partial(sketch.contains, keys)


@benchmark
def bloom_signatures() -> Cases:
    for n in SIZES:
        edges = np.random.default_rng(6).integers(0, 2000, (n, 2))
        sketch = ms.BloomSignatures(n_nodes=2000, n_bits=512).update(edges)
        yield f"update, {n:,}", partial(sketch.update, edges)
        yield f"common_neighbors, {n:,}", partial(sketch.common_neighbors, edges[:, 0], edges[:, 1])


@benchmark
def bloom_pooling() -> Cases:
    pooling = ms.BloomPooling(n_samples=96, n_tests=24, prevalence=0.02, max_pool_size=12)
    outcomes = pooling.outcomes(np.isin(np.arange(96), (7, 70)))
    yield "decode", partial(pooling.decode, outcomes)


@benchmark
def minhash_sketch() -> Cases:
    for n in SIZES:
        sketch = ms.MinHashSketch(n_sets=4, n_hashes=128, seed=1).update(integers(n), sets=0)
        yield f"update, {n:,}", partial(sketch.update, integers(n), sets=1)
    yield "jaccard", partial(sketch.jaccard, 0, 1)


@benchmark
def race() -> Cases:
    for n in SIZES:
        X, sketch = rows(n), ms.Race(signs())
        yield f"update, {n:,}", partial(sketch.update, X)
        yield f"query, {n:,}", partial(sketch.query, X)
    yield "release", partial(sketch.release, epsilon=1.0)


@benchmark
def race_window() -> Cases:
    for n in SIZES:
        X, sketch = rows(n), ms.RaceWindow(signs(), n_panes=24)
        yield f"update, {n:,}", partial(sketch.update, X, pane=3)
        yield f"query, {n:,}", partial(sketch.query, X)


@benchmark
def nadaraya_watson() -> Cases:
    for n in SIZES:
        X, sketch = rows(n), ms.NadarayaWatsonSketch(signs())
        yield f"update, {n:,}", partial(sketch.update, X, X[:, 0])
        yield f"predict, {n:,}", partial(sketch.predict, X)


@benchmark
def learned_partition() -> Cases:
    labels = np.arange(2000) % 100
    X = rows(100)[labels] + rows(2000) / 4
    Y = np.eye(100, dtype=bool)[labels]
    partition = ms.LearnedPartition(n_features=16, n_buckets=20, n_repetitions=2, n_hidden=32).fit(X, Y)
    yield "LearnedPartition: query, 2,000", partial(partition.query, X, 5)


@benchmark
def inner_products() -> Cases:
    atoms = rows(20_000)
    oracle, target = ms.InnerProductOracle(atoms, seed=1), atoms[:50].mean(axis=0)
    for name, index in (("exact", None), ("index", oracle)):
        yield (
            f"frank_wolfe: {name}",
            partial(ms.frank_wolfe, lambda x: x - target, atoms, index, n_steps=20),
        )
    agent = ms.LeastSquaresValueIteration(rows(4000).reshape(4, 1000, 16) / 10, horizon=3, bonus=0.5)
    yield "LeastSquaresValueIteration: act", partial(agent.act, 0, 0)


@benchmark
def race_attention() -> Cases:
    for n in SIZES:
        X = rows(n)
        context = ms.RaceAttention(X.shape[1], X.shape[1], seed=1)
        yield f"update, {n:,}", partial(context.update, X, X)
        yield f"query, {n:,}", partial(context.query, X)


@benchmark
def active_units() -> Cases:
    W, X = rows(500), rows(2000)
    moments = ms.SecondMoments(16).update(X)
    yield "ActiveUnits, 500 x 16 weights", partial(ms.ActiveUnits, W, calibration=moments)
    for method, calibration in (("low_rank", moments), ("codes", None)):
        predictor = ms.ActiveUnits(W, calibration=calibration, method=method)
        yield f"select, {method}, 2,000", partial(predictor.select, X, 50)
    yield "sparse_layer, 2,000", partial(ms.sparse_layer, X, W, W, predictor.select(X, 50))


@benchmark
def importance_cache() -> Cases:
    for n in SIZES:
        X = rows(n)
        cache = ms.ImportanceCache(X.shape[1], X.shape[1], 100)
        yield f"causal, {n:,}", partial(cache.causal, X, X, X)
        yield f"query, {n:,}", partial(cache.query, X)


@benchmark
def representer() -> Cases:
    X = rows(2000)
    fit = partial(ms.RepresenterSketch.fit, X[:, :2], X, family=signs())
    yield "fit, 2,000", fit
    yield "decision_function, 2,000", partial(fit().decision_function, X)


@benchmark
def ace() -> Cases:
    for n in SIZES:
        X = rows(n)
        sketch = ms.AceSketch(signs()).update(X)
        yield f"update, {n:,}", partial(sketch.update, X)
        yield f"score_samples, {n:,}", partial(sketch.score_samples, X)


@benchmark
def private_race() -> Cases:
    private = ms.Race(signs()).update(rows(20_000)).release(epsilon=1.0)
    for n in SIZES:
        yield f"query, {n:,}", partial(private.query, rows(n))


@benchmark
def private_tasks() -> Cases:
    X = rows(2000, 4)
    box = {"epsilon": 1.0, "low": -3.0, "high": 3.0}
    yield "classifier, 2,000", partial(ms.private_classifier, X, np.int64(X[:, 0] > 0), classes=[0, 1], **box)
    regress = partial(ms.private_regressor, X, X[:, 0], target_low=-3.0, target_high=3.0, **box)
    yield "regressor, 2,000", regress
    yield "predict, 2,000", partial(regress().predict, X)


@benchmark
def density() -> Cases:
    for n in SIZES:
        X, sketch = rows(n, 3), ms.DensitySketch(3, 0.5, seed=1).update(rows(20_000, 3))
        yield f"update, {n:,}", partial(sketch.update, X)
        yield f"density, {n:,}", partial(sketch.density, X)
    yield "sample, 1,000", partial(sketch.sample, 1000, random_state=0)


@benchmark
def fourier() -> Cases:
    for n in SIZES:
        X, sketch = rows(n), ms.FourierSketch(16, 200, 4.0, seed=1).update(rows(20_000))
        yield f"update, {n:,}", partial(sketch.update, X)
        yield f"query, {n:,}", partial(sketch.query, X)


@benchmark
def storm() -> Cases:
    for n in SIZES:
        Z = rows(n, 5) / 10
        sketch = ms.StormSketch(5, n_frames=200, seed=1).update(Z)
        yield f"update, {n:,}", partial(sketch.update, Z)
    yield "second_moments", sketch.second_moments


@benchmark
def frequent_directions() -> Cases:
    for n in SIZES:
        yield f"update, {n:,}", partial(ms.FrequentDirections(16, 4).update, rows(n))
    sketch = ms.FrequentDirections(16, 4).update(rows(100))
    yield "merge", partial(sketch.merge, sketch.copy())
    yield "directions", partial(sketch.copy().directions, 3)


@benchmark
def sketched_error_feedback() -> Cases:
    for n in SIZES:
        gradient = rows(n, 1)[:, 0]
        yield f"step, {n:,}", partial(ms.SketchedErrorFeedback(n).step, gradient)


@benchmark
def federated_tables() -> Cases:
    for n in SIZES:
        size = 1 << n.bit_length()
        server = ms.FederatedTables(size)
        tables = [np.ones(size), np.ones(size // 4)]
        yield f"fold, {size:,}", partial(server.fold, size // 4)
        yield f"update, {size:,}", partial(server.update, tables, [1, 2])


@benchmark
def loss_aware_grid() -> Cases:
    for n in SIZES:
        yield f"calibrate, {n:,}", partial(ms.SecondMoments(16).update, rows(n))
    moments, W = ms.SecondMoments(64).update(rows(1000, 64)), rows(50, 64)
    for grid in ("free", "affine"):
        yield f"quantise 50 x 64 weights, {grid}", partial(ms.LossAwareGrid, W, moments, 3, grid=grid)
    layer = ms.LossAwareGrid(W, moments, 3)
    for n in (10, 2000):
        yield f"matmul, {n:,}", partial(layer.matmul, rows(n, 64))


@benchmark
def compressed_floats() -> Cases:
    for n in SIZES:
        weights = rows(n, 100) / 50
        compressed = ms.CompressedFloats(weights)
        yield f"compress, {n:,}", partial(ms.CompressedFloats, weights)
        yield f"decode, {n:,}", compressed.decode
        yield f"a row, {n:,}", partial(compressed.__getitem__, n // 2)
        near = weights + weights * 1e-6
        yield f"delta, {n:,}", partial(ms.FloatDelta, near, weights)


@benchmark
def index() -> Cases:
    empty = ms.LSHIndex(signs(), capacity=128)
    X = rows(20_000)
    full = empty.copy().add(X)
    for n in SIZES:
        yield f"add, {n:,}", lambda n=n: empty.copy().add(X[:n])
    for n in (10, 2000):
        yield f"query, {n:,}", partial(full.query, X[:n], k=10)
        yield f"query with probes, {n:,}", partial(full.query, X[:n], k=10, n_probes=8)
        yield f"search, {n:,}", partial(full.search, X[:n], X, k=10)


@benchmark
def vector_codes() -> Cases:
    empty = ms.VectorCodes(16, bits=2, seed=1)
    X = rows(20_000)
    full = empty.copy().update(X)
    for n in SIZES:
        yield f"update, {n:,}", lambda n=n: empty.copy().update(X[:n])
    for n in (1, 100):
        yield f"search, {n:,}", partial(full.search, X[:n], 10)


@benchmark
def learned_indexes() -> Cases:
    X, labels = rows(2_000), np.arange(2_000) % 100
    Y = np.zeros((2_000, 100), bool)
    Y[np.arange(2_000), labels] = True
    yield "LearnedHash.fit", lambda: ms.LearnedHash(4, 4, n_rounds=2).fit(X[:100], X, Y)
    family = lsh.LearnedProjection(signs().vectors, power=8)
    yield "LearnedProjection.hash, 2,000", partial(family.hash, X)
    empty = ms.SparseCodeIndex(16, 8, 32, n_hidden=32)
    yield "SparseCodeIndex.fit", lambda: empty.copy().fit(X, Y, n_epochs=1)
    full = empty.copy().fit(X, Y, n_epochs=1)
    for n in (1, 1_000):
        yield f"SparseCodeIndex.query, {n:,}", partial(full.query, X[:n], 10)


@benchmark
def neighbour_graph() -> Cases:
    empty = ms.NeighbourGraph(lsh.SignedRandomProjection(16, 8, power=7, seed=1), 16)
    X = rows(20_000)
    full = empty.copy().update(X[:5000])
    for n in (10, 2000):
        yield f"update, {n:,}", lambda n=n: empty.copy().update(X[:n])
    yield "add 10 to 5,000", lambda: full.copy().update(X[5000:5010])
    for n in (1, 100):
        yield f"search, {n:,}", partial(full.search, X[:n], 10)


@benchmark
def shared_parameters() -> Cases:
    gradients = rows(20_000)
    maps = {
        "robe": ms.RobeMap(16),
        "tile": ms.TileMap(16, 16),
        "cyclic": ms.CyclicMap([(20_000, 16)]),
    }
    for name, of in maps.items():
        full = ms.SharedParameters(10_000, of).initialize(1.0)
        for n in SIZES:
            yield f"gather, {name}, {n:,}", partial(full.gather, range(n), 16)
            yield f"scatter_add, {name}, {n:,}", partial(full.scatter_add, range(n), gradients[:n])


@benchmark
def product_quantizer() -> Cases:
    X = rows(20_000)
    quantizer = ms.ProductQuantizer(16, 8, 16, n_iterations=5, seed=1).fit(X[:1000])
    codes = quantizer.encode(X)
    yield "fit, 1,000", lambda: ms.ProductQuantizer(16, 8, 16, n_iterations=5, seed=1).fit(X[:1000])
    yield "encode, 20,000", partial(quantizer.encode, X)
    yield "decode, 20,000", partial(quantizer.decode, codes)
    for n in (1, 100):
        yield f"scores, {n:,}", partial(quantizer.scores, X[:n], codes)


@benchmark
def lsh_sampler() -> Cases:
    X = rows(20_000)
    index = ms.LSHIndex(lsh.SignedRandomProjection(16, 20, power=8, seed=1), capacity=512).update(X)
    sampler = ms.LSHSampler(index, seed=1)
    for n in (1, 100):
        yield f"sample, {n:,}", partial(sampler.sample, X[:n], 100)
        yield f"probabilities, {n:,}", partial(sampler.probabilities, X[:n], range(100))


@benchmark
def soft_collisions() -> Cases:
    empty = ms.SoftCollisions(lsh.SignedRandomProjection(16, 16, power=8, seed=1))
    X = rows(20_000)
    full = empty.copy().update(X)
    for n in SIZES:
        yield f"update, {n:,}", lambda n=n: empty.copy().update(X[:n])
    for n in (1, 100):
        yield f"search, {n:,}", partial(full.search, X[:n], 10)


@benchmark
def page_bounds() -> Cases:
    for n in SIZES:
        X = rows(n)
        bounds = ms.PageBounds(X.shape[1])
        yield f"update, {n:,}", lambda bounds=bounds, X=X: bounds.copy().update(X)
        full = bounds.copy().update(X)
        yield f"page_scores, {n:,}", partial(full.page_scores, X[:10])


@benchmark
def static_functions() -> Cases:
    for n in (10, 20_000):
        for kind, keys in (("integers", np.arange(n)), ("strings", [f"key-{i}" for i in range(n)])):
            values = integers(n) % 50
            function = ms.StaticFunction(keys, values, progress=False)
            yield f"build, {kind}, {n:,}", partial(ms.StaticFunction, keys, values, progress=False)
            yield f"lookup, {kind}, {n:,}", partial(function.lookup, keys)
    texts = [f"/srv/data/{i % 97}/file {i}" for i in range(20_000)]
    function = ms.StaticFunction(np.arange(20_000), texts, progress=False)
    yield "build, texts, 20,000", partial(ms.StaticFunction, np.arange(20_000), texts, progress=False)
    yield "lookup, texts, 20,000", partial(function.lookup, np.arange(20_000))


@benchmark
def static_builder() -> Cases:
    keys = np.arange(20_000)
    yield "update, 20,000", lambda: ms.StaticFunctionBuilder().update(keys, keys % 50)
    yield "build, 20,000", lambda: ms.StaticFunctionBuilder().update(keys, keys % 50).build(progress=False)


@benchmark
def static_table() -> Cases:
    keys, values = np.arange(5000), integers(20_000).reshape(5000, 4) % 50
    table = ms.StaticTable(keys, values, progress=False)
    yield "build, 5,000 by 4", partial(ms.StaticTable, keys, values, progress=False)
    yield "lookup, 5,000 by 4", partial(table.lookup, keys)


@benchmark
def ribbon_filter() -> Cases:
    keys = np.arange(20_000)
    yield "build, 20,000", partial(ms.RibbonFilter, keys, progress=False)
    yield "contains, 20,000", partial(ms.RibbonFilter(keys, progress=False).contains, keys)


@benchmark
def deduplicate() -> Cases:
    from mergesketch.distributed import deduplicate

    for n in (10, 3000):
        yield f"texts, {n:,}", partial(deduplicate, texts(n), threshold=0.7)


@benchmark
def streaming_deduplicator() -> Cases:
    for n in (10, 3000):
        seen, batch = ms.StreamingDeduplicator(capacity=100_000), texts(n)
        yield f"admit, {n:,}", partial(seen.admit, batch)
        yield f"contains, {n:,}", partial(seen.contains, batch)


@benchmark
def document_signatures() -> Cases:
    from mergesketch.distributed import deduplicate

    old = deduplicate(texts(2000), against=ms.DocumentSignatures(), name="old").state
    new = deduplicate(texts(200), against=ms.DocumentSignatures(), name="new").state
    yield "DocumentSignatures.merge", lambda: old | new


@benchmark
def storage() -> Cases:
    folder = tempfile.mkdtemp(dir=_FOLDER)
    saved = {
        "CountMinSketch": ms.CountMinSketch(5, 4000).update(integers(1000)),
        "Race": ms.Race(signs()).update(rows(1000)),
        "StaticFunction": ms.StaticFunction(np.arange(1000), integers(1000) % 50, progress=False),
    }
    for name, structure in saved.items():
        path = Path(folder) / name
        structure.save(path)
        yield f"save, {name}", partial(structure.save, path)
        yield f"load, {name}", partial(ms.load, path)


@benchmark
def merging() -> Cases:
    for sketch in (ms.CountMinSketch(5, 4000), ms.Race(signs()), ms.BloomFilter(10_000, 0.01)):
        other = sketch.copy()
        yield type(sketch).__name__, partial(sketch.merge, other)


@benchmark
def suggest() -> Cases:
    yield "angle", partial(ms.suggest, "angle", n_rows=100_000, near=0.4, far=1.5, recall=0.9, n_features=64)


def seconds(call: Call, loops: int) -> tuple[float, int]:
    """Return the least CPU seconds of one loop, and the number of loops: as many as take `LEAST` if 0."""
    call()
    while loops == 0:
        start = time.process_time()
        call()
        once = time.process_time() - start
        loops = max(1, round(LEAST / max(once, 1e-6)))
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(loops):
            call()
        best = min(best, (time.process_time() - start) / loops)
    return best, loops


def main(only: str) -> None:
    cases: dict[str, Call] = {}
    errors: dict[str, str] = {}
    for function in BENCHMARKS:
        name = function.__name__
        if not re.search(only, name):
            continue
        try:
            cases.update((f"{name}: {case}", call) for case, call in function())
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    print(json.dumps({"package": ms.__file__, "cases": list(cases), "errors": errors}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            best, loops = seconds(cases[request["case"]], request["loops"])
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        else:
            print(json.dumps({"seconds": best, "loops": loops}), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _FOLDER:
        main(sys.argv[1])
