"""Measure the errors of each sketch at each size, as quantiles over many seeds, beside the theorems.

The script writes results/characterise.json, which `docs/plots/characterise.py` draws. A curve is a sketch
and a question; a point is one size of the sketch. A trial is one sketch with a seed; its errors are those of
all its queries.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mergesketch as ms
import numpy as np
from measure import RESULTS, write
from mergesketch.lsh import MinHash, SignedRandomProjection
from numpy.typing import NDArray

QUANTILES = (0.02, 0.16, 0.5, 0.84, 0.98)


class Point(NamedTuple):
    """A size of a sketch: a function from a seed to the errors of one trial, and the theory's errors."""

    size: float
    errors: Callable[[int], tuple[Any, int]]
    #: One standard error by theory; nan if there is only a bound.
    expected: float = math.nan
    #: The bound of the theorem.
    bound: float = math.nan


CURVES: dict[tuple[str, str, str, str], Callable[[], Iterator[Point]]] = {}


def curve(page: str, sketch: str, error: str, size: str) -> Callable[[Any], Any]:
    """Register a curve: the page that shows it, the sketch, the estimate, and the setting that varies."""

    def register(points: Any) -> Any:
        CURVES[page, sketch, error, size] = points
        return points

    return register


def clusters(n: int, d: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((20, d)) + 1.0
    return (centres[rng.integers(0, 20, n)] + 0.5 * rng.standard_normal((n, d))).astype(np.float32)


ROWS = clusters(5000, 16)
ZIPF = np.random.default_rng(2).zipf(1.2, 200_000).astype(np.uint64) % np.uint64(2**40)


def signs(R: int, seed: int) -> SignedRandomProjection:
    return SignedRandomProjection(16, n_hashes=R, power=6, seed=seed)


def exact_density() -> NDArray[np.float64]:
    return np.asarray(signs(1, 0).kernel(ROWS[:50], ROWS)).mean(axis=1)


@curve("race", "Race", "relative error of the density", "repetitions")
def race() -> Iterator[Point]:
    exact = exact_density()
    spread = np.sqrt(np.asarray(signs(1, 0).kernel(ROWS[:50], ROWS))).mean(axis=1)
    for R in (16, 64, 256, 1024):

        def errors(seed: int, R: int = R) -> tuple[Any, int]:
            sketch = ms.Race(signs(R, seed)).update(ROWS)
            return sketch.density(ROWS[:50]) / exact - 1, sketch.nbytes

        yield Point(R, errors, bound=float((spread / exact).max() / math.sqrt(R)))


@curve("anomalies", "AceSketch", "relative error of the score", "repetitions")
def ace() -> Iterator[Point]:
    family = signs(1, 0)
    exact = np.asarray(family.kernel(ROWS[:50], ROWS)).mean(axis=1)
    for R in (16, 64, 256, 1024):

        def errors(seed: int, R: int = R) -> tuple[Any, int]:
            sketch = ms.AceSketch(signs(R, seed)).update(ROWS)
            return sketch.score_samples(ROWS[:50]) / exact - 1, sketch.nbytes

        yield Point(R, errors)


@curve(
    "nadaraya_watson", "NadarayaWatsonSketch", "error of the prediction, targets from -1 to 1", "repetitions"
)
def nadaraya_watson() -> Iterator[Point]:
    y = np.tanh(ROWS[:, 0].astype(np.float64))
    kernel = np.asarray(signs(1, 0).kernel(ROWS[:50], ROWS))
    exact = kernel @ y / kernel.sum(axis=1)
    for R in (64, 256, 1024):

        def errors(seed: int, R: int = R) -> tuple[Any, int]:
            sketch = ms.NadarayaWatsonSketch(signs(R, seed)).update(ROWS, y)
            return sketch.predict(ROWS[:50]) - exact, sketch.nbytes

        yield Point(R, errors)


@curve("density", "DensitySketch", "relative error of the density", "buckets a row")
def density() -> Iterator[Point]:
    X = np.random.default_rng(3).standard_normal((20_000, 2))
    Q, h = X[:50] * 0.7, 0.5
    exact = np.array([np.clip(1 - np.abs(X - q) / h, 0, None).prod(axis=1).mean() / h**2 for q in Q])
    for W in (64, 256, 1024, 4096):

        def errors(seed: int, W: int = W) -> tuple[Any, int]:
            made = ms.DensitySketch(2, h, n_repetitions=8, n_buckets=W, max_bins=64, seed=seed).update(X)
            return made.density(Q) / exact - 1, made.nbytes

        yield Point(W, errors)


@curve("storm", "StormSketch", "error of the second moments, over their norm", "frames")
def storm() -> Iterator[Point]:
    X = (ROWS[:, :8] / np.linalg.norm(ROWS[:, :8], axis=1).max()).astype(np.float64)
    exact = X.T @ X / X.shape[0]
    for frames in (10, 40, 160, 640):

        def errors(seed: int, frames: int = frames) -> tuple[Any, int]:
            sketch = ms.StormSketch(8, frames, seed=seed).update(X)
            found = np.asarray(sketch.second_moments())
            return np.linalg.norm(found - exact) / np.linalg.norm(exact), sketch.nbytes

        yield Point(frames, errors)


@curve(
    "representer",
    "RepresenterSketch",
    "error of the sum, over the weights' norm",
    "repetitions",
)
def representer() -> Iterator[Point]:
    weights = np.random.default_rng(4).standard_normal((ROWS.shape[0], 1))
    exact = np.asarray(signs(1, 0).kernel(ROWS[:50], ROWS)) @ weights
    scale = float(np.sqrt((weights**2).sum()))
    for R in (64, 256, 1024):

        def errors(seed: int, R: int = R) -> tuple[Any, int]:
            sketch = ms.RepresenterSketch(signs(R, seed), 1).update(ROWS, weights)
            return (sketch.query(ROWS[:50]) - exact) / scale, sketch.nbytes

        yield Point(R, errors)


@curve("fourier", "FourierSketch", "error of the density", "components")
def fourier() -> Iterator[Point]:
    # A density of cosines has a variance of at most 1 / (2 m), whatever the rows.
    exact = np.exp(-((ROWS[:50, None] - ROWS) ** 2).sum(axis=2) / (2 * 4.0**2)).mean(axis=1)
    for m in (64, 256, 1024, 4096):

        def errors(seed: int, m: int = m) -> tuple[Any, int]:
            sketch = ms.FourierSketch(16, m, 4.0, seed=seed).update(ROWS)
            return sketch.density(ROWS[:50]) - exact, sketch.nbytes

        yield Point(m, errors, bound=math.sqrt(0.5 / m))


@curve("private", "PrivateRace", "relative error of the density, epsilon 1", "rows")
def private() -> Iterator[Point]:
    X = clusters(100_000, 16)
    family = signs(1, 0)
    for n in (1000, 10_000, 100_000):
        exact = np.asarray(family.kernel(X[:50], X[:n])).mean(axis=1)

        def errors(seed: int, n: int = n, exact: Any = exact) -> tuple[Any, int]:
            release = ms.Race(signs(100, seed)).update(X[:n]).release(1.0)
            return release.density(X[:50]) / exact - 1, release.nbytes

        yield Point(n, errors)


def truth_of_keys() -> tuple[NDArray[Any], NDArray[Any]]:
    keys, counts = np.unique(ZIPF, return_counts=True)
    chosen = np.random.default_rng(5).choice(keys.size, 500, replace=False)
    return keys[chosen], counts[chosen]


def tables(sketch: Any, bound: Callable[[int], float]) -> Iterator[Point]:
    keys, truth = truth_of_keys()
    for W in (256, 1024, 4096, 16_384):

        def errors(seed: int, W: int = W) -> tuple[Any, int]:
            made = sketch(5, W, seed=seed).update(ZIPF)
            return (made.query(keys) - truth) / ZIPF.size, made.nbytes

        yield Point(W, errors, bound=bound(W))


@curve("counting", "CountMinSketch", "error of a count, over all counts", "buckets")
def count_min() -> Iterator[Point]:
    yield from tables(ms.CountMinSketch, lambda W: math.e / W)


@curve("counting", "CountSketch", "error of a count, over all counts", "buckets")
def count_sketch() -> Iterator[Point]:
    yield from tables(ms.CountSketch, lambda W: math.nan)


@curve("counting", "HeavyHitters", "keys reported beyond the frequent, over those", "buckets")
def heavy_hitters() -> Iterator[Point]:
    keys, counts = np.unique(ZIPF, return_counts=True)
    frequent = {int(key) for key in keys[counts > 0.001 * ZIPF.size]}
    for W in (500, 1000, 2000, 5437):

        def errors(seed: int, W: int = W) -> tuple[Any, int]:
            sketch = ms.HeavyHitters(0.001, n_buckets=W, seed=seed).update(ZIPF)
            found = {int(key) for key, _ in sketch.top()}
            assert frequent <= found
            return len(found - frequent) / len(frequent), sketch.nbytes

        yield Point(W, errors)


@curve("top_k", "TopK", "error of a count, over all counts", "counters")
def top_k() -> Iterator[Point]:
    keys, truth = np.unique(ZIPF, return_counts=True)
    rest = 1 - np.cumsum(np.append(0, np.sort(truth)[::-1])) / ZIPF.size
    for m in (30, 100, 300, 1000):
        bound = float((rest[: m + 1] / (m + 1 - np.arange(m + 1))).min())

        def errors(seed: int, m: int = m) -> tuple[Any, int]:
            stream = np.random.default_rng(seed).permutation(ZIPF)  # on which the errors depend
            sketch = ms.TopK(10, n_counters=m, seed=seed)
            for batch in np.array_split(stream, 20):
                sketch.update(batch)
            return (sketch.query(keys) - truth) / ZIPF.size, sketch.nbytes

        yield Point(m, errors, bound=bound)


@curve("minhash", "MinHashSketch", "error of the Jaccard similarity 0.5", "bins")
def jaccard() -> Iterator[Point]:
    yield from sets(lambda sketch: sketch.jaccard([0], [1]) - 0.5, lambda m: math.sqrt(0.25 / m))


@curve("minhash", "MinHashSketch", "relative error of the cardinality", "bins")
def cardinality() -> Iterator[Point]:
    yield from sets(lambda sketch: sketch.cardinality() / 30_000 - 1, lambda m: 1 / math.sqrt(m))


def sets(ask: Callable[[Any], Any], expected: Callable[[int], float]) -> Iterator[Point]:
    tokens = np.concatenate([np.arange(30_000), np.arange(10_000, 40_000)])
    numbers = np.repeat([0, 1], 30_000)
    for m in (64, 256, 1024, 4096):

        def errors(seed: int, m: int = m) -> tuple[Any, int]:
            sketch = ms.MinHashSketch(2, m, seed=seed).update(tokens, sets=numbers)
            return ask(sketch), sketch.nbytes // 2

        yield Point(m, errors, expected=expected(m))


@curve("minhash", "MinHash, permutations", "error of the Jaccard similarity 0.5", "hashes")
def minhash() -> Iterator[Point]:
    pair = [np.arange(0, 300), np.arange(100, 400)]
    for m in (64, 256, 1024, 4096):

        def errors(seed: int, m: int = m) -> tuple[Any, int]:
            family = MinHash(m, scheme="permutations", seed=seed)
            signatures = family.signatures(pair)
            return family.estimate_jaccard(signatures[:1], signatures[1:]) - 0.5, 4 * m

        yield Point(m, errors, expected=math.sqrt(0.25 / m))


@curve("hyperloglog", "HyperLogLog", "relative error of the cardinality", "registers")
def distinct() -> Iterator[Point]:
    for precision in (6, 8, 10, 12, 14):

        def errors(seed: int, precision: int = precision) -> tuple[Any, int]:
            sketch = ms.HyperLogLog(precision, seed=seed).update(np.arange(300_000))
            return sketch.cardinality() / 300_000 - 1, sketch.nbytes

        yield Point(1 << precision, errors, expected=ms.HyperLogLog(precision).standard_error)


@curve("bloom_filter", "BloomFilter", "false positives, over the rate asked for", "error rate asked for")
def bloom_filter() -> Iterator[Point]:
    for rate in (0.1, 0.03, 0.01, 0.003):

        def errors(seed: int, rate: float = rate) -> tuple[Any, int]:
            sketch = ms.BloomFilter(50_000, rate, seed=seed).update(np.arange(50_000))
            return sketch.contains(np.arange(10**6, 10**6 + 200_000)).mean() / rate, sketch.nbytes

        yield Point(rate, errors)


@curve("bloom_filter", "RibbonFilter", "false positives, over the rate asked for", "error rate asked for")
def ribbon_filter() -> Iterator[Point]:
    for rate in (0.1, 0.03, 0.01, 0.003):

        def errors(seed: int, rate: float = rate) -> tuple[Any, int]:
            made = ms.RibbonFilter(np.arange(50_000), rate, seed=seed, progress=False)
            return made.contains(np.arange(10**6, 10**6 + 200_000)).mean() / rate, made.nbytes

        yield Point(rate, errors)


@curve("bloom_signatures", "BloomSignatures", "relative error of common neighbours, 20 of 50", "bits")
def bloom_signatures() -> Iterator[Point]:
    edges = [(0, 100 + i) for i in range(50)] + [(1, 130 + i) for i in range(50)]
    for bits in (128, 256, 512, 1024, 2048):

        def errors(seed: int, bits: int = bits) -> tuple[Any, int]:
            sketch = ms.BloomSignatures(200, bits, seed=seed).update(np.array(edges))
            return sketch.common_neighbors([0], [1]) / 20 - 1, bits // 8

        t = 80 / bits
        yield Point(bits, errors, bound=math.sqrt(3 * bits * (math.exp(t) - t - 1)) / 20)


@curve("group_testing", "BloomPooling", "positives missed, 1 % of 1,000 samples", "tests")
def pooling() -> Iterator[Point]:
    for tests in (60, 90, 120, 160, 200):

        def errors(seed: int, tests: int = tests) -> tuple[Any, int]:
            design = ms.BloomPooling(1000, tests, prevalence=0.01, seed=seed)
            truth = np.zeros(1000, dtype=bool)
            truth[np.random.default_rng(seed).choice(1000, 10, replace=False)] = True
            found = design.decode(design.outcomes(truth)).infected
            return (truth & ~found).sum() / 10, 0

        yield Point(tests, errors)


@curve("nearest_neighbours", "LSHIndex", "recall at cosine 0.9, less the predicted", "tables")
def index() -> Iterator[Point]:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((2000, 32))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    noise = rng.standard_normal(X.shape)
    noise -= (noise * X).sum(axis=1, keepdims=True) * X
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    Q = 0.9 * X + math.sqrt(1 - 0.81) * noise
    for L in (4, 16, 64):
        predicted = 1 - (1 - (1 - math.acos(0.9) / math.pi) ** 16) ** L

        def errors(seed: int, L: int = L, predicted: float = predicted) -> tuple[Any, int]:
            family = SignedRandomProjection(32, n_hashes=L, power=16, seed=seed)
            made = ms.LSHIndex(family, capacity=64, seed=seed).update(X)
            ids = made.query(Q, k=10).ids
            found = (ids == np.arange(2000)[:, None]).any(axis=1).mean()
            return found - predicted, made.nbytes

        yield Point(L, errors)


@curve("static_functions", "StaticFunction", "bytes over the entropy, % of it", "keys")
def static_function() -> Iterator[Point]:
    for n in (1000, 10_000, 100_000, 1_000_000):
        values = np.minimum(np.random.default_rng(7).geometric(0.5, n), 255).astype(np.uint8)
        shares = np.bincount(values) / n
        shares = shares[shares > 0]
        entropy = -n * (shares * np.log2(shares)).sum() / 8

        def errors(seed: int, n: int = n, values: Any = values, entropy: float = entropy) -> tuple[Any, int]:
            made = ms.StaticFunction(np.arange(n), values, seed=seed, progress=False)
            return 100 * (made.nbytes / entropy - 1), made.nbytes

        yield Point(n, errors)


def latencies(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).lognormal(3.0, 2.0, 100_000)


@curve("quantiles", "DDSketch", "relative error of quantiles from 1 % to 99.9 %", "relative_error, %")
def ddsketch() -> Iterator[Point]:
    q = np.array([0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
    for percent in (0.1, 0.5, 1.0, 5.0):

        def errors(seed: int, percent: float = percent) -> tuple[Any, int]:
            values, sketch = latencies(seed), ms.DDSketch(percent / 100)
            exact = np.quantile(values, q, method="lower")
            return sketch.update(values).quantile(q) / exact - 1, sketch.nbytes

        yield Point(percent, errors, bound=percent / 100)


@curve("quantiles", "KLLSketch", "error of ranks, % of all values", "k")
def kll() -> Iterator[Point]:
    values = np.sort(latencies(0))
    asked = np.arange(5_000, 100_000, 10_000)
    for k in (50, 200, 800):

        def errors(seed: int, k: int = k) -> tuple[Any, int]:
            sketch = ms.KLLSketch(k, seed=seed).update(latencies(0))
            return 100 * (sketch.rank(values[asked]) - (asked + 1)) / values.size, sketch.nbytes

        pairs = (ms.KLLSketch(k).update(values).state["compactions"].array + 1) // 2
        spread = math.sqrt(float((pairs * 4.0 ** np.arange(pairs.size)).sum()))
        yield Point(k, errors, expected=100 * spread / values.size)


def replaced(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the old rows of all curves in their order, with the new rows of the curves that have some."""
    names = ("page", "sketch", "error", "varied")
    rows = []
    for curve_names in CURVES:
        found, kept = (
            [r for r in given if tuple(r[n] for n in names) == curve_names] for given in (new, old)
        )
        rows += found or kept
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--trials", type=int, default=200, help="number of sketches of each size (default: 200)"
    )
    parser.add_argument("--only", help="measure only sketches with this in their names, and keep other rows")
    arguments = parser.parse_args()
    rows = []
    for (page, sketch, error, size), points in CURVES.items():
        if arguments.only and arguments.only not in sketch:
            continue
        for point in points():
            trials = arguments.trials if point.size < 1e6 else max(1, arguments.trials // 10)
            made = [point.errors(seed) for seed in range(trials)]
            errors = np.concatenate([np.ravel(found) for found, _ in made])
            row = {"page": page, "sketch": sketch, "error": error, "varied": size, "size": point.size}
            row |= {"bytes": made[0][1], "trials": trials}
            row |= {
                f"{q:.0%}": float(v) for q, v in zip(QUANTILES, np.quantile(errors, QUANTILES), strict=True)
            }
            row |= {"mean": float(errors.mean()), "std": float(errors.std())}
            row |= {k: v for k, v in (("expected std", point.expected), ("bound", point.bound)) if v == v}
            rows.append(row)
            print(
                *(f"{k} {v:.4g}" if isinstance(v, float) else v for k, v in row.items()),
                sep=" | ",
                flush=True,
            )
    path = RESULTS / "characterise.json"
    if arguments.only:
        rows = replaced(json.loads(path.read_text())["rows"], rows)
    write(path, rows)


if __name__ == "__main__":
    main()
