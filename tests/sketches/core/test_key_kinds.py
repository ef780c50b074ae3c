"""Test that sketches of keys remember the kind of their keys, and refuse another."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from mergesketch import BloomFilter, CountMinSketch, CountSketch, HeavyHitters, MinHashSketch, TopK
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh import hash_keys
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.core.key_kinds import ANY, KIND_ARRAYS

NOON = dt.datetime(2026, 11, 30, 12)
#: Keys of each kind, and the words that messages have for it.
KINDS: dict[str, list[Any]] = {
    "integers": [17, 18],
    "strings or bytes": ["17", "18"],
    "dates": [NOON.date()],
    "timestamps without a time zone": [NOON],
    "timestamps with a time zone": [NOON.replace(tzinfo=dt.UTC)],
    "tuples": [("a", 17), ("b", 18)],
}
EMPTY = {
    "BloomFilter": lambda: BloomFilter(100),
    "CountMinSketch": lambda: CountMinSketch(3, 50),
    "conservative": lambda: CountMinSketch(3, 50, conservative=True),
    "CountSketch": lambda: CountSketch(3, 50),
    "HeavyHitters": lambda: HeavyHitters(0.1),
    "TopK": TopK,
}
#: These have always known the kind, which the names of their keys need.
WITH_NAMES = (HeavyHitters, TopK)
every_sketch = pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY.keys())


def questions(sketch: Any) -> list[Any]:
    """Return the methods that take keys and change nothing."""
    if isinstance(sketch, BloomFilter):
        return [sketch.contains, lambda keys: keys[0] in sketch]
    return [sketch.query, sketch.upper_bound, sketch.lower_bound]


@every_sketch
def test_keys_of_another_kind_are_refused(empty: Any) -> None:
    for (one, keys), (other, others) in itertools.permutations(KINDS.items(), 2):
        sketch, there = empty().update(keys), empty().update(others)
        before = sketch.to_bytes()
        for ask in (sketch.update, *questions(sketch)):
            with pytest.raises(
                TypeError, match=f"^keys must be {one} as before, got {other}: this .* kind of"
            ):
                ask(others)
        with pytest.raises(
            IncompatibleSketchError, match=f"sketches hold {one} in one and {other} in another"
        ):
            sketch.merge(there)
        with pytest.raises(
            IncompatibleSketchError, match=f"sketches hold {one} in one and {other} in another"
        ):
            empty().merge(sketch, there)
        for ask in questions(sketch):
            ask(keys)
        assert sketch.to_bytes() == before


def test_17_is_not_the_text_17() -> None:
    with pytest.raises(TypeError, match=r'17 and "17" are two keys, so convert them with astype\(int\)'):
        BloomFilter(100).update([17]).contains(["17"])
    with pytest.raises(TypeError, match="give all a time zone, or none"):
        CountSketch(3, 50).update([NOON]).query([NOON.replace(tzinfo=dt.UTC)])


@every_sketch
def test_strings_and_bytes_are_one_kind_and_no_keys_are_of_any(empty: Any) -> None:
    sketch = empty()
    for batch in ([], ["tea"], [], [b"tea"], np.array(["tea"]), np.array([b"tea"])):
        sketch.update(batch)
    assert sketch.n_updates == 4
    sketch.merge(empty(), empty().update([]), empty().update([b"tea"]))
    for ask in questions(sketch):
        ask(["tea"])
        ask([b"tea"])
    fresh = empty()
    assert fresh.update([]) == empty() and fresh.update([5]).n_updates == 1
    assert (empty().update(["a"]) | empty()).update([b"b"]).n_updates == 2
    # A batch that is refused leaves no kind behind.
    other = empty()
    with pytest.raises(TypeError, match="all str"):
        other.update(["a", 1])
    if not isinstance(other, BloomFilter):
        with pytest.raises(TypeError, match="counts must be integers"):
            other.update(["a"], counts=["x"])
    assert other.update([1]).n_updates == 1


@every_sketch
def test_the_places_of_tuples_have_kinds_too(empty: Any) -> None:
    sketch = empty().update([("a", 17, NOON)])
    for keys, told in (
        ([("a", "17", NOON)], r"keys \(part 1\) must be integers as before, got strings or bytes"),
        ([("a", 17, NOON.date())], r"keys \(part 2\) must be timestamps .* as before, got dates"),
        ([("a", 17)], "keys must be tuples of 3 parts as before, got tuples of 2 parts"),
        ([("a", 17, NOON, 1)], "keys must be tuples of 3 parts as before, got tuples of 4 parts"),
    ):
        with pytest.raises(TypeError, match=told):
            sketch.update(keys)
        with pytest.raises(IncompatibleSketchError, match="sketches hold"):
            sketch.merge(empty().update(keys))
    assert sketch.update([(b"a", np.int8(17), np.datetime64(NOON))]).n_updates == 2


@every_sketch
def test_kinds_are_saved(empty: Any, tmp_path: Path) -> None:
    for keys in KINDS.values():
        sketch = empty().update(keys)
        sketch.save(tmp_path / "a")
        again: Any = mergesketch.load(tmp_path / "a")
        assert again == sketch
        assert all((again._arrays[name] == sketch._arrays[name]).all() for name in KIND_ARRAYS)
        others = next(others for others in KINDS.values() if others is not keys)
        with pytest.raises(TypeError, match="as before"):
            again.update(others)


def of_earlier_version(sketch: Any) -> Any:
    """Return the sketch that is read from a file without the arrays that earlier versions did not have."""
    left_out = KIND_ARRAYS[1:] if isinstance(sketch, WITH_NAMES) else KIND_ARRAYS
    arrays = {name: array for name, array in sketch._arrays.items() if name not in left_out}
    return type(sketch).from_bytes(b"".join(pieces_of_file(type(sketch).__name__, sketch.config(), arrays)))


@every_sketch
def test_sketches_of_earlier_versions_take_keys_of_any_kind(empty: Any) -> None:
    sketch = empty().update([17])
    old = of_earlier_version(sketch)
    assert old == sketch
    rebuild, (config, arrays, *_) = sketch.__reduce__()[:2]  # as a pickle does
    left_out = KIND_ARRAYS[1:] if isinstance(old, WITH_NAMES) else KIND_ARRAYS
    unpickled = rebuild(config, {name: array for name, array in arrays.items() if name not in left_out})
    assert unpickled == sketch and unpickled.update([17]) == sketch.copy().update([17])
    if isinstance(old, WITH_NAMES):  # which has always known
        with pytest.raises(TypeError, match="keys must be integers as before"):
            old.update(["17"])
        return
    assert old._arrays["key_forms"][0] == ANY
    for keys in KINDS.values():
        old.update(keys)
        for ask in questions(old):
            ask(keys)
    assert (17 in old and "17" in old) if isinstance(old, BloomFilter) else old.query("17") >= 1
    for part in (empty().update([17]), empty().update(["17"])):
        assert (old | part)._arrays["key_forms"][0] == (part | old)._arrays["key_forms"][0] == ANY
    assert type(old).from_bytes(old.to_bytes()) == old


@every_sketch
def test_kinds_of_forged_files_are_refused(empty: Any) -> None:
    sketch = empty().update([("a", 17)])
    for name, value in (
        ("key_forms", [1 | 4]),
        ("key_forms", [2]),
        ("key_forms", [16 | 32]),
        ("key_forms", [1]),
        ("part_forms", [0] * 8),
        ("part_forms", [5, 1, 0, 0, 0, 0, 0, 0]),
        ("part_forms", [4, 0, 1, 0, 0, 0, 0, 0]),
        ("part_forms", [4, 128, 0, 0, 0, 0, 0, 0]),
    ):
        twin = sketch.copy()
        twin._arrays[name][:] = value
        with pytest.raises(SketchFormatError, match=r"key_forms|part_forms"):
            type(sketch).from_bytes(twin.to_bytes())


def test_other_ways_to_join_sketches_need_one_kind() -> None:
    integers, texts = BloomFilter(100).update([17]), BloomFilter(100).update(["17"])
    for name in ("union_cardinality", "intersection_cardinality", "jaccard", "intersection"):
        with pytest.raises(IncompatibleSketchError, match="hold integers in one and strings or bytes"):
            getattr(integers, name)(texts)
    both = integers & BloomFilter(100).update([17, 18])
    with pytest.raises(TypeError, match="keys must be integers as before"):
        both.contains(["17"])
    for cls in (CountMinSketch, CountSketch):
        one, other = cls(3, 50).update([17]), cls(3, 50).update(["17"])
        for join in (one.subtract, one.inner_product):
            with pytest.raises(IncompatibleSketchError, match="hold integers in one"):
                join(other)
        assert one.update([18]).subtract(cls(3, 50).update([18])) == cls(3, 50).update([17])


def test_sets_of_nulls_are_skipped() -> None:
    tokens, sets = ["tea", None, "jam", NOON.isoformat()], [0, 1, 1, 0]
    for given, kept in ((sets, [0, 1, 0]), (1, 1)):
        sketch = MinHashSketch(2, 16).update(tokens, given, nulls="skip")
        assert sketch == MinHashSketch(2, 16).update([tokens[0], *tokens[2:]], kept) and sketch.n_updates == 3
    with pytest.raises(ValueError, match=r"sets must be an integer or of shape \(4,\)"):
        MinHashSketch(2, 16).update(tokens, sets[:3], nulls="skip")
    with pytest.raises(TypeError, match=r"^tokens must be all str"):
        MinHashSketch(2, 16).update(tokens, sets)
    # Hashes of strings are the strings.
    assert MinHashSketch(1, 16).update(hash_keys(["tea"])) == MinHashSketch(1, 16).update(["tea"])
    assert MinHashSketch(1, 16).update([NOON]) == MinHashSketch(1, 16).update(np.array([NOON], "M8[ms]"))


def test_counts_of_nulls_are_skipped() -> None:
    keys, counts = ["tea", None, "jam", "tea"], [1, 100, 20, 300]
    for empty in (CountMinSketch(3, 500), CountSketch(3, 500), HeavyHitters(0.01), TopK()):
        with pytest.raises(TypeError, match=r"^keys must be all str"):
            empty.copy().update(keys, counts)
        sketch = empty.copy().update(keys, counts, nulls="skip")
        assert sketch == empty.copy().update(["tea", "jam", "tea"], [1, 20, 300])
        assert sketch.total == 321 and sketch.n_updates == 3
        with pytest.raises(ValueError, match=r"counts must have shape \(4,\)"):
            sketch.update(keys, counts[:3], nulls="skip")
        with pytest.raises(ValueError, match="nulls must be one of"):
            sketch.update(keys, counts, nulls="drop")
        assert empty.copy().update([None], nulls="skip") == empty
