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
from mergesketch.lsh.hashing import normal_forms
from mergesketch.lsh.hashing import text as text_module
from mergesketch.lsh.kernels import text as kernels
from mergesketch.lsh.tables import unicode as tables
from mergesketch.lsh.tables.make_unicode import compositions
from mergesketch.lsh.tables.unicode import (
    ASSIGNED,
    DELTA_SHIFT,
    MARK,
    NEVER_FIRST,
    SINGLE,
    WORD,
    unicode_table,
)
from naive import text as naive
from night import IS_NIGHT

# Characters that a shingler gets wrong: case pairs of unequal UTF-8 length, final sigma, sharp s, marks,
# scripts without spaces, astral letters and digits, joiners, separators of two and three bytes, NUL.
ODD = "İıſßẞΣςσȺȾⱥKÅǅⅧⓐ१²_‿⁀aZ09 \n\t\0.-'’\u0301\u200d\ufeff\xa0\u2028é漢字々〇〻〆仮ひらがなカタカナーｱ"
ODD += "ไทยกำลังລາວខ្មែរမြန်မာ한국어𝒜𐐀𐐨𞤀🏳️‍🌈𠀀﷽ﷺ\U000e0100\U0010ffff"
# Joiners, ignored and blank characters, symbols with marks, and what normal forms change: marks of several
# classes, letters that compose with them, Hangul in parts, Bengali vowels, exclusions, compatible characters.
ODD += "\u200c\xad\u2060\u200b\u200e\ufffd\ufffc\u034f\u180b=+#❤☀\ufe0f\u20e3👩💻"
ODD += (
    "eoA\u0323\u0301\u0308\u0327\u0345\u1100\u1161\u11a8\uac00\u09c7\u09be\u0995\u0928\u093c\u0958\u212bﬁ²ｶﾞ"
)


def known_to_table(character: str) -> bool:
    """Check if the table's version of Unicode has the character."""
    code, table = ord(character), unicode_table()
    entry = table.records[table.stage2[int(table.stage1[code >> 7]) << 7 | code & 127]]
    return bool(entry & ASSIGNED)


def known(character: str) -> bool:
    """Check if the table's version of Unicode has the character, or the running one lacks it too."""
    return known_to_table(character) or unicodedata.category(character) == "Cn"


any_character = st.characters(exclude_categories=["Cs"]).filter(known)
characters = st.sampled_from(ODD) | any_character | st.sampled_from("aB 1.")
documents = st.lists(st.text(characters, max_size=60), max_size=6)
units = st.sampled_from(["word", "character", "symbol"])
forms = st.sampled_from(["nfc", "nfkc", "none"])
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
@given(documents, units, st.integers(1, 7), seeds, forms)
@example(["ȺHȺ漢Ⱥ漢" * 40, "", "...", "\0a\0b"], "word", 1, 0, "nfc")
@example(["漢\u0301字", "ก\u0e33", "\u0301a", "Σας ΣΑΣ"], "character", 2, 0, "nfc")
@example(["....", "?!", "a.b=" * 9, "e\u0301x", " ", "é", "e\u0301"], "symbol", 1, 0, "nfc")
def test_text(texts: list[str], unit: str, size: int, seed: int, form: str) -> None:
    expected = [naive.shingles(text.encode(), unit, size, seed, form) for text in texts]
    assert rows(shingle(texts, unit=unit, size=size, seed=seed, normalize=form)) == expected


words_of_utf8 = st.sampled_from([text.encode() for text in ("a", " ", "é", "e\u0301", "\u0323", "=", "漢")])


@pytest.mark.slow
@given(
    st.lists(
        st.binary(max_size=30) | st.lists(fragments | words_of_utf8, max_size=12).map(b"".join), max_size=6
    ),
    units,
    forms,
)
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_utf8(texts: list[bytes], unit: str, form: str) -> None:
    """Bytes are bad where Python's decoder refuses them, and nowhere else."""
    expected = [naive.shingles(text, unit, 2, 0, form) for text in texts]
    assert rows(shingle(texts, unit=unit, size=2, normalize=form)) == expected


