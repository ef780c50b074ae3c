"""Test rows that are removed from an index and replaced: against a slow index, and for fair buckets."""

from __future__ import annotations

import threading
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex
from mergesketch.errors import FullBucketsWarning, IncompatibleSketchError
from mergesketch.lsh import SignedRandomProjection
from mergesketch.lsh.support.random import random_uint64
from naive.row_changes import SlowIndex
from naive.words import mix13
from toy_family import ToyFamily

pytestmark = pytest.mark.filterwarnings("ignore::mergesketch.errors.FullBucketsWarning")

TABLES = 3


def empty_index(capacity: int = 3, seed: int = 5, n_buckets: int = 3) -> LSHIndex:
    # With this seed of the family, not all tables hash the same feature.
    return LSHIndex(ToyFamily(2, TABLES, n_buckets, seed=1), capacity=capacity, seed=seed)


def assert_is(index: LSHIndex, slow: SlowIndex) -> None:
    """Assert that the buckets are, bit for bit, those of the slow index."""
    slots, seen = index.state["slots"].array, index.state["seen"].array
    want_slots, want_seen = np.zeros_like(slots), np.zeros_like(seen)
    for place, bucket in slow.buckets.items():
        kept = sorted(bucket.kept, key=lambda i: mix13((i + 1) ^ slow.keys[place[0]]))
        want_slots[place][: len(kept)] = [i + 1 for i in kept[::-1]]
        want_seen[place] = len(kept) if bucket.room is None else slow.capacity + bucket.dropped
    np.testing.assert_array_equal(slots, want_slots)
    np.testing.assert_array_equal(seen, want_seen)
    assert index.n_updates == len(slow.rows)
    entries = sum(len(bucket.kept) for bucket in slow.buckets.values())
    assert index.overflow == pytest.approx(
        1 - entries / (TABLES * max(1, len(slow.rows))) if slow.rows else 0
    )


def random_changes(
    rng: np.random.Generator, index: LSHIndex, slow: SlowIndex, rows: dict[int, Any], first: int
) -> None:
    """Make a few random changes to both indexes; `rows` are those in the index, by id."""
    for _ in range(rng.integers(1, 8)):
        kind = rng.integers(0, 5)
        known = [i for i in rows if slow.contains(i)]
        some = rng.permutation(known)[: rng.integers(0, 6)].astype(int)
        X = rng.integers(0, 2, (6, 2))
        if kind == 0:
            new = first + np.arange(6)
            first += 6
            rows.update(zip(new.tolist(), X, strict=True))
            index.update(X, new)
            for number, codes in zip(new.tolist(), index.family.hash(X).tolist(), strict=True):
                slow.add(number, codes)
            continue
        with_rows = bool(rng.integers(0, 2))
        if with_rows:
            # Ids that full buckets have dropped from all tables are known, too.
            some = rng.permutation(list(rows))[: rng.integers(0, 6)].astype(int)
        old = np.array([rows[i] for i in some.tolist()]).reshape(-1, 2) if with_rows else None
        places = {i: [True] * TABLES if with_rows else slow.find(i) for i in some.tolist()}
        if kind < 3:
            index.remove(some, old)
            for number in some.tolist():
                slow.change(number, None, places[number])
                del rows[number]
        else:
            new_rows = X[: some.size]
            index.replace(some, new_rows, old=old)
            for number, codes in zip(some.tolist(), index.family.hash(new_rows).tolist(), strict=True):
                slow.change(number, codes, places[number])
            rows.update(zip(some.tolist(), new_rows, strict=True))
        if some.size:
            slow.complete()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_changes_and_merges_are_those_of_the_slow_index(seed: int, capacity: int) -> None:
    rng = np.random.default_rng(seed)
    keys = random_uint64(5, "LSHIndex priorities", TABLES).tolist()
    parts = []
    for part in range(3):
        index, slow, rows = empty_index(capacity), SlowIndex(keys, capacity), dict[int, Any]()
        random_changes(rng, index, slow, rows, 1000 * part)
        assert_is(index, slow)
        parts.append((index, slow, rows))
    whole, slow, rows = parts[0]
    assert parts[1][0] | parts[2][0] | whole == (whole | parts[1][0]) | parts[2][0]
    for index, other, more in parts[1:]:
        whole.merge(index)
        slow.merge(other)
        rows.update(more)
    assert_is(whole, slow)
    random_changes(rng, whole, slow, rows, 5000)
    assert_is(whole, slow)
    again = LSHIndex.from_bytes(whole.to_bytes())
    assert again == whole
    random_changes(rng, again, slow, rows, 6000)
    assert_is(again, slow)


