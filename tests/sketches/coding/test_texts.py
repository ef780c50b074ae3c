"""Test coded texts against lists, against a plain reader of their bits, and with damaged arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.sketches.coding import elias_fano
from mergesketch.sketches.coding.grammar import Grammar, Strings
from mergesketch.sketches.coding.texts import Texts, encode_texts
from mergesketch.sketches.kernels.grammar import END, count_pairs, pair_table, replace_pairs
from mergesketch.sketches.kernels.texts import find_distinct
from naive.texts import BLOCK, coded_texts, pairs_counted, pairs_replaced

PADDING = 2


def naive(arrays: dict[str, Any], n: int) -> list[bytes]:
    n_blocks, n_bits = -(-n // BLOCK), (arrays["text_bits"].size - PADDING) * 64
    starts = elias_fano.take(arrays["text_starts"], n_blocks, n_bits, np.arange(n_blocks))
    return list(coded_texts(arrays, starts.tolist(), n))


def read(arrays: dict[str, Any], n: int, numbers: Any) -> list[bytes]:
    return Texts(arrays, n, is_str=False).take(np.asarray(numbers, dtype=np.uint64)).tolist()


words = st.sampled_from(
    [b"", b"a", b"ab", b"/usr/share/", b"\0", b"\xff\xfe", "naïve 中文".encode(), b"x" * 300]
)
texts = st.lists(words, max_size=6).map(b"".join) | st.binary(max_size=20)


@given(st.sets(texts, max_size=60).map(sorted))
@example([])
@example([b""])
@example([b"one"])
@example([b"a" * n for n in range(1, 40)])
@example([b"a" * 100_000, b"a" * 100_000 + b"b", b"b"])
@example([bytes([b]) for b in range(256)])
@example([bytes(range(256)) * 3])
@settings(deadline=None)
def test_texts_come_back(entries: list[bytes]) -> None:
    arrays = encode_texts(entries)
    n = len(entries)
    assert naive(arrays, n) == entries
    assert read(arrays, n, range(n)) == entries
    assert read(arrays, n, [*reversed(range(n)), *range(n)]) == entries[::-1] + entries
    for i in range(n):
        assert read(arrays, n, [i]) == [entries[i]]


@given(st.sets(st.text(max_size=12), max_size=40))
@example({"", "\0", "\U0001f600", "é", "e\u0301", "中文", "\x7f\x80\uffff"})
@settings(deadline=None)
def test_str_come_back(entries: set[str]) -> None:
    raw = sorted(entry.encode() for entry in entries)
    found = Texts(encode_texts(raw), len(raw), is_str=True).take(np.arange(len(raw), dtype=np.uint64))
    assert found.dtype == object and found.tolist() == [entry.decode() for entry in raw]


def test_a_text_beyond_the_last_is_the_last() -> None:
    arrays = encode_texts([b"a", b"b"])
    assert read(arrays, 2, [2, 2**64 - 1, 0]) == [b"b", b"b", b"a"]
    assert read(encode_texts([]), 0, [0, 5]) == [b"", b""]


def test_long_texts() -> None:
    """Texts longer than the room of a decoder, behind each other and among short ones."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
    entries = sorted([noise, noise + b"1", noise[:500_000], b"ab" * 400_000, b"z", b"", b"\0" * 70_000])
    arrays = encode_texts(entries)
    # The second copy of the noise costs nothing, and random bytes take their width.
    assert sum(array.nbytes for array in arrays.values()) < 1.01 * len(noise)
    assert read(arrays, len(entries), [3, 0, 5, 1, 6, 2, 4]) == [entries[i] for i in (3, 0, 5, 1, 6, 2, 4)]


