"""Test that compressed floats come back bit for bit, whole and in parts, and take what their entropy says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CompressedFloats
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.coding.float_formats import FORMATS
from naive.compressed_floats import decode

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {name: form.dtype for name, form in FORMATS.items()}
CODINGS = ("auto", "exponent", "joint", "raw")
every_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


def bits_of(array: Any) -> Any:
    array = np.asarray(array)
    return np.ascontiguousarray(array).reshape(array.shape).view(f"u{array.itemsize}")


def assert_same(compressed: CompressedFloats, array: Any) -> None:
    assert compressed.shape == array.shape
    assert compressed.dtype == array.dtype
    assert compressed.nbytes <= array.nbytes + 64
    np.testing.assert_array_equal(bits_of(compressed.decode()), bits_of(array))


def weights(n: int, dtype: Any, seed: int = 0) -> Any:
    numbers = np.random.default_rng(seed).normal(0.0, 0.03, n)
    return (numbers * 1000 if np.dtype(dtype).itemsize == 1 else numbers).astype(dtype)


@every_dtype
@pytest.mark.parametrize("coding", CODINGS)
def test_every_bit_pattern_comes_back(dtype: Any, coding: str) -> None:
    bits = np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize <= 2:
        patterns = np.arange(1 << 8 * dtype.itemsize, dtype=bits)
    else:
        patterns = np.random.default_rng(0).integers(0, 1 << 64, 1500, np.uint64).astype(bits)
    # Many equal values let the patterns take words, too.
    array = np.concatenate([patterns, np.full(3 * patterns.size, patterns[17])]).view(dtype)
    compressed = CompressedFloats(array, coding=coding)
    assert_same(compressed, array)
    # Patterns of all exponents and mantissas are too many for a code.
    if coding != "joint":
        assert (compressed.coding == "raw") == (coding == "raw")


@every_dtype
def test_sizes_around_streams_and_pairs(dtype: Any) -> None:
    for n in (0, 1, 2, 7, 8, 9, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 9217):
        array = weights(n, dtype, n)
        compressed = CompressedFloats(array)
        assert_same(compressed, array)
        arrays = compressed._arrays
        width = 8 * dtype.itemsize
        parts = arrays["chunks"].tolist(), arrays["lengths"].tolist(), arrays["data"].tobytes()
        naive = decode(*parts, width, width - 1 - FORMATS[compressed.format].exponent)
        assert naive == bits_of(array).tolist()


def structured(dtype: Any) -> dict[str, Any]:
    one_hot = np.zeros(5000, dtype)
    one_hot[4321] = 1
    fibonacci = [1, 1]
    while sum(fibonacci) < 30_000:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    powers = np.repeat(0.5 ** np.arange(len(fibonacci)), fibonacci).astype(dtype)
    return {
        "zeros": np.zeros(5000, dtype),
        "negative zeros": -np.zeros(5000, dtype),
        "constant": np.full(3000, 1.625, dtype),
        "one-hot": one_hot,
        "grid": np.tile(np.linspace(-2, 2, 9).astype(dtype), 600),
        "sorted": np.sort(weights(5000, dtype).astype(float)).astype(dtype),
        "Fibonacci": np.random.default_rng(0).permutation(powers),
        "not finite": np.resize(np.array([np.nan, 1, -1, 0.5], dtype), 5000),
        "positive": np.abs(weights(5000, dtype).astype(float)).astype(dtype),
    }


@every_dtype
@pytest.mark.parametrize("coding", CODINGS)
def test_structured_values_come_back(dtype: Any, coding: str) -> None:
    for name, array in structured(dtype).items():
        compressed = CompressedFloats(array, coding=coding)
        assert_same(compressed, array)
        if coding == "auto" and name in ("zeros", "negative zeros", "constant"):
            assert compressed.nbytes < 100


def test_shorter_floats_in_wide_ones_take_no_more_bits() -> None:
    narrow = weights(50_000, ml_dtypes.bfloat16)
    assert CompressedFloats(narrow.astype(np.float32)).nbytes < 1.02 * CompressedFloats(narrow).nbytes


@every_dtype
def test_the_size_is_near_the_entropy(dtype: Any) -> None:
    array = weights(1 << 18, dtype)
    compressed = CompressedFloats(array)
    width = 8 * dtype.itemsize
    taken = 8 * compressed.nbytes / array.size
    # Half a percent more may be taken by what decodes faster.
    assert compressed.entropy < taken < compressed.entropy + 0.08 + 0.002 * width + 0.005 * min(width, 16)
    smallest = 8 * CompressedFloats(array, coding="joint").nbytes / array.size
    assert compressed.entropy < smallest < compressed.entropy + 0.08 + 0.002 * width
    # The exponents alone, and everything else as it is.
    exponent = (bits_of(array) << 1 >> (width - FORMATS[compressed.format].exponent)).astype(np.uint64)
    share = np.unique(exponent, return_counts=True)[1] / array.size
    alone = float(-(share * np.log2(share)).sum()) + width - FORMATS[compressed.format].exponent
    assert compressed.entropy <= alone + 1e-9
    assert taken < alone + 0.06
    assert CompressedFloats(array, coding="exponent").coding == "exponent"


def test_random_bits_stay_raw() -> None:
    array = np.random.default_rng(0).integers(0, 256, 10_000, np.uint8).view(np.float16)
    compressed = CompressedFloats(array)
    assert compressed.coding == "raw"
    assert array.nbytes < compressed.nbytes <= array.nbytes + 64
    assert_same(compressed, array)


# -- access ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(0, 40), st.sampled_from([(), (1,), (300,), (1500,), (7, 61)]))
def test_rows_are_those_of_the_array(data: st.DataObject, n: int, row: tuple[int, ...]) -> None:
    array = weights(n * int(np.prod(row)), ml_dtypes.bfloat16, n).reshape(n, *row)
    compressed = CompressedFloats(array)
    bound = st.integers(-n - 2, n + 2)
    slices = st.builds(slice, st.none() | bound, st.none() | bound, st.sampled_from([None, 1, 2, -1, -3]))
    wanted = data.draw(slices)
    np.testing.assert_array_equal(bits_of(compressed[wanted]), bits_of(array[wanted]))
    if n:
        i = data.draw(st.integers(-n, n - 1))
        np.testing.assert_array_equal(bits_of(compressed[i]), bits_of(array[i]))
        assert type(compressed[i]) is type(array[i])
        some = data.draw(st.lists(st.integers(-n, n - 1), max_size=5))
        np.testing.assert_array_equal(bits_of(compressed[some]), bits_of(array[np.array(some, int)]))


def test_all_ranges_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few pairs stand for those of a million values; raw ones lie between coded ones."""
    from mergesketch.sketches.coding import float_chunks, float_reader

    rng = np.random.default_rng(0)
    for module in (float_reader, float_chunks):
        monkeypatch.setattr(module, "CHUNK", 1 << 13)
    monkeypatch.setattr(float_reader, "BLOCK", 1 << 12)
    array = weights(60_000, np.float16)
    array[8192:24_576] = rng.integers(0, 1 << 16, 16_384, np.uint16).view(np.float16)
    compressed = CompressedFloats(array)
    assert len(compressed._arrays["chunks"]) == 7
    assert_same(compressed, array)
    for _ in range(60):
        start, stop = np.sort(rng.integers(0, array.size + 1, 2))
        np.testing.assert_array_equal(bits_of(compressed[start:stop]), bits_of(array[start:stop]))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_change_nothing(n_threads: int) -> None:
    array = weights(3_000_001, np.float16)
    before = mergesketch.get_num_threads()
    try:
        mergesketch.set_num_threads(n_threads)
        compressed = CompressedFloats(array)
        assert_same(compressed, array)
        assert compressed.coding == "exponent"
    finally:
        mergesketch.set_num_threads(before)


