"""Every public call that takes arrays, with plain arguments: what `test_arguments.py` varies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mergesketch
import numpy as np
from mergesketch import (
    AceDetector,
    BloomFilter,
    BloomPooling,
    BloomSignatures,
    CountMinSketch,
    CountSketch,
    DensitySketch,
    HeavyHitters,
    LSHIndex,
    MinHashSketch,
    NadarayaWatsonSketch,
    Race,
    RaceWindow,
    RepresenterSketch,
    RibbonFilter,
    StaticFunction,
    StaticFunctionBuilder,
    StaticTable,
    StormSketch,
    private_classifier,
    private_regressor,
    suggest,
)
from mergesketch.lsh import (
    BBitMinHash,
    BitSampling,
    CrossPolytope,
    HashFamily,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
    hash_keys,
    shingle,
)

N, D = 9, 12
RNG = np.random.default_rng(0)
#: Small integers, which every dtype holds.
ROWS = RNG.integers(-8, 9, (N, D)).astype(float)
WEIGHTS = np.maximum(ROWS, 0)
COUNTS = RNG.integers(1, 9, N)
KEYS = RNG.choice(100, N, replace=False)
FLAGS = KEYS % 3 == 0
TEXTS = [f"key {key}" for key in KEYS]
OFFSETS = np.concatenate([[0], np.cumsum(RNG.integers(0, 6, N))])
#: With a token twice in one set.
TOKENS = RNG.integers(0, 30, OFFSETS[-1])
TOKENS[1] = TOKENS[0]
EDGES = RNG.integers(0, N, (20, 2))
BITS = np.packbits(RNG.random((N, 8 * 5)) < 0.5, axis=1)

ANGLES = SignedRandomProjection(D, 8, power=4)
DISTANCES = PStable(D, 8, width=9.0, n_buckets=16)
SETS = MinHash(8, n_buckets=16)
ON_ROWS: dict[str, tuple[HashFamily, Any]] = {
    "signs": (ANGLES, ROWS),
    "signs by Hadamard": (SignedRandomProjection(D, 8, power=4, projection="hadamard"), ROWS),
    "signs of any width": (SignedRandomProjection(None, 8, power=4, projection="sparse"), ROWS),
    "distances": (DISTANCES, ROWS),
    "cross-polytope": (CrossPolytope(D, 4), ROWS),
    "inner products": (InnerProduct(D, 8, max_norm=60.0), ROWS),
    "weights": (WeightedMinHash(8, n_buckets=16), WEIGHTS),
    "winners": (WinnerTakeAll(D, 8), ROWS),
    "bits": (BitSampling(40, 8, power=4), BITS),
}
ON_SETS: dict[str, HashFamily] = {
    "permutations": MinHash(8, power=2, scheme="permutations"),
    "one permutation": MinHash(8, n_buckets=64, scheme="one-permutation"),
    "values": MinHash(8, scheme="fast-similarity"),
    "b bits": BBitMinHash(8, bits=2),
}


@dataclass(frozen=True)
class Case:
    """A call and its plain arguments, arrays or pairs ``(tokens, offsets)``."""

    #: What of the public interface is called: its name in `mergesketch`, and what kind of it.
    name: str
    call: Callable[..., Any]
    arguments: dict[str, Any]
    #: The argument with whose rows the rows of the result go.
    rows: str | None = None
    #: The arguments that may be SciPy sparse matrices as well.
    sparse: tuple[str, ...] = ()
    #: Whether other dtypes of the same numbers give the same result; they do not in what is saved.
    any_dtype: bool = True
    #: How far off results may be: the angle of equal rows is exact to the root of the rounding only.
    tolerance: float = 1e-12

    def plain(self) -> dict[str, Any]:
        """Copy the plain arguments."""
        return {
            name: tuple(map(np.copy, value)) if isinstance(value, tuple) else value.copy()
            for name, value in self.arguments.items()
        }

    @property
    def target(self) -> Any:
        """The function that is called, to be found by name."""
        first, *rest = self.name.partition(":")[0].split(".")
        found: Any = getattr(mergesketch if hasattr(mergesketch, first) else mergesketch.lsh, first)
        for part in rest:
            found = getattr(found, part)
        return found


def same(found: Any, expected: Any, form: str, tolerance: float = 1e-12) -> None:
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected), form
        for one, other in zip(found, expected, strict=True):
            same(one, other, form, tolerance)
    elif isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=tolerance, err_msg=form)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, err_msg=form)
    else:
        assert found == expected, form


def family_cases() -> Iterator[Case]:
    for kind, (family, X) in ON_ROWS.items():
        name = type(family).__name__
        sparse: Any = (lambda *names: ()) if name == "BitSampling" else (lambda *names: names)
        yield Case(f"{name}.hash: {kind}", family.hash, {"X": X}, "X", sparse("X"))

        def hash_read(X: Any, family: HashFamily = family) -> Any:
            return family.hash(family.read_rows(X))

        yield Case(f"{name}.read_rows: {kind}", hash_read, {"X": X}, "X", sparse("X"))
        yield Case(f"{name}.hash_query: {kind}", family.hash_query, {"Q": X}, "Q", sparse("Q"))
        pair = {"X": X, "Y": X[:5]}
        yield Case(f"{name}.kernel: {kind}", family.kernel, pair, "X", sparse("X", "Y"), tolerance=1e-7)
        n_probes = 1 if name in ("WeightedMinHash", "WinnerTakeAll") else 2

        def probe(Q: Any, family: HashFamily = family, n_probes: int = n_probes) -> Any:
            return family.probe(Q, n_probes)

        yield Case(f"{name}.probe: {kind}", probe, {"Q": X}, "Q", sparse("Q"))
    for kind, family in ON_SETS.items():
        name, X = type(family).__name__, (TOKENS, OFFSETS)
        yield Case(f"{name}.hash: {kind}", family.hash, {"X": X}, "X", ("X",))
        yield Case(
            f"{name}.read_rows: {kind}", lambda X, f=family: f.hash(f.read_rows(X)), {"X": X}, "X", ("X",)
        )
        yield Case(f"{name}.signatures: {kind}", family.signatures, {"sets": X}, "sets", ("sets",))
        yield Case(f"{name}.hash_query: {kind}", family.hash_query, {"Q": X}, "Q", ("Q",))
        yield Case(f"{name}.probe: {kind}", lambda Q, f=family: f.probe(Q, 1), {"Q": X}, "Q", ("Q",))
        yield Case(f"{name}.kernel: {kind}", family.kernel, {"X": X, "Y": X}, "X", ("X", "Y"))
        signatures = family.signatures(X)
        yield Case(f"{name}.codes: {kind}", family.codes, {"signatures": signatures}, "signatures")
        both = {"A": signatures, "B": signatures[::-1].copy()}
        yield Case(f"{name}.estimate_jaccard: {kind}", family.estimate_jaccard, both)
    b_bits = ON_SETS["b bits"]
    packed = b_bits.packed((TOKENS, OFFSETS))
    yield Case("BBitMinHash.packed", b_bits.packed, {"sets": (TOKENS, OFFSETS)}, "sets", ("sets",))
    yield Case("BBitMinHash.estimate_packed", b_bits.estimate_packed, {"A": packed, "B": packed[::-1].copy()})
    yield Case(
        "InnerProduct.oversized", InnerProduct(D, 4, max_norm=20.0).oversized, {"X": ROWS}, "X", ("X",)
    )
    families = [family for family, _ in ON_ROWS.values()] + list(ON_SETS.values())
    for family in {type(family): family for family in families}.values():
        name = type(family).__name__
        # Numbers that are exact in every float.
        few = np.array([0.0, 0.25, 0.5, 1.0])
        yield Case(f"{name}.collision_probability", family.collision_probability, {"distance": few})
        yield Case(f"{name}.distance", family.distance, {"probability": few})


def sketch_cases() -> Iterator[Case]:
    X, ones = {"X": ROWS}, {"Q": ROWS}
    sets = {"X": (TOKENS, OFFSETS)}

    def race(**options: Any) -> Race:
        return Race(ANGLES, **options)

    yield Case(
        "Race.update", lambda X, weights: race().update(X, weights), {**X, "weights": COUNTS}, None, ("X",)
    )
    yield Case("Race.update: sets", lambda X: Race(SETS).update(X), sets, None, ("X",))
    yield Case("Race.update: bits", lambda X: Race(BitSampling(40, 8, power=4)).update(X), {"X": BITS})
    two = np.stack([COUNTS, -COUNTS], axis=1)

    def outputs(X, weights):
        return race(n_outputs=2).update(X, weights)

    yield Case("Race.update: outputs", outputs, {**X, "weights": two}, None, ("X",))

    def real(X, weights):
        return race(dtype="float").update(X, weights)

    yield Case("Race.update: real", real, {**X, "weights": COUNTS / 4}, None, ("X",))
    full = race().update(ROWS)
    yield Case("Race.query", full.query, ones, "Q", ("Q",))
    yield Case("Race.density", full.density, ones, "Q", ("Q",))
    ace = AceDetector(ANGLES).update(ROWS)
    yield Case("AceDetector.update", lambda X: AceDetector(ANGLES).update(X), X, None, ("X",))
    yield Case("AceDetector.partial_fit", lambda X: AceDetector(ANGLES).partial_fit(X), X, None, ("X",))
    for method in ("predict", "decision_function", "score_samples"):
        yield Case(f"AceDetector.{method}", getattr(ace, method), X, "X", ("X",))
    window = RaceWindow(ANGLES, 3)
    panes = {**X, "weights": COUNTS, "pane": np.sort(COUNTS % 3)}
    yield Case("RaceWindow.update", lambda **given: window.copy().update(**given), panes, None, ("X",))
    seen = window.copy().update(**panes)
    yield Case("RaceWindow.query", seen.query, ones, "Q", ("Q",))
    yield Case("RaceWindow.density", seen.density, ones, "Q", ("Q",))
    times = {**X, "y": COUNTS / 4, "weights": COUNTS / 2, "time": np.sort(COUNTS)}

    def smoother(**given):
        return NadarayaWatsonSketch(ANGLES, half_life=2.0).update(**given)

    yield Case("NadarayaWatsonSketch.update", smoother, times, None, ("X",))
    yield Case("NadarayaWatsonSketch.kernel_sum", smoother(**times).kernel_sum, ones, "Q", ("Q",))
    yield Case("NadarayaWatsonSketch.predict", smoother(**times).predict, ones, "Q", ("Q",))

    def fit(model_outputs: Any, X: Any) -> Any:
        return RepresenterSketch.fit(model_outputs, X, family=ANGLES)

    representer = fit(COUNTS / 4, ROWS)
    yield Case("RepresenterSketch.fit", fit, {"model_outputs": COUNTS / 4, **X}, None, ("X",))
    yield Case("RepresenterSketch.decision_function", representer.decision_function, X, "X", ("X",))
    yield Case("RepresenterSketch.predict", representer.predict, X, "X", ("X",))

    def density(X, weights):
        return DensitySketch(D, 4.0).update(X, weights)

    yield Case("DensitySketch.update", density, {**X, "weights": COUNTS})
    widths = np.repeat([2.0, 4.0], D // 2)

    def wide(width):
        return DensitySketch(D, width).update(ROWS)

    yield Case("DensitySketch", wide, {"width": widths})

    def sample(X):
        return DensitySketch.for_sample(X, n_repetitions=2).config()

    few = np.repeat(ROWS[:, :3], 4, axis=0) + RNG.integers(0, 3, (4 * N, 3))
    yield Case("DensitySketch.for_sample", sample, {"X": few})
    for method in ("density", "log_density"):
        yield Case(f"DensitySketch.{method}", getattr(density(ROWS, COUNTS), method), X, "X")

    def storm(X):
        return StormSketch(D, 8, max_norm=40.0).update(X)

    yield Case("StormSketch.update", storm, X, None, ("X",))
    index = LSHIndex(DISTANCES).add(ROWS)
    for method in ("add", "update"):

        def add(X, ids, m=method):
            return getattr(LSHIndex(ANGLES), m)(X, ids)

        yield Case(f"LSHIndex.{method}", add, {**X, "ids": KEYS}, None, ("X",))
    yield Case("LSHIndex.query", lambda Q: index.query(Q, 3), ones, "Q", ("Q",))
    yield Case(
        "LSHIndex.query_codes", lambda codes: index.query_codes(codes, 3), {"codes": DISTANCES.hash(ROWS)}
    )
    yield Case("LSHIndex.kernel_estimate", index.kernel_estimate, {"counts": COUNTS % 9})
    yield Case("LSHIndex.distance_estimate", index.distance_estimate, {"counts": COUNTS % 9})
    for kind, (family, rows) in ON_ROWS.items():
        if family.metric not in ("rank",):
            made = LSHIndex(family).add(rows)

            def search(Q, rows, made=made):
                return made.search(Q, rows, 2)

            weighted = family.metric == "weighted_jaccard"
            sparse = ("Q", "rows") if weighted else () if kind == "bits" else ("Q",)
            yield Case(f"LSHIndex.search: {kind}", search, {"Q": rows, "rows": rows}, "Q", sparse)
    pair = (TOKENS, OFFSETS)
    of_sets = LSHIndex(SETS).add(pair)

    def search(Q, rows):
        return of_sets.search(Q, rows, 2)

    yield Case("LSHIndex.search: sets", search, {"Q": pair, "rows": pair}, "Q", ("Q", "rows"))


def key_cases() -> Iterator[Case]:
    keys, counts = {"keys": KEYS}, {"keys": KEYS, "counts": COUNTS}
    yield Case("hash_keys", hash_keys, keys, "keys")
    for cls, make in (
        (CountMinSketch, lambda: CountMinSketch(3, 16)),
        (CountSketch, lambda: CountSketch(3, 16)),
        (HeavyHitters, lambda: HeavyHitters(0.2)),
    ):

        def add(keys, counts, make=make):
            return make().update(keys, counts)

        yield Case(f"{cls.__name__}.update", add, counts)
        full = make().update(KEYS, COUNTS)
        for method in ("query", "lower_bound", "upper_bound"):
            yield Case(f"{cls.__name__}.{method}", getattr(full, method), keys, "keys")
    yield Case("BloomFilter.update", lambda keys: BloomFilter(100).update(keys), keys)
    yield Case("BloomFilter.contains", BloomFilter(100).update(KEYS[:4]).contains, keys, "keys")

    def ribbon(keys):
        return RibbonFilter(keys, progress=False)

    yield Case("RibbonFilter", lambda keys: ribbon(keys).to_bytes(), keys)
    yield Case("RibbonFilter.contains", ribbon(KEYS[:4]).contains, keys, "keys")
    minima = MinHashSketch(3, 16).update(KEYS, COUNTS % 3)

    def tokens(tokens, sets):
        return MinHashSketch(3, 16).update(tokens, sets)

    yield Case("MinHashSketch.update", tokens, {"tokens": KEYS, "sets": COUNTS % 3})
    for method in ("jaccard", "containment", "intersection", "union"):
        both = {"left": COUNTS % 3, "right": KEYS % 3}
        yield Case(f"MinHashSketch.{method}", getattr(minima, method), both)


def static_cases() -> Iterator[Case]:
    def looked_up(make: Callable[..., Any]) -> Callable[..., Any]:
        def call(keys: Any, **values: Any) -> Any:
            function = make(keys, *values.values(), progress=False, key_check_bits=16)
            return function.lookup(KEYS), type(function).from_bytes(function.to_bytes()).lookup(KEYS)

        return call

    for kind, values in (
        ("floats", COUNTS / 4),
        ("small floats", (COUNTS / 4).astype(np.float32)),
        ("integers", COUNTS - 4),
        ("unsigned", COUNTS.astype(np.uint64) + np.uint64(2**63)),
        ("flags", FLAGS),
        ("texts", np.array(TEXTS)),
        ("byte strings", np.array(TEXTS).astype("S")),
    ):
        yield Case(f"StaticFunction: {kind}", looked_up(StaticFunction), {"keys": KEYS, "values": values})

        def saved(keys, values):
            return StaticFunction(keys, values, progress=False).to_bytes()

        yield Case(f"StaticFunction: {kind}, saved", saved, {"keys": KEYS, "values": values}, any_dtype=False)

        def built(keys: Any, values: Any) -> Any:
            builder = StaticFunctionBuilder().update(keys[:3], values[:3])
            return builder.extend([(keys[3:], values[3:])], False).build().lookup(KEYS)

        yield Case(f"StaticFunctionBuilder.update: {kind}", built, {"keys": KEYS, "values": values})
        yield Case(f"StaticFunctionBuilder.extend: {kind}", built, {"keys": KEYS, "values": values})

    def stepped(keys, values):
        return StaticFunction(keys, values, precision=0.5, progress=False)

    yield Case(
        "StaticFunction: steps",
        lambda keys, values: stepped(keys, values).lookup(KEYS),
        {"keys": KEYS, "values": COUNTS / 4},
    )
    for kind, rows in (("floats", ROWS[:, :3] / 4), ("integers", ROWS[:, :3].astype(np.int64))):
        yield Case(f"StaticTable: {kind}", looked_up(StaticTable), {"keys": KEYS, "rows": rows})
        table = StaticTable(KEYS[:5], rows[:5], key_check_bits=16, progress=False)
        yield Case(f"StaticTable.lookup: {kind}", table.lookup, {"keys": KEYS, "missing": rows[7]})
        yield Case(f"StaticTable.contains: {kind}", table.contains, {"keys": KEYS}, "keys")
    function = StaticFunction(KEYS, COUNTS, key_check_bits=16, progress=False)
    yield Case(
        "StaticFunction.lookup", lambda keys: function.lookup(keys, missing=-1), {"keys": KEYS}, "keys"
    )
    yield Case("StaticFunction.contains", function.contains, {"keys": KEYS}, "keys")
    data = np.frombuffer("".join(TEXTS).encode(), np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in TEXTS])])
    text = (data, offsets)
    yield Case("hash_keys: buffer", hash_keys, {"keys": text})
    yield Case("shingle: buffer", lambda documents: shingle(documents, size=2), {"documents": text})
    yield Case("hash_keys: texts", hash_keys, {"keys": np.array(TEXTS)}, "keys")
    yield Case("hash_keys: byte strings", hash_keys, {"keys": np.array(TEXTS).astype("S")}, "keys")
    yield Case("shingle: texts", lambda documents: shingle(documents, size=2), {"documents": np.array(TEXTS)})


def graph_and_pool_cases() -> Iterator[Case]:
    graph, edges = BloomSignatures(N, 64).update(EDGES), {"edges": EDGES}
    yield Case("BloomSignatures.update", lambda edges: BloomSignatures(N, 64).update(edges), edges)
    yield Case("BloomSignatures.propagate", graph.propagate, edges)
    yield Case("BloomSignatures.link_features", graph.link_features, {"pairs": EDGES}, "pairs")
    yield Case("BloomSignatures.cardinality", graph.cardinality, {"u": EDGES[:, 0].copy()}, "u")
    for method in ("adamic_adar", "common_neighbors", "jaccard", "resource_allocation"):
        both = {"u": EDGES[:, 0].copy(), "v": EDGES[:, 1].copy()}
        yield Case(f"BloomSignatures.{method}", getattr(graph, method), both)
    pools = BloomPooling(20, 8)
    sick = np.arange(20) == 4
    risk = np.repeat([0.125, 0.25], 10)
    yield Case(
        "BloomPooling",
        lambda prevalence: BloomPooling(20, 8, prevalence=prevalence).decode(pools.outcomes(sick)),
        {"prevalence": risk},
    )
    yield Case("BloomPooling.outcomes", pools.outcomes, {"infected": sick})
    yield Case("BloomPooling.decode", pools.decode, {"outcomes": pools.outcomes(sick)})
    yield Case(
        "BloomPooling.suggest_pools", lambda posterior: pools.suggest_pools(posterior, 2), {"posterior": risk}
    )


def private_cases() -> Iterator[Case]:
    # So large an epsilon that there is no noise.
    low, high = np.full(D, -8.0), np.full(D, 8.0)
    given = {"X": ROWS, "low": low, "high": high}

    def classifier(X: Any, y: Any, low: Any, high: Any) -> Any:
        model = private_classifier(X, y, epsilon=1e6, classes=[0, 1, 2], low=low, high=high, family=DISTANCES)
        return model.decision_function(ROWS), model.predict(ROWS)

    def regressor(X: Any, y: Any, low: Any, high: Any) -> Any:
        how = {"epsilon": 1e6, "low": low, "high": high, "target_low": 0.0, "target_high": 9.0}
        return private_regressor(X, y, family=DISTANCES, **how).predict(ROWS)

    yield Case("private_classifier", classifier, {**given, "y": COUNTS % 3})
    yield Case("private_regressor", regressor, {**given, "y": COUNTS / 4})
    how: Any = {"low": low, "high": high, "family": DISTANCES}
    classes = private_classifier(ROWS, COUNTS % 3, epsilon=1e6, classes=[0, 1, 2], **how)
    for method in ("decision_function", "predict", "predict_proba"):
        yield Case(f"PrivateClassifier.{method}", getattr(classes, method), {"X": ROWS}, "X")
    line = private_regressor(ROWS, COUNTS / 4, epsilon=1e6, target_low=0.0, target_high=9.0, **how)
    yield Case("PrivateRegressor.predict", line.predict, {"X": ROWS}, "X")
    release = Race(DISTANCES).update(ROWS).release(1e6)
    yield Case("PrivateRace.query", release.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("PrivateRace.density", release.density, {"Q": ROWS}, "Q", ("Q",))

    def modes(**given):
        return release.modes(2, n_starts=4, n_steps=3, **given)

    yield Case("PrivateRace.modes: candidates", modes, {"candidates": ROWS})
    yield Case("PrivateRace.modes: box", modes, {"low": low, "high": high})
    many = np.repeat(ROWS, 12, axis=0) + RNG.integers(0, 9, (108, D))
    near: Any = {"metric": "angle", "n_rows": 500, "near": 0.1}
    yield Case("suggest", lambda sample: suggest(sample=sample, **near), {"sample": many}, None, ("sample",))
    yield Case("suggest: far", lambda far: suggest(far=far, **near), {"far": COUNTS / 8 + 0.5})


def cases() -> list[Case]:
    makers = (family_cases, sketch_cases, key_cases, static_cases, graph_and_pool_cases, private_cases)
    return [case for maker in makers for case in maker()]


CASES = cases()