# -- without full buckets --------------------------------------------------------------------------


def roomy(wide: bool = False) -> tuple[LSHIndex, np.ndarray]:
    X = np.random.default_rng(1).standard_normal((400, 8))
    family = SignedRandomProjection(8, 10, power=5, seed=2)
    return LSHIndex(family, capacity=200, wide_ids=wide), X


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("with_rows", [False, True])
def test_an_index_is_as_if_removed_rows_had_never_been_there(wide: bool, with_rows: bool) -> None:
    empty, X = roomy(wide)
    ids = np.arange(400) * (2**40 if wide else 10)
    gone = np.random.default_rng(3).permutation(400)[:150]
    stay = np.setdiff1d(np.arange(400), gone)
    index = empty.copy().update(X, ids)
    index.remove(ids[gone], X[gone] if with_rows else None)
    assert index == empty.copy().update(X[stay], ids[stay])
    assert index.n_updates == 250
    found = index.query(X, k=400).ids
    assert not np.isin(ids[gone], found).any()
    assert (index.query(X[stay], k=1).ids.ravel() == ids[stay]).all()
    # New rows of the old ids, in one step and in two.
    new = X[gone] + 1.0
    whole = empty.copy().update(X, ids)
    old = X[gone] if with_rows else None
    assert whole.replace(ids[gone], new, old=old) == index.update(new, ids[gone])


def test_a_removed_row_is_not_found_whatever_is_asked(tmp_path: Any) -> None:
    empty, X = roomy()
    index = empty.copy().update(X)
    codes = mergesketch.VectorCodes(8, bits=4).update(X)
    index.save(tmp_path / "index.sketch")
    for mmap in (False, True):
        loaded = LSHIndex.load(tmp_path / "index.sketch", mmap=mmap)
        loaded.remove(np.arange(390))
        assert sorted(set(loaded.query(X, k=50).ids.ravel().tolist())) == [-1, *range(390, 400)]
        assert loaded.search(X[:5], X, k=3).ids.min() == -1
        assert set(loaded.search(X, codes, k=3).ids.ravel().tolist()) <= {-1, *range(390, 400)}
        loaded.save(tmp_path / "fewer.sketch")
        assert LSHIndex.load(tmp_path / "fewer.sketch") == loaded
        # Ids of rows that were removed are not used again.
        loaded.remove(np.arange(390, 400)).update(X[:1])
        assert loaded.query(X[:1], k=2).ids.tolist() == [[400, -1]]
    assert LSHIndex.load(tmp_path / "index.sketch") == index


def test_an_index_from_which_all_was_removed_is_as_new() -> None:
    # Every bucket was full, and has its room again.
    for with_rows in (False, True):
        index, X = empty_index(capacity=3), np.random.default_rng(0).integers(0, 3, (100, 2))
        kept = index.update(X).state["slots"].array
        seen_ids = np.unique(kept[kept > 0]) - 1
        if with_rows:
            index.remove(np.arange(100), X)
        else:
            index.remove(seen_ids)
            assert index.n_updates == 100 - seen_ids.size > 0
            index.remove(np.arange(100), missing="ignore")
            assert index.overflow == 1.0
            continue
        assert index == empty_index(capacity=3)
        assert index.overflow == 0.0
        assert index.update(X[:3], ids=[7, 8, 9]).overflow < 1.0


def test_tables_that_have_all_remaining_rows_have_all_their_room_again() -> None:
    # One bucket a table, of three of four rows. The fourth is the only one that leaves.
    index = empty_index(n_buckets=1).update(np.zeros((4, 2), int))
    slots = index.state["slots"].array.reshape(TABLES, 3) - 1
    dropped = [set(range(4)).difference(bucket.tolist()).pop() for bucket in slots]
    index.remove([dropped[0]], [[0, 0]])
    assert index.state["seen"].array[0].tolist() == [3]
    for number in {0, 1, 2, 3} - {dropped[0]}:
        index.remove([number])
    assert index.n_updates == 0
    assert not index.state["seen"].array.any()


