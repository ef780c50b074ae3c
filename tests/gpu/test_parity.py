"""Every CUDA kernel against its Numba twin: on a GPU where there is one, else compiled for the host."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

cupy = fake_cupy.install()

from gpu_cases import CASES, TWINS, Case, Decoding, OnDevice, case, check, on_device, words  # noqa: E402
from gpu_cases_of_neighbours import BUCKETS, SLOTS, buckets  # noqa: E402 - and registers its cases
from gpu_cases_of_rows import csr_rows, dense_rows  # noqa: E402 - and registers its cases
from mergesketch import RibbonFilter, StaticTable  # noqa: E402
from mergesketch.gpu import checks, xxh3  # noqa: E402 - once there is a CuPy
from mergesketch.gpu import index as index_launchers  # noqa: E402
from mergesketch.lsh import MinHash, SignedRandomProjection  # noqa: E402
from mergesketch.lsh.kernels import text  # noqa: E402
from mergesketch.lsh.support.backend import GPU  # noqa: E402
from mergesketch.sketches.kernels import index as index_kernels  # noqa: E402

pytestmark = pytest.mark.gpu


# -- hashing ----------------------------------------------------------------------------------------


@case("hash_u64")
def integers(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 700):
        out = np.zeros(n, np.uint64)
        yield on_device(words(rng, n)), np.uint64(rng.integers(2**63)), n // 3, n, on_device(out)


@case("hash_slices")
def slices(rng: np.random.Generator) -> Iterator[Case]:
    # Every way of hashing has its own lengths: 0, 1 to 3, 4 to 8, 9 to 16, 17 to 128, 129 to 240, more.
    lengths = np.concatenate([np.arange(300), [1023, 1024, 1025, 2049, 5000]])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    data = rng.integers(0, 256, offsets[-1], dtype=np.uint8)
    for seed in (0, 12345678901234567890):
        yield (
            on_device(data),
            on_device(offsets),
            np.uint64(seed),
            1,
            305,
            on_device(np.zeros(305, np.uint64)),
        )


@case("hash_fixed")
def fields(rng: np.random.Generator) -> Iterator[Case]:
    for width in (1, 7, 40):
        data = rng.integers(0, 3, 100 * width, dtype=np.uint8)
        yield on_device(data), width, np.uint64(3), 0, 100, on_device(np.zeros(100, np.uint64))


# -- counters ---------------------------------------------------------------------------------------


def tables(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    yield rng.integers(-1000, 1000, shape, dtype=np.int32)
    yield rng.integers(-(2**40), 2**40, shape)
    yield rng.standard_normal(shape)
    yield rng.standard_normal(shape).astype(np.float32)


def weights_for(counts: np.ndarray, rng: np.random.Generator, shape: Any) -> np.ndarray:
    if counts.dtype.kind == "f":
        return rng.standard_normal(shape)
    return rng.integers(-50, 50, shape)


@case("scatter_add")
def codes_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (11, 6)):
        # So many rows that tiles of the table are counted apart, and so few that they are not.
        for n in (150, 40):
            codes = rng.integers(0, 6, (n, 11), dtype=np.uint32)
            for n_weights in (0, n):
                weights = weights_for(counts, rng, n_weights)
                yield on_device(codes), on_device(weights), 2, 11, on_device(counts)
    # More chunks of rows than one.
    codes = rng.integers(0, 2, (10_000, 3), dtype=np.uint32)
    yield on_device(codes), on_device(np.empty(0, np.int64)), 0, 3, on_device(np.zeros((3, 2), np.int32))


@case("scatter_add_outputs")
def codes_to_count_outputs(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (5, 6, 3)):
        for n in (120, 30):
            codes = rng.integers(0, 6, (n, 5), dtype=np.uint32)
            yield on_device(codes), on_device(weights_for(counts, rng, (n, 3))), 0, 5, on_device(counts)


@case("gather_mean")
def codes_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for R in (1, 9):
        for counts in tables(rng, (R, 6, 2)):
            codes = rng.integers(0, 6, (50, R), dtype=np.uint32)
            yield on_device(counts), on_device(codes), 3, 50, *(on_device(np.zeros((50, 2))) for _ in "ab")


@case("gather_groups")
def codes_to_read_in_groups(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (9, 6, 2)):
        codes = rng.integers(0, 6, (50, 9), dtype=np.uint32)
        out = on_device(np.zeros((50, 3, 2)))
        yield on_device(counts), on_device(codes), np.array([0, 2, 5, 9]), 0, 50, out


@case("code_keys")
def codes_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    for R in (1, 4, 11):
        codes = on_device(rng.integers(0, 2**32, (40, R), dtype=np.uint32))
        yield codes, words(rng, 1)[0], 2, 40, on_device(np.zeros(40, np.uint64))


@case("count_min_add", "count_sketch_add")
def keys_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        counts, keys = rng.integers(0, 100, (5, 13)).astype(dtype), words(rng, 200)
        for weights in (np.empty(0, np.int64), rng.integers(0, 9, 200)):
            yield on_device(keys), on_device(weights), words(rng, 5, 3), 0, 5, on_device(counts)


@case("count_min_query")
def keys_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        counts, out = rng.integers(0, 100, (5, 13)).astype(dtype), np.zeros(200, np.int64)
        yield on_device(counts), on_device(words(rng, 200)), words(rng, 5, 3), 10, 200, on_device(out)


@case("count_sketch_query")
def signed_keys_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for rows in (1, 4, 7, 70):
        counts, out = rng.integers(-100, 100, (rows, 13)), np.zeros(60)
        yield on_device(counts), on_device(words(rng, 60)), words(rng, rows, 3), 0, 60, on_device(out)


@case("gather_ratio")
def codes_to_divide(rng: np.random.Generator) -> Iterator[Case]:
    for R, K in ((1, 1), (7, 2)):
        counts, codes = rng.random((R, 6, 1 + K)), rng.integers(0, 6, (40, R), dtype=np.uint32)
        counts[:, 0] = 0.0
        codes[:3] = 0
        for chance in (0.0,) if R == 1 else (0.0, 0.25):
            totals = on_device(counts.sum(axis=(0, 1)) / R)
            out = (on_device(np.zeros(shape)) for shape in (40, 40, (40, K), (40, K)))
            yield on_device(counts), on_device(codes), totals, chance, 1, 40, *out


# -- sets -------------------------------------------------------------------------------------------


def csr_sets(rng: np.random.Generator) -> Iterator[tuple[OnDevice, OnDevice]]:
    """Sets of no, few and many tokens, with repetitions, of both dtypes."""
    for n in (0, 1, 23):
        offsets = np.concatenate([[0], np.cumsum(rng.choice([0, 1, 3, 31, 32, 33, 100, 700], n))])
        tokens = words(rng, int(offsets[-1]))
        tokens[1::2] = tokens[: tokens[1::2].size]
        yield on_device(tokens), on_device(offsets.astype(np.int64))
        yield on_device(tokens.astype(np.int32)), on_device(offsets.astype(np.int64))


SIGNATURE_WIDTHS = (1, 31, 64, 150)


def minhash_cases(rng: np.random.Generator, scheme: str) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        drawn = MinHash(m, scheme=scheme, seed=m)._random()
        key, walk_key, rank_key = drawn["keys"]
        how = {
            "permutations": (drawn["a"], drawn["b"]),
            "one-permutation": (drawn["multipliers"][0], walk_key, rank_key),
            "fast-similarity": (drawn["multipliers"], drawn["a"], drawn["b"]),
        }[scheme]
        for tokens, offsets in csr_sets(rng):
            out = np.full((offsets.array.size - 1, m), 7, np.uint32)
            yield tokens, offsets, key, *how, on_device(out)


CASES["minhash_permutations"] = lambda rng: minhash_cases(rng, "permutations")
CASES["minhash_one_permutation"] = lambda rng: minhash_cases(rng, "one-permutation")
CASES["minhash_fast_similarity"] = lambda rng: minhash_cases(rng, "fast-similarity")


@case("concatenate_codes")
def signatures_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for power in (1, 5):
        signatures = on_device(rng.integers(0, 2**32, (40, 3 * power), dtype=np.uint32))
        for n_buckets in (2, 2**32):
            yield signatures, words(rng, 3), np.uint64(n_buckets), on_device(np.zeros((40, 3), np.uint32))


@case("count_equal")
def signatures_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        A, B = (on_device(rng.integers(0, 2, (30, m), dtype=np.uint32)) for _ in "AB")
        yield A, B, 2, 30, on_device(np.zeros(30, np.uint32))


def bins(rng: np.random.Generator, n: int, m: int) -> np.ndarray:
    """Rows of bins from none full to all."""
    filled = rng.random((n, m)) < np.linspace(0.0, 1.0, n)[:, None]
    return np.where(filled, rng.integers(0, 2**31, (n, m)), 0xFFFFFFFF).astype(np.uint32)


@case("densify_signatures")
def bins_to_fill(rng: np.random.Generator) -> Iterator[Case]:
    for m in (*SIGNATURE_WIDTHS, 2000):
        minima = bins(rng, 12, m)
        yield on_device(minima), *words(rng, 2), 1, 12, on_device(np.zeros_like(minima))


@case("throw_tokens")
def tokens_to_throw(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        tokens = on_device(words(rng, 500))
        sets = rng.integers(0, 9, 500)
        yield tokens, on_device(sets), *words(rng, 2), 2, 7, 3, 490, on_device(bins(rng, 5, m))
        yield tokens, on_device(sets[:0]), *words(rng, 2), 0, 1, 0, 500, on_device(bins(rng, 1, m))


@case("compare_bins")
def bins_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        minima = bins(rng, 10, m)
        minima[5:] = np.where(rng.random((5, m)) < 0.5, minima[:5], minima[5:])
        pairs = (on_device(rng.integers(0, 10, 40)) for _ in "lr")
        out = (on_device(np.zeros(40, dtype)) for dtype in (np.int64, np.int64, np.float64))
        yield on_device(minima), *pairs, 1, 40, *out


@case("count_falls")
def rows_to_check(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 50, 30))])
        for indices in (np.arange(indptr[-1]), rng.integers(0, 9, indptr[-1])):
            yield on_device(indptr), on_device(indices.astype(dtype)), int(indptr[-1]), 2, 30
        # Parts that contradict each other: offsets that fall, begin below 0, end beyond; indices.
        for offsets in ([0, 4, 2, 6], [-1, 2, 3, 6], [0, 2, 3, 2**40], [0, 2, 3, 6]):
            for wrong in (-1, 0, 5):
                indices = np.array([1, 2, 0, 1, 3, wrong], dtype)
                yield on_device(np.array(offsets)), on_device(indices), 5, 0, 3


# -- grids ------------------------------------------------------------------------------------------


@case("grid_cells")
def rows_to_place(rng: np.random.Generator) -> Iterator[Case]:
    for d, R in ((1, 1), (3, 5), (20, 2)):
        X, cells = rng.standard_normal((30, d)) * 1e4, on_device(np.zeros((30, R, d), np.int32))
        # Multiples of the width lie on the border of a cell.
        X[:5] = np.round(X[:5])
        shifts, widths = rng.random((R, d)), rng.choice([0.1, 0.5, 3.0], d)
        for n_rotations in (0, R):
            rotations = rng.standard_normal((n_rotations, d, d))
            yield on_device(X), rotations, shifts, widths, 2, 30, cells


@case("grid_keys")
def cells_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    cells = on_device(rng.integers(-(2**31), 2**31, (60, 4), dtype=np.int32))
    for repetitions in (np.empty(0, np.int32), rng.integers(0, 5, 60, dtype=np.int32)):
        given = on_device(repetitions) if repetitions.size else repetitions
        yield cells, words(rng, 5), given, 3, 60, on_device(np.zeros(60, np.uint64))


@case("find_keys")
def keys_to_find(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 2, 900):
        for rising in (np.unique(words(rng, n)), np.arange(n, dtype=np.uint64) ** 3):
            asked = np.concatenate([words(rng, 40), rng.choice(rising, 60) if n else rising])
            asked = np.concatenate([asked, rising[:1], rising[-1:], np.array([0, 2**64 - 1], np.uint64)])
            places = on_device(np.zeros(asked.size, np.int64))
            yield on_device(asked), on_device(rising), 3, asked.size, places


# -- bits -------------------------------------------------------------------------------------------


@case("bloom_add")
def keys_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for hashed in (False, True):
        for n_hashes in (1, 7, 15):
            filled = on_device(words(rng, 80) & words(rng, 80))
            for low, width in ((0, 2**64 - 1), (2**62, 2**63)):
                bounds = np.uint64(low), np.uint64(width)
                yield on_device(words(rng, 90)), np.uint64(5), hashed, n_hashes, *bounds, filled


@case("bloom_contains")
def keys_to_test(rng: np.random.Generator) -> Iterator[Case]:
    for hashed in (False, True):
        for n_hashes in (1, 7, 15):
            filled, out = words(rng, 80) | words(rng, 80) | words(rng, 80), np.zeros(90, np.bool_)
            keys = on_device(words(rng, 90))
            yield on_device(filled), keys, np.uint64(5), hashed, n_hashes, 4, 90, on_device(out)


@case("bloom_fills")
def blocks_to_count(rng: np.random.Generator) -> Iterator[Case]:
    yield on_device(words(rng, 800)), on_device(words(rng, 800)), 3, 100, on_device(np.ones(513, np.int64))


def edges(rng: np.random.Generator, n: int, n_nodes: int) -> tuple[OnDevice, OnDevice]:
    return on_device(rng.integers(0, n_nodes, n)), on_device(rng.integers(0, n_nodes, n))


@case("fill_node_bits")
def nodes_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    yield np.uint64(77), np.uint64(192), 2, 100, on_device(np.zeros(100, np.int64))


@case("set_neighbour_bits")
def edges_to_set(rng: np.random.Generator) -> Iterator[Case]:
    for both in (False, True):
        yield *edges(rng, 300, 40), both, np.uint64(7), 5, 40, on_device(np.zeros((40, 3), np.uint64))


@case("pass_signatures")
def edges_to_pass(rng: np.random.Generator) -> Iterator[Case]:
    for both in (False, True):
        signatures = words(rng, 40, 3) & words(rng, 40, 3) & words(rng, 40, 3)
        yield *edges(rng, 90, 40), on_device(signatures), both, 0, 37, on_device(signatures)


@case("count_signature_bits")
def pairs_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for n_words in (1, 40):
        signatures, others = on_device(words(rng, 30, n_words)), on_device(words(rng, 20, n_words))
        u, v = on_device(rng.integers(0, 30, 50)), on_device(rng.integers(0, 20, 50))
        yield signatures, others, u, v, 1, 50, on_device(np.zeros((50, 3), np.int64))


@case("weigh_signatures")
def pairs_to_weigh(rng: np.random.Generator) -> Iterator[Case]:
    signatures = on_device(words(rng, 30, 2) & words(rng, 30, 2))
    weights = on_device(rng.random((128, 2)))
    yield signatures, *edges(rng, 50, 30), weights, 0, 50, on_device(np.zeros((50, 2)))


# -- rows of one length, and products of signs -----------------------------------------------------


def row_cases(rng: np.random.Generator, sparse: bool) -> Iterator[tuple[Any, ...]]:
    """Rows and a bound: rows shorter, longer, empty, and too long for a double's square."""
    for n, d, dtype in ((1, 1, "float64"), (20, 40, "float32"), (33, 33, "float64")):
        for bound in (0.7, 1e30, 1e-200):
            if not sparse:
                yield on_device(dense_rows(rng, n, d, dtype)), bound
                X = np.full((2, d), 1e200 if dtype == "float64" else 1e30, dtype)
                yield on_device(X), bound
                continue
            for index in ("int32", "int64"):
                yield *csr_rows(rng, n, d, dtype, index), bound