@pytest.mark.slow
def test_every_pair_of_bytes_and_every_three_byte_form() -> None:
    texts = [bytes([a, b]) for a in range(256) for b in range(256)]
    texts += [bytes([a, b, 0x80]) for a in range(0xE0, 0xF0) for b in range(256)]
    texts += [bytes([a, b, 0xBF, 0x80]) for a in range(0xF0, 0x100) for b in range(256)]
    assert rows(shingle(texts, size=1)) == [naive.shingles(text, "word", 1, 0) for text in texts]


def stdlib_sources() -> list[bytes]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    return [path.read_bytes() for path in files]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "character", "symbol"])
def test_real_sources(unit: str) -> None:
    """Some files of the standard library are read, and some of its tests of encodings."""
    sources = stdlib_sources()[:: 9 if IS_NIGHT else 36]
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
@pytest.mark.parametrize("unit", ["word", "character", "symbol"])
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
        "x=+" * 30_000,
        "?!" * 50_000,
        "x" * 32_766 + "क\u093c" * 10_000,
        # Few marks: Python takes time in the square of their number to put them in order.
        "x" * 32_765 + "\u05b4\u05bc" * 100 + "y" * 40_000,
        "x" * 32_765 + "\u05bc\u05b4" + "y" * 40_000,
    ],
    ids=[
        *("words", "growing", "long words", "separators", "two bytes", "han", "straddling", "symbols"),
        *("symbols alone", "marks", "in order", "in disorder"),
    ],
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


def test_a_bad_byte_separates_words() -> None:
    """One bad byte costs at most the words that it is in, wherever it is in a long document."""
    bad = b"some words " * 20_000 + b"so\xffme"
    result = shingle([b"a b", bad, b"c d", b"a\xffb\xc3 c", b"a b c"], size=2)
    assert result.status.tolist() == [0, 2, 0, 2, 0]
    found = rows(result)
    assert found[1][1] == rows(shingle([bad.replace(b"\xff", b" ")], size=2))[0][1]
    assert found[3][1] == found[4][1]
    assert alike("a\ufffdb", "a b")


def test_documents_that_are_hardly_utf8_are_alike_only_if_equal() -> None:
    """Texts in another encoding must not look alike because of the few ASCII words in them."""
    russian = ["Год 2004: мороз и солнце", "Год 2004: буря мглою небо кроет"]
    texts = [text.encode("koi8-r") for text in [*russian, russian[0]]] + [b" \xff ", b"\xff\xfe"]
    result = shingle(texts)
    assert result.status.tolist() == [2] * 5
    assert result.tokens.tolist() == [xxhash.xxh3_64_intdigest(text) for text in texts]
    assert shingle([b" \xff"], seed=3).tokens[0] == xxhash.xxh3_64_intdigest(b" \xff", 3)


def test_text_after_many_shingles_that_is_not_normal() -> None:
    """Tokens of the pieces before the first character that is not in the normal form are removed again."""
    decomposed, composed = "some words " * 20_000 + "e\u0301", "some words " * 20_000 + "é"
    found = rows(shingle(["a b", decomposed, "c d", decomposed, composed], size=2))
    assert found[1] == found[3] == found[4] and found[1][0] == 0
    assert [found[i][1] for i in (0, 2)] == [[xxhash.xxh3_64_intdigest(text)] for text in (b"a b", b"c d")]
    assert rows(shingle([decomposed], size=2, normalize="none"))[0] != found[1]


def test_vectors() -> None:
    """These values pin the documented definition of a shingle."""
    text = "The QUICK brown—fox's Straße_1 Ⅷ. 東京タワー"
    words = ["the", "quick", "brown", "fox", "s", "straße_1", "ⅷ", "東", "京", "タワー"]
    result = shingle([text], size=3, seed=7)
    expected = [" ".join(words[i : i + 3]) for i in range(8)]
    assert result.tokens.tolist() == [xxhash.xxh3_64_intdigest(part.encode(), 7) for part in expected]
    assert shingle(["The quick brown fox jumps"]).tokens.tolist() == [0x90602C70EE7F6208]


def alike(a: str, b: str, **options: Any) -> bool:
    """Return True if two texts have the same shingles, of one unit if not said otherwise."""
    first, second = rows(shingle([a, b], **{"size": 1, **options}))
    return first == second