def test_an_id_that_was_added_several_times_is_removed_completely() -> None:
    X = np.array([[0, 0], [1, 0], [1, 1], [2, 2], [0, 2]])
    index = empty_index(capacity=9).update(X, ids=[4, 4, 4, 4, 5])
    assert index.copy().remove([4]) == empty_index(capacity=9).update(X[4:], ids=[5])
    assert index.replace([4], X[:1]) == empty_index(capacity=9).update(X[[0, 4]], ids=[4, 5])
    assert index.n_updates == 2


def test_rows_of_an_id_that_was_added_several_times_leave_one_by_one() -> None:
    # The first two rows have the same buckets, and the third shares one with them.
    X, ids = np.array([[0, 0], [0, 0], [1, 0], [2, 2]]), np.full(4, 4)
    index = empty_index(capacity=9).update(X, ids)
    for left in ([1, 2, 3], [2, 3], [3], []):
        row = X[3 - len(left)]
        index.remove([4], row[None])
        assert index == empty_index(capacity=9).update(X[left], ids[left])
        assert index.n_updates == len(left)
    index.update(X, ids).replace([4], X[3:], old=X[:1])
    assert index == empty_index(capacity=9).update(X[[3, 1, 2, 3]], ids)


def test_full_buckets_forget_nothing_for_a_row_that_is_missing() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (40, 2))
    # Some buckets have dropped ids and may have dropped any row, others have all their ids.
    index = empty_index(capacity=14).update(X, np.arange(40))
    full = (index.state["seen"].array > 14)[np.arange(TABLES), index.family.hash(X)]
    strangers = X[full.any(axis=1) & ~full.all(axis=1)]
    assert len(strangers)
    for old in strangers[:4]:
        assert index.copy().remove([99], old[None], missing="ignore") == index
        added = index.copy().replace([99], X[:1], old=old[None], missing="add")
        assert added == index.copy().update(X[:1], [99])
        assert added.n_updates == 41


def test_merging_brings_removed_rows_back() -> None:
    empty, X = roomy()
    index = empty.copy().update(X, first_id=0)
    part = empty.copy().update(X[:10], ids=np.arange(10))
    assert index.copy().remove(np.arange(10)) | part == index
    assert (index.copy().remove(np.arange(10)) | part).remove(np.arange(10)).n_updates == 390


# -- full buckets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize("merged", [False, True])
def test_every_remaining_row_has_the_same_chance_to_be_kept(with_rows: bool, merged: bool) -> None:
    """Each table is a fresh draw, for all rows are equal; rows come and go in a crowded bucket."""
    tables, capacity = 4_000, 12
    index = LSHIndex(ToyFamily(1, tables, 1), capacity=capacity, seed=3)
    here: list[int] = []

    def come(first: int, n: int) -> None:
        ids = np.arange(first, first + n)
        if merged:
            index.merge(index.empty_like().update(np.zeros((n, 1), int), ids))
        else:
            index.update(np.zeros((n, 1), int), ids)
        here.extend(ids.tolist())

    def go(ids: range) -> None:
        index.remove(ids, np.zeros((len(ids), 1), int) if with_rows else None)
        for number in ids:
            here.remove(number)

    come(0, 30)
    go(range(10))
    come(100, 8)
    go(range(5 + 5, 16))
    come(200, 6)
    go(range(100, 104))
    come(300, 1)
    slots = index.state["slots"].array.reshape(tables, capacity)
    kept_in = {number: int((slots == number + 1).sum()) for number in here}
    assert sum(kept_in.values()) == (slots > 0).sum() > 4 * tables
    share = np.mean(list(kept_in.values())) / tables
    error = np.sqrt(share * (1 - share) / tables)
    assert len(here) == 25
    assert all(abs(count / tables - share) < 6 * error for count in kept_in.values())
    # Old rows beside new ones, whose mean has a smaller error.
    old, new = (
        np.mean([count for number, count in kept_in.items() if (number < 100) == is_old]) / tables
        for is_old in (True, False)
    )
    assert abs(old - new) < 6 * error * np.sqrt(1 / 14 + 1 / 11)