@case("relative_norms_dense")
def dense_norms(rng: np.random.Generator) -> Iterator[Case]:
    for X, bound in row_cases(rng, False):
        n = len(X.array)
        yield X, bound, 0, n, on_device(np.zeros(n))


@case("relative_norms_csr")
def sparse_norms(rng: np.random.Generator) -> Iterator[Case]:
    for *csr, bound in row_cases(rng, True):
        n = csr[0].array.size - 1
        yield *csr, bound, 0, n, on_device(np.zeros(n))


@case("extend_rows_dense")
def dense_extensions(rng: np.random.Generator) -> Iterator[Case]:
    for X, bound in row_cases(rng, False):
        n, d = X.array.shape
        for limit in (bound, 0.0):
            out = on_device(np.full((n - n // 3, d + 3), 7.0))
            yield X, limit, d + 1, n // 3, n, out, on_device(np.zeros(n))


@case("extend_rows_csr")
def sparse_extensions(rng: np.random.Generator) -> Iterator[Case]:
    for indptr, indices, data, bound in row_cases(rng, True):
        n = indptr.array.size - 1
        start = n // 3
        size = int(indptr.array[-1] - indptr.array[start]) + n - start
        for limit in (bound, 0.0):
            out = on_device(np.zeros(n - start + 1, np.int64)), on_device(np.zeros(size, indices.array.dtype))
            out = (*out, on_device(np.zeros(size)))
            yield indptr, indices, data, limit, 50, start, n, out, on_device(np.zeros(n))


@case("add_sign_products")
def signs_to_multiply(rng: np.random.Generator) -> Iterator[Case]:
    for n_signs in (2, 7, 32):
        for n in (1, 100, 2100):
            codes = rng.integers(0, 2**n_signs, (n, 5), dtype=np.uint32)
            for dtype in (np.int32, np.int64):
                counts = rng.integers(-9, 9, (5, n_signs * (n_signs - 1) // 2)).astype(dtype)
                yield on_device(codes), n_signs, 1, 5, on_device(counts)


# -- static functions -------------------------------------------------------------------------------


def static_columns(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Values that make filters, prefixes, long words, escapes, and nothing to tell at all."""
    n = 3000
    yield rng.geometric(0.5, n)
    yield np.where(rng.random(n) < 0.97, 7, rng.integers(0, 50, n))
    yield rng.integers(0, 100, n)
    yield rng.integers(0, 2**62, n)
    yield np.where(rng.random(n) < 0.5, rng.geometric(0.1, n), rng.integers(0, 2**40, n))
    yield np.minimum(rng.zipf(1.2, n), 2**40)
    yield np.zeros(n, np.int64)


@case("look_up")
def keys_with_values(rng: np.random.Generator) -> Iterator[Case]:
    keys = words(rng, 3000)
    asked = np.concatenate([keys, words(rng, 100)])
    for values in static_columns(rng):
        made = StaticTable(keys, np.stack([values, values[::-1]], axis=1), progress=False)
        hashes, arrays = made._hashes(asked), made._arrays
        for ribbon, (*arguments, _) in made._calls:
            book = made._columns[ribbon > 0].codebook
            where = (np.uint64(made.n_shards), made._plan, ribbon)
            ribbons = on_device(arrays["thresholds"]), on_device(arrays["solution"])
            out = on_device(np.zeros(hashes.size, np.uint64))
            yield on_device(hashes), *ribbons, *where, *arguments, Decoding(book), out


@case("check_keys")
def keys_with_fingerprints(rng: np.random.Generator) -> Iterator[Case]:
    keys = words(rng, 2000)
    for bits in (1, 9, 50):
        made = RibbonFilter(keys, 2.0**-bits, progress=False)
        hashes, arrays = made._hashes(np.concatenate([keys, words(rng, 500)])), made._arrays
        where = (np.uint64(made.n_shards), made._plan, 0)
        ribbons = on_device(arrays["thresholds"]), on_device(arrays["solution"])
        yield on_device(hashes), *ribbons, *where, 0, bits, on_device(np.zeros(hashes.size, np.bool_))


# -- the tests --------------------------------------------------------------------------------------


#: What is no kernel with a twin, or one whose results are as near as float32 is, or in any order.
OTHERS = {"address_of", "any_nonfinite_32", "any_nonfinite_64", "find_frequent", "frequent_ids"} | {
    f"{what}_margins_{rows}" for what in ("sign", "step") for rows in ("dense", "csr")
}


def test_every_kernel_has_a_case() -> None:
    assert set(CASES) == set(TWINS) - OTHERS


def test_twins_take_the_same_arguments() -> None:
    unlike = {
        name: (found, expected)
        for name, twin in TWINS.items()
        if (found := list(signature(twin.gpu).parameters))
        != (expected := list(signature(getattr(twin.cpu, "py_func", twin.cpu)).parameters))
    }
    assert unlike == {}


@pytest.mark.parametrize("name", sorted(CASES))
def test_equals_its_twin(name: str) -> None:
    n_cases = 0
    for arguments in CASES[name](np.random.default_rng(sum(name.encode()))):
        check(name, arguments)
        n_cases += 1
    assert n_cases


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32 - 1))
def test_equals_its_twin_on_other_data(name: str, seed: int) -> None:
    for arguments in CASES[name](np.random.default_rng(seed)):
        check(name, arguments)


@pytest.mark.skipif(not getattr(cupy, "IS_STAND_IN", False), reason="rounds the stand-in's factors")
def test_codes_do_not_depend_on_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def matmul(a: Any, b: Any) -> Any:
        # 11 bits of each factor, as TF32 has them; the others are cut off.
        rounded = (
            (np.ascontiguousarray(x.get()).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
            for x in (a, b)
        )
        return cupy.asarray(np.matmul(*rounded))

    arguments = next(CASES["project_signs_dense"](np.random.default_rng(0)))
    monkeypatch.setattr(cupy, "matmul", matmul)
    X = np.random.default_rng(1).standard_normal((300, 130)).astype(np.float32)
    family = SignedRandomProjection(130, n_hashes=64, power=8, seed=1)
    codes = family.hash(X)
    assert (family.hash(cupy.asarray(X)).get() != codes).any(), "rounding has no effect to be told"
    monkeypatch.setenv("CUPY_TF32", "1")
    np.testing.assert_array_equal(family.hash(cupy.asarray(X)).get(), codes)
    check("project_signs_dense", arguments)


@pytest.mark.parametrize("seed", range(3))
def test_frequent_ids_are_the_same_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for (L, W, B), n in [*BUCKETS, ((20, 3, 100), 900)]:
        for dtype in SLOTS:
            slots = buckets(rng, (L, W, B), dtype, n)[0]
            if L > 1:
                slots[1] = slots[0]  # ids added twice
            for P in (1, 3):
                codes = rng.integers(0, W, (9, L, P), dtype=np.uint32)
                offsets = np.concatenate([[0], np.cumsum(rng.integers(0, L * P * B + 1, 8))])
                ours = np.zeros(offsets[-1], dtype), np.zeros(8, np.int64)
                index_kernels.frequent_ids(slots, codes, offsets, np.zeros(0, np.int32), 1, 9, *ours)
                theirs = cupy.zeros(int(offsets[-1]), dtype), cupy.zeros(8, np.int64)
                there = cupy.asarray(slots), cupy.asarray(codes)
                index_launchers.frequent_ids(
                    *there, cupy.asarray(offsets), np.zeros(0, np.int32), 1, 9, *theirs
                )
                found, sizes = theirs[0].get(), theirs[1].get()
                np.testing.assert_array_equal(sizes, ours[1])
                for start, size in zip(offsets, sizes, strict=False):
                    part = slice(start, start + size)
                    np.testing.assert_array_equal(np.sort(found[part]), np.sort(ours[0][part]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finds_what_is_not_finite(dtype: Any) -> None:
    values = np.full(1000, np.finfo(dtype).max, dtype)
    values[::2] *= -1
    bits = values.view(f"uint{8 * values.itemsize}")
    kernel = getattr(checks, f"any_nonfinite_{8 * values.itemsize}")
    assert not kernel(cupy.asarray(bits), 0, 1000)
    for bad in (np.nan, np.inf, -np.inf):
        values[777] = bad
        assert kernel(cupy.asarray(bits), 0, 1000) and kernel(cupy.asarray(bits), 777, 778)
        assert not kernel(cupy.asarray(bits), 0, 777) and not kernel(cupy.asarray(bits), 778, 1000)


def test_long_buckets_are_sorted_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_launchers, "_SORTED", 1)
    for arguments in CASES["order_buckets"](np.random.default_rng(3)):
        check("order_buckets", arguments)


def test_refuses_what_it_cannot_read() -> None:
    keys, out = cupy.zeros(4, np.uint64), cupy.zeros(4, np.uint64)
    with pytest.raises(TypeError, match="values must be a CuPy array"):
        xxh3.hash_u64(np.zeros(4, np.uint64), 0, 0, 4, out)
    with pytest.raises(TypeError, match="values must have dtype uint64, got int64"):
        xxh3.hash_u64(cupy.zeros(4, np.int64), 0, 0, 4, out)
    with pytest.raises(ValueError, match=r"out must have shape \(4,\), got \(3,\)"):
        xxh3.hash_u64(keys, 0, 0, 4, out[:3])
    with pytest.raises(ValueError, match="values must be in C order"):
        xxh3.hash_u64(cupy.zeros(8, np.uint64)[::2], 0, 0, 4, out)
    with pytest.raises(NotImplementedError, match=r"no GPU kernel text\.shingle_documents yet"):
        GPU.kernels(text).shingle_documents()
