"""Cases of public calls that take arrays. The tests vary the plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import mergesketch
import numpy as np
from later import Later
from mergesketch import LSHIndex
from mergesketch.lsh import HashFamily, MinHash, PStable, SignedRandomProjection

N, D = 9, 12
RNG = np.random.default_rng(0)
#: Small integers, which every dtype represents exactly.
ROWS = RNG.integers(-8, 9, (N, D)).astype(float)
WEIGHTS = np.maximum(ROWS, 0)
COUNTS = RNG.integers(1, 9, N)
KEYS = RNG.choice(100, N, replace=False)
FLAGS = KEYS % 3 == 0
TEXTS = [f"key {key}" for key in KEYS]
OFFSETS = np.concatenate([[0], np.cumsum(RNG.integers(0, 6, N))])
#: Tokens of N sets; the first token occurs twice.
TOKENS = RNG.integers(0, 30, OFFSETS[-1])
TOKENS[1] = TOKENS[0]
EDGES = RNG.integers(0, N, (20, 2))
BITS = np.packbits(RNG.random((N, 8 * 5)) < 0.5, axis=1)
TEXT_BUFFER = (
    np.frombuffer("".join(TEXTS).encode(), np.uint8),
    np.concatenate([[0], np.cumsum([len(text) for text in TEXTS])]),
)

SIGNS = SignedRandomProjection(D, 8, power=4)
DISTANCES = PStable(D, 8, width=9.0, n_buckets=16)
SETS = MinHash(8, n_buckets=16)


@dataclass(frozen=True)
class Case:
    """A call and its plain arguments: arrays, or pairs ``(tokens, offsets)``."""

    #: The name in `mergesketch` of the function or method that is called, and a kind after a colon.
    name: str
    call: Callable[..., Any]
    #: The arguments by name, or a function that makes them if that needs kernels.
    given: dict[str, Any] | Callable[[], dict[str, Any]]
    #: The argument whose rows correspond to the rows of the result.
    rows: str | None = None
    #: The arguments that may be SciPy sparse matrices as well.
    sparse: tuple[str, ...] = ()
    #: True if other dtypes of the same numbers give the same result; in saved bytes they do not.
    any_dtype: bool = True
    #: The error that results may have: the angle of equal rows is exact to the root of the rounding only.
    tolerance: float = 1e-12

    @cached_property
    def arguments(self) -> dict[str, Any]:
        return self.given() if callable(self.given) else self.given

    def plain(self) -> dict[str, Any]:
        """Copy the plain arguments."""
        return {
            name: tuple(map(np.copy, value)) if isinstance(value, tuple) else value.copy()
            for name, value in self.arguments.items()
        }

    @property
    def target(self) -> Any:
        """Find the function that is called, by its name."""
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


def row_family_cases(kind: str, family: HashFamily, X: Any) -> Iterator[Case]:
    """Yield the calls of a family that hashes rows, and of an index that it makes."""
    name = type(family).__name__
    sparse: Any = (lambda *names: ()) if name == "BitSampling" else (lambda *names: names)

    def hash_read(X: Any) -> Any:
        return family.hash(family.read_rows(X))

    def hash_fixed(X: Any) -> Any:
        return family.for_rows(X).hash(X)

    yield Case(f"{name}.hash: {kind}", family.hash, {"X": X}, "X", sparse("X"))
    yield Case(f"{name}.read_rows: {kind}", hash_read, {"X": X}, "X", sparse("X"))
    yield Case(f"{name}.for_rows: {kind}", hash_fixed, {"X": X}, "X", sparse("X"))
    yield Case(f"{name}.hash_query: {kind}", family.hash_query, {"Q": X}, "Q", sparse("Q"))
    pair = {"X": X, "Y": X[:5]}
    yield Case(f"{name}.kernel: {kind}", family.kernel, pair, "X", sparse("X", "Y"), tolerance=1e-7)
    n_probes = 1 if name in ("WeightedMinHash", "WinnerTakeAll") else 2

    def probe(Q: Any) -> Any:
        return family.probe(Q, n_probes)

    yield Case(f"{name}.probe: {kind}", probe, {"Q": X}, "Q", sparse("Q"))
    if family.metric == "rank":
        return
    made = Later(lambda: LSHIndex(family).add(X))

    def search(Q: Any, rows: Any) -> Any:
        return made.search(Q, rows, 2)

    rows = ("rows",) if family.metric == "weighted_jaccard" else ()
    yield Case(f"LSHIndex.search: {kind}", search, {"Q": X, "rows": X}, "Q", sparse("Q", *rows))


def set_family_cases(kind: str, family: MinHash) -> Iterator[Case]:
    """Yield the calls of a family that hashes sets."""
    name, X = type(family).__name__, (TOKENS, OFFSETS)

    def hash_read(X: Any) -> Any:
        return family.hash(family.read_rows(X))

    def hash_fixed(X: Any) -> Any:
        return family.for_rows(X).hash(X)

    yield Case(f"{name}.hash: {kind}", family.hash, {"X": X}, "X", ("X",))
    yield Case(f"{name}.read_rows: {kind}", hash_read, {"X": X}, "X", ("X",))
    yield Case(f"{name}.for_rows: {kind}", hash_fixed, {"X": X}, "X", ("X",))
    yield Case(f"{name}.signatures: {kind}", family.signatures, {"sets": X}, "sets", ("sets",))
    yield Case(f"{name}.hash_query: {kind}", family.hash_query, {"Q": X}, "Q", ("Q",))
    yield Case(f"{name}.probe: {kind}", lambda Q: family.probe(Q, 1), {"Q": X}, "Q", ("Q",))
    yield Case(f"{name}.kernel: {kind}", family.kernel, {"X": X, "Y": X}, "X", ("X", "Y"))
    signatures = cache(lambda: family.signatures(X))
    yield Case(f"{name}.codes: {kind}", family.codes, lambda: {"signatures": signatures()}, "signatures")

    def both() -> dict[str, Any]:
        return {"A": signatures(), "B": signatures()[::-1].copy()}

    yield Case(f"{name}.estimate_jaccard: {kind}", family.estimate_jaccard, both)


def probability_cases(family: HashFamily) -> Iterator[Case]:
    """Yield the calls that turn distances into probabilities and back."""
    name = type(family).__name__
    # Numbers that are exact in every float.
    few = np.array([0.0, 0.25, 0.5, 1.0])
    yield Case(f"{name}.collision_probability", family.collision_probability, {"distance": few})
    yield Case(f"{name}.distance", family.distance, {"probability": few})


def key_count_cases(name: str, make: Callable[[], Any]) -> Iterator[Case]:
    """Yield the calls of a sketch that counts keys."""
    yield Case(
        f"{name}.update",
        lambda keys, counts: make().update(keys, counts),
        {"keys": KEYS, "counts": COUNTS},
    )
    full = Later(lambda: make().update(KEYS, COUNTS))
    for method in ("query", "lower_bound", "upper_bound"):
        yield Case(f"{name}.{method}", getattr(full, method), {"keys": KEYS}, "keys")


def built_and_looked_up(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that builds a static map and looks its keys up, before and after saving it."""

    def call(keys: Any, **values: Any) -> Any:
        function = make(keys, *values.values(), progress=False, key_check_bits=16)
        found = function.lookup(KEYS), type(function).from_bytes(function.to_bytes()).lookup(KEYS)
        # A table of a frame returns a frame.
        return tuple(np.asarray(one, np.float64) if hasattr(one, "to_numpy") else one for one in found)

    return call