def test_invisible_characters() -> None:
    assert alike("\ufeffa\0b", "a b")
    assert alike("co\xadoperate", "cooperate") and alike("co\u2060operate", "cooperate")
    assert alike("co\ufeffoperate", "cooperate") and alike("\u200fשלום\u200f", "שלום")
    assert alike("thai\u200bspace", "thai space") and not alike("thai\u200bspace", "thaispace")
    for joiner in "\u200c\u200d":
        assert alike(f"می{joiner}خواهم", f"می{joiner}خواهم") and not alike(f"می{joiner}خواهم", "می خواهم")
        assert shingle([f"می{joiner}خواهم"], size=1).tokens.size == 1
        assert alike(f"word {joiner} {joiner}word", "word word")
    assert alike("I ❤\ufe0f you", "I you") and alike("I 👩\u200d💻 code", "I code")


def test_final_sigma_folds() -> None:
    assert alike("ΟΔΥΣΣΕΥΣ", "οδυσσευς") and alike("οδυσσευς", "οδυσσευσ")


def test_normal_forms() -> None:
    for composed in ("Étude", "한국어", "Tiếng Việt", "が", "কো", "Å"):
        decomposed = unicodedata.normalize("NFD", composed)
        assert decomposed != composed
        assert alike(composed, decomposed) and alike(composed, decomposed, unit="character")
        assert not alike(composed, decomposed, normalize="none")
    # U+212B, the sign of the Ångström, is the letter in every normal form; a ligature only in NFKC.
    assert alike("\u212b", "Å") and not alike("ﬁn", "fin") and alike("ﬁn", "fin", normalize="nfkc")
    # Marks of several classes, in two orders; and one that belongs between the parts of a letter.
    assert alike("à\u0328", "ą\u0300")
    assert alike("q\u0307\u0323", "q\u0323\u0307")


@given(st.data(), st.sampled_from(["nfc", "nfkc"]))
@settings(max_examples=60)
def test_long_runs_of_marks(data: st.DataObject, form: str) -> None:
    """Marks that are put in order beforehand have the normal form of Python, which takes their square."""
    marks = st.sampled_from("\u0301\u0316\u0334\u0344\u0f73\u0f75\u3099\uff9e\u0345\u0327")
    bases = st.sampled_from(["", "a", "\u00e9", "\uff76", "\u1100\u1161", "\u0928", "\U0001d15e", "\ufb01"])
    pieces = data.draw(
        st.lists(st.tuples(bases, st.lists(marks, max_size=9), st.integers(0, 40)), max_size=4)
    )
    text = "".join(base + "".join(run) * n for base, run, n in pieces)
    assert normal_forms.normalize(text, form) == unicodedata.normalize(form.upper(), text)


def test_many_marks_take_time_in_proportion() -> None:
    """A million marks would take Python's normal forms hours."""
    n = 300_000
    assert alike("e" + "\u0301\u0316\u0334" * n, "\u00e9" + "\u0334" * n + "\u0316" * n + "\u0301" * (n - 1))


def test_usual_texts_are_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in NFC is recognised without normalising it, in many scripts."""

    def fail(*_: Any) -> None:
        raise AssertionError("a text was normalised")

    texts = ["ASCII", "Étude", "кофе", "我能", "한국어", "ไม่กำลัง", "קָמָץ", "الكُتُبُ", "मैं काँच हूँ", "আমি কাঁচ খেতে"]
    texts += ["நான் கண்ணாடி", "ക്ക", "မြန်မာ", "ខ្មែរ", "Tiếng Việt"]
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    expected = [naive.shingles(text.encode(), "word", 1, 0) for text in texts]
    monkeypatch.setattr(text_module, "in_normal_form", fail)
    assert rows(shingle(texts, size=1)) == expected
    assert shingle(["e\u0301"], normalize="none").status.tolist() == [0]
    with pytest.raises(AssertionError, match="was normalised"):
        shingle(["e\u0301"])


@given(st.lists(st.text(characters, max_size=30), max_size=20), st.integers(1, 60), forms)
@settings(max_examples=100, deadline=None)
def test_normalised_documents_keep_their_places(texts: list[str], batch: int, form: str) -> None:
    """Batches of normalised documents and the versions of Unicode do not change the result."""
    expected = [naive.shingles(text.encode(), "word", 2, 0, form) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normal_forms, "_BATCH_BYTES", batch)
        patch.setattr(normal_forms.unicodedata, "unidata_version", "99.0")
        assert rows(shingle(texts, size=2, normalize=form)) == expected


def test_characters_of_later_versions_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later Python composes and orders characters that the table lacks; they must not change."""
    monkeypatch.setattr(normal_forms.unicodedata, "unidata_version", "99.0")
    lacking = next(chr(c) for c in range(0x1D000, 0x1E000) if not known_to_table(chr(c)))
    seen: list[str] = []

    def record(form: str, text: str) -> str:
        seen.append(text)
        return text

    monkeypatch.setattr(normal_forms.unicodedata, "normalize", record)
    text = f"e\u0301{lacking}{lacking}a\u0301"
    assert normal_forms.normalize(text, "nfc") == text
    assert seen == ["e\u0301", "a\u0301"]


