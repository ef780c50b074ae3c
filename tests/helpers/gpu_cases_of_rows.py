"""Cases of the kernels that hash rows: projections, rotations, probes, orders, weights, bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_cases import CASES, Case, OnDevice, case, on_device, words
from mergesketch.lsh import CrossPolytope, PStable, SignedRandomProjection, WeightedMinHash, WinnerTakeAll

# -- projections ------------------------------------------------------------------------------------


def family_parts(family: Any) -> tuple[Any, Any, Any]:
    if isinstance(family, SignedRandomProjection):
        return family._sign_projection.vectors
    return family._vectors


def dense_rows(rng: np.random.Generator, n: int, d: int, dtype: str) -> np.ndarray:
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-30, 30, (n, 1))
    if n > 3:
        X[0], X[1] = 0.0, X[2]
        X[3, ::2] = 0.0
    return X.astype(dtype)


def csr_rows(rng: np.random.Generator, n: int, d: int, dtype: str, index: str) -> tuple[OnDevice, ...]:
    X = dense_rows(rng, n, d, dtype)
    X[rng.random(X.shape) < 0.7] = 0.0
    rows, columns = np.nonzero(X)
    indptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)
    return on_device(indptr), on_device(columns.astype(index)), on_device(X[rows, columns])


def projection_cases(rng: np.random.Generator, sparse: bool, tail: Callable[[Any], Any]) -> Iterator[Case]:
    for n, d, n_hashes, power in ((1, 1, 1, 1), (37, 5, 3, 4), (9, 130, 70, 2)):
        parts, family = tail((d, n_hashes, power))
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64") if sparse else ("",):
                rows = (
                    csr_rows(rng, n, d, dtype, index)
                    if sparse
                    else (on_device(dense_rows(rng, n, d, dtype)),)
                )
                out = on_device(np.full((n, n_hashes), 7, np.uint32))
                yield *rows, *family_parts(family), *parts, 0, n, out


def sign_parts(shape: tuple[int, int, int]) -> Any:
    d, n_hashes, power = shape
    return (n_hashes,), SignedRandomProjection(d, n_hashes=n_hashes, power=power, seed=d)


def step_parts(shape: tuple[int, int, int]) -> Any:
    d, n_hashes, power = shape
    family = PStable(d, n_hashes=n_hashes, power=power, width=0.7, n_buckets=1000, seed=d)
    return (family._offsets, 0.7, family._keys, np.uint64(1000)), family


CASES["project_signs_dense"] = lambda rng: projection_cases(rng, False, sign_parts)
CASES["project_signs_csr"] = lambda rng: projection_cases(rng, True, sign_parts)
CASES["project_steps_dense"] = lambda rng: projection_cases(rng, False, step_parts)
CASES["project_steps_csr"] = lambda rng: projection_cases(rng, True, step_parts)


def hadamard_cases(rng: np.random.Generator, sparse: bool, signs: bool = True) -> Iterator[Case]:
    # One rotation and several; 16,384 coordinates do not fit shared memory.
    shapes = ((1, 1, 1), (300, 70, 9), (33, 40, 15)) if sparse else ((1, 1, 1), (300, 70, 9), (9000, 5, 3))
    for d, n_hashes, power in shapes:
        how = {"n_hashes": n_hashes, "power": power, "projection": "hadamard", "seed": d}
        masks, n = SignedRandomProjection(d, **how)._sign_projection.masks, 7
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64") if sparse else ("",):
                rows = (
                    csr_rows(rng, n, d, dtype, index) if sparse else [on_device(dense_rows(rng, n, d, dtype))]
                )
                if signs:
                    out = on_device(np.full((n, n_hashes), 7, np.uint32))
                    yield *rows, masks, n_hashes, power, 1, n, out
                else:
                    out = on_device(np.full((n - 1, n_hashes * power), 7, np.float32))
                    yield *rows, masks, 1, n, out


CASES["hadamard_products_dense"] = lambda rng: hadamard_cases(rng, False, False)
CASES["hadamard_products_csr"] = lambda rng: hadamard_cases(rng, True, False)
CASES["hadamard_signs_dense"] = lambda rng: hadamard_cases(rng, False)
CASES["hadamard_signs_csr"] = lambda rng: hadamard_cases(rng, True)


@case("mix_codes")
def codes_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for n_buckets in (1, 1000, 2**32):
        codes = rng.integers(0, 2**32, (33, 5), dtype=np.uint32)
        yield words(rng, 5), np.uint64(n_buckets), on_device(codes)


# -- bit vectors ------------------------------------------------------------------------------------


@case("sample_bits")
def bits_to_sample(rng: np.random.Generator) -> Iterator[Case]:
    for power in (1, 31, 70):
        X = on_device(rng.integers(0, 256, (20, 9), dtype=np.uint8))
        columns, shape = np.array([0, 3, 8]), (6, power)
        places, masks = rng.integers(0, 3, shape), (1 << rng.integers(0, 8, shape)).astype(np.uint8)
        words_each = -(-power // 32)
        out = on_device(np.zeros((18, 10 * words_each), np.uint32))
        yield X, columns, places, masks, 3, 2, 20, out


@case("mix_words")
def words_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for W in (1, 3):
        for probes in (1, 4):
            sampled = on_device(rng.integers(0, 2**32, (15, 5, W), dtype=np.uint32))
            flips = rng.integers(0, 2**32, (5, probes, W), dtype=np.uint32)
            for n_buckets in (0, 2, 2**32):
                out = on_device(np.zeros((15, 5, probes), np.uint32))
                yield sampled, flips, words(rng, 5), np.uint64(n_buckets), out


@case("pack_fields")
def codes_to_pack(rng: np.random.Generator) -> Iterator[Case]:
    for bits in (1, 2, 4, 8, 16):
        for n_fields in (1, 64, 71):
            codes = rng.integers(0, 1 << bits, (13, n_fields), dtype=np.uint32)
            out = np.full((13, -(-n_fields * bits // 64)), 7, np.uint64)
            yield on_device(codes), bits, 2, 13, on_device(out)


@case("count_equal_fields")
def fields_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for bits in (1, 4, 16):
        for W in (1, 40):
            A, B = words(rng, 12, W), words(rng, 12, W)
            B[3], B[4] = A[3], ~A[4]
            yield on_device(A), on_device(B), bits, W * 64 // bits, 1, 12, on_device(np.zeros(12, np.int64))


# -- hashed projections -----------------------------------------------------------------------------


def hashed_cases(rng: np.random.Generator, signs: bool) -> Iterator[Case]:
    for n_hashes, power in ((1, 1), (3, 4), (33, 2)):
        family = SignedRandomProjection(None, n_hashes=n_hashes, power=power, projection="sparse", seed=power)
        how = family._sign_projection.key, family._sign_projection.quantiles
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64"):
                rows = csr_rows(rng, 9, 50, dtype, index)
                if signs:
                    out = np.full((9, n_hashes), 7, np.uint32)
                    yield *rows, *how, n_hashes, power, 0, 9, on_device(out)
                else:
                    out = np.full((7, n_hashes * power), 7, np.float32)
                    yield *rows, *how, 2, 9, on_device(out)


CASES["hashed_products"] = lambda rng: hashed_cases(rng, False)
CASES["hashed_signs"] = lambda rng: hashed_cases(rng, True)


# -- probes -----------------------------------------------------------------------------------------


@case("probe_signs")
def signs_to_probe(rng: np.random.Generator) -> Iterator[Case]:
    for power, n_probes in ((1, 2), (3, 8), (12, 2), (12, 100)):
        for n_buckets in (0, 1000):
            # Small numbers, so that scores are equal at times; and two columns too many.
            products = rng.integers(-3, 4, (9, 5 * power + 2)).astype(np.float32)
            keys = words(rng, 5)[: 5 if n_buckets else 0]
            out = np.zeros((9, 5, n_probes), np.uint32)
            yield on_device(products), 5, power, keys, np.uint64(n_buckets), on_device(out)


@case("probe_steps")
def steps_to_probe(rng: np.random.Generator) -> Iterator[Case]:
    for power, n_probes in ((1, 3), (4, 81), (10, 60)):
        steps = rng.integers(-(2**62), 2**62, (9, 5 * power))
        above = rng.choice([0.0, 0.25, 0.5, 1.0, 0.3], steps.shape)
        out = np.zeros((9, 5, n_probes), np.uint32)
        yield on_device(steps), on_device(above), words(rng, 5), np.uint64(1000), on_device(out)


# -- cross-polytopes --------------------------------------------------------------------------------


def cross_polytope_cases(rng: np.random.Generator, sparse: bool, n_probes: int | None) -> Iterator[Case]:
    # Axes by threads, by warps; rows that are scattered first; a rotation that does not fit shared memory.
    shapes = [(1, 3, 1, 2), (300, 40, 3, 16), (300, 9, 2, 512)]
    if sparse:
        shapes.append((9000, 2, 2, 64))
    elif n_probes is None:
        shapes.append((9000, 1, 2, 16384))
    for d, n_hashes, power, dimension in shapes:
        for n_buckets in (None, 1000):
            family = CrossPolytope(d, n_hashes, power=power, dimension=dimension, n_buckets=n_buckets)
            how = family._masks, family.dimension, power, family._keys, np.uint64(family.n_buckets)
            for dtype in ("float32", "float64"):
                for index in ("int32", "int64") if sparse else ("",):
                    rows: tuple[Any, ...] = (on_device(dense_rows(rng, 5, d, dtype)),)
                    if sparse:
                        rows = *csr_rows(rng, 5, d, dtype, index), family._scatter_keys
                    probes = () if n_probes is None else (min(n_probes, dimension**power),)
                    yield *rows, *how, 1, 5, on_device(np.full((5, n_hashes, *probes), 7, np.uint32))


CASES["cross_polytope_codes_dense"] = lambda rng: cross_polytope_cases(rng, False, None)
CASES["cross_polytope_codes_csr"] = lambda rng: cross_polytope_cases(rng, True, None)
CASES["cross_polytope_probes_dense"] = lambda rng: cross_polytope_cases(rng, False, 20)
CASES["cross_polytope_probes_csr"] = lambda rng: cross_polytope_cases(rng, True, 70)


# -- orders -----------------------------------------------------------------------------------------


def winner_cases(rng: np.random.Generator, sparse: bool) -> Iterator[Case]:
    # Few and many bins, of which most are empty; the last does not fit shared memory.
    for d, n_hashes, group_size, power in ((2, 3, 2, 1), (100, 30, 8, 3), (9000, 7, 3, 1)):
        for n_buckets in (None, 1000):
            family = WinnerTakeAll(
                d, n_hashes, group_size=group_size, power=power, n_buckets=n_buckets, seed=d
            )
            bins, spots, _ = family._layout
            layout = bins, spots, family._n_own, family._n_bins
            for dtype in ("float32", "float64"):
                X = np.round(dense_rows(rng, 9, d, dtype), 1)
                X[4, d // 2 :] = 0.0
                if d > 1000:
                    X[5:, 5:] = 0.0
                out = on_device(np.full((9, n_hashes), 7, np.uint32))
                how = layout, family._settings, family._keys, 1, 9, out
                if sparse:
                    X[rng.random(X.shape) < 0.5] = 0.0
                    rows, columns = np.nonzero(X)
                    indptr = np.searchsorted(rows, np.arange(10)).astype(np.int64)
                    data = X[rows, columns]
                    data[::7] = 0.0  # zeros that are stored
                    yield on_device(indptr), on_device(columns.astype(np.int32)), on_device(data), *how
                else:
                    yield on_device(X), family._dense_groups, *how


CASES["winners_dense"] = lambda rng: winner_cases(rng, False)
CASES["winners_csr"] = lambda rng: winner_cases(rng, True)


# -- weights ----------------------------------------------------------------------------------------


def weight_rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = rng.integers(0, 90, n)
    sizes[0], sizes[1] = 0, 1
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    indices = np.concatenate([np.sort(rng.choice(200, size, replace=False)) for size in sizes])
    weights = 10.0 ** rng.uniform(-3, 3, indices.size)
    weights[:3] = 5e-324, 1.7e308, 0.0
    return indptr, indices, weights


@case("weighted_minhash")
def weights_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    for m in (1, 32, 70):
        family = WeightedMinHash(m, seed=m)
        indptr, indices, weights = weight_rows(rng, 12)
        out = np.full((12, m), 7, np.uint32)
        rows = on_device(indptr), on_device(indices.astype(np.uint64)), on_device(weights)
        yield *rows, family._key, family._keys, on_device(out)


@case("overlap_weights")
def weights_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    x, y = weight_rows(rng, 12), weight_rows(rng, 5)
    rows = [on_device(np.asarray(a, np.float64 if a.dtype.kind == "f" else np.int64)) for a in (*x, *y)]
    yield *rows, 1, 12, on_device(np.full((12, 5), 7.0))
