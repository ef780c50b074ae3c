"""Rows are read once: checked as a whole, cut without a copy, converted where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from mergesketch import Race
from mergesketch.lsh import (
    BitSampling,
    CrossPolytope,
    HashFamily,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from mergesketch.lsh.inputs.raw_rows import read_raw_rows
from mergesketch.lsh.inputs.rows import read_rows
from mergesketch.lsh.inputs.sets import read_sets

RNG = np.random.default_rng(3)
DENSE = RNG.integers(0, 3, (40, 6)).astype(np.float64)
SPARSE = scipy.sparse.csr_array(DENSE)
TOKENS, OFFSETS = RNG.integers(-(2**62), 2**62, 200), np.arange(0, 201, 5)
FAMILIES: list[tuple[HashFamily, list[Any]]] = [
    (SignedRandomProjection(6, 9, power=2), [DENSE, DENSE.astype(np.int8), DENSE.tolist(), SPARSE]),
    (SignedRandomProjection(6, 9, projection="hadamard"), [DENSE, SPARSE.tocsc()]),
    (SignedRandomProjection(None, 9, projection="sparse", n_buckets=5), [DENSE, SPARSE.tocoo()]),
    (PStable(6, 9), [DENSE, np.asfortranarray(DENSE), SPARSE]),
    (CrossPolytope(6, 9), [DENSE, DENSE[:, ::-1], SPARSE]),
    (WinnerTakeAll(6, 9, group_size=2), [DENSE, SPARSE]),
    (InnerProduct(6, 9, max_norm=9.0), [DENSE, DENSE.astype(np.float16), SPARSE]),
    (WeightedMinHash(9), [DENSE, DENSE.astype(np.uint8), SPARSE]),
    (BitSampling(6, 9), [DENSE > 1, np.packbits(DENSE > 1, axis=1)]),
    (MinHash(9), [SPARSE, (TOKENS, OFFSETS), np.split(TOKENS, OFFSETS[1:-1])]),
    (MinHash(9, n_buckets=64), [(TOKENS.astype(np.int32), OFFSETS.astype(np.uint16))]),
]


@pytest.mark.parametrize("family", [family for family, _ in FAMILIES], ids=lambda family: repr(family)[:40])
def test_cuts_of_rows_have_the_codes_of_the_rows(family: HashFamily) -> None:
    for X in next(forms for other, forms in FAMILIES if other is family):
        rows = family.read_rows(X)
        assert rows.n == 40
        assert family.read_rows(rows) is rows
        codes = family.hash(X)
        np.testing.assert_array_equal(family.hash(rows), codes)
        parts = [family.hash(rows.cut(a, b)) for a, b in ((0, 7), (7, 7), (7, 39), (39, 40))]
        np.testing.assert_array_equal(np.concatenate(parts), codes)
        inner = rows.cut(5, 30).cut(2, 9)
        np.testing.assert_array_equal(family.hash_query(inner), family.hash_query(X)[7:14])


def test_reading_copies_nothing_that_can_be_converted_later() -> None:
    for X in (DENSE, DENSE.astype(np.int8), np.asfortranarray(DENSE), DENSE.astype(np.float16)):
        rows = read_rows(X)
        assert rows.values is X
        assert rows.cut(3, 9).values.base is not None
        assert rows.cut(3, 9).arrays[0].dtype == (np.float64 if X.dtype == np.float64 else np.float32)
    assert np.shares_memory(read_rows(DENSE).arrays[0], DENSE)
    counts = scipy.sparse.csr_array((SPARSE.data.astype(np.int8), SPARSE.indices, SPARSE.indptr))
    assert read_rows(counts).values is counts.data
    assert read_rows(counts).cut(3, 9).arrays[2].dtype == np.float32
    int32 = TOKENS.astype(np.int32)
    assert np.shares_memory(read_sets((int32, OFFSETS)).cut(2, 8).arrays[0], int32)
    np.testing.assert_array_equal(read_sets((int32, OFFSETS)).words()[0], int32.astype(np.uint64))


def test_dense_and_sparse_rows_become_each_other() -> None:
    rows = read_rows(SPARSE)
    np.testing.assert_array_equal(rows.dense, DENSE)
    np.testing.assert_array_equal(rows.cut(4, 11).dense, DENSE[4:11])
    for part, wanted in zip(read_rows(DENSE).csr, rows.csr, strict=True):
        np.testing.assert_array_equal(part, wanted)
    assert rows.width == read_rows(DENSE).width == 6


@pytest.mark.parametrize(
    "form", [np.asarray, np.asfortranarray, np.float16, np.longdouble, lambda X: X[::-1]]
)
def test_a_number_that_is_not_finite_is_found_wherever_it_lies(form: Any) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        X = np.zeros((70, 9))
        X[47, 5] = X[60, 0] = bad
        X = form(X)
        row, column = np.argwhere(~np.isfinite(X))[0]
        with pytest.raises(ValueError, match=rf"Q must be finite, got {bad} at index \({row}, {column}\)"):
            read_rows(X, name="Q")


def test_entries_of_one_place_that_add_up_to_infinity_are_refused() -> None:
    X = scipy.sparse.csr_array((np.array([1e308, 1e308]), np.array([2, 2]), np.array([0, 2])), shape=(1, 4))
    with pytest.raises(ValueError, match=r"X\.data must be finite, got inf"):
        read_rows(X)


def test_a_whole_batch_is_checked_before_a_row_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    family = SignedRandomProjection(6, 600, power=4)
    X = np.zeros((20_000, 6))
    X[-1, 3] = np.nan

    def hash_nothing(rows: Any) -> Any:
        raise AssertionError("rows are hashed")

    race = Race(family)
    monkeypatch.setattr(family, "hash", hash_nothing)
    with pytest.raises(ValueError, match=r"X must be finite, got nan at index \(19999, 3\)"):
        race.update(X)
    assert race.n_updates == 0


class Doubled(MinHash):
    """A user's family that knows only the forms that its caller hands in."""

    def hash(self, X: Any) -> np.ndarray:
        return super().hash([np.concatenate([row, row]) for row in X])


def test_a_family_with_a_hash_of_its_own_gets_plain_slices() -> None:
    sets = np.split(TOKENS, OFFSETS[1:-1])
    family = Doubled(9, n_buckets=64, seed=1)
    rows = family.read_rows(sets)
    assert rows.form == "raw"
    assert rows.cut(3, 5) == sets[3:5]
    np.testing.assert_array_equal(family.hash(sets), MinHash(9, n_buckets=64, seed=1).hash(sets))
    assert Race(family).update(sets).n_updates == 40


def test_raw_rows_are_counted_and_cut_in_every_form() -> None:
    for X in (DENSE, DENSE.tolist(), tuple(DENSE.tolist())):
        rows = read_raw_rows(X)
        assert rows.n == 40
        np.testing.assert_array_equal(rows.cut(3, 8), DENSE[3:8])
        assert read_raw_rows(rows) is rows
    np.testing.assert_array_equal(read_raw_rows(SPARSE).cut(3, 8).toarray(), DENSE[3:8])
    tokens, offsets = read_raw_rows((TOKENS, OFFSETS)).cut(2, 6)
    np.testing.assert_array_equal(tokens, TOKENS[10:30].astype(np.uint64))
    assert offsets.tolist() == [0, 5, 10, 15, 20]
    with pytest.raises(ValueError, match=r"Q must be rows: .* got a single value"):
        read_raw_rows(np.float64(3.0), "Q")
    with pytest.raises(TypeError, match=r"Q must be rows: .* got dict"):
        read_raw_rows({}, "Q")
