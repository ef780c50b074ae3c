"""Test hash families of CuPy arrays: they give the CPU's codes, or say that they have no kernels."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
from mergesketch import lsh
from mergesketch.lsh import (
    BitSampling,
    HashFamily,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
)
from registry import GPU_ROW_FAMILIES, GPU_SET_FAMILIES
from scipy import sparse

cupy = fake_cupy.install()

from cupyx.scipy.sparse import csr_matrix  # noqa: E402 - once there is a CuPy
from mergesketch.gpu import projection as gpu  # noqa: E402
from mergesketch.lsh.kernels import projection  # noqa: E402
from mergesketch.lsh.support.backend import read_only  # noqa: E402

pytestmark = pytest.mark.gpu

ROWS = np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)
SPARSE = sparse.csr_matrix(np.where(ROWS > 0.5, ROWS, 0))


def test_every_family_is_here() -> None:
    tested = {type(family) for family in (*GPU_ROW_FAMILIES.values(), *GPU_SET_FAMILIES.values())} | {
        WeightedMinHash,
        BitSampling,
    }
    public = {getattr(lsh, name) for name in lsh.__all__}
    assert tested == {
        c for c in public if isinstance(c, type) and issubclass(c, HashFamily) and c is not HashFamily
    }


def equal(found: Any, expected: np.ndarray) -> None:
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), expected, strict=True)


@pytest.mark.parametrize("name", GPU_ROW_FAMILIES)
@pytest.mark.parametrize("method", ["hash", "hash_query"])
def test_rows(name: str, method: str) -> None:
    hash_rows = getattr(GPU_ROW_FAMILIES[name], method)
    for rows in (ROWS, ROWS.astype(np.float64), ROWS[:0]):
        equal(hash_rows(cupy.asarray(rows)), hash_rows(rows))
    equal(hash_rows(csr_matrix(SPARSE)), hash_rows(SPARSE))


@pytest.mark.parametrize("name", [name for name in GPU_ROW_FAMILIES if "winner" not in name])
@pytest.mark.parametrize("n_probes", [1, 2, 7])
def test_probes(name: str, n_probes: int) -> None:
    """The first probe is the query's own bucket. Scores of normal numbers differ by more than they err."""
    probe = GPU_ROW_FAMILIES[name].probe
    n_probes = min(n_probes, 3 if name == "p-stable, L1" else 7)
    for rows in (ROWS, ROWS.astype(np.float64), ROWS[:0]):
        equal(probe(cupy.asarray(rows), n_probes), probe(rows, n_probes))
    equal(probe(csr_matrix(SPARSE), n_probes), probe(SPARSE, n_probes))


@pytest.mark.parametrize("power", [1, 3])
def test_weights(power: int) -> None:
    family = WeightedMinHash(40, power=power, n_buckets=1000 if power > 1 else 2**32, seed=1)
    rows = np.abs(np.where(ROWS > -0.5, ROWS, 0))
    rows[3] = 0.0
    for X in (rows, rows.astype(np.float64), rows[:0]):
        equal(family.hash(cupy.asarray(X)), family.hash(X))
    matrix = sparse.csr_matrix(rows)
    equal(family.hash(csr_matrix(matrix)), family.hash(matrix))
    found = family.kernel(cupy.asarray(rows), csr_matrix(matrix))
    assert isinstance(found, cupy.ndarray)
    # CUDA's pow is within 2 units in the last place, the host's within 1.
    rounding = 4 * np.finfo(np.float64).eps
    np.testing.assert_allclose(found.get(), family.kernel(rows, matrix), rtol=rounding, atol=0, strict=True)
    rows[2, 5] = -1.5
    for negative in (cupy.asarray(rows), csr_matrix(sparse.csr_matrix(rows))):
        with pytest.raises(ValueError, match=r"X must hold weights of at least 0, got -1\.5 in row 2"):
            family.hash(negative)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_margins(dtype: Any) -> None:
    """Signs and steps are exact. Sizes equal float64's within the bound of float32 sums."""
    rng = np.random.default_rng(5)
    X = (rng.standard_normal((30, 50)) * 10.0 ** rng.integers(-20, 20, (30, 1))).astype(dtype)
    X[0] = 0.0
    largest = np.abs(X.astype(np.float64)).max(axis=1)
    scales = np.where(largest > 0, 2.0 ** -np.ceil(np.log2(np.maximum(largest, 1e-300))), 1.0)[:, None]
    matrix = sparse.csr_matrix(X)
    csr = [cupy.asarray(a) for a in (matrix.indptr.astype(np.int64), matrix.indices, matrix.data)]
    signs = SignedRandomProjection(50, n_hashes=20, power=4, seed=1)
    steps = PStable(50, n_hashes=20, power=4, width=0.5, seed=1)
    for family, parts in ((signs, signs._sign_projection.vectors), (steps, steps._vectors)):
        vectors, _, norms = parts
        products = (X.astype(np.float64) * scales) @ vectors.astype(np.float64).T
        size = np.linalg.norm(X.astype(np.float64) * scales, axis=1)[:, None] * norms
        # A sum of 50 terms of rounded factors (Higham 2002, section 3.1), with twice the room.
        error = 2 * (50 + 8) * 2.0**-24 * size
        if family is signs:
            found = (
                gpu.sign_margins_dense(cupy.asarray(X), *parts, 0, 30),
                gpu.sign_margins_csr(*csr, *parts, 0, 30),
            )
            for values in found:
                assert (np.abs(values.get() - products) <= error + 1e-37).all()
                assert (
                    (values.get() >= 0)
                    == (projection.sign_margins_dense(read_only(X), *parts, 0, 30)[:30, :80] >= 0)
                ).all()
        else:
            how = *parts, family._offsets, 0.5
            expected, above = projection.step_margins_dense(read_only(X), *how, 0, 30)
            for where, over in (
                gpu.step_margins_dense(cupy.asarray(X), *how, 0, 30),
                gpu.step_margins_csr(*csr, *how, 0, 30),
            ):
                equal(where, expected)
                least = error / scales / 0.5 + 2.0**-50 * np.abs(expected) + 1e-9
                assert (np.abs(over.get() - above) <= 2 * least).all()