def test_symbols() -> None:
    """Every character that is not blank counts, and case counts."""
    result = shingle(["if a == b: # x", "if\ta==b:\n#x", "if a != b: # x"], unit="symbol", size=3)
    parts = ["if a =", "a = =", "= = b", "= b :", "b : #", ": # x"]
    expected = [xxhash.xxh3_64_intdigest(part.encode()) for part in parts]
    first, second, third = (found[1] for found in rows(result))
    assert first == second == expected and len(set(first) & set(third)) == 3
    assert not alike("Name", "name", unit="symbol") and alike("Name", "name")
    assert alike("ΟΔΟΣ ος", "ΟΔΟΣ  ος", unit="symbol") and not alike("ος", "οσ", unit="symbol")


def test_texts_of_symbols_alone() -> None:
    """They are shingled by their symbols, each with its marks; only blank texts are empty."""
    texts = [
        "❤\ufe0f☀\ufe0f 👩\u200d💻",
        "❤\ufe0f ☀\ufe0f👩\u200d💻",
        "☀\ufe0f❤\ufe0f👩\u200d💻",
        "...",
        "... a",
    ]
    texts += [" \n\u200b\0\u200d\xad\ufffd", ""]
    for unit in ("word", "character", "symbol"):
        result = shingle(texts, unit=unit, size=2)
        found = rows(result)
        assert result.status.tolist() == [0, 0, 0, 0, 0, 1, 1]
        assert found[0] == found[1] != found[2]
        parts = ["❤\ufe0f ☀\ufe0f", "☀\ufe0f 👩\u200d", "👩\u200d 💻"]
        assert found[0][1] == [xxhash.xxh3_64_intdigest(part.encode()) for part in parts]
        assert found[3][1] == [xxhash.xxh3_64_intdigest(b". .")] * 2


@pytest.mark.slow
def test_lower_casing_is_idempotent() -> None:
    everything = "".join(chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF)
    once = "".join(map(naive.lower_one_to_one, everything))
    first, second = (shingle([text], unit="character", size=1) for text in (everything, once))
    assert first.tokens.size > 100_000
    assert np.array_equal(first.tokens, second.tokens)


