"""Test static functions, tables and filters whose arrays lie on a GPU: they give the CPU's answers."""

from __future__ import annotations

import pickle
from typing import Any

import fake_cupy
import mergesketch
import numpy as np
import pytest

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu

KEYS = np.random.default_rng(0).choice(2**40, 5000, replace=False)
OTHERS = KEYS + 2**41


def values_of(dtype: str) -> Any:
    numbers = np.random.default_rng(1).geometric(0.3, KEYS.size) - 4
    return numbers > 0 if dtype == "bool" else numbers.astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool", "float32", "float64"])
def test_functions_of_all_numbers(dtype: str) -> None:
    here = mergesketch.StaticFunction(KEYS, values_of(dtype), progress=False)
    there = here.to("gpu")
    assert (here.device, there.device) == ("cpu", "gpu")
    found = there.lookup(cupy.asarray(KEYS[::-1].copy()))
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), values_of(dtype)[::-1], strict=True)
    # Keys of other widths and signs are the same keys.
    few = np.array([1, 2, 3], np.uint8)
    np.testing.assert_array_equal(there.lookup(cupy.asarray(few)).get(), here.lookup(few))


def test_steps_of_a_precision() -> None:
    values = np.random.default_rng(2).normal(size=KEYS.size)
    here = mergesketch.StaticFunction(KEYS, values, precision=0.25, progress=False)
    np.testing.assert_array_equal(here.to("gpu").lookup(cupy.asarray(KEYS)).get(), here.lookup(KEYS))


def test_check_bits_and_missing() -> None:
    here = mergesketch.StaticFunction(KEYS, values_of("int64"), key_check_bits=9, progress=False)
    there = here.to("gpu")
    asked = np.concatenate([KEYS[:50], OTHERS])
    keys = cupy.asarray(asked)
    np.testing.assert_array_equal(there.contains(keys).get(), here.contains(asked))
    np.testing.assert_array_equal(there.lookup(keys, missing=-99).get(), here.lookup(asked, missing=-99))
    with pytest.raises(ValueError, match="missing must be given on a GPU, where there are no masked arrays"):
        there.lookup(keys)


def test_tables() -> None:
    rows = np.random.default_rng(3).geometric(0.4, (KEYS.size, 5))
    rows[:, 2] = 7
    for codebook in ("separate", "shared"):
        here = mergesketch.StaticTable(KEYS, rows, codebook=codebook, progress=False)
        np.testing.assert_array_equal(here.to("gpu").lookup(cupy.asarray(KEYS)).get(), rows, strict=True)


def test_filters() -> None:
    here = mergesketch.RibbonFilter(KEYS, 0.01, progress=False)
    there = here.to("gpu")
    assert there.contains(cupy.asarray(KEYS)).all()
    np.testing.assert_array_equal(there.contains(cupy.asarray(OTHERS)).get(), here.contains(OTHERS))


def test_one_key_of_python_is_looked_up_there() -> None:
    function = mergesketch.StaticFunction(KEYS, values_of("int64"), key_check_bits=9, progress=False)
    table = mergesketch.StaticTable(KEYS, np.stack([values_of("int64")] * 2, axis=1), progress=False)
    held = mergesketch.RibbonFilter(KEYS, progress=False)
    key = int(KEYS[3])
    for form in (key, KEYS[3], cupy.asarray(KEYS[3:4]).reshape(())):
        found = function.to("gpu").lookup(form, missing=0)
        assert type(found) is int and found == function.lookup(key)
        assert table.to("gpu").lookup(form).get().tolist() == table.lookup(key).tolist()
        assert held.to("gpu").contains(form) is True
    assert key in held.to("gpu") and key in function.to("gpu")


def test_nothing_was_built() -> None:
    empty = np.empty(0, np.int64)
    assert mergesketch.StaticFunction(empty, empty).to("gpu").lookup(cupy.asarray(KEYS[:3])).shape == (3,)
    assert not mergesketch.RibbonFilter(empty).to("gpu").contains(cupy.asarray(KEYS[:3])).any()


def test_moves_saves_and_refuses() -> None:
    here = mergesketch.StaticFunction(KEYS, values_of("int64"), progress=False)
    there = here.to("gpu")
    assert there.to("gpu") is there and here.to("cpu") is here
    assert there == here and there.to("cpu") == here and there.to("cpu").device == "cpu"
    assert there.to_bytes() == here.to_bytes() and there.nbytes == here.nbytes
    assert pickle.loads(pickle.dumps(there)).device == "cpu"
    for structure, keys in ((here, cupy.asarray(KEYS)), (there, KEYS), (there, [1, 2])):
        with pytest.raises(TypeError, match=r"keys lie .*, but the StaticFunction .*: copy the keys there"):
            structure.lookup(keys)
    with pytest.raises(TypeError, match="keys on a GPU must be a 1-D array of integers"):
        there.lookup(cupy.ones(3))
    with pytest.raises(ValueError, match='device must be "cpu" or "gpu"'):
        here.to("tpu")
    words = mergesketch.StaticFunction([1, 2], ["a", "b"], progress=False)
    with pytest.raises(NotImplementedError, match="strings and bytes have no place on a GPU"):
        words.to("gpu")
    named = mergesketch.StaticFunction(["a", "b"], [1, 2], progress=False).to("gpu")
    with pytest.raises(TypeError, match="keys must be strings or bytes as at construction, got integers"):
        named.lookup(cupy.asarray(KEYS))


@pytest.mark.skipif(not getattr(cupy, "IS_STAND_IN", False), reason="counts the stand-in's copies")
def test_copies_nothing() -> None:
    there = mergesketch.StaticTable(KEYS, np.stack([KEYS % 3, KEYS % 5], axis=1), progress=False).to("gpu")
    keys = cupy.asarray(KEYS)
    there.lookup(keys)
    cupy.copies.to_host = cupy.copies.to_device = 0
    there.lookup(keys)
    assert cupy.copies.to_host == cupy.copies.to_device == 0


def test_batches_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from mergesketch.sketches.static import map as static_map

    monkeypatch.setitem(static_map.BLOCK, "gpu", 64)
    there = mergesketch.StaticFunction(KEYS, values_of("int64"), progress=False).to("gpu")
    np.testing.assert_array_equal(there.lookup(cupy.asarray(KEYS)).get(), values_of("int64"))