def test_rows_that_move_to_full_buckets_have_the_same_chance_as_the_others() -> None:
    tables, capacity = 4_000, 8
    index = LSHIndex(ToyFamily(1, tables, 2), capacity=capacity, seed=4)
    # All tables of this family put 0 and 1 into different buckets, or all into one.
    X = np.zeros((20, 1), int)
    codes = index.family.hash([[0], [1]])
    apart = codes[0] != codes[1]
    index.update(X, np.arange(20)).update(X + 1, np.arange(20, 40))
    index.replace(np.arange(5), X[:5] + 1, old=X[:5]).replace(np.arange(5, 10), X[:5] + 1, old=X[:5])
    slots = index.state["slots"].array[apart]
    bucket = slots[np.arange(len(slots)), codes[1][apart]]
    there = [*range(10), *range(20, 40)]
    kept = np.array([(bucket == number + 1).sum() for number in there])
    assert kept.sum() == capacity * len(slots)
    share = capacity / 30
    assert len(slots) > 1_000
    assert (np.abs(kept - share * len(slots)) < 6 * np.sqrt(share * (1 - share) * len(slots))).all()
    # A row that stays in its bucket changes nothing.
    before = index.copy()
    assert index.replace(np.arange(20, 30), X[:10] + 1, old=X[:10] + 1) == before


def test_overflow_counts_what_is_left_and_room_is_known_to_be_lost() -> None:
    index = empty_index(capacity=4, n_buckets=1).update(np.zeros((8, 2), int))
    assert index.overflow == 0.5
    in_first = (index.state["slots"].array[0, 0] - 1).tolist()
    index.remove(in_first[:2], np.zeros((2, 2), int))
    assert index.state["slots"].array[0, 0, 2:].tolist() == [0, 0]
    assert index.state["seen"].array[0, 0] == 4 + 4
    assert "% of entries dropped" in repr(index)
    # An index that had no reason to warn has one after rows were removed.
    index = empty_index(capacity=99, n_buckets=1)
    index.update(np.zeros((100, 2), int))
    assert index.overflow == pytest.approx(0.01)
    with pytest.warns(FullBucketsWarning, match="dropped 2.8 %"):
        index.remove(index.query([[0, 0]], k=64).ids[0])


# -- ids ------------------------------------------------------------------------------------------


def test_ids_that_the_index_has_chosen_are_not_taken_again() -> None:
    X = np.zeros((3, 2), int)
    index = empty_index(capacity=20).update(X)
    told = r"ids must not be those of rows that the index has numbered itself, got 1, 2; `replace`"
    for arguments in ({"ids": [1, 7, 2]}, {"first_id": 1}):
        with pytest.raises(ValueError, match=told):
            index.update(X, **arguments)
    assert index.update(X, ids=[50, 7, 9]).update(X).n_updates == 9
    # These were numbered after given ones.
    with pytest.raises(ValueError, match="got 52;"):
        index.update(X[:1], ids=[52])
    with pytest.raises(ValueError, match="got 52;"):
        LSHIndex.from_bytes(index.to_bytes()).update(X[:1], ids=[52])
    # After a removal the id is free, and so are ids that nobody has chosen.
    index.remove([52, 1]).update(X, ids=[52, 1, 40])
    found = index.query(X[:1], k=20).ids[0].tolist()
    assert sorted(found) == [*[-1] * 10, 0, 1, 2, 7, 9, 40, 50, 51, 52, 53]


def test_parts_that_have_chosen_an_id_of_another_part_do_not_merge() -> None:
    X = np.zeros((3, 2), int)
    part = empty_index(capacity=20).update(X, first_id=0).update(X)
    other = empty_index(capacity=20).update(X[:2], ids=[2**20, 4])
    for one, two in ((part, other), (other, part), (other | empty_index(capacity=20), part)):
        before = one.copy()
        with pytest.raises(IncompatibleSketchError, match="two have a row of id 4, which one"):
            one.merge(two)
        assert one == before
    assert (part | other.remove([4])).n_updates == 7
    # Ids between those that were chosen are no reason to refuse.
    far = empty_index(capacity=20).update(X, ids=[10, 20, 30]).update(X[:1])
    assert (far | empty_index(capacity=20).update(X[:1], ids=[12])).n_updates == 5


def test_files_of_earlier_versions_do_not_know_which_ids_were_numbered_late() -> None:
    X = np.zeros((3, 2), int)
    index = empty_index(capacity=20).update(X[:1], ids=[7]).update(X)
    arrays = {name: array for name, array in index._arrays.items() if "_numbered_id" not in name}
    old = LSHIndex._rebuilt(index.config(), arrays)
    assert old == index
    assert old.update(X[:1], ids=[9]).n_updates == 5
    assert old.remove([9, 10]).update(X[:1]).query(X[:1], k=3).ids.tolist() == [[7, 8, 11]]