@pytest.mark.slow
def test_table_against_unicodedata() -> None:
    """Only code points are compared that both versions of Unicode know alike: all except new ones.

    The first 2**17 are compared, and some of the rare characters beyond; at night, all.
    """
    table = unicode_table()
    codes = np.arange(sys.maxunicode + 1)
    if not IS_NIGHT:
        codes = np.append(codes[: 1 << 17], codes[1 << 17 :: 29])
    entries = table.records[table.stage2[table.stage1[codes >> 7].astype(np.int64) << 7 | codes & 127]]
    same_version = table.version == unicodedata.unidata_version
    compared = 0
    first, second = compositions()
    for code, entry in zip(codes.tolist(), entries.tolist(), strict=True):
        character = chr(code)
        category = unicodedata.category(character)
        if not same_version and (category == "Cn" or not entry & ASSIGNED):
            continue  # assigned in one of the versions only
        compared += 1
        assert bool(entry & ASSIGNED) == (category != "Cn"), hex(code)
        joiner = code in (0x200C, 0x200D)
        assert bool(entry & WORD) == (category[0] in "LNM" or category == "Pc" or joiner), hex(code)
        assert bool(entry & MARK) == (category[0] == "M" or joiner), hex(code)
        kind = naive.kind_of(character)
        assert bool(entry & tables.BLANK) == (kind == "blank"), hex(code)
        assert bool(entry & tables.IGNORED) == (kind == "ignored"), hex(code)
        assert bool(entry & NEVER_FIRST) == (kind == "never first"), hex(code)
        # The kernel writes such a character only behind another one, which it then joins.
        assert not entry & NEVER_FIRST or (entry & WORD and entry & MARK and not entry & SINGLE), hex(code)
        combining = unicodedata.combining(character)
        assert entry >> tables.CLASS_SHIFT & 0xFF == combining, hex(code)
        assert bool(entry & tables.NONSTARTER) == bool(combining), hex(code)
        assert bool(entry & tables.COMPOSES) == (code in first), hex(code)
        assert bool(entry & tables.MAY_COMPOSE) == (code in second), hex(code)
        if category != "Cs":
            for flag, form in ((tables.NOT_NFC, "NFC"), (tables.NOT_NFKC, "NFKC")):
                assert bool(entry & flag) == (not unicodedata.is_normalized(form, character)), hex(code)
        assert bool(entry & SINGLE) == naive.stands_alone(character), hex(code)
        if entry & WORD:
            lower = naive.lower_one_to_one(character)
            assert code + (entry >> DELTA_SHIFT) == ord(lower), hex(code)
            # The kernel's scratch relies on this; a space before the word counts.
            assert len(lower.encode()) + 1 <= 2 * len(character.encode()), hex(code)
    assert compared > codes.size // 4


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


def test_lone_surrogates_separate_words() -> None:
    result = shingle(
        ["fine and good", "fine \udc80and\ud83d\ude00good", "e\u0301 \udc80 long enough words"], size=2
    )
    assert result.status.tolist() == [0, 2, 2]
    found = rows(result)
    assert found[0][1] == found[1][1]
    assert found[2][1] == rows(shingle(["é long enough words"], size=2))[0][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "line"}, "unit must be one of 'word', 'character', 'symbol', got 'line'"),
        ({"normalize": "nfd"}, "normalize must be one of 'none', 'nfc', 'nfkc', got 'nfd'"),
        ({"normalize": None}, "normalize must be one of 'none', 'nfc', 'nfkc', got None"),
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


@pytest.fixture
def unequal_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return documents of very unequal sizes, many of them empty, and make threads share them in small parts.

    There is room for a third of their bytes, and the largest have several times the bytes of a part.
    """
    for name, value in (("_ROOM", 1 << 20), ("_TASK_BYTES", 1 << 17), ("_LEAST_TASK_BYTES", 1 << 15)):
        monkeypatch.setattr(text_module, name, value)
    rng = np.random.default_rng(3)
    sizes, endings = rng.pareto(0.6, 3000) / 8, ["", "", "e\u0301 "] * 1000
    return [
        "",
        *(f"word{i} é漢 {endings[i]}" * int(size) for i, size in enumerate(sizes)),
        "x y " * 100_000,
        "last one",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "character"])
def test_independent_of_threads(unit: str, threads: None, unequal_texts: list[str]) -> None:
    texts = unequal_texts
    mergesketch.set_num_threads(1)
    expected = shingle(texts, unit=unit, size=2)
    for n_threads in (2, 3, 8):
        mergesketch.set_num_threads(n_threads)
        got = shingle(texts, unit=unit, size=2)
        assert np.array_equal(got.tokens, expected.tokens)
        assert np.array_equal(got.offsets, expected.offsets)
        assert np.array_equal(got.status, expected.status)


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 3])
def test_independent_of_room_and_waves(
    n_threads: int, threads: None, unequal_texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the room at the start nor the ranges that documents are cut into change the result."""
    texts = unequal_texts
    mergesketch.set_num_threads(n_threads)
    expected = shingle(texts, size=1)
    for room, task_bytes in ((1, 1 << 17), (12_500, 1 << 12), (1, 1 << 30)):
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
