"""Test the laws of mergeable sketches, for every public sketch class.

A sketch's state must be a function of its data alone. Batches, order, merges, threads and storage must
not change it. See the documentation and `mergesketch.sketches.core.base`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import mergesketch
import numpy as np
import pytest
from entries import Entry, take
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mergesketch import MergeableSketch
from mergesketch.errors import IncompatibleSketchError
from mergesketch.sketches.race.release import Release
from registry import ENTRIES
from sketch_classes import sketch_classes

every_sketch = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
#: There are hundreds of these tests, so each draws few examples: 10, and 40 in the nightly run.
quickly = settings(
    max_examples=settings.default.max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

#: Sketches that draw no random numbers, and so have no seed.
NOTHING_RANDOM = {"DDSketch", "FrequentDirections", "ImportanceCache", "SecondMoments"}


def draw_parts(data: st.DataObject, entry: Entry, n: int) -> tuple[Any, list[tuple]]:
    """Draw an empty sketch and `n` batches for it."""
    empty = data.draw(entry.sketches)
    return empty, [data.draw(entry.batches(empty)) for _ in range(n)]


def built(empty: Any, *batches: tuple) -> Any:
    sketch = empty.empty_like()
    for batch in batches:
        assert take(sketch, *batch) is sketch
    return sketch


def snapshot(sketch: Any) -> dict[str, Any]:
    """Return the values of a state in any dtype: a counter that was widened counts the same."""
    return {name: state.array.copy() for name, state in sketch.state.items()}


def with_array(sketch: Any, name: str, array: np.ndarray) -> Any:
    """Return a copy of `sketch` with another array in its state, as if it had been loaded so."""
    twin = sketch.copy()
    return twin._set_arrays({**twin._arrays, name: array})


def assert_unchanged(sketch: Any, before: dict[str, Any]) -> None:
    after = snapshot(sketch)
    assert after.keys() == before.keys()
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


# -- the registry ---------------------------------------------------------------------------------


def test_every_public_sketch_class_is_in_the_registry() -> None:
    public = {
        name
        for name in mergesketch.__all__
        if isinstance(getattr(mergesketch, name), type)
        and issubclass(getattr(mergesketch, name), MergeableSketch)
        and getattr(mergesketch, name) is not MergeableSketch
    }
    classes = sketch_classes().items()
    ours = {name for name, cls in classes if cls.__module__.partition(".")[0] == "mergesketch"}
    assert public == ours
    assert {entry.cls.__name__ for entry in ENTRIES.values()} == ours


@every_sketch
def test_an_inexact_merge_says_why_and_what_holds_instead(entry: Entry) -> None:
    assert (entry.merge_is_inexact is None) == (entry.weaker_law is None)


# -- law 1: batches and splits --------------------------------------------------------------------


@every_sketch
@quickly
@given(data=st.data())
def test_updates_in_parts_equal_one_update(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 3)
    assert built(empty, entry.join(batches)) == built(empty, *batches)


@every_sketch
@quickly
@given(data=st.data())
def test_merged_parts_equal_one_update(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 3)
    whole = built(empty, entry.join(batches))
    merged = functools.reduce(operator.or_, [built(empty, batch) for batch in batches])
    if entry.weaker_law is None:
        assert merged == whole
    else:
        entry.weaker_law(whole, merged, batches)
    assert merged.n_updates == whole.n_updates


@every_sketch
@quickly
@given(data=st.data())
def test_an_empty_batch_has_no_effect(entry: Entry, data: st.DataObject) -> None:
    empty, (batch,) = draw_parts(data, entry, 1)
    nothing = tuple(part[:0] for part in batch)
    assert built(empty, batch, nothing) == built(empty, batch)
    assert built(empty, nothing) == empty


# -- law 2: a commutative monoid ------------------------------------------------------------------


@every_sketch
@quickly
@given(data=st.data())
def test_merging_is_commutative_and_associative(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 3)
    a, b, c = (built(empty, batch) for batch in batches)
    assert a | b == b | a
    left, right = (a | b) | c, a | (b | c)
    assert left == a.copy().merge(b, c)
    if entry.associative:
        assert left == right
    else:
        assert entry.weaker_law is not None
        entry.weaker_law(left, right, batches)


@every_sketch
@quickly
@given(data=st.data())
def test_the_empty_sketch_is_the_identity(entry: Entry, data: st.DataObject) -> None:
    empty, (batch,) = draw_parts(data, entry, 1)
    sketch = built(empty, batch)
    assert sketch | empty == sketch == empty | sketch == sketch.copy().merge()
    assert sketch.empty_like() == empty
    assert empty.n_updates == 0


@every_sketch
@quickly
@given(data=st.data())
def test_merging_leaves_the_others_alone(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 2)
    a, b = (built(empty, batch) for batch in batches)
    before_a, before_b = snapshot(a), snapshot(b)
    a | b
    assert_unchanged(a, before_a)
    assert_unchanged(b, before_b)
    thrice = a.copy()
    thrice.merge(thrice, thrice)
    assert thrice == a | a | a
    a.merge(b)
    assert_unchanged(b, before_b)


@every_sketch
@quickly
@given(data=st.data())
def test_all_ways_to_merge_are_one(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 3)
    a, b, c = sketches = [built(empty, batch) for batch in batches]
    before = [snapshot(sketch) for sketch in sketches]
    expected = a.copy().merge(b).merge(c)
    for others in ((b, c), ([b, c],), (part for part in ((b,), [c])), ([b], c, ())):
        assert a.copy().merge(*others) == expected
    assert a + b + c == a | b | c == sum(sketches) == sum([b, c], start=a) == expected
    alone = sum([a])
    assert alone == a and take(alone, *batches[1]) is not a
    for in_place in (operator.ior, operator.iadd):
        sketch = a.copy()
        assert in_place(sketch, b) is sketch and sketch == a | b
        assert in_place(sketch, sketch) == (a | b).merge(a | b)
    for sketch, values in zip(sketches, before, strict=True):
        assert_unchanged(sketch, values)


@every_sketch
@quickly
@given(data=st.data())
def test_linear_sketches_subtract(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 2)
    a, b = (built(empty, batch) for batch in batches)
    both = a | b
    before = snapshot(both)
    if entry.linear:
        assert both.subtract(b) is both
        assert both == a
        assert both.subtract(both) == empty
    else:
        with pytest.raises(TypeError, match=f"{entry.cls.__name__} cannot subtract"):
            both.subtract(b)
        assert_unchanged(both, before)


# -- law 3: copies and storage --------------------------------------------------------------------


@every_sketch
@quickly
@given(data=st.data())
def test_round_trips(entry: Entry, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty, (batch, more) = draw_parts(data, entry, 2)
    sketch = built(empty, batch)
    path = tmp_path_factory.mktemp("sketch") / "a.sketch"
    sketch.save(path)
    stored = path.read_bytes()
    assert stored == sketch.to_bytes()
    assert built(pickle.loads(pickle.dumps(empty.empty_like())), batch) == sketch
    buffer = bytearray(stored)
    twins = [
        entry.cls.from_bytes(buffer),
        MergeableSketch.from_bytes(stored),
        pickle.loads(pickle.dumps(sketch)),
        copy.copy(sketch),
        copy.deepcopy(sketch),
        sketch.copy(),
        entry.cls.load(path),
        mergesketch.load(path),
        mergesketch.load(path, mmap=True),
    ]
    before = snapshot(sketch)
    for twin in twins:
        assert type(twin) is entry.cls
        assert twin == sketch
        assert twin.config() == sketch.config()
        assert twin.n_updates == sketch.n_updates
        for name, state in twin.state.items():
            assert not np.shares_memory(state.array, sketch.state[name].array)
        take(twin, *more).merge(sketch)
        assert_unchanged(sketch, before)
    assert all(twin == twins[0] for twin in twins)
    assert path.read_bytes() == stored
    assert buffer == stored


@every_sketch
@quickly
@given(data=st.data())
def test_equality_and_repr(entry: Entry, data: st.DataObject) -> None:
    empty, (batch,) = draw_parts(data, entry, 1)
    sketch = built(empty, batch)
    assert sketch == sketch.copy()
    assert sketch != 3
    assert (sketch == empty) == (sketch.n_updates == 0)
    for _, other in altered(sketch):
        assert sketch != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(sketch)
    assert repr(sketch).startswith(f"<{entry.cls.__name__}(")
    for name in sketch.config():
        assert f"{name}=" in repr(sketch)
    assert f": {sketch.n_updates:,} update{'s' * (sketch.n_updates != 1)}, " in repr(sketch)
    assert "\n" not in repr(sketch)
    assert sketch.nbytes == sum(state.array.nbytes for state in sketch.state.values())


# -- law 4: threads -------------------------------------------------------------------------------


@every_sketch
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_results_do_not_depend_on_the_number_of_threads(entry: Entry, data: st.DataObject) -> None:
    empty = data.draw(entry.sketches)
    batch = entry.large(np.random.default_rng(0), empty)
    sketches = []
    before = mergesketch.get_num_threads()
    try:
        for n in (1, 2, 4):
            mergesketch.set_num_threads(n)
            sketches.append(built(empty, batch))
    finally:
        mergesketch.set_num_threads(before)
    assert sketches[0].n_updates > 0
    assert sketches[0] == sketches[1] == sketches[2]


# -- law 5: refusals change nothing ---------------------------------------------------------------


def altered_values(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield configurations that differ from `config` in one field, with the path of the field."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            for path, inner in altered_values(value):
                yield f"{name}.{path}", {**config, name: inner}
        elif isinstance(value, bool):
            yield name, {**config, name: not value}
        elif isinstance(value, int):
            yield name, {**config, name: value - 1 if value > 1 else value + 1}
        elif isinstance(value, float):
            yield name, {**config, name: value / 2}


def altered(sketch: Any) -> Iterator[tuple[str, Any]]:
    for path, config in altered_values(sketch.config()):
        try:
            yield path, type(sketch)._from_config(config)
        except ValueError:
            continue  # a combination that the constructor refuses


@every_sketch
@quickly
@given(data=st.data())
def test_incompatible_merges_name_the_field(entry: Entry, data: st.DataObject) -> None:
    empty, (batch,) = draw_parts(data, entry, 1)
    sketch = built(empty, batch)
    before = snapshot(sketch)
    fields = []
    for path, other in altered(sketch):
        other_before = snapshot(other)
        operations = [sketch.merge, sketch.__or__] + ([sketch.subtract] if entry.linear else [])
        for operation in operations:
            with pytest.raises(IncompatibleSketchError, match=rf"differ in {path}:"):
                operation(other)
        for merged in ((sketch, other), ([sketch, other],), (iter([sketch, other]),)):
            with pytest.raises(IncompatibleSketchError, match=rf"differ in {path}:"):
                sketch.merge(*merged)
        with pytest.raises(IncompatibleSketchError, match=rf"differ in {path}:"):
            sketch += other
        assert_unchanged(sketch, before)
        assert_unchanged(other, other_before)
        fields.append(path)
    assert any(path.endswith("seed") for path in fields) or entry.cls.__name__ in NOTHING_RANDOM
    assert fields
    for stranger in (3, None, "sketch", [sketch, "sketch"], [[sketch]], {"a": sketch}, ""):
        with pytest.raises(IncompatibleSketchError, match="expected a"):
            sketch.merge(stranger)
    for operate in (operator.or_, operator.add, operator.ior, operator.iadd):
        for one, other in ((sketch, 0), (sketch, [sketch]), (1, sketch), (False, sketch), (0.0, sketch)):
            with pytest.raises(TypeError, match="unsupported operand"):
                operate(one, other)
    assert_unchanged(sketch, before)


@every_sketch
@quickly
@given(data=st.data())
def test_bad_updates_change_nothing(entry: Entry, data: st.DataObject) -> None:
    empty, (batch,) = draw_parts(data, entry, 1)
    sketch = built(empty, batch)
    before = snapshot(sketch)
    for bad in entry.bad:
        with pytest.raises((TypeError, ValueError)) as caught:
            sketch.update(*bad)
        assert len(str(caught.value)) > 10, "a message that says nothing"
        assert_unchanged(sketch, before)


def strange(good: Any) -> dict[str, Any]:
    """Return values that no argument of an update can have, made from one that it can have."""
    if isinstance(good, list):
        is_nested = bool(good) and isinstance(good[0], (np.ndarray, list))
        good = np.array(good[0] if is_nested else good)
    masked = np.ma.array(np.resize(good, good.shape if good.size else (1, *good.shape[1:])), mask=True)
    return {
        "masked": masked,
        "a mask in a list": [masked],
        "complex": np.ones(np.shape(good), complex),
        "a record": np.zeros(len(good), [("a", np.float64), ("b", np.int32)]),
        "dates": np.zeros(np.shape(good), "M8[s]"),
        "ragged": [[1.5, 2.5], [3.5]],
        "mixed": [1, "a", None],
        "an iterator": iter([1, 2]),
        "an object": object(),
        "a mapping": {"a": 1},
        "a single NaN": np.array(np.nan),
    }


@every_sketch
@quickly
@given(data=st.data())
def test_strange_arguments_are_refused_by_name(entry: Entry, data: st.DataObject) -> None:
    if issubclass(entry.cls, Release):
        pytest.skip("takes no rows")
    empty, (before, batch) = draw_parts(data, entry, 2)
    assume(len(batch[0]))
    sketch = built(empty, before)
    state = sketch.to_bytes()
    names = list(inspect.signature(sketch.update).parameters)
    for i, name in enumerate(names[: len(batch)]):
        # With other rows, the message may name the weights, whose number is then wrong.
        named = "|".join(names) if i == 0 else name
        for kind, value in strange(batch[i]).items():
            if kind == "dates" and name in ("keys", "tokens"):  # which they may be
                value = value.view("m8[s]")
            with pytest.raises((TypeError, ValueError), match=rf"^({named})\b") as caught:
                sketch.update(*batch[:i], value, *batch[i + 1 :])
            assert type(caught.value) in (TypeError, ValueError), (kind, caught.value)
            assert sketch.to_bytes() == state, kind


@every_sketch
@quickly
@given(data=st.data())
def test_counters_widen_or_raise_and_never_wrap(entry: Entry, data: st.DataObject) -> None:
    empty, batches = draw_parts(data, entry, 2)
    sketch, other = (built(empty, batch) for batch in batches)
    specs = sketch.state.specs
    for name in entry.counters:
        spec = specs[name]
        for sign in (1, -1) if entry.linear else (1,):
            if spec.widens_to is not None:
                edge = with_array(
                    sketch, name, np.full(spec.shape, sign * np.iinfo(spec.dtype).max, spec.dtype)
                )
                expected = edge._arrays[name].astype(object) + other._arrays[name].astype(object)
                edge.merge(other)
                assert (edge._arrays[name].astype(object) == expected).all()
            full = with_array(sketch, name, np.full(spec.shape, sign * np.iinfo(np.int64).max))
            before, other_before = snapshot(full), snapshot(other)
            if other._arrays[name].any():
                with pytest.raises(OverflowError, match=f"{entry.cls.__name__}.{name} cannot count beyond"):
                    full.merge(other)
                assert_unchanged(full, before)
                assert_unchanged(other, other_before)
                with pytest.raises(OverflowError, match=f"{entry.cls.__name__}.{name} cannot count beyond"):
                    take(full, *batches[1])
                assert_unchanged(full, before)