# -- arguments ------------------------------------------------------------------------------------


def test_arrays_of_any_layout(tmp_path: Any) -> None:
    array = weights(6000, np.float32).reshape(30, 40, 5)
    for form in (array[::2, ::-1], array.T, array.astype(">f4"), np.asfortranarray(array), array[:, :0]):
        expected = np.ascontiguousarray(form, np.float32)
        assert_same(CompressedFloats(form), expected)
    np.save(tmp_path / "a.npy", array)
    assert_same(CompressedFloats(np.load(tmp_path / "a.npy", mmap_mode="r")), array)
    for value in (np.float32(-0.0), np.array(1.5, ml_dtypes.bfloat16)):
        assert_same(CompressedFloats(value), np.asarray(value))
    assert_same(CompressedFloats([1.0, 2.0]), np.array([1.0, 2.0]))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_of_arrays_are_written_to() -> None:
    array = weights(6000, np.float32).reshape(60, 100)
    compressed = CompressedFloats(array)
    # A matrix has two dimensions even when it is flattened.
    for out in (np.matrix(np.zeros_like(array)), np.zeros_like(array).view(np.recarray)):
        assert compressed.decode(out) is out
        np.testing.assert_array_equal(np.asarray(out), array)


def test_rows_may_be_named_by_other_sequences() -> None:
    array = weights(6000, np.float16).reshape(60, 100)
    compressed = CompressedFloats(array)
    np.testing.assert_array_equal(compressed[range(50, 3, -7)], array[50:3:-7])
    np.testing.assert_array_equal(compressed[memoryview(np.array([3, -1]))], array[[3, -1]])
    # No number is made for each row if rows have no values.
    assert CompressedFloats(np.zeros((1 << 40, 0), np.float16))[::-1].shape == (1 << 40, 0)


