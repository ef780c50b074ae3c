"""Test codebooks: every value is decoded, escapes pay, and no damage leads out of bounds."""

import functools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.sketches.coding.codebook import Codebook
from mergesketch.sketches.coding.prefix_code import code_lengths
from mergesketch.sketches.kernels.codes import decode, encode_value, raw_value
from naive.prefix_code import canonical_words
from numba import njit


@njit
def decode_windows(decoder, windows, values, escapes):
    for i in range(windows.size):
        values[i], escapes[i] = decode(decoder, windows[i])


@njit
def decode_raw(decoder, raw, values):
    for i in range(raw.size):
        values[i] = raw_value(decoder, raw[i])


def decoded(book: Codebook, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, escapes = np.empty(windows.size, dtype=np.uint64), np.empty(windows.size, dtype=np.bool_)
    decode_windows(book.decoder(), windows, values, escapes)
    return values, escapes


def round_trip(book: Codebook, values: np.ndarray, rng: np.random.Generator) -> int:
    """Assert that `values` are decoded whatever bits follow their words; return the bits that they take."""
    codes, lengths, escaped, raw = book.encode(values)
    bits = lengths.astype(np.uint64)
    assert (lengths >= book.min_length).all() and (lengths <= max(book.max_length, 0)).all()
    junk = rng.integers(0, 2**64, values.size, dtype=np.uint64)
    # A shift by 64 is undefined, so it is done in two steps.
    half = (np.uint64(64) - bits) // np.uint64(2)
    windows = ((codes << half) << (np.uint64(64) - bits - half)) | (junk >> bits)
    out, escapes = decoded(book, windows)
    np.testing.assert_array_equal(escapes, escaped)
    assert (raw[~escaped] == 0).all() and (
        book.header.raw_bits == 64 or (raw >> np.uint64(book.header.raw_bits) == 0).all()
    )
    from_raw = np.empty_like(out)
    decode_raw(book.decoder(), raw, from_raw)
    np.testing.assert_array_equal(np.where(escaped, from_raw, out), values)
    return int(lengths.sum(dtype=np.int64)) + int(escaped.sum()) * book.header.raw_bits


def as_arrays(table: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    values = sorted(table)
    return np.array(values, dtype=np.uint64), np.array([table[v] for v in values], dtype=np.int64)


wide = st.integers(0, 2**64 - 1)
some_counts = st.integers(1, 4) | st.integers(0, 40).map(lambda k: 2**k) | st.integers(1, 10**6)
tables = (
    st.dictionaries(wide, some_counts, max_size=30)
    | st.dictionaries(st.integers(0, 500), some_counts, max_size=200)
    | st.dictionaries(st.integers(0, 50).map(lambda k: 10**9 + 1000 * k), some_counts, max_size=50)
)


@pytest.mark.slow
@given(tables, st.sampled_from([None, 8, 12, 24, 32]), st.booleans())
@settings(deadline=None, max_examples=200)
@example({}, None, True)
@example({2**64 - 1: 1}, None, True)
@example({0: 1, 2**64 - 1: 1}, None, True)
@example(dict.fromkeys(range(300), 1) | {2**64 - 1: 1}, None, True)
@example({k: 2**k for k in range(50)}, 12, False)
def test_values_come_back(table: dict[int, int], limit: int | None, escapes: bool) -> None:
    values, counts = as_arrays(table)
    if limit is None:
        limit = max(1, max(values.size - 1, 0).bit_length())
    if values.size > 2**limit:
        return
    book = Codebook.build(values, counts, limit=limit, raw_bits_allowed=escapes)
    assert book.header.n_keys == counts.sum() and book.max_length <= limit
    assert book.n_symbols <= values.size and (escapes or book.n_symbols == values.size)
    again = Codebook({name: array.copy() for name, array in book.arrays().items()})
    for each in (book, again, pickle.loads(pickle.dumps(book))):
        round_trip(each, values, np.random.default_rng(0))
    # The values are also encoded one by one.
    encoder = book.encoder()
    batch = book.encode(values)
    for i, value in enumerate(values[:5]):
        code, length, escaped, raw = encode_value(encoder, value)
        assert (code, length, escaped, raw) == tuple(part[i] for part in batch)


@pytest.mark.slow
@given(tables, st.integers(0, 2**32))
@settings(deadline=None)
def test_every_window_is_the_word_it_begins_with(table: dict[int, int], seed: int) -> None:
    values, counts = as_arrays(table)
    book = Codebook.build(values, counts, raw_bits_allowed=False)
    rng = np.random.default_rng(seed)
    windows = np.append(rng.integers(0, 2**64, 100, dtype=np.uint64), np.array([0, 2**64 - 1], np.uint64))
    out, escapes = decoded(book, windows)
    assert not escapes.any()
    if values.size == 0:
        assert not out.any()
        return
    words = canonical_words(code_lengths(counts).tolist())
    naive = dict(zip(words, values.tolist(), strict=True))
    for window, value in zip(windows.tolist(), out.tolist(), strict=True):
        bits = f"{window:064b}"
        assert value == next(naive[bits[:n]] for n in range(25) if bits[:n] in naive)


def cost(book: Codebook, values: np.ndarray, counts: np.ndarray) -> float:
    """Return the bytes of the codebook and of all words and raw bits, these with two percent on top."""
    _, lengths, escaped, _ = book.encode(values)
    return book.nbytes + 1.02 / 8 * float(
        counts @ (lengths + book.header.raw_bits * escaped.astype(np.int64))
    )


@given(tables)
@settings(deadline=None)
def test_escapes_take_no_more_than_none_and_than_all(table: dict[int, int]) -> None:
    values, counts = as_arrays(table)
    chosen = cost(Codebook.build(values, counts), values, counts)
    assert chosen <= cost(Codebook.build(values, counts, raw_bits_allowed=False), values, counts) + 1e-6
    if len(table) > 1:
        step = np.gcd.reduce(np.diff(values))
        width = int((values[-1] - values[0]) // step).bit_length()
        assert chosen <= 68 + 1.02 / 8 * float(counts.sum()) * width + 1e-6


def zipf(n_symbols: int, entropy: float, n_keys: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from 1 .. n_symbols with probabilities in proportion to a power, of the given entropy."""
    ranks = np.arange(1, n_symbols + 1)
    low, high = 0.0, 4.0
    for _ in range(60):
        p = ranks ** -((low + high) / 2)
        p /= p.sum()
        if -(p * np.log2(p)).sum() > entropy:
            low = (low + high) / 2
        else:
            high = (low + high) / 2
    return rng.choice(ranks, size=n_keys, p=p).astype(np.uint64)


def test_a_bounded_zipf_costs_little_over_its_entropy() -> None:
    rng = np.random.default_rng(8)
    keys = zipf(40_000, 8.0, 1_000_000, rng)
    values, counts = np.unique(keys, return_counts=True)
    p = counts / keys.size
    entropy = -float(p @ np.log2(p)) * keys.size / 8
    book = Codebook.build(values, counts)
    assert book.nbytes <= 22_000
    assert round_trip(book, keys, rng) / 8 + book.nbytes <= 1.025 * entropy
    # With a word for each of some 31,000 values a codebook takes a few bits for each.
    whole = Codebook.build(values, counts, raw_bits_allowed=False)
    assert whole.nbytes <= 6 / 8 * values.size
    round_trip(whole, keys, rng)
    assert 8 << book.table_bits <= 0.01 * book.header.n_keys * 8 / 8


def test_few_values_in_common_counts_are_not_escaped() -> None:
    values, counts = np.array([10, 11, 12, 14], np.uint64), np.array([4000, 2000, 1000, 1000])
    book = Codebook.build(values, counts)
    assert not book.header.has_escape and book.header.raw_bits == 0 and book.n_symbols == 4
    assert (book.min_length, book.max_length, book.table_bits) == (1, 3, 1)
    assert book.encode(values).lengths.tolist() == [1, 2, 3, 3]


def test_incompressible_values_are_raw() -> None:
    rng = np.random.default_rng(2)
    values = np.unique(rng.integers(0, 2**32, 50_000, dtype=np.uint64)) * np.uint64(3) + np.uint64(7)
    book = Codebook.build(values, np.ones(values.size, dtype=np.int64))
    assert (book.n_symbols, book.header.escape_length, book.header.raw_bits, book.max_length) == (0, 0, 32, 0)
    assert book.nbytes < 100
    assert round_trip(book, values, rng) == 32 * values.size
    # Raw bits reach values that were never seen, but only in steps and within their width.
    assert book.encode(values[:1] + np.uint64(3)).escaped.all()
    beyond = values[0] + np.uint64(3 * 2**32)
    for value in (values[0] + np.uint64(1), values[0] - np.uint64(3), beyond, np.uint64(2**63)):
        with pytest.raises(ValueError, match="values must be among those of the codebook"):
            book.encode(np.array([values[0], value]))


def test_one_value_and_none_take_no_bits() -> None:
    one = Codebook.build(np.array([9], np.uint64), np.array([10**9]))
    assert (one.max_length, one.n_symbols, one.header.has_escape) == (0, 1, False)
    assert one.encode(np.array([9])).lengths.tolist() == [0]
    assert one.nbytes < 100
    none = Codebook.build(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    assert (none.max_length, none.n_symbols, none.nbytes) == (0, 0, 68)
    for value in (8, 9):
        with pytest.raises(ValueError, match="values must be among"):
            none.encode(np.array([value]))
    with pytest.raises(ValueError, match="got 8 at 1"):
        one.encode(np.array([9, 8]))


def test_the_same_for_the_same_counts_and_read_without_a_copy() -> None:
    rng = np.random.default_rng(4)
    values, counts = np.unique(rng.geometric(0.02, 30_000).astype(np.uint64), return_counts=True)
    book = Codebook.build(values, counts)
    for name, array in Codebook.build(values, counts.astype(np.int32)).arrays().items():
        np.testing.assert_array_equal(array, book.arrays()[name])
    stored = {name: np.frombuffer(array.tobytes(), array.dtype) for name, array in book.arrays().items()}
    again = Codebook(stored)
    for name, array in again.arrays().items():
        assert np.shares_memory(array, stored[name])
        assert not array.flags.writeable


@pytest.mark.parametrize("n_runs", [1, 40])
def test_many_values(n_runs: int) -> None:
    rng = np.random.default_rng(n_runs)
    starts = np.sort(rng.integers(0, 2**50, n_runs, dtype=np.uint64))
    values: np.ndarray = np.unique((starts[:, None] + np.arange(60_000 // n_runs, dtype=np.uint64)).ravel())
    counts = rng.zipf(1.3, values.size).clip(max=10**6)
    for escapes in (True, False):
        round_trip(Codebook.build(values, counts, raw_bits_allowed=escapes), values, rng)


# -- damage ---------------------------------------------------------------------------------------

TABLES = [
    ({}, True),
    ({5: 1}, True),
    ({k: 2**k for k in range(12)}, False),
    (dict.fromkeys(range(0, 4000, 4), 1) | dict.fromkeys(range(1, 300, 4), 10**4), False),
    (dict.fromkeys(range(0, 4000, 4), 1) | dict.fromkeys(range(1, 300, 4), 10**4), True),
    (dict.fromkeys([k * 2**40 + 1 for k in range(300)], 1), True),
]


@functools.cache
def book(number: int) -> dict[str, np.ndarray]:
    table, escapes = TABLES[number]
    return Codebook.build(*as_arrays(table), raw_bits_allowed=escapes).arrays()


books = st.sampled_from(range(len(TABLES))).map(book)


def survives(arrays: dict[str, np.ndarray]) -> None:
    """Assert that these are refused, or that every window finds a value of the arrays."""
    try:
        book = Codebook(arrays)
    except ValueError:
        return
    rng = np.random.default_rng(1)
    windows = rng.integers(0, 2**64, 500, dtype=np.uint64) >> rng.integers(0, 64, 500, dtype=np.uint64)
    windows = np.concatenate([windows, ~windows])
    out, escapes = decoded(book, windows)
    base, step, largest = (int(x) for x in book.arrays()["header"][1:4])
    assert all(base <= v <= base + step * largest for v in out[~escapes].tolist()) or book.n_symbols == 0
    assert book.header.has_escape or not escapes.any()
    # The encoder's table takes no more than the file would: 16 bytes and the directory a value.
    encoder = book.encoder()
    assert encoder.values.size == book.n_symbols
    assert encoder.directory.size <= 4 * book.n_symbols + 4
    found = book.encode(encoder.values, encoder)
    assert not found.escaped.any()


@pytest.mark.slow
@given(books, st.data())
@settings(max_examples=600, deadline=None)
def test_flipped_bytes(arrays: dict[str, np.ndarray], data: st.DataObject) -> None:
    damaged = {name: array.copy() for name, array in arrays.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([name for name in damaged if damaged[name].size]))
        flat = damaged[name].view(np.uint8)
        flat[data.draw(st.integers(0, flat.size - 1))] ^= np.uint8(data.draw(st.integers(1, 255)))
    survives(damaged)


@given(books, st.lists(wide, min_size=8, max_size=8), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_foreign_headers(arrays: dict[str, np.ndarray], numbers: list[int], keep: int) -> None:
    header = arrays["header"].copy()
    for i, number in enumerate(numbers):
        if not keep >> i & 1:
            header[i] = number >> (number % 64)
    survives(arrays | {"header": header})


@pytest.mark.parametrize(
    "change, wanted",
    [
        (lambda a: a.pop("classes"), "arrays must hold 'classes'"),
        (lambda a: a.update(header=a["header"][:-1]), "header must have 8 numbers"),
        (lambda a: a.update(header=a["header"].view(np.int64)), "header must be .* uint64"),
        (lambda a: a.update(classes=a["classes"][:-1]), "classes must have .* words"),
        (lambda a: a.update(classes=np.append(a["classes"], np.uint64(0))), "classes must have .* words"),
        (lambda a: a.update(classes=~a["classes"]), "classes: words of length"),
        (lambda a: a.update(class_sizes=a["class_sizes"][:-1]), "complete code"),
        (lambda a: a.update(class_sizes=a["class_sizes"][:0]), "class_sizes must have 1 to 33"),
        (lambda a: a.update(class_sizes=np.zeros(34, np.uint32)), "class_sizes must have 1 to 33"),
        (lambda a: a.update(class_sizes=np.append(a["class_sizes"], np.uint32(0))), "complete code"),
        (lambda a: a["header"].__setitem__(2, 0), "step must be at least 1"),
        (lambda a: a["header"].__setitem__(2, 2**63), "step must be at least 1 and keep"),
        (lambda a: a["header"].__setitem__(3, 0), "largest must leave room"),
        (lambda a: a["header"].__setitem__(4, 2), "has_escape must be 0 or 1"),
        (lambda a: a["header"].__setitem__(5, 40), "must be 0 without an escape"),
    ],
)
def test_what_is_wrong_is_said(change: Any, wanted: str) -> None:
    arrays = {name: array.copy() for name, array in book(3).items()}
    change(arrays)
    with pytest.raises(ValueError, match=wanted):
        Codebook(arrays)


def test_bad_arguments() -> None:
    values, counts = np.array([1, 2, 3, 4, 5], np.uint64), np.array([1, 1, 1, 1, 1])
    cases: list[tuple[Any, str]] = [
        (values[::-1], "strictly ascending"),
        (values.astype(np.int64), "values must be one-dimensional of uint64"),
        (values[:3], r"counts must have shape \(3,\)"),
        (np.array([1, 2, 2, 3, 4], np.uint64), "strictly ascending"),
    ]
    for wrong, wanted in cases:
        with pytest.raises(ValueError, match=wanted):
            Codebook.build(wrong, counts)
    with pytest.raises(ValueError, match="counts must be at least 1"):
        Codebook.build(values, counts - 1)
    with pytest.raises(ValueError, match=r"at most 2\*\*limit = 4 for limit=2, got 5"):
        Codebook.build(values, counts, limit=2, raw_bits_allowed=False)
    assert Codebook.build(values, counts, limit=2).header.has_escape
    for unfit in ([-1], [0.5], [[1]]):
        with pytest.raises(ValueError, match="values must be non-negative integers in one dimension"):
            Codebook.build(values, counts).encode(np.array(unfit))
    with pytest.raises(ValueError, match="limit must be an integer from 1 to 32"):
        Codebook.build(values, counts, limit=0)
