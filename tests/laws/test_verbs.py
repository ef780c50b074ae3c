"""Test that all sketches have the same verbs, take one key where they take many, and show their size."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import mergesketch
import numpy as np
import pytest
from entries import Entry, take
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mergesketch.distributed import DistributedIndex
from mergesketch.sketches.core import base
from mergesketch.sketches.race.release import Release
from registry import ENTRIES

every_sketch = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
#: There are hundreds of these tests, so each draws few examples: 10, and 40 in the nightly run.
quickly = settings(
    max_examples=settings.default.max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

#: Sketches that have several questions and none that comes first, or one that takes no keys.
NO_QUERY = {
    "BloomSignatures",
    "HyperLogLog",
    "MinHashSketch",
    "SecondMoments",
    "StormSketch",
}
#: The same of structures that are not sketches, and a builder, which is not asked, but what it builds.
NO_QUERY_ELSEWHERE = {"PageBounds", "StaticFunctionBuilder"}


def test_every_sketch_has_update_and_query() -> None:
    classes = {entry.cls for entry in ENTRIES.values()}
    assert all(callable(cls.update) for cls in classes)
    assert {cls.__name__ for cls in classes if not hasattr(cls, "query")} == NO_QUERY


def aliases() -> Iterator[tuple[type, str, str]]:
    """Yield the public classes that have a method of two names, and both names."""
    public = [getattr(mergesketch, name) for name in mergesketch.__all__]
    classes = [found for found in public if isinstance(found, type)]
    for cls in [*classes, DistributedIndex]:
        for name in dir(cls):
            named = re.fullmatch(r"Alias of `(\w+)`\.", getattr(cls, name).__doc__ or "")
            if named:
                yield cls, name, named[1]


def test_aliases_call_the_method_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(aliases())
    for cls, name, named in found:
        assert str(inspect.signature(getattr(cls, name))) == str(inspect.signature(getattr(cls, named)))
        with monkeypatch.context() as context:
            context.setattr(cls, named, lambda self, *args, **kwargs: (args, kwargs))
            assert getattr(cls.__new__(cls), name)(1, b=2) == ((1,), {"b": 2})
    assert {(cls.__name__, name, named) for cls, name, named in found} == {
        ("AceSketch", "query", "score_samples"),
        ("BloomFilter", "query", "contains"),
        ("DDSketch", "query", "quantile"),
        ("KLLSketch", "query", "quantile"),
        ("DensitySketch", "query", "density"),
        ("DistributedIndex", "add", "update"),
        ("LSHIndex", "add", "update"),
        ("LearnedPartition", "insert", "update"),
        ("NadarayaWatsonSketch", "query", "predict"),
        ("NeighbourGraph", "query", "search"),
        ("RibbonFilter", "query", "contains"),
        ("ScalableBloomFilter", "query", "contains"),
        ("SharedParameters", "query", "gather"),
        ("SharedParameters", "scatter_add", "update"),
        ("SoftCollisions", "query", "search"),
        ("SparseCodeIndex", "add", "update"),
        ("StaticFunction", "query", "lookup"),
        ("StaticTable", "query", "lookup"),
        ("StreamingDeduplicator", "query", "contains"),
        ("TermStatistics", "document_frequency", "query"),
        ("VectorCodes", "query", "search"),
    }


def test_every_class_with_update_and_merge_has_query() -> None:
    public = [getattr(mergesketch, name) for name in mergesketch.__all__]
    classes = [cls for cls in public if isinstance(cls, type) and not inspect.isabstract(cls)]
    found = [cls for cls in classes if {"update", "merge"} <= set(dir(cls))]
    assert len(found) > 30
    assert {cls.__name__ for cls in found if not hasattr(cls, "query")} == NO_QUERY | NO_QUERY_ELSEWHERE


takes_keys = pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=name)
        for name, entry in ENTRIES.items()
        if {"keys", "tokens"} & set(inspect.signature(entry.cls.update).parameters)
    ],
)


@takes_keys
@quickly
@given(data=st.data())
def test_one_key_and_its_value_are_a_batch_of_one(entry: Entry, data: st.DataObject) -> None:
    empty = data.draw(entry.sketches)
    batch = data.draw(entry.batches(empty))
    assume(len(batch[0]))
    one_by_one = empty.copy()
    for i in range(len(batch[0])):
        one_by_one.update(*(part[i] for part in batch))
    assert one_by_one == functools.reduce(
        lambda sketch, i: sketch.update(*(part[i : i + 1] for part in batch)),
        range(len(batch[0])),
        empty.copy(),
    )


@takes_keys
@pytest.mark.parametrize("key", ["tea", "", "日本", b"cake", 7, -3, 2**64 - 1, np.int8(-3), np.str_("tea")])
@settings(quickly, max_examples=3)
@given(data=st.data())
def test_one_key_is_a_list_of_one(entry: Entry, key: Any, data: st.DataObject) -> None:
    empty = data.draw(entry.sketches)
    parameters = inspect.signature(empty.update).parameters
    assume("values" not in parameters)
    more = {"sets": 0} if "sets" in parameters else {}
    expected = empty.copy().update([key], **more)
    assert expected.n_updates == 1
    for form in (key, np.array(key)):
        assert empty.copy().update(form, **more) == expected
    if "counts" in parameters:
        many = expected.copy().update([key], [5])
        for count in (5, np.int16(5), np.array(5), [5]):
            assert expected.copy().update(key, count) == many
    for method in ("query", "contains", "lower_bound", "upper_bound"):
        if hasattr(empty, method):
            for asked in (key, "other") if isinstance(key, str) else (key,):
                (answer,) = getattr(expected, method)([asked]).tolist()
                for form in (asked, np.array(asked)):
                    found = getattr(expected, method)(form)
                    assert type(found) is type(answer) and found == answer


#: The arrays whose used entries `repr` counts where a class counts them itself.
SHOWN = {"LSHIndex": "slots", "BloomFilter": "blocks"}


def shown_array(cls: type[Any]) -> str | None:
    return cls._filled[0] if cls._filled else SHOWN.get(cls.__name__)


#: Classes whose arrays say nothing of how full they are, or that say it in words of their own.
OTHER_WORDS = {
    "FourierSketch",
    "HyperLogLog",
    "FrequentDirections",
    "KLLSketch",
    "SecondMoments",
    "TermStatistics",
    "TopK",
}


def test_only_releases_show_nothing_that_was_counted() -> None:
    silent = {entry.cls for entry in ENTRIES.values() if shown_array(entry.cls) is None}
    releases = {entry.cls for entry in ENTRIES.values() if issubclass(entry.cls, Release)}
    assert {cls.__name__ for cls in silent - releases} == OTHER_WORDS and releases <= silent


@pytest.mark.slow
@every_sketch
@quickly
@given(data=st.data())
def test_repr_shows_how_full_a_sketch_is_unless_that_takes_long(entry: Entry, data: st.DataObject) -> None:
    empty = data.draw(entry.sketches)
    sketch = take(empty.copy(), *data.draw(entry.batches(empty)))
    name = shown_array(entry.cls)
    assert "%" not in repr(empty)
    shown = re.search(r"bytes, ([\d.e+-]+)% of", repr(sketch))
    assert (shown is None) == (name is None or sketch.n_updates == 0)
    if shown is not None and name is not None:
        array = sketch.state[name].array
        used = array != sketch.state.specs[name].fill
        if sketch.state[name].reduction == "or":
            used = np.unpackbits(array.view(np.uint8))
        assert float(shown[1]) == pytest.approx(100.0 * float(used.mean()), rel=0.01)
    with pytest.MonkeyPatch.context() as context:
        context.setattr(base, "_MOST_SHOWN", 0)
        assert "% of" not in repr(sketch)