def test_many_texts_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grammar of a sample writes all texts, also bytes that the sample lacks; parts do not matter."""
    from mergesketch.sketches.coding import grammar

    rng = np.random.default_rng(1)
    letters = [
        f"{a}/{b:x}" for a, b in zip(rng.integers(0, 50, 3000), rng.integers(0, 2**30, 3000), strict=True)
    ]
    entries = sorted({entry.encode() for entry in letters} | {bytes([b]) * 3 for b in range(256)})
    whole = encode_texts(entries)
    monkeypatch.setattr(grammar, "_SAMPLE", 64 * 40)
    parts = encode_texts(entries)
    assert read(parts, len(entries), range(len(entries))) == entries
    assert parts["text_rules"].size < whole["text_rules"].size
    assert parts["text_bits"].size >= whole["text_bits"].size


@pytest.mark.parametrize("alphabet", [16, 64, 256])
def test_random_texts_take_their_entropy(alphabet: int) -> None:
    """Texts without structure take the logarithm of the alphabet, a prefix code's share, and little more."""
    rng = np.random.default_rng(alphabet)
    n, length = 4000, 20
    raw = rng.integers(0, alphabet, (n, length), dtype=np.uint8)
    entries = sorted(row.tobytes() for row in raw)
    n_bytes = sum(array.nbytes for array in encode_texts(entries).values())
    # At most: the entropy; 4 bits a text of its prefix and its size, 24 of 8 texts' start; the rules.
    assert n_bytes <= n * length * np.log2(alphabet) / 8 * 1.01 + n * 7 / 8 + 4 * alphabet + 600


# -- pairs of symbols -----------------------------------------------------------------------------

streams = st.lists(st.integers(0, 4) | st.just(END), max_size=60)


@given(streams)
@example([0, 0, 0, 0, 0, END, 0, 0])
@example([1, 1, 0, 1, 1, 1, 0, 0])
def test_pairs_are_counted(stream: list[int]) -> None:
    pairs, counts = np.zeros(128, dtype=np.int64), np.zeros(128, dtype=np.int64)
    singles = np.zeros(5, dtype=np.int64)
    count_pairs(np.array(stream, dtype=np.uint16), np.uint64(64 - 7), pairs, counts, singles)
    found = {
        (pair >> 16, pair & 0xFFFF): n for pair, n in zip(pairs.tolist(), counts.tolist(), strict=True) if n
    }
    assert found == pairs_counted(stream, END)
    assert singles.tolist() == [stream.count(symbol) for symbol in range(5)]


