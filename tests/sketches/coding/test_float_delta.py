"""Test that arrays come back from their differences from another array, which are small for near arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mergesketch import CompressedFloats, FloatDelta
from mergesketch.sketches.coding import float_chunks, float_delta, float_reader
from mergesketch.sketches.coding.float_differences import METHODS, difference, restore
from mergesketch.sketches.coding.float_formats import FORMATS

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = {name: form.dtype for name, form in FORMATS.items()}
every_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


def bits_of(array: Any) -> Any:
    return np.ascontiguousarray(array).reshape(np.shape(array)).view(f"u{np.asarray(array).itemsize}")


def pair(dtype: Any, n: int = 5000) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    before = rng.normal(0.0, 0.02, n)
    return before.astype(dtype), (before + rng.normal(0.0, 1e-5, n)).astype(dtype)


@every_dtype
def test_near_arrays_take_little_and_come_back(dtype: Any) -> None:
    before, after = pair(dtype)
    delta = CompressedFloats(after.reshape(50, 100)).delta(before.reshape(50, 100))
    assert delta.nbytes < 0.9 * CompressedFloats(after).nbytes
    for base in (before.reshape(50, 100), CompressedFloats(before.reshape(50, 100))):
        found = delta.decode(base)
        assert found.dtype == after.dtype
        np.testing.assert_array_equal(bits_of(found), bits_of(after.reshape(50, 100)))
    assert FloatDelta.from_bytes(delta.to_bytes()) == delta


@every_dtype
@pytest.mark.parametrize("method", METHODS)
def test_differences_are_exact_for_every_bit_pattern(dtype: Any, method: str) -> None:
    bits = np.dtype(f"u{dtype.itemsize}")
    rng = np.random.default_rng(0)
    if dtype.itemsize <= 2:
        array = np.arange(1 << 8 * dtype.itemsize, dtype=bits)
    else:
        array = rng.integers(0, 1 << 64, 5000, np.uint64).astype(bits)
    for base in (array, array[::-1], rng.permutation(array), np.zeros_like(array)):
        integers = difference(array, base, method)
        np.testing.assert_array_equal(restore(integers, base, method), array)
    assert not difference(array, array, method).any()


def test_neighbours_differ_by_small_integers() -> None:
    array = np.linspace(-1, 1, 1001, dtype=np.float32)
    for towards in (-np.inf, np.inf):
        near = np.nextafter(array, np.float32(towards))
        assert difference(near.view(np.uint32), array.view(np.uint32), "difference").max() <= 4


@every_dtype
def test_any_two_arrays(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    bits = np.dtype(f"u{dtype.itemsize}")
    before, after = (rng.integers(0, 1 << 64, 3000, np.uint64).astype(bits).view(dtype) for _ in range(2))
    one_hot = before.copy()
    one_hot[1234] = 1
    for array, largest in ((before, 200), (one_hot, 600), (after, after.nbytes + 400)):
        delta = FloatDelta(array, before)
        np.testing.assert_array_equal(bits_of(delta.decode(before)), bits_of(array))
        assert delta.nbytes < largest
    for shape in ((), (0,), (0, 3), (1,), (1, 1)):
        array = np.ones(shape, dtype)
        found = FloatDelta(array, np.zeros(shape, dtype)).decode(np.zeros(shape, dtype))
        np.testing.assert_array_equal(bits_of(found), bits_of(array))


def test_differences_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences grow from chunk to chunk, as if layers had been trained at unlike rates."""
    for module in (float_chunks, float_delta, float_reader):
        monkeypatch.setattr(module, "CHUNK", 1 << 11)
    before = pair(np.float32, 30_000)[0]
    rates = np.geomspace(1e-7, 1.0, before.size)
    after = (before + np.random.default_rng(1).normal(0.0, 0.01, before.size) * rates).astype(np.float32)
    delta = FloatDelta(after, before)
    assert len(delta._arrays["chunks"]) > 10
    np.testing.assert_array_equal(delta.decode(before), after)


def test_integers_stand_for_floats() -> None:
    before, after = (array.view(np.uint16) for array in pair(ml_dtypes.bfloat16))
    delta = FloatDelta(after, before, dtype="bfloat16")
    np.testing.assert_array_equal(delta.decode(before).view(np.uint16), after)


def test_refusals() -> None:
    before, after = pair(np.float16)
    delta = CompressedFloats(after).delta(before)
    changed = before.copy()
    changed[77] = 0
    with pytest.raises(ValueError, match="base must be the array that the delta was made from"):
        delta.decode(changed)
    with pytest.raises(ValueError, match=r"base must be float16 of shape \(5000,\), got float32"):
        delta.decode(before.astype(np.float32))
    with pytest.raises(ValueError, match=r"base must be float16 of shape \(5000,\), as array, got"):
        CompressedFloats(after).delta(before[:-1])
    with pytest.raises(TypeError, match="base must have one of the dtypes"):
        CompressedFloats(after).delta(before.astype(int))


def test_mutated_arrays_are_refused_or_decode_in_bounds() -> None:
    before, after = pair(np.float16, 3000)
    delta = FloatDelta(after, before)
    rng = np.random.default_rng(0)
    for _ in range(200):
        arrays = {name: array.copy() for name, array in delta._arrays.items()}
        flat = arrays[rng.choice(["chunks", "lengths", "data", "apart"])].reshape(-1).view(np.uint8)
        if flat.size:
            flat[rng.integers(flat.size)] ^= 1 << rng.integers(8)
        arrays["apart"] = arrays["apart"][: rng.integers(0, 2) * arrays["apart"].size]
        twin = delta._without_arrays()
        try:
            twin._check_state(arrays)
            twin._set_arrays(arrays)
            assert twin.decode(before).shape == after.shape
        except ValueError:
            pass
