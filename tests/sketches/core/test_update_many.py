"""Test `update_many`: the batches of an iterable are added one after the other."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from entries import take
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mergesketch import BloomFilter, CountMinSketch, HeavyHitters, NadarayaWatsonSketch, Race
from mergesketch.lsh.support import progress
from mergesketch.sketches.race.release import Release
from registry import ENTRIES
from toy_family import ToyFamily


@pytest.mark.parametrize("name", ENTRIES)
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_it_is_one_update_after_the_other(name: str, data: st.DataObject) -> None:
    entry = ENTRIES[name]
    sketch = data.draw(entry.sketches)
    if isinstance(sketch, Release):
        with pytest.raises(TypeError, match="takes no rows"):
            sketch.copy().update_many([[[0.0]]])
        return
    batches = data.draw(st.lists(entry.batches(sketch), max_size=4))
    expected = sketch.copy()
    for batch in batches:
        take(expected, *batch)
    names = type(sketch).update.__code__.co_varnames[1:]
    named = (dict(zip(names, batch, strict=False)) for batch in batches)
    many = sketch.copy()
    assert many.update_many(named) is many
    assert many == expected
    if all(len(batch) == 1 for batch in batches):
        assert sketch.copy().update_many(batch[0] for batch in batches) == expected


def test_batches_are_asked_for_when_they_are_needed() -> None:
    sketch = CountMinSketch(n_rows=3, n_buckets=64)

    def batches() -> Any:
        for i in range(5):
            assert sketch.n_updates == 3 * i
            yield [i, i, i]

    assert sketch.update_many(batches()).n_updates == 15


def test_tuples_and_lists_are_batches_of_keys() -> None:
    keys = [("a", "b"), ["c"], np.array(["a"]), "d"]
    assert HeavyHitters(0.1).update_many(keys) == HeavyHitters(0.1).update(["a", "b", "c", "a", "d"])


def test_a_refused_batch_is_named_and_those_before_it_stay() -> None:
    sketch = HeavyHitters(0.1)
    with pytest.raises(TypeError, match="keys must be all str") as caught:
        sketch.update_many([["a"], ["b", "b"], [1.5], ["c"]])
    assert caught.value.__notes__ == ["This was batch 2 of `update_many`; those before it were added."]
    assert sketch == HeavyHitters(0.1).update(["a", "b", "b"])


def test_errors_of_the_generator_are_passed_on() -> None:
    def batches() -> Any:
        yield ["a"]
        raise OSError("the source has gone")

    sketch = HeavyHitters(0.1)
    with pytest.raises(OSError, match="the source has gone") as caught:
        sketch.update_many(batches())
    assert not hasattr(caught.value, "__notes__")
    assert sketch == HeavyHitters(0.1).update(["a"])


@pytest.mark.parametrize("batches", ["abc", b"abc", {"keys": ["a"]}, np.arange(3), 5, None])
def test_one_batch_is_no_iterable_of_batches(batches: Any) -> None:
    sketch = CountMinSketch(n_rows=3, n_buckets=64)
    with pytest.raises(
        TypeError, match=f"batches must be an iterable of batches, got {type(batches).__name__}"
    ):
        sketch.update_many(batches)
    assert sketch.n_updates == 0


def test_arguments_by_name() -> None:
    family = ToyFamily(2, 6, 9)
    X, y = np.array([[1, 2], [3, 4]]), np.array([0.5, 1.5])
    many = NadarayaWatsonSketch(family).update_many([{"X": X[:1], "y": y[:1]}, {"X": X[1:], "y": y[1:]}])
    assert many == NadarayaWatsonSketch(family).update(X[:1], y[:1]).update(X[1:], y[1:])
    with pytest.raises(TypeError, match="targets") as caught:
        Race(family).update_many([X, {"X": X, "targets": y}])
    assert "batch 1" in caught.value.__notes__[0]


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_is_shown_on_terminals_only_and_after_a_second(
    shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, delay, seen in (
        (Terminal(), 0.0, shown),
        (Terminal(), 1.0, False),
        (io.StringIO(), 0.0, False),
    ):
        monkeypatch.setattr(progress, "DELAY", delay)
        monkeypatch.setattr(sys, "stderr", stream)
        BloomFilter(capacity=100).update_many([[1, 2], [3]], progress=shown)
        assert ("Adding" in stream.getvalue()) == seen
