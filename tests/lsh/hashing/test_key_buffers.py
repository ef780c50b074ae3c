"""Test keys as a pair (data, offsets), Arrow's layout of strings: they equal a list, on any device."""

from __future__ import annotations

from typing import Any

import fake_cupy
import mergesketch
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch.lsh import hash_keys

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu

PLACES = {"cpu": np.asarray, "gpu": cupy.asarray}
WORDS = [b"tea", b"", b"cake", b"a longer key than the others are, of some forty bytes", b"tea", b"\xff\x00"]


def pair(keys: list[bytes], device: str, margin: int = 0) -> tuple[Any, Any]:
    """Return keys as data and offsets, with some bytes before and after them that belong to no key."""
    data = np.frombuffer(b"x" * margin + b"".join(keys) + b"x" * margin, np.uint8)
    offsets = margin + np.concatenate([[0], np.cumsum([len(key) for key in keys])]).astype(np.int64)
    return PLACES[device](data), PLACES[device](offsets)


def host(array: Any) -> np.ndarray:
    return array.get() if isinstance(array, cupy.ndarray) else array


@pytest.mark.slow
@pytest.mark.parametrize("device", PLACES)
@given(keys=st.lists(st.binary(max_size=300), max_size=20), margin=st.integers(0, 3))
def test_hashes(device: str, keys: list[bytes], margin: int) -> None:
    found = hash_keys(pair(keys, device, margin), 7)
    assert isinstance(found, cupy.ndarray) == (device == "gpu")
    np.testing.assert_array_equal(host(found), hash_keys(keys, 7), strict=True)


@pytest.mark.parametrize("device", PLACES)
@pytest.mark.parametrize(
    "make",
    [
        lambda: mergesketch.CountMinSketch(3, 50),
        lambda: mergesketch.CountSketch(3, 50),
        lambda: mergesketch.BloomFilter(100, 0.01),
        lambda: mergesketch.MinHashSketch(1, 16),
        lambda: mergesketch.HeavyHitters(0.05),
    ],
)
def test_sketches(device: str, make: Any) -> None:
    sketch, expected = make().update(pair(WORDS * 5, device)), make().update(WORDS * 5)
    assert sketch.device == device and sketch == expected and expected == sketch
    assert sketch.to("cpu").to_bytes() == expected.to_bytes()
    for name in ("query", "contains"):
        if hasattr(sketch, name):
            answers = getattr(sketch, name)(pair(WORDS, device))
            np.testing.assert_array_equal(host(answers), getattr(expected, name)(WORDS))


@pytest.mark.parametrize("device", PLACES)
def test_names_come_back(device: str) -> None:
    sketch = mergesketch.HeavyHitters(0.15).update(pair(WORDS * 5, device))
    assert dict(sketch.top())[b"tea"] == 10 and {key for key, _ in sketch.top()} == set(WORDS)
    sketch = mergesketch.HeavyHitters(0.1, max_key_bytes=8).update(pair(WORDS, device))
    expected = mergesketch.HeavyHitters(0.1, max_key_bytes=8).update(WORDS)
    assert sorted(sketch.top()) == sorted(expected.top())
    assert {key for key, _ in sketch.top()} == {
        word if len(word) <= 8 else word[:8] + f"…{hash_keys(word):016x}".encode() for word in WORDS
    }


def test_static_functions() -> None:
    keys = [b"key %d" % i for i in range(2000)]
    values = np.arange(2000) % 7
    function = mergesketch.StaticFunction(pair(keys, "cpu", 5), values, progress=False)
    assert function.to_bytes() == mergesketch.StaticFunction(keys, values, progress=False).to_bytes()
    np.testing.assert_array_equal(function.lookup(pair(keys, "cpu")), values)
    np.testing.assert_array_equal(function.to("gpu").lookup(pair(keys, "gpu")).get(), values)
    with pytest.raises(ValueError, match="keys and values must have the same length, got 2000 and 3"):
        mergesketch.StaticFunction(pair(keys, "cpu"), values[:3])
    with pytest.raises(ValueError, match=r"keys must have one value each, got b'tea' with 0 \(at 0\) and 1"):
        mergesketch.StaticFunction(pair(WORDS, "cpu"), [0, 0, 0, 0, 1, 0])
    with pytest.raises(TypeError, match="keys must be strings or bytes as at construction, got integers"):
        function.lookup([1])
    builder = mergesketch.StaticFunctionBuilder().update(pair(keys, "cpu"), values)
    assert builder.build(progress=False) == function


@pytest.mark.parametrize("device", PLACES)
def test_bad_buffers_are_refused(device: str) -> None:
    data, offsets = pair(WORDS, device)
    other = PLACES["cpu" if device == "gpu" else "gpu"](host(offsets))
    place = PLACES[device]
    for bad, error, message in (
        ((data[:3], offsets), ValueError, r"offsets that do not fall and lie in \[0, 3\].*offset 3 is 7"),
        ((data, place(np.array([0, 5, 3]))), ValueError, "offset 2 is 3"),
        ((data, place(np.array([-1, 5]))), ValueError, "offset 0 is -1"),
        ((data, offsets[:0]), ValueError, "one offset more than strings"),
        ((place(np.zeros(9)), offsets), TypeError, "1-D uint8 data"),
        ((data, place(np.zeros(3))), TypeError, "1-D integer offsets"),
        ((data, other), TypeError, "of one device"),
    ):
        with pytest.raises(error, match=message):
            hash_keys(bad)
