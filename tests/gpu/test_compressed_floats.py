"""Test that compressed floats decode on a GPU to the bits that they have on the CPU."""

from __future__ import annotations

import pickle

import fake_cupy
import mergesketch
import numpy as np
import pytest
from mergesketch import CompressedFloats, FloatDelta
from mergesketch.sketches.coding import float_chunks

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu


def test_values_and_rows_are_the_cpus() -> None:
    rng = np.random.default_rng(0)
    array = rng.standard_normal((60, 70)).astype(np.float32)
    here = CompressedFloats(array)
    there = here.to("gpu")
    assert there.device == "gpu" and there.to("gpu") is there and there == here
    assert there.dtype == np.float32 and there.coding == here.coding and there.entropy == here.entropy
    found = there.decode()
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), array)
    out = cupy.empty(array.shape, np.float32)
    assert there.decode(out) is out
    np.testing.assert_array_equal(out.get(), array)
    for rows in (7, -1, slice(3, 41), slice(50, 10, -7), slice(5, 5), [3, 59, 3, -60], np.array([1, 2])):
        np.testing.assert_array_equal(there[rows].get(), array[rows], strict=True)
    parts = [part.get() for part in there.iter_parts(999)]
    np.testing.assert_array_equal(np.concatenate(parts), array.reshape(-1))
    assert CompressedFloats.concatenate([there, here]).shape == (120, 70)
    again = pickle.loads(pickle.dumps(there))
    assert again == here and mergesketch.from_bytes(there.to_bytes()) == here


def test_formats_that_cupy_lacks_are_bits() -> None:
    bits = np.random.default_rng(1).integers(0, 2**16, (3, 5), dtype=np.uint16)
    there = CompressedFloats(bits, dtype="bfloat16").to("gpu")
    assert there.dtype == np.uint16 and there.format == "bfloat16"
    np.testing.assert_array_equal(there.decode().get(), bits, strict=True)
    np.testing.assert_array_equal(there[1].get(), bits[1], strict=True)
    empty = CompressedFloats(bits[:0], dtype="bfloat16").to("gpu")
    assert empty.decode().shape == (0, 5)


@pytest.mark.parametrize("coding", ["auto", "exponent", "joint", "raw"])
def test_a_gpu_encodes_to_the_bytes_of_the_cpu(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    # Several chunks, the last one of few values, and one that is stored as it is.
    monkeypatch.setattr(float_chunks, "CHUNK", 3000)
    normal, wild = rng.standard_normal(8000), rng.integers(0, 2**62, 3000).view(np.float64)
    arrays = [normal.astype(np.float16), normal.astype(np.float32).reshape(80, 100), normal[:1], normal[:0]]
    for array in [*arrays, np.concatenate([normal[:3000], wild, normal[3000:4100]]), np.full(5000, -0.5)]:
        here, there = (
            CompressedFloats(array, coding=coding),
            CompressedFloats(cupy.asarray(array), coding=coding),
        )
        assert there.device == "gpu" and there.to_bytes() == here.to_bytes()
        np.testing.assert_array_equal(there.decode().get().view(np.uint8), array.view(np.uint8), strict=True)
    small = np.clip(normal * 6 + 60, 0, 255).astype(np.uint8)
    here = CompressedFloats(small, dtype="float8_e5m2", coding=coding)
    assert CompressedFloats(cupy.asarray(small), dtype="float8_e5m2", coding=coding) == here


def test_what_runs_on_the_cpu_only_says_so() -> None:
    array = np.linspace(-1, 1, 50)
    there = CompressedFloats(array).to("gpu")
    with pytest.raises(TypeError, match=r'move them with .to\("cpu"\)'):
        np.asarray(there)
    with pytest.raises(TypeError, match="out must be a CuPy array, got ndarray"):
        there.decode(np.empty(50))
    with pytest.raises(TypeError, match="out must be a NumPy array"):
        there.to("cpu").decode(cupy.empty(50))
    with pytest.raises(NotImplementedError, match="FloatDelta has no GPU kernels"):
        FloatDelta(array, array)._moved("gpu")
