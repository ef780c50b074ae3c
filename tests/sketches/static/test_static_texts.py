"""Test static functions of texts: every kind of text, files of earlier versions, damage, and memory."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StaticFunction, StaticFunctionBuilder, StaticTable
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.static.dictionary import ListedTexts

#: The file of `OLD_VALUES` by version 0.2.0, which stored texts one after another, compressed.
OLD_FILE = """
c-rk!zi-n(6gFx%ek^oji7a(MIw9L}FLnl|3U!DWs5;e=b+(`DBe7k4mndnJng5{wKu3faSXhvdnE4Z6Li`=vJv(WdCS_q@;4R<1@7?#k=jZ#fV_
?k8Fw8-+gh>{LW_M<$WtB5&cFi2BGY|uiab}W+4#!XlUKXlsD>5E3A=LR;GRfl?qav2Ns0w9~@-tPL1?oH;<%I~$ZtE1&1fsGW=-eW$z)bm2Dp#!c
HE~`+$|qsOC6d-0*#S($ID>ewEO-lgz>7o^fyoOQn3^uaMIXFs*PObHsbkf-$XJzJUl0K3)7HtD4M%`AHFP4U=TNsOqt_5OU9KAoS=E#pKIVEwIQl
bdK3D6&?M^0HTWusdh*Gajsp}qCNopsmoB>OqT3)c3O?}U$iSMTjVslQGOS3{;ISBoya401>p{_Df-=ecqtKal1(^P;Inj%*JhDqIUyN9>QgSy%T3
Rz7<D3Uuyptt4JCARHo1EHP+zLM>7|F&L<39Tns+eIk&#o9jF&WfA8VHh<Hr5;Xmx7Z;zX>T&{2=$%CKKPo2x9ZT@Aom^8v3)I<Sp_01hskz_4IiM
yq~oZcI^Q#H#=Sq}i`d!1?>2b9!AA`~Y4Gsq0@2MMBEIX@9ezB0gZO>-1QGUMA%5&}#LxM$@h?RGL4bI*{~Yn#;bY@}{QX#ccYAB+9?#iJ#;Y>o%!
ms1^}`riKR><yb@|r#4Tk<pSO
"""
OLD_VALUES = [["Lima", "Nairobi", "", "naïve 中文", "a\0b"][i % 5] for i in range(20)]
#: Texts at the edges: empty, NUL, non-ASCII, prefixes of each other, long.
EDGES = [
    "",
    "\0",
    "a\0",
    "a\0b",
    "a",
    "aa",
    "ab",
    "é",
    "e\u0301",
    "中文",
    "\U0001f600",
    "x" * 1000,
    "x" * 999 + "y",
]
PATHS = [f"/usr/share/doc/package-{i % 700}/part-{i // 700}/copyright.gz" for i in range(20_000)]


def function_of(values, **options):
    return StaticFunction(np.arange(len(values)), values, progress=False, **options)


@pytest.mark.parametrize("check_bits", [0, 12])
@pytest.mark.parametrize(
    "values",
    [
        EDGES,
        [edge.encode() for edge in EDGES],
        [*(edge.encode() for edge in EDGES), b"\xff\xfe", bytes(range(256))],
        ["the only one"] * 30,
        [""] * 30,
        [b""],
        PATHS[:3000],
        np.array(PATHS[:300]),
        np.array(PATHS[:300]).astype("S"),
        np.array(["", "é", "中文", "\U0001f600"]),
        np.array([b"", b"\xff", b"a\0b"]),
        np.array([["a", "b"], ["", "a"]]).reshape(-1),
    ],
    ids=lambda values: "",
)
def test_all_texts_come_back(values, check_bits, tmp_path):
    function = function_of(values, key_check_bits=check_bits)
    function.save(tmp_path / "texts")
    for form in (function, mergesketch.load(tmp_path / "texts", mmap=True)):
        found = form.lookup(np.arange(len(values)))
        assert found.dtype == (values.dtype if isinstance(values, np.ndarray) else object)
        assert found.tolist() == list(values)
        for key in (0, len(values) - 1):
            assert form.lookup(key) == form[key] == values[key]
        assert form.lookup([]).tolist() == []
    if check_bits:
        absent = np.arange(10**6, 10**6 + 300)
        marks = function.lookup(absent, missing="?" if isinstance(values[0], str) else b"?").tolist()
        assert marks.count("?") + marks.count(b"?") > 290


@given(st.lists(st.text(max_size=5) | st.sampled_from(EDGES), min_size=1, max_size=40))
@settings(deadline=None)
def test_any_texts(values):
    function = function_of(values)
    assert function.lookup(np.arange(len(values))).tolist() == values
    assert StaticFunction.from_bytes(function.to_bytes()) == function


@pytest.mark.slow
def test_values_of_a_megabyte():
    rng = np.random.default_rng(0)
    long = rng.bytes(1 << 20)
    values = [[long, b"short", long + b"!", long[: 1 << 19], b""][i % 5] for i in range(500)]
    function = function_of(values)
    assert function.nbytes < 1.02 * len(long)
    tracemalloc.start()
    found = function.lookup(np.arange(500))
    # Each of the five values is decoded once, although a hundred keys have it.
    assert tracemalloc.get_traced_memory()[1] < 20 * len(long)
    tracemalloc.stop()
    assert found.tolist() == values


def test_a_builder_and_a_table_have_the_same_texts():
    builder = StaticFunctionBuilder(key_check_bits=4)
    for start in (15_000, 0, 5000, 10_000):
        builder.update(np.arange(start, start + 5000), PATHS[start : start + 5000])
    assert builder.build(progress=False).to_bytes() == function_of(PATHS, key_check_bits=4).to_bytes()
    rows = np.array(PATHS[:600], dtype=object).reshape(200, 3)
    table = StaticTable(np.arange(200), rows, progress=False)
    np.testing.assert_array_equal(table.lookup(np.arange(200)), rows)


def test_texts_take_few_bytes():
    """Fewer than their compressed list, although each can be read alone; no more than random texts need."""
    n_raw = sum(map(len, PATHS))
    assert function_of(PATHS).nbytes < min(n_raw / 10, 3 * len(zlib.compress("\n".join(PATHS).encode(), 9)))
    rng = np.random.default_rng(1)
    noise = [rng.bytes(24) for _ in range(3000)]
    # The noise; 12 bits for the number of each text, and 2 for its equations; 2 bytes a text of its lengths.
    assert function_of(noise).nbytes < 3000 * (24 * 1.01 + 14 / 8 + 2) + 2000


def test_loading_decodes_nothing(tmp_path):
    """A map is opened, and some texts are read, in a small part of the memory of all texts."""
    function = function_of(PATHS)
    function.save(tmp_path / "paths")
    mergesketch.load(tmp_path / "paths", mmap=True)[5]
    n_raw = sum(map(len, PATHS))
    tracemalloc.start()
    served = mergesketch.load(tmp_path / "paths", mmap=True)
    opened = tracemalloc.get_traced_memory()[0]
    assert served.lookup(np.arange(0, 20_000, 400)).tolist() == PATHS[::400]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opened < 60_000 and kept < 100_000
    assert peak < 400_000 < n_raw / 2


# -- files ----------------------------------------------------------------------------------------


def old_file() -> bytes:
    return zlib.decompress(base64.b85decode("".join(OLD_FILE.split())))


def test_a_file_of_an_earlier_version(tmp_path):
    function = StaticFunction.from_bytes(old_file())
    assert function.lookup(np.arange(20)).tolist() == OLD_VALUES
    assert function[3] == "naïve 中文"
    assert 99_999 not in function
    assert function.to_bytes() == old_file()
    Path(tmp_path / "old").write_bytes(old_file())
    served = mergesketch.load(tmp_path / "old", mmap=True)
    assert served == function and served.lookup([7, 6]).tolist() == ["", "Nairobi"]


@pytest.mark.parametrize(
    ("data", "ends", "is_str", "message"),
    [
        (b"ab", [0, 1], False, "must rise from 0"),
        (b"ab", [0, 3], False, "must rise from 0"),
        (b"ab", [0, 2, 1, 2], False, "must rise from 0"),
        (b"ab", [1, 2], False, "must rise from 0"),
        (b"ab", [], False, "must rise from 0"),
        ("é".encode(), [0, 1, 2], True, "within a character"),
        (b"\xff", [0, 1], True, "utf-8"),
    ],
)
def test_listed_texts_that_are_refused(data, ends, is_str, message):
    with pytest.raises(ValueError, match=message):
        ListedTexts(np.frombuffer(data, dtype=np.uint8), np.array(ends, dtype=np.uint64), is_str)


def test_damaged_files_give_errors_or_texts(tmp_path):
    """A mapped file is not compared with its checksum, so damage reaches the decoder."""
    values = PATHS[:500] + EDGES
    data = function_of(values).to_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(3)
    refused = wrong = 0
    for i in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(start, len(data))] ^= 1 << int(rng.integers(8))
        path = tmp_path / str(i)
        path.write_bytes(damaged)
        try:
            served = mergesketch.load(path, mmap=True)
        except SketchFormatError:
            refused += 1
            continue
        found = served.lookup(np.arange(len(values))).tolist()
        assert {type(text) for text in found} == {str}
        wrong += found != values
        path.unlink()
    assert refused > 10 and wrong > 10


def test_a_long_text_does_not_widen_the_others() -> None:
    """An array of NumPy would have the width of the longest text for each: 160 GB here."""
    texts = [f"text {i}" for i in range(40_000)]
    texts[7] = "long " * 200_000
    for values in (texts, [text.encode() for text in texts]):
        function = StaticFunction(range(len(values)), values)
        assert function.lookup([7, 8, 39_999]).tolist() == [values[7], values[8], values[-1]]
    table = StaticTable(range(len(texts)), [[text, "x"] for text in texts])
    assert table.lookup([7, 8]).tolist() == [[texts[7], "x"], ["text 8", "x"]]


@pytest.mark.parametrize("values", [[["a"], ["b", "c"]], [["a"], "b"], ["a", ["b"]]])
def test_rows_of_texts_have_one_length(values: list) -> None:
    with pytest.raises(ValueError, match="must be an array or a list of equal rows"):
        StaticTable([1, 2], values)