def test_threads_remove_and_ask_at_the_same_time() -> None:
    empty, X = roomy()
    index = empty.copy().update(X)
    found: list[int] = []

    def change(first: int) -> None:
        for number in range(first, 300, 4):
            index.remove([number], X[number : number + 1] if number % 2 else None)

    def ask() -> None:
        for _ in range(20):
            ids = index.query(X[300:], k=1).ids.ravel()
            found.extend(np.flatnonzero(ids != np.arange(300, 400)))

    threads = [threading.Thread(target=change, args=(first,)) for first in range(4)]
    threads += [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not found
    assert index == empty.copy().update(X[300:], np.arange(300, 400))


# -- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ids": [1, 99, 7]}, ValueError, r"ids must be those of rows in the index, got 99, 7; pass missing"),
        ({"ids": [*range(10, 20)]}, ValueError, "got 10, 11, 12, 13, 14 and 5 more"),
        ({"ids": [2, 1, 2, 1, 0]}, ValueError, "ids must be distinct, got 1, 2 more than once"),
        ({"ids": [-1]}, ValueError, "ids must lie from 0 to"),
        ({"ids": [2**32]}, ValueError, "ids must lie from 0 to"),
        ({"ids": [1.0]}, TypeError, "ids must be integers, got dtype float64"),
        ({"ids": [True]}, TypeError, "ids must be integers, got dtype bool"),
        ({"ids": [[1, 2]]}, ValueError, "ids must have shape"),
        ({"ids": 3}, ValueError, "ids must have shape"),
        ({"ids": None}, TypeError, "ids"),
        ({"ids": [1], "missing": "add"}, ValueError, "missing"),
        ({"ids": [1], "X": [[0, 0], [1, 1]]}, ValueError, r"ids must have shape \(2,\)"),
        ({"ids": [1], "X": [[0, 0, 0]]}, ValueError, "X"),
        # The row of id 1 is another one.
        ({"ids": [0, 1], "X": [[0, 0], [0, 0]]}, ValueError, "rows in the index, got 1;"),
    ],
)
def test_refused_removals_change_nothing(arguments: Any, error: type[Exception], message: str) -> None:
    index = empty_index(capacity=9).update([[0, 0], [1, 2], [2, 2]])
    before = index.to_bytes()
    with pytest.raises(error, match=message):
        index.remove(**arguments)
    assert index.to_bytes() == before
    if "missing" not in arguments and "X" not in arguments:
        with pytest.raises(error):
            index.replace(X=[[0, 0]] * np.size(arguments["ids"]), **arguments)
        assert index.to_bytes() == before


def test_missing_ids_are_ignored_or_added_if_asked() -> None:
    index, X = empty_index(capacity=9), np.array([[0, 0], [1, 2], [2, 2]])
    assert index.remove([4, 5], missing="ignore") == empty_index(capacity=9)
    assert index.remove([]).replace([], X[:0]).n_updates == 0
    with pytest.raises(ValueError, match="got 4;"):
        index.remove([4])
    index.update(X)
    assert index.copy().remove([9, 1], missing="ignore") == empty_index(capacity=9).update(X[[0, 2]], [0, 2])
    more = index.copy().replace([9, 1], X[:2], missing="add")
    assert more == empty_index(capacity=9).update(X[[0, 0, 2, 1]], [0, 9, 2, 1])
    assert more.update(X[:1]) == empty_index(capacity=9).update(X[[0, 0, 2, 1, 0]], [0, 9, 2, 1, 10])
    fresh = LSHIndex(SignedRandomProjection(n_hashes=4, power=3)).replace([3], X[:1] + 0.0, missing="add")
    assert fresh.family.n_features == 2
    assert fresh.n_updates == 1


def test_full_buckets_that_have_lost_rows_do_not_move_to_a_gpu() -> None:
    index = empty_index(capacity=4, n_buckets=1).update(np.zeros((8, 2), int))
    index.remove([int(index.state["slots"].array[0, 0, 0]) - 1])
    with pytest.raises(NotImplementedError, match="removed from full buckets"):
        index.to("gpu")
    assert index.to("cpu") == index
