"""Test shingles against a plain Python shingler, on odd Unicode, random bytes and real source files."""

# ruff: noqa: RUF001

import sys
import sysconfig
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.lsh import Shingles, shingle
from mergesketch.lsh.hashing import text as text_module
from mergesketch.lsh.kernels import text as kernels
from mergesketch.lsh.tables.make_unicode import ASSIGNED, DELTA_SHIFT, MARK, SINGLE, WORD
from mergesketch.lsh.tables.unicode import unicode_table
from naive import text as naive

# Characters that a shingler gets wrong: case pairs of unequal UTF-8 length, final sigma, sharp s, marks,
# scripts without spaces, astral letters and digits, joiners, separators of two and three bytes, NUL.
ODD = "İıſßẞΣςσȺȾⱥKÅǅⅧⓐ१²_‿⁀aZ09 \n\t\0.-'’\u0301\u200d\ufeff\xa0\u2028é漢字々〇〻〆仮ひらがなカタカナーｱ"
ODD += "ไทยกำลังລາວខ្មែរမြန်မာ한국어𝒜𐐀𐐨𞤀🏳️‍🌈𠀀﷽ﷺ\U000e0100\U0010ffff"


def known(character: str) -> bool:
    """Check if the table's version of Unicode has the character, or the running one lacks it too."""
    code, table = ord(character), unicode_table()
    entry = table.records[table.stage2[int(table.stage1[code >> 7]) << 7 | code & 127]]
    return bool(entry & ASSIGNED) or unicodedata.category(character) == "Cn"


any_character = st.characters(exclude_categories=["Cs"]).filter(known)
characters = st.sampled_from(ODD) | any_character | st.sampled_from("aB 1.")
documents = st.lists(st.text(characters, max_size=60), max_size=6)
units = st.sampled_from(["word", "character"])
seeds = st.sampled_from([0, 1, 2**64 - 1])

# Pieces of valid and invalid UTF-8: leads, tails, overlongs, surrogates, code points beyond the last.
FRAGMENTS = """
61 20 00 706c61696e20617363696920746578742e c3a9 e6bca2 f09d929c 80 bf c0 c0af c1 c2 df e0 e080af e09fbf
e0a080 eda080 ed9f edbfbf ed9fbf ee8080 efbfbf e6bc f08080af f08fbfbf f0908080 f09d92 f4 f48fbfbf f4908080
f5808080 f888808080 fe ff
"""
fragments = st.sampled_from([bytes.fromhex(fragment) for fragment in FRAGMENTS.split()])


@pytest.fixture
def threads() -> Iterator[None]:
    before = mergesketch.get_num_threads()
    yield
    mergesketch.set_num_threads(before)


def rows(shingles: Shingles) -> list[tuple[int, list[int]]]:
    """Return the status and the tokens of each document."""
    parts = [shingles.tokens[a:b].tolist() for a, b in pairwise(shingles.offsets)]
    return list(zip(shingles.status.tolist(), parts, strict=True))


@pytest.mark.slow
@given(documents, units, st.integers(1, 7), seeds)
@example(["ȺHȺ漢Ⱥ漢" * 40, "", "...", "\0a\0b"], "word", 1, 0)
@example(["漢\u0301字", "ก\u0e33", "\u0301a", "Σας ΣΑΣ"], "character", 2, 0)
@settings(max_examples=500, deadline=None)
def test_text(texts: list[str], unit: str, size: int, seed: int) -> None:
    expected = [naive.shingles(text.encode(), unit, size, seed) for text in texts]
    assert rows(shingle(texts, unit=unit, size=size, seed=seed)) == expected


@pytest.mark.slow
@given(st.lists(st.binary(max_size=30) | st.lists(fragments, max_size=8).map(b"".join), max_size=6), units)
@settings(max_examples=1000, deadline=None)
def test_utf8(texts: list[bytes], unit: str) -> None:
    """Random bytes are refused where Python's decoder refuses them, and nowhere else."""
    assert rows(shingle(texts, unit=unit, size=2)) == [naive.shingles(text, unit, 2, 0) for text in texts]


def test_every_pair_of_bytes_and_every_three_byte_form() -> None:
    texts = [bytes([a, b]) for a in range(256) for b in range(256)]
    texts += [bytes([a, b, 0x80]) for a in range(0xE0, 0xF0) for b in range(256)]
    texts += [bytes([a, b, 0xBF, 0x80]) for a in range(0xF0, 0x100) for b in range(256)]
    status = shingle(texts).status
    for text, ours in zip(texts, status.tolist(), strict=True):
        try:
            text.decode("utf-8")
            assert ours != 2, text
        except UnicodeDecodeError:
            assert ours == 2, text


