"""Test that floats that come in parts are written as one array, in the memory of a few chunks."""

from __future__ import annotations

import tracemalloc
from typing import Any

import mergesketch
import numpy as np
import pytest
from mergesketch import CompressedFloats
from mergesketch.sketches.coding import float_chunks, float_writer
from mergesketch.sketches.coding.float_writer import FloatWriter


def written(parts: Any, form: str = "float16", **arguments: Any) -> CompressedFloats:
    pieces: list[Any] = []
    writer = FloatWriter(form, lambda piece: pieces.append(piece.copy()), **arguments)
    for part in parts:
        writer.append(part)
    chunks, lengths = writer.finish()
    data = np.concatenate(pieces)
    assert writer.n_bytes == data.size
    return FloatWriter.opened(form, (writer.n_values,), chunks, lengths, data)


@pytest.mark.parametrize("coding", ["auto", "exponent", "raw"])
def test_parts_of_any_length_make_up_the_array(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (float_chunks, float_writer):
        monkeypatch.setattr(module, "CHUNK", 1 << 12)
    rng = np.random.default_rng(0)
    array = rng.normal(0.0, 0.02, 60_000).astype(np.float16)
    array[9000:20_000] = rng.integers(0, 1 << 16, 11_000, np.uint16).view(np.float16)
    for n_cuts in (0, 3, 40):
        cuts = np.sort(rng.integers(0, array.size + 1, n_cuts))
        found = written(np.split(array, cuts), coding=coding)
        np.testing.assert_array_equal(found.decode().view(np.uint16), array.view(np.uint16))
        assert found.nbytes < array.nbytes + 64
        np.testing.assert_array_equal(np.concatenate(list(found.iter_parts(777))), array)
    assert written([]).decode().shape == (0,)
    assert written([array[:5000]], coding=coding) == CompressedFloats(array[:5000], coding=coding)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_whole_chunks_leave_nothing_to_wait(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (float_chunks, float_writer):
        monkeypatch.setattr(module, "CHUNK", 1 << 12)
    array = np.random.default_rng(0).normal(size=5 << 12).astype(np.float16)
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(n_threads)
    try:
        for n in (0, 1 << 12, 2 << 12, 4 << 12, 5 << 12):
            np.testing.assert_array_equal(written([array[:n]]).decode(), array[:n])
            np.testing.assert_array_equal(written(np.split(array[:n], 4)).decode(), array[:n])
    finally:
        mergesketch.set_num_threads(before)


def test_memory_is_that_of_a_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (float_chunks, float_writer):
        monkeypatch.setattr(module, "CHUNK", 1 << 16)
    part = np.random.default_rng(0).normal(size=1 << 16).astype(np.float32)
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(1)
    try:
        writer = FloatWriter("float32", len)
        writer.append(part[:10])
        tracemalloc.start()
        for _ in range(40):
            writer.append(part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        mergesketch.set_num_threads(before)
    assert peak < 6 * part.nbytes


def test_refusals() -> None:
    with pytest.raises(ValueError, match="form must be one of"):
        FloatWriter("int8", len)
    writer = FloatWriter("float16", len)
    with pytest.raises(TypeError, match="dtype must be that of values, 'float32', got 'float16'"):
        writer.append(np.zeros(3, np.float32))
