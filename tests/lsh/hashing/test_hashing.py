"""Test hash_keys and as_byte_buffer on every kind of key against the xxhash package, and refusals."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mergesketch
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.lsh import hash_keys
from mergesketch.lsh.hashing.keys import as_byte_buffer, hash_buffer

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=20)
byte_strings = st.lists(st.binary(max_size=40), max_size=20)
seeds = st.integers(0, 2**64 - 1)


def reference(keys: list[bytes], seed: int = 0) -> list[int]:
    return [xxhash.xxh3_64_intdigest(key, seed) for key in keys]


def is_text(value: bytes) -> bool:
    """Check for UTF-8 without control characters except white space."""
    try:
        return not any(c == "\x7f" or (c < " " and c not in "\t\n\v\f\r") for c in value.decode())
    except UnicodeDecodeError:
        return False


def as_bytes(value: int) -> bytes:
    return (value % 2**64).to_bytes(8, "little")


@pytest.fixture
def threads() -> Iterator[None]:
    before = mergesketch.get_num_threads()
    yield
    mergesketch.set_num_threads(before)


def test_vectors() -> None:
    """Saved sketches depend on these values."""
    strings = ["", "a", "café", "The quick brown fox jumps over the lazy dog"]
    assert hash_keys(strings).tolist() == [
        0x2D06800538D394C2,
        0xE6C632B61E964E1F,
        0x4C83DBD5F29D367F,
        0xCE7D19A5418FB365,
    ]
    assert hash_keys([0, 1, -1], seed=1).tolist() == [
        0x9E51AD6D2F3E695C,
        0x85671091EDA75EB5,
        0x7B016D4CCC01C9BF,
    ]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8"])
def test_integer_arrays(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = [int(info.min), int(info.max), 0, 1, 100]
    expected = reference([as_bytes(v) for v in values], 9)
    array = np.array(values, dtype=dtype)
    assert hash_keys(array, seed=9).tolist() == expected
    assert hash_keys(np.repeat(array, 2)[::2], seed=9).tolist() == expected


@given(st.lists(st.integers(-(2**63), 2**64 - 1), max_size=20), seeds)
@settings(max_examples=200, deadline=None)
def test_integer_lists(values: list[int], seed: int) -> None:
    expected = reference([as_bytes(v) for v in values], seed)
    assert hash_keys(values, seed).tolist() == expected
    assert hash_keys(tuple(values), seed).tolist() == expected
    assert hash_keys(np.array(values, dtype=object), seed).tolist() == expected


def test_lists_of_numpy_integers() -> None:
    expected = reference([as_bytes(v) for v in (3, -1, 2**63)])
    assert hash_keys([np.uint8(3), np.int16(-1), np.uint64(2**63)]).tolist() == expected
    assert hash_keys(range(3, 5)).tolist() == reference([as_bytes(3), as_bytes(4)])


@pytest.mark.slow
@given(texts, seeds)
@settings(max_examples=200, deadline=None)
def test_lists_of_str(strings: list[str], seed: int) -> None:
    expected = reference([s.encode() for s in strings], seed)
    assert hash_keys(strings, seed).tolist() == expected
    data, offsets = as_byte_buffer(strings)
    assert [data[a:b].tobytes().decode() for a, b in pairwise(offsets)] == strings
    assert hash_buffer(data, offsets, seed).tolist() == expected


@given(byte_strings, seeds)
@settings(max_examples=200, deadline=None)
def test_bytes(strings: list[bytes], seed: int) -> None:
    assert hash_keys(strings, seed).tolist() == reference(strings, seed)
    stripped = [s.rstrip(b"\0") for s in strings]  # an S array stores these
    array = np.array(strings, dtype="S") if strings else np.empty(0, dtype="S5")
    width = array.dtype.itemsize
    if all(map(is_text, stripped)) or all(len(s) == width for s in stripped):
        assert hash_keys(array, seed).tolist() == reference(stripped, seed)
        assert hash_keys(array[::-1], seed).tolist() == reference(stripped[::-1], seed)
    else:
        with pytest.raises(ValueError, match="keys must be text where they are a NumPy S array"):
            hash_keys(array, seed)
    assert hash_keys(array.tolist(), seed).tolist() == reference(stripped, seed)
    padded = [s.ljust(width, b"\0") for s in strings]
    for whole in (array.view(f"V{width}"), array[::-1].view(f"V{width}")[::-1]) if width else ():
        assert hash_keys(whole, seed).tolist() == reference(padded, seed)
    data, offsets = as_byte_buffer(array)
    assert hash_buffer(data, offsets, seed).tolist() == reference(stripped, seed)


def test_unicode_arrays() -> None:
    expected = reference(["é".encode(), b"", b"abc"])
    assert hash_keys(np.array(["é", "", "abc"])).tolist() == expected
    assert hash_keys(np.array(["é", "", "abc"], dtype=object)).tolist() == expected
    assert hash_keys(np.array(["é", "", "abc"], dtype=np.dtypes.StringDType())).tolist() == expected


@given(
    st.lists(st.text("aé\0z", max_size=70), min_size=32, max_size=40),
    st.lists(st.text("ab", max_size=9), max_size=9),
)
def test_lists_of_many_short_strings(some: list[str], others: list[str]) -> None:
    # Those that have a NUL, or are long at the beginning, are read in another way.
    for strings in (some, [*others, *("tea", "") * 20], ["", *some, "tea"], ["a"] * 32 + ["b" * 500]):
        expected = reference([text.encode() for text in strings], 5)
        assert hash_keys(strings, 5).tolist() == expected
        assert hash_keys([text.encode() for text in strings], 5).tolist() == expected
        array = np.array(strings)
        stripped = [text.rstrip("\0").encode() for text in strings]
        assert hash_keys(array, 5).tolist() == reference(stripped, 5)
        assert hash_keys(array.astype(array.dtype.newbyteorder(">"))[::-1], 5).tolist() == reference(
            stripped[::-1], 5
        )


def test_a_lone_surrogate_among_many_strings_is_named() -> None:
    for keys in (["tea"] * 50 + ["x\udc80"], np.array(["tea"] * 50 + ["x\udc80"])):
        with pytest.raises(ValueError, match=r"string 50 has the lone surrogate U\+DC80"):
            hash_keys(keys)


def test_width_zero_and_empty() -> None:
    assert hash_keys(np.zeros(2, dtype="S0")).tolist() == reference([b"", b""])
    empties: list[Any] = [[], (), *(np.empty(0, dtype=dtype) for dtype in ("i4", "u8", "S3", "U3"))]
    for empty in empties:
        result = hash_keys(empty)
        assert result.shape == (0,) and result.dtype == np.uint64
    data, offsets = as_byte_buffer([])
    assert data.size == 0 and offsets.tolist() == [0]


ARROW_TYPES = ["string", "large_string", "binary", "large_binary", "string_view", "binary_view"]


@pytest.mark.parametrize("kind", ARROW_TYPES)
def test_arrow_strings(kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    strings = ["a", "", "bcé", "naïve text of more than sixteen bytes", "e" * 300]
    expected = reference([s.encode() for s in strings])
    values = strings if "string" in kind else [s.encode() for s in strings]
    array = pa.array(values, type=getattr(pa, kind)())
    assert hash_keys(array).tolist() == expected
    assert hash_keys(array[1:4]).tolist() == expected[1:4]
    assert hash_keys(array[2:2]).tolist() == []
    chunked = pa.chunked_array([array, array[1:3], array[:0]])
    assert hash_keys(chunked).tolist() == expected + expected[1:3]
    data, offsets = as_byte_buffer(chunked)
    assert hash_buffer(data, offsets).tolist() == expected + expected[1:3]
    assert hash_keys(pa.chunked_array([], type=array.type)).tolist() == []
    indices = pa.array([3, 0, 0, 4], pa.int8())
    dictionary = pa.DictionaryArray.from_arrays(indices, array)
    assert hash_keys(dictionary).tolist() == [expected[i] for i in (3, 0, 0, 4)]
    assert hash_keys(dictionary[1:3]).tolist() == [expected[0]] * 2
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 9, 10, 12]), array)
    repeated = [expected[i] for i in (0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 4, 4)]
    assert hash_keys(runs).tolist() == repeated and hash_keys(runs[1:11]).tolist() == repeated[1:11]


def test_arrow_is_not_copied() -> None:
    pa = pytest.importorskip("pyarrow")
    array = pa.array(["abc", "defgh"])
    data, _ = as_byte_buffer(array[1:])
    assert data.ctypes.data == array.buffers()[2].address


def test_arrow_integers() -> None:
    pa = pytest.importorskip("pyarrow")
    expected = reference([as_bytes(v) for v in (5, -1)])
    assert hash_keys(pa.array([5, -1], type=pa.int16())).tolist() == expected
    assert hash_keys(pa.chunked_array([[5], [-1]], type=pa.int64())).tolist() == expected


def test_arrow_by_capsule() -> None:
    """Any object that exports Arrow's PyCapsules is taken, whatever its type."""
    pa = pytest.importorskip("pyarrow")

    class Foreign:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
            return self.array.__arrow_c_array__(requested_schema)

    class Stream:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return self.array.__arrow_c_stream__(requested_schema)

    expected = reference([b"x", b"yz"])
    assert hash_keys(Foreign(pa.array(["x", "yz"]))).tolist() == expected
    assert hash_keys(Stream(pa.chunked_array([["x"], ["yz"]]))).tolist() == expected