def stdlib_sources() -> list[bytes]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    return [path.read_bytes() for path in files]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "character"])
def test_real_sources(unit: str) -> None:
    """Every ninth file of the standard library is read, and its tests of encodings."""
    sources = stdlib_sources()[::9]
    expected = [naive.shingles(text, unit, 5, 0) for text in sources]
    assert rows(shingle(sources, unit=unit)) == expected
    assert {status for status, _ in expected} >= {0, 1}


@pytest.mark.slow
def test_whole_standard_library_checks_utf8() -> None:
    sources = stdlib_sources()
    for text, status in zip(sources, shingle(sources).status.tolist(), strict=True):
        try:
            text.decode("utf-8")
            assert status != 2
        except UnicodeDecodeError:
            assert status == 2


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize(
    "text",
    [
        "word " * 40_000,
        "Ⱥ漢 " * 20_000,
        "a" * 150_000 + " b " + "c" * 70_000 + " d e f",
        " " * 100_000 + "x" + "." * 100_000,
        ("é" * 33_000 + " ") * 4,
        "漢" * 50_000,
        "x" * 32_767 + "漢" + "y" * 32_767 + "İ" + "z" * 40_000,
    ],
    ids=["words", "growing", "long words", "separators", "two bytes", "han", "straddling"],
)
def test_longer_than_a_piece(text: str, unit: str) -> None:
    """Documents are read in pieces; shingles and characters cross the borders of pieces."""
    assert len(text.encode()) > 2 * kernels._PIECE
    size = 3
    assert rows(shingle([text, "a b c d"], unit=unit, size=size)) == [
        naive.shingles(document.encode(), unit, size, 0) for document in (text, "a b c d")
    ]


@pytest.mark.slow
def test_shingles_longer_than_a_piece() -> None:
    text = " ".join(f"w{i}" for i in range(15_000))
    for size in (12_000, 14_999, 15_000, 15_001, 2**31 - 1):
        assert rows(shingle([text], size=size)) == [naive.shingles(text.encode(), "word", size, 0)]
    for size in (70_000, len(text) - 1, len(text), len(text) + 1):
        expected = [text[i : i + size] for i in range(min(40, max(1, len(text) - size + 1)))]
        ours = shingle([text], unit="character", size=size).tokens
        assert ours.size == max(1, len(text) - size + 1)
        assert ours[:40].tolist() == [xxhash.xxh3_64_intdigest(part.encode()) for part in expected]


def test_invalid_after_many_shingles() -> None:
    """Tokens of the pieces before the invalid byte are removed again."""
    bad = b"some words " * 20_000 + b"\xff"
    result = shingle([b"a b", bad, b"c d"], size=2)
    assert result.status.tolist() == [0, 2, 0]
    assert result.tokens.tolist() == [xxhash.xxh3_64_intdigest(b"a b"), xxhash.xxh3_64_intdigest(b"c d")]
    assert result.offsets.tolist() == [0, 1, 1, 2]


def test_vectors() -> None:
    """These values pin the documented definition of a shingle."""
    text = "The QUICK brown—fox's Straße_1 Ⅷ. 東京タワー"
    words = ["the", "quick", "brown", "fox", "s", "straße_1", "ⅷ", "東", "京", "タワー"]
    result = shingle([text], size=3, seed=7)
    expected = [" ".join(words[i : i + 3]) for i in range(8)]
    assert result.tokens.tolist() == [xxhash.xxh3_64_intdigest(part.encode(), 7) for part in expected]
    assert shingle(["The quick brown fox jumps"]).tokens.tolist() == [0x90602C70EE7F6208]


def test_nul_and_bom_separate() -> None:
    assert rows(shingle(["\ufeffa\0b"], size=2)) == rows(shingle(["a b"], size=2))


def test_lower_casing_is_idempotent() -> None:
    everything = "".join(chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF)
    once = "".join(map(naive.lower_one_to_one, everything))
    first, second = (shingle([text], unit="character", size=1) for text in (everything, once))
    assert first.tokens.size > 100_000
    assert np.array_equal(first.tokens, second.tokens)