@given(streams, st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_pairs_are_replaced(stream: list[int], chosen: set[tuple[int, int]]) -> None:
    symbols = {pair: 5 + i for i, pair in enumerate(sorted(chosen))}
    keys, values = np.zeros(64, dtype=np.int64), np.zeros(64, dtype=np.int64)
    pair_table(np.array([a << 16 | b for a, b in symbols], dtype=np.int64), 5, np.uint64(58), keys, values)
    array = np.array(stream, dtype=np.uint16)
    n = replace_pairs(array, array.size, np.uint64(58), keys, values)
    assert array[:n].tolist() == pairs_replaced(stream, symbols, END)


def test_a_grammar_learns_words() -> None:
    rng = np.random.default_rng(2)
    drawn = [
        b" ".join(b"alpha beta gamma delta".split()[i] for i in row) for row in rng.integers(0, 4, (500, 5))
    ]
    entries = sorted(drawn)
    ends = np.array([0, *itertools.accumulate(map(len, entries))], dtype=np.int64)
    data = np.frombuffer(b"".join(entries), dtype=np.uint8)
    strings = Strings(data, ends, np.zeros(len(entries), dtype=np.int64))
    grammar = Grammar(strings)
    symbols = grammar.parse(strings)

    def expanded(symbol: int) -> bytes:
        left, right = grammar.rules[symbol]
        return bytes([left]) if right == END else expanded(left) + expanded(right)

    found = b"".join(b"\n" if symbol == END else expanded(symbol) for symbol in symbols.tolist())
    assert found == b"\n".join(entries) + b"\n"
    assert all(right == END or max(left, right) < i for i, (left, right) in enumerate(grammar.rules))
    # Five words a text, each one symbol or two with the space.
    assert symbols.size <= 11 * len(entries)


@given(st.lists(st.integers(0, 20) | st.integers(0, 2**64 - 1), min_size=1, max_size=64))
def test_distinct_numbers(numbers: list[int]) -> None:
    array = np.array(numbers, dtype=np.uint64)
    distinct, inverse = np.empty_like(array), np.empty(array.size, dtype=np.int64)
    n = find_distinct(array, np.full(128, -1, dtype=np.int64), distinct, inverse)
    assert distinct[:n].tolist() == list(dict.fromkeys(numbers))
    np.testing.assert_array_equal(distinct[inverse], array)


# -- damage ---------------------------------------------------------------------------------------

FOLDERS = itertools.product(("lib", "share"), ("x", "yy"), range(150))
PATHS = sorted([b"z" * 40_000, *(f"/usr/{a}/{b}/{c}".encode() for a, b, c in FOLDERS)])


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_arrays_are_refused_or_decoded(data: st.DataObject) -> None:
    """Whatever the bits are, decoding ends, within the arrays (the tests run with bounds checks too)."""
    arrays = {name: array.copy() for name, array in encode_texts(PATHS).items()}
    for _ in range(data.draw(st.integers(1, 4))):
        array = arrays[data.draw(st.sampled_from(sorted(arrays)))]
        at = data.draw(st.integers(0, array.size - 1))
        array[at] ^= array.dtype.type(1 << data.draw(st.integers(0, 8 * array.itemsize - 1)))
    for is_str in (False, True):
        try:
            found = Texts(arrays, len(PATHS), is_str)
        except ValueError:
            continue
        out = found.take(np.arange(len(PATHS), dtype=np.uint64))
        assert {type(text) for text in out} == {str if is_str else bytes}
        assert max(map(len, out)) <= found.longest


def changed(name: str, at: Any, value: int) -> dict[str, Any]:
    arrays = {key: array.copy() for key, array in encode_texts(PATHS).items()}
    arrays[name][at] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (lambda: changed("text_rules", slice(None), 0), "at most 256 bytes"),  # a symbol that has itself
        (lambda: changed("text_rules", 0, 0xFFFF0100), "bytes, or pairs"),
        (lambda: changed("text_rules", 0, 0xFFFE0000), "bytes, or pairs"),
        (lambda: {**encode_texts(PATHS), "text_rules": np.zeros(1, np.uint32)}, "text_rules must have"),
        (lambda: changed("text_codes", 0, 60), "text_codes must"),
        (lambda: changed("text_codes", 0, 0), "text_codes must"),
        (lambda: changed("text_codes", 1, 1), "text_codes must"),
        (lambda: changed("text_codes", 2, 9), "prefix codes"),
        (lambda: changed("text_codes", -1, 400), "a number for each word"),
        (lambda: {**encode_texts(PATHS), "text_codes": np.zeros(0, np.uint16)}, "text_codes must"),
        (lambda: changed("text_bits", -1, 1), "words of zeros"),
        (lambda: {**encode_texts(PATHS), "text_bits": np.zeros(1, np.uint64)}, "words of zeros"),
        (lambda: changed("text_starts", slice(None), 2**64 - 1), "damaged"),
        (lambda: {**encode_texts(PATHS), "text_starts": np.zeros(1, np.uint64)}, "words must be"),
    ],
)
def test_arrays_that_are_refused(arrays: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Texts(arrays(), len(PATHS), is_str=True)


def test_codes_that_give_symbols_which_do_not_exist() -> None:
    """Sizes of texts without any symbols, and changes without words, are in bounds."""
    arrays = encode_texts([b""])
    assert arrays["text_rules"].size == 0
    arrays["text_codes"][-1] = 200
    assert read(arrays, 1, [0])[0].strip(b"\0") == b""
    # One text has no changes; with nine texts, block 0 has seven that read them.
    arrays = encode_texts([b"a"]) | {"text_starts": elias_fano.encode(np.array([0, 0], np.uint64), 64)}
    assert len(read(arrays, 9, range(9))) == 9