def test_it_becomes_an_array() -> None:
    array = weights(600, np.float16).reshape(20, 30)
    compressed = CompressedFloats(array)
    np.testing.assert_array_equal(np.asarray(compressed), array)
    np.testing.assert_array_equal(np.asarray(compressed, np.float64), array.astype(float))
    np.testing.assert_array_equal(list(compressed), array)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(compressed, copy=False)


def test_integers_stand_for_floats() -> None:
    array = weights(3000, ml_dtypes.bfloat16)
    compressed = CompressedFloats(array.view(np.uint16), dtype="bfloat16")
    assert compressed == CompressedFloats(array) == CompressedFloats(array, dtype=ml_dtypes.bfloat16)
    assert_same(compressed, array)
    out = np.empty(3000, np.uint16)
    assert compressed.decode(out) is out
    np.testing.assert_array_equal(out, array.view(np.uint16))
    np.testing.assert_array_equal(compressed.bits(), out)
    wide = np.empty(3000, ml_dtypes.bfloat16)
    assert compressed.decode(out=wide) is wide
    np.testing.assert_array_equal(bits_of(wide), out)


def test_refusals() -> None:
    with pytest.raises(TypeError, match=r"array must have one of the dtypes .*, got int64"):
        CompressedFloats([1, 2])
    with pytest.raises(TypeError, match="need dtype, for example"):
        CompressedFloats(np.zeros(3, np.uint16))
    with pytest.raises(TypeError, match="array must have 16 bits for dtype='bfloat16', got uint8"):
        CompressedFloats(np.zeros(3, np.uint8), dtype="bfloat16")
    with pytest.raises(TypeError, match="dtype must be that of array, 'float32', got 'bfloat16'"):
        CompressedFloats(np.zeros(3, np.float32), dtype="bfloat16")
    with pytest.raises(ValueError, match="dtype must be one of"):
        CompressedFloats(np.zeros(3, np.uint16), dtype="int16")
    with pytest.raises(ValueError, match="coding must be"):
        CompressedFloats(np.zeros(3), coding="best")
    compressed = CompressedFloats(np.zeros((3, 4), np.float16))
    for out, error, match in (
        ([0.0], TypeError, "out must be a NumPy array, got list"),
        (np.zeros((3, 4)), TypeError, "out must have dtype float16 or uint16, got float64"),
        (np.zeros(12, np.float16), ValueError, r"out must have shape \(3, 4\), got \(12,\)"),
        (np.zeros((4, 3), np.float16).T, ValueError, "out must be contiguous"),
    ):
        with pytest.raises(error, match=match):
            compressed.decode(out)
    for rows in (3, -4, [0, 3], np.array([-4])):
        with pytest.raises(IndexError, match="row"):
            compressed[rows]
    for rows in (1.0, "a", None, ..., (0, 1), True, [0.5], [True, False, True], np.zeros((1, 1), int)):
        with pytest.raises(TypeError, match="rows must be"):
            compressed[rows]
    with pytest.raises(ValueError, match="array must not be masked, got 1 masked values"):
        CompressedFloats(np.ma.masked_array([1.0, 2.0], [False, True]))
    with pytest.raises(ValueError, match="array must be an array or a list of equal rows"):
        CompressedFloats([[1.0, 2.0], [3.0]])
    # So NumPy reads a file of bfloat16.
    with pytest.raises(TypeError, match=r"got void16; .* pass array.view\('uint16'\) and their dtype"):
        CompressedFloats(np.zeros(3, "V2"))
    with pytest.raises(TypeError, match=r"got float8_e8m0fnu$"):
        CompressedFloats(np.ones(3, ml_dtypes.float8_e8m0fnu))
    scalar = CompressedFloats(np.float64(1.0))
    with pytest.raises(IndexError, match="no rows"):
        scalar[0]
    with pytest.raises(TypeError, match="no length"):
        len(scalar)


