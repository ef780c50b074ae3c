"""Test that PyTorch's tensors are read as arrays are, in the dtypes that NumPy lacks, too."""

from __future__ import annotations

import numpy as np
import pytest
from mergesketch import CompressedFloats, FloatDelta
from mergesketch.sketches.coding.float_formats import FORMATS

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("name", FORMATS)
def test_tensors_of_all_formats(name: str) -> None:
    tensor = torch.randn(40, 60, generator=torch.Generator().manual_seed(0)).to(getattr(torch, name))
    integers = getattr(torch, f"int{8 * tensor.itemsize}")
    bits = tensor.view(integers).numpy().view(f"u{tensor.itemsize}")
    compressed = CompressedFloats(tensor)
    assert compressed.format == name
    np.testing.assert_array_equal(compressed.bits(), bits)
    np.testing.assert_array_equal(CompressedFloats(tensor.T).bits(), bits.T)
    np.testing.assert_array_equal(CompressedFloats(tensor[3, 4]).bits(), bits[3, 4])
    delta = FloatDelta(tensor, torch.zeros_like(tensor))
    np.testing.assert_array_equal(delta.decode(torch.zeros_like(tensor)).view(bits.dtype), bits)


def test_parameters_and_integers() -> None:
    parameter = torch.nn.Parameter(torch.linspace(0, 1, 50, dtype=torch.bfloat16))
    assert CompressedFloats(parameter).format == "bfloat16"
    bits = parameter.detach().view(torch.int16).numpy().view(np.uint16)
    for dtype in ("bfloat16", torch.bfloat16):
        found = CompressedFloats(parameter.detach().view(torch.uint16), dtype=dtype)
        np.testing.assert_array_equal(found.bits(), bits)


def test_refusals() -> None:
    for dtype in (torch.int32, torch.complex64):
        with pytest.raises(TypeError, match="array must have one of the dtypes"):
            CompressedFloats(torch.zeros(3, dtype=dtype))
    with pytest.raises(TypeError, match="dtype must be that of array, 'float32', got 'bfloat16'"):
        CompressedFloats(torch.zeros(3), dtype=torch.bfloat16)


def test_rows_of_one_dimension() -> None:
    array = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    compressed = CompressedFloats(array)
    for rows in ([3], [5, -1]):
        np.testing.assert_array_equal(compressed[torch.tensor(rows)], array[rows])
    np.testing.assert_array_equal(compressed[torch.tensor(7)], array[7])