@pytest.mark.slow
def test_table_against_unicodedata() -> None:
    """Only code points are compared that both versions of Unicode know alike: all except new ones."""
    table = unicode_table()
    codes = np.arange(sys.maxunicode + 1)
    entries = table.records[table.stage2[table.stage1[codes >> 7].astype(np.int64) << 7 | codes & 127]]
    same_version = table.version == unicodedata.unidata_version
    compared = 0
    for code, entry in zip(codes.tolist(), entries.tolist(), strict=True):
        character = chr(code)
        category = unicodedata.category(character)
        if not same_version and (category == "Cn" or not entry & ASSIGNED):
            continue  # assigned in one of the versions only
        compared += 1
        assert bool(entry & ASSIGNED) == (category != "Cn"), hex(code)
        assert bool(entry & WORD) == (category[0] in "LNM" or category == "Pc"), hex(code)
        assert bool(entry & MARK) == (category[0] == "M"), hex(code)
        assert bool(entry & SINGLE) == naive.stands_alone(character), hex(code)
        if entry & WORD:
            lower = naive.lower_one_to_one(character)
            assert code + (entry >> DELTA_SHIFT) == ord(lower), hex(code)
            # The kernel's scratch relies on this; a space before the word counts.
            assert len(lower.encode()) + 1 <= 2 * len(character.encode()), hex(code)
    assert compared > 280_000


def test_kinds_of_documents() -> None:
    texts = ["one two three", "", "Étude no 1", "漢字"]
    expected = rows(shingle(texts, size=2))
    encoded = [text.encode() for text in texts]
    data, offsets = np.frombuffer(b"".join(encoded), dtype=np.uint8), np.cumsum([0, *map(len, encoded)])
    for documents in (encoded, tuple(texts), np.array(texts), np.array(encoded), (data, offsets)):
        assert rows(shingle(documents, size=2)) == expected
    assert rows(shingle((data, offsets[2:]), size=2)) == expected[2:]
    assert rows(shingle([])) == []
    pa = pytest.importorskip("pyarrow")
    array = pa.array(texts)
    assert rows(shingle(array, size=2)) == expected
    assert rows(shingle(array[1:3], size=2)) == expected[1:3]
    assert rows(shingle(pa.chunked_array([array, array[2:]]), size=2)) == expected + expected[2:]


def test_lone_surrogates_are_not_utf8() -> None:
    assert shingle(["fine", "a \udc80 b", "\ud83d\ude00 x"]).status.tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "line"}, "unit must be one of 'word', 'character', got 'line'"),
        ({"size": 0}, "size must be an integer from 1"),
        ({"size": 2.0}, "size must be an integer"),
        ({"seed": -1}, "seed must be"),
        ({"documents": "a text"}, "documents must be a list of str or bytes.*got str"),
        ({"documents": ["a", b"b"]}, "documents must be all str, all bytes or all int, got bytes, str"),
        ({"documents": [1]}, "documents must be strings, got integers"),
        ({"documents": np.array([1])}, "documents must be strings, got dtype int64"),
        ({"documents": (np.zeros(3, np.uint8), np.array([0, 4]))}, "documents must have offsets"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        shingle(**{"documents": ["a"], **arguments})


def unequal_texts() -> list[str]:
    """Return documents of very unequal sizes, many of them empty."""
    rng = np.random.default_rng(3)
    return ["", *(f"word{i} é漢 " * int(rng.pareto(0.6)) for i in range(3000)), "x y " * 800_000, "last one"]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_independent_of_threads(n_threads: int, unit: str, threads: None) -> None:
    texts = unequal_texts()
    mergesketch.set_num_threads(1)
    expected = shingle(texts, unit=unit, size=2)
    mergesketch.set_num_threads(n_threads)
    got = shingle(texts, unit=unit, size=2)
    assert np.array_equal(got.tokens, expected.tokens)
    assert np.array_equal(got.offsets, expected.offsets)
    assert np.array_equal(got.status, expected.status)


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 3])
def test_independent_of_room_and_waves(
    n_threads: int, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the room at the start nor the ranges that documents are cut into change the result."""
    texts = unequal_texts()
    mergesketch.set_num_threads(n_threads)
    expected = shingle(texts, size=1)
    for room, task_bytes in ((1, 1 << 20), (100_000, 1 << 12), (1, 1 << 30)):
        monkeypatch.setattr(text_module, "_ROOM", room)
        monkeypatch.setattr(text_module, "_TASK_BYTES", task_bytes)
        monkeypatch.setattr(text_module, "_LEAST_TASK_BYTES", task_bytes)
        got = shingle(texts, size=1)
        assert np.array_equal(got.tokens, expected.tokens)
        assert np.array_equal(got.offsets, expected.offsets)


@given(st.lists(st.integers(0, 5 << 20), max_size=60), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_waves_cover_all_documents_once(sizes: list[int], n_threads: int) -> None:
    offsets = np.cumsum([7, *sizes])
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(n_threads)
    try:
        waves = text_module._waves(offsets)
    finally:
        mergesketch.set_num_threads(before)
    ranges = [pair for bounds in waves for pair in pairwise(bounds)]
    covered = [document for start, stop in ranges for document in range(start, stop)]
    assert covered == list(range(len(sizes)))
    assert all(len(bounds) - 1 <= 4 * n_threads for bounds in waves)