# -- joining and storing --------------------------------------------------------------------------


def test_parts_join_to_the_whole() -> None:
    array = weights(9000, np.float32).reshape(90, 100)
    array[30:50] = np.random.default_rng(1).integers(0, 1 << 32, (20, 100), np.uint32).view(np.float32)
    cuts = [0, 0, 30, 31, 50, 90]
    parts = [CompressedFloats(array[a:b]) for a, b in pairwise(cuts)]
    joined = CompressedFloats.concatenate(parts)
    assert_same(joined, array)
    np.testing.assert_array_equal(joined[29:33], array[29:33])
    assert CompressedFloats.concatenate([joined]) == joined
    assert CompressedFloats.from_bytes(joined.to_bytes()) == joined
    with pytest.raises(ValueError, match="at least one"):
        CompressedFloats.concatenate([])
    with pytest.raises(TypeError, match=r"parts\[1\] must be CompressedFloats"):
        CompressedFloats.concatenate([joined, array])
    with pytest.raises(ValueError, match=r"parts\[1\] must be float32 of shape \(n, 100\)"):
        CompressedFloats.concatenate([joined, CompressedFloats(array[:, :3])])
    with pytest.raises(ValueError, match=r"parts\[0\] must have a first axis"):
        CompressedFloats.concatenate([CompressedFloats(np.float32(1))])


@pytest.mark.parametrize("mmap", [False, True])
def test_files(tmp_path: Any, mmap: bool) -> None:
    array = weights(10_000, ml_dtypes.bfloat16).reshape(50, 200)
    compressed = CompressedFloats(array)
    compressed.save(tmp_path / "a")
    loaded = CompressedFloats.load(tmp_path / "a", mmap=mmap)
    assert loaded == compressed
    assert_same(loaded, array)
    np.testing.assert_array_equal(bits_of(loaded[7]), bits_of(array[7]))
    assert (tmp_path / "a").stat().st_size < compressed.nbytes + 1000


def test_mutated_arrays_are_refused_or_decode_in_bounds() -> None:
    """Any bits that pass the checks decode to some values; none that fail them reach a kernel."""
    rng = np.random.default_rng(0)
    refused = 0
    for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16, np.float64):
        compressed = CompressedFloats(weights(5000, dtype).reshape(50, 100))
        for _ in range(300):
            arrays = {name: array.copy() for name, array in compressed._arrays.items()}
            name = rng.choice(["chunks", "lengths", "data", "data"])
            flat = arrays[name].reshape(-1).view(np.uint8)
            for place in rng.integers(0, min(flat.size, rng.choice([40, flat.size])), rng.integers(1, 4)):
                flat[place] = rng.choice([0, 255, rng.integers(256)])
            twin = compressed._without_arrays()
            try:
                twin._check_state(arrays)
            except ValueError:
                refused += 1
                continue
            twin._set_arrays(arrays)
            assert twin.decode().shape == compressed.shape
            twin[49]
    assert refused > 200


def test_cut_files_are_refused() -> None:
    data = CompressedFloats(weights(3000, np.float16)).to_bytes()
    for size in [*range(0, len(data), 211), len(data) - 1]:
        with pytest.raises(SketchFormatError):
            CompressedFloats.from_bytes(data[:size])