@pytest.mark.parametrize("name", GPU_SET_FAMILIES)
def test_sets(name: str) -> None:
    family = GPU_SET_FAMILIES[name]
    offsets = np.array([0, 5, 5, 40, 41])
    tokens = np.random.default_rng(1).integers(-(2**63), 2**63, 41)
    there = cupy.asarray(tokens), cupy.asarray(offsets)
    equal(family.hash(there), family.hash((tokens, offsets)))
    equal(family.hash(csr_matrix(SPARSE)), family.hash(SPARSE))
    if name == "b bits":
        packed = family.packed(there)
        equal(packed, family.packed((tokens, offsets)))
        estimated = family.estimate_packed(packed, packed[::-1].copy())
        equal(estimated, family.estimate_packed(packed.get(), packed.get()[::-1]))
    else:
        signatures = family.signatures(there)
        equal(signatures, family.signatures((tokens, offsets)))
        equal(family.codes(signatures), family.codes(signatures.get()))
        similar = family.estimate_jaccard(signatures, signatures[::-1].copy())
        equal(similar, family.estimate_jaccard(signatures.get(), signatures.get()[::-1]))


@pytest.mark.parametrize("power", [1, 5, 40])
@pytest.mark.parametrize("n_bits", [64, 61])
def test_bits(n_bits: int, power: int) -> None:
    family = BitSampling(n_bits, 9, power=power, seed=2)
    single = np.random.default_rng(3).random((50, n_bits)) < 0.5
    for rows in (single, np.packbits(single, axis=1), single[:0]):
        there = cupy.asarray(rows)
        equal(family.hash(there), family.hash(rows))
        equal(family.probe(there, 2), family.probe(rows, 2))


def test_bad_sets_are_refused() -> None:
    family = GPU_SET_FAMILIES["permutations"]
    tokens, offsets = cupy.arange(5), cupy.asarray(np.array([0, 5]))
    for sets, error, message in (
        ((tokens, offsets[:1]), ValueError, "offsets must rise from 0 to 5"),
        ((tokens, cupy.asarray(np.array([0, 3, 2, 5]))), ValueError, "offsets must rise"),
        ((tokens, np.array([0, 5])), TypeError, "tokens and offsets of one device"),
        ([tokens], TypeError, r"a pair \(tokens, offsets\) on a GPU"),
        ((cupy.ones(5), offsets), TypeError, "1-D array of integer tokens"),
    ):
        with pytest.raises(error, match=message):
            family.hash(sets)


def test_what_has_no_kernels_says_so() -> None:
    X = cupy.asarray(ROWS)
    for call in (
        lambda: GPU_ROW_FAMILIES["signs"].kernel(X, X),
        lambda: GPU_ROW_FAMILIES["p-stable"].kernel(X, X),
        lambda: GPU_ROW_FAMILIES["winner take all"].kernel(X, X),
    ):
        with pytest.raises(NotImplementedError, match="has no GPU kernels; pass arrays in main memory"):
            call()
