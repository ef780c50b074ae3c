"""Test rows that are removed from objects which keep numbers of each row, and replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from mergesketch import LSHIndex, SoftCollisions, VectorCodes
from mergesketch.lsh import SignedRandomProjection

X = np.random.default_rng(0).standard_normal((60, 32))
NEW = np.random.default_rng(1).standard_normal((60, 32))


def empty_codes(center: bool = False) -> VectorCodes:
    return VectorCodes(32, bits=3, center=X.mean(axis=0) if center else None, seed=1)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("with_ids", [False, True])
def test_codes_are_those_of_the_rows_that_are_left(center: bool, with_ids: bool, tmp_path: Path) -> None:
    ids = np.arange(60) * (10 if with_ids else 1)
    gone = np.random.default_rng(2).permutation(60)[:25]
    stay = np.setdiff1d(np.arange(60), gone)
    codes = empty_codes(center).update(X, ids if with_ids else None)
    codes.save(tmp_path / "codes.sketch")
    rows = X.copy()
    rows[gone] = NEW[gone]
    for mmap in (False, True):
        loaded = VectorCodes.load(tmp_path / "codes.sketch", mmap=mmap)
        assert loaded.remove(ids[gone]) == empty_codes(center).update(X[stay], ids[stay])
        assert loaded.update(NEW[gone], ids[gone]) == empty_codes(center).update(rows, ids)
        changed = VectorCodes.load(tmp_path / "codes.sketch", mmap=mmap).replace(ids[gone], NEW[gone])
        assert changed == empty_codes(center).update(rows, ids if with_ids else None)
        more = changed.replace([5, 999, ids[3]], NEW[:3], missing="add")
        assert len(more) == (62 if with_ids else 61)
        assert np.isin([5, 999], more.ids).all()
        assert more.search(NEW[1:2], k=1).ids.tolist() == [[999]]
    assert VectorCodes.load(tmp_path / "codes.sketch") == codes
    assert codes.remove(ids) == empty_codes(center)
    assert empty_codes(center).replace([4, 2], X[:2], missing="add") == empty_codes(center).update(
        X[:2], [4, 2]
    )


def test_codes_without_ids_need_none_after_nothing_was_removed() -> None:
    codes = empty_codes().update(X[:10]).remove([]).remove([99], missing="ignore")
    assert codes.update(X[10:]) == empty_codes().update(X)


def test_soft_collisions_lose_rows_too() -> None:
    keys = SoftCollisions(SignedRandomProjection(32, 20, power=4, seed=1))
    whole = keys.empty_like().update(X)
    assert whole.remove(np.arange(0, 60, 2)) == keys.update(X[1::2], np.arange(1, 60, 2))
    assert len(whole) == 30


def test_an_index_and_its_codes_change_together() -> None:
    index = LSHIndex(SignedRandomProjection(32, 20, power=2, seed=1)).update(X)
    codes = empty_codes().update(X)
    for one in (index, codes):
        one.remove([3, 4]).replace([7], NEW[:1])
    assert index.search(NEW[:1], codes, k=1).ids.tolist() == [[7]]
    assert not np.isin([3, 4], index.search(X, codes, k=60).ids).any()
    # An index that still has a row of which there are no codes any more says so.
    codes.remove([8])
    with pytest.raises(ValueError, match="a row for each id found"):
        index.search(X[8:9], codes, k=60)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, 99, 60], ValueError, "ids must be those of rows, got 99, 60; pass missing"),
        ([2, 2], ValueError, "ids must be distinct, got 2 more than once"),
        ([-1], ValueError, "ids must be from 0"),
        ([1.0], ValueError, "ids must be 1 integer"),
        ([[1, 2]], ValueError, "ids must be 2 integers"),
        (None, TypeError, "ids"),
    ],
)
def test_refused_changes_change_nothing(ids: Any, error: type[Exception], message: str) -> None:
    codes = empty_codes().update(X)
    with pytest.raises(error, match=message):
        codes.remove(ids)
    with pytest.raises(error):
        codes.replace(ids, NEW[: np.size(ids)])
    for wrong in (
        lambda: codes.remove([1], missing="add"),
        lambda: codes.replace([1], NEW[:1], missing="no"),
    ):
        with pytest.raises(ValueError, match="missing must be one of"):
            wrong()
    with pytest.raises(ValueError, match="X"):
        codes.replace([1], NEW[:1, :5])
    assert codes == empty_codes().update(X)
    assert codes.remove([99], missing="ignore").search(X[:3], k=1).ids.ravel().tolist() == [0, 1, 2]
    assert mergesketch.from_bytes(codes.to_bytes()) == codes
