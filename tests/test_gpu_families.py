"""Hash families of CuPy arrays: the codes that the CPU gives, or a word that there are no kernels."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
from mergesketch.distributed import DistributedIndex
from mergesketch.lsh import (
    BBitMinHash,
    BitSampling,
    CrossPolytope,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from scipy import sparse

cupy = fake_cupy.install()

from cupyx.scipy.sparse import csr_matrix  # noqa: E402 - once there is a CuPy

pytestmark = pytest.mark.gpu

ROWS = np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)
SPARSE = sparse.csr_matrix(np.where(ROWS > 0.5, ROWS, 0))

OF_ROWS = {
    "signs": SignedRandomProjection(12, n_hashes=20, power=3, seed=1),
    "signs, reduced": SignedRandomProjection(12, n_hashes=20, power=3, n_buckets=7, seed=1),
    "Hadamard signs": SignedRandomProjection(12, n_hashes=20, power=3, projection="hadamard", seed=1),
    "p-stable": PStable(12, n_hashes=20, power=2, width=2.0, seed=1),
    "p-stable, L1": PStable(12, n_hashes=20, p=1, width=5.0, n_buckets=50, seed=1),
    "inner product": InnerProduct(12, n_hashes=20, power=3, max_norm=9.0, seed=1),
    "inner product, Hadamard": InnerProduct(
        12, n_hashes=20, power=3, max_norm=2.0, oversize="clip", projection="hadamard", seed=1
    ),
}
OF_SETS = {
    scheme: MinHash(20, power=2, n_buckets=100, scheme=scheme, seed=1)
    for scheme in ("permutations", "one-permutation", "fast-similarity")
} | {"b bits": BBitMinHash(20, bits=2, seed=1)}


def equal(found: Any, expected: np.ndarray) -> None:
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), expected, strict=True)


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("method", ["hash", "hash_query"])
def test_rows(name: str, method: str) -> None:
    hash_rows = getattr(OF_ROWS[name], method)
    for rows in (ROWS, ROWS.astype(np.float64), ROWS[:0]):
        equal(hash_rows(cupy.asarray(rows)), hash_rows(rows))
    equal(hash_rows(csr_matrix(SPARSE)), hash_rows(SPARSE))


@pytest.mark.parametrize("name", OF_SETS)
def test_sets(name: str) -> None:
    family = OF_SETS[name]
    offsets = np.array([0, 5, 5, 40, 41])
    tokens = np.random.default_rng(1).integers(-(2**63), 2**63, 41)
    there = cupy.asarray(tokens), cupy.asarray(offsets)
    equal(family.hash(there), family.hash((tokens, offsets)))
    equal(family.hash(csr_matrix(SPARSE)), family.hash(SPARSE))
    if name != "b bits":
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
    family = OF_SETS["permutations"]
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
    signs = SignedRandomProjection(12, n_hashes=20, power=3, projection="sparse")
    sets = cupy.arange(5), cupy.asarray(np.array([0, 5]))
    for call in (
        lambda: signs.hash(X),
        lambda: InnerProduct(12, n_hashes=9, max_norm=9.0, projection="sparse").hash(X),
        lambda: CrossPolytope(12, 4).hash(X),
        lambda: WeightedMinHash(8).hash(cupy.asarray(np.abs(ROWS))),
        lambda: WinnerTakeAll(12, 8).hash(X),
        lambda: OF_SETS["b bits"].packed(sets),
        lambda: DistributedIndex(OF_ROWS["signs"]).add(X),
        lambda: DistributedIndex(OF_ROWS["signs"]).query(X),
        lambda: OF_ROWS["signs"].probe(X, 2),
        lambda: OF_ROWS["p-stable"].probe(X, 2),
        lambda: OF_ROWS["inner product"].probe(X, 2),
        lambda: CrossPolytope(12, 4).probe(X, 2),
    ):
        with pytest.raises(NotImplementedError, match="has no GPU kernels; pass arrays in main memory"):
            call()