def test_arrow_refusals() -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"keys must have no nulls, got 1, the first at 3"):
        hash_keys(pa.chunked_array([["a", "b"], ["c", None]]))
    with pytest.raises(ValueError, match="nulls"):
        hash_keys(pa.array([1, None]))
    for array in (pa.array([1.5]), pa.array([True]), pa.array([["a"]])):
        with pytest.raises(
            TypeError, match="keys must be an Arrow array of integers, strings or bytes, got one"
        ):
            hash_keys(array)
    with pytest.raises(
        TypeError, match="keys must be one column, got an Arrow Table: pass one of its columns"
    ):
        hash_keys(pa.table({"a": ["b"]}))
    # The dictionary's own values may be null too, so the nulls of the indices are not all of them.
    for indices, values in (([0, 1, 0], ["a", None]), ([0, None, 0], ["a", "b"])):
        array = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(values))
        with pytest.raises(ValueError, match="keys must have no nulls, got 1, the first at 3"):
            hash_keys(pa.chunked_array([array[:1], array[2:], array]))


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (["a", b"a"], TypeError, "keys must be all str, all bytes or all int, got bytes, str"),
        (["a", 1], TypeError, "got int, str"),
        (["a", None], TypeError, "got NoneType, str"),
        ([True, False], TypeError, "got bool"),
        ([1, True], TypeError, "got bool, int"),
        ([np.True_], TypeError, "got bool"),
        ([1.0], TypeError, "got float"),
        # By its base classes it is one of NumPy's integers.
        ([np.timedelta64(5, "ns")], TypeError, "all bytes or all int, got timedelta64"),
        ([1, np.timedelta64("NaT")], TypeError, "got int, timedelta64"),
        (np.array([np.timedelta64(5)], dtype=object), TypeError, "got timedelta64"),
        ([[1, 2]], TypeError, "got list"),
        ([2**64], ValueError, f"from -2\\*\\*63 to 2\\*\\*64 - 1, got {2**64}"),
        ([1, -(2**63) - 1], ValueError, f"got {-(2**63) - 1}"),
        ([-1, 2**64], ValueError, f"got {2**64}"),
        (["ok", "x\udc80"], ValueError, r"string 1 has the lone surrogate U\+DC80"),
        (["é", "", "\ud800x"], ValueError, r"string 2 has the lone surrogate U\+D800"),
        (np.array([1.5]), TypeError, "keys must be integers or strings, got dtype float64"),
        (np.array([True]), TypeError, "got dtype bool"),
        (np.array(["2020"], dtype="M8[M]"), TypeError, r"keys must have days .* got dtype datetime64\[M\]"),
        (np.zeros((2, 2), dtype=int), ValueError, r"keys must be 1-D, got shape \(2, 2\)"),
        (
            None,
            TypeError,
            "keys must be an array or a list of int, str or bytes, or one of them, got NoneType",
        ),
        (bytearray(b"abc"), TypeError, "got bytearray; pass bytes"),
        (5.0, TypeError, "got float"),
        (True, TypeError, "got bool"),
        (np.array(5.0), TypeError, "keys must be integers or strings, got dtype float64"),
        (np.timedelta64(5, "ns"), TypeError, "got dtype timedelta64"),
        (2**64, ValueError, f"got {2**64}"),
        ("\ud800", ValueError, "lone surrogate"),
        ({"a"}, TypeError, "got set; pass a list of its keys"),
        ({"a": 1}.keys(), TypeError, "got dict_keys; pass a list of its keys"),
        ((key for key in "ab"), TypeError, "got generator; pass a list of its keys"),
    ],
)
def test_refusals(keys: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hash_keys(keys)


def test_objects_of_libraries_are_refused_by_name_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    with pytest.raises(TypeError, match=r"got LazyFrame; call collect\(\) first"):
        hash_keys(pl.DataFrame({"a": [1]}).lazy())
    for nothing in (pa.scalar(5), pa.int64(), pl.col("a")):
        with pytest.raises(TypeError, match=f"keys must be .* got {type(nothing).__name__}"):
            hash_keys(nothing)
    assert not recwarn.list


@pytest.mark.parametrize("key", ["abc", "", "straße", b"a\0b", 5, -1, 2**64 - 1, np.uint8(5), np.str_("abc")])
def test_one_key_has_the_hash_of_a_list_of_it(key: Any) -> None:
    found = hash_keys(key, seed=3)
    assert type(found) is int
    assert found == hash_keys([key], seed=3)[0]
    # An S array would not keep the NUL byte at the end of a key.
    assert hash_keys(np.array(key, dtype="V3" if isinstance(key, bytes) else None), seed=3) == found


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "a"])
def test_bad_seed(seed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        hash_keys([1], seed=seed)


@pytest.mark.parametrize(
    ("data", "offsets", "message"),
    [
        (b"abc", np.array([0, 4]), r"lie in \[0, 3\].*offset 1 is 4"),
        (b"abc", np.array([-1, 2]), "offset 0 is -1"),
        (b"abc", np.array([2, 1]), "offset 1 is 1"),
        (b"abc", np.array([], dtype=int), "at least 1, got none"),
        (b"abc", np.array([0.0, 1.0]), "1-D integer offsets, got an array of dtype float64"),
        (b"abc", [0, 1], "1-D integer offsets, got list"),
        (np.zeros(3, dtype=np.int8), np.array([0, 1]), "1-D uint8 data"),
        (np.zeros((3, 3), dtype=np.uint8), np.array([0, 1]), "1-D uint8 data"),
        ("abc", np.array([0, 1]), "1-D uint8 data, got str"),
        (memoryview(b"abcdef")[::2], np.array([0, 1]), "data in C order without gaps, got a memoryview"),
    ],
)
def test_bad_buffers(data: Any, offsets: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        hash_buffer(data, offsets)


def test_buffers_of_slices() -> None:
    data, offsets = as_byte_buffer(["ab", "c", "", "def"])
    assert hash_buffer(data, offsets[1:].astype(np.int32)).tolist() == reference([b"c", b"", b"def"])
    assert hash_buffer(np.repeat(data, 2)[::2], offsets).tolist() == hash_buffer(data, offsets).tolist()


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_independent_of_threads(n_threads: int, threads: None) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2**64, 300_000, dtype=np.uint64)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 30, 300_000))])
    data = rng.integers(0, 256, int(offsets[-1]), dtype=np.uint8)
    mergesketch.set_num_threads(1)
    fields = values.astype("S")  # decimal digits, of several lengths
    expected = [hash_keys(values), hash_buffer(data, offsets), hash_keys(fields)]
    mergesketch.set_num_threads(n_threads)
    got = [hash_keys(values), hash_buffer(data, offsets), hash_keys(fields)]
    for ours, theirs in zip(got, expected, strict=True):
        assert np.array_equal(ours, theirs)
    rows = [0, 1, 299_999, 150_000]
    assert [int(expected[0][i]) for i in rows] == reference([as_bytes(int(values[i])) for i in rows])


def test_numbers_that_are_drawn_in_blocks_are_those_of_one_stream() -> None:
    """Saved sketches depend on them: each is one word of Philox, in order, whatever the blocks."""
    from mergesketch.lsh.support.random import normal, random_uint64, uniform
    from scipy.special import ndtri

    for size in (0, 1, 1000, (1 << 18) - 1, 1 << 18, (1 << 19) + 3):
        words = random_uint64(5, "blocks", size)
        expected = (2.0 * (words >> np.uint64(12)).astype(np.float64) + 1.0) * 2.0**-53
        np.testing.assert_array_equal(uniform(5, "blocks", size), expected)
        drawn = normal(5, "blocks", size)
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, ndtri(expected).astype(np.float32))
