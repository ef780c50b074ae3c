"""Test the command that builds sketches of numbers, and the one that asks them."""

import json
import math
from decimal import Decimal
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import DDSketch, HyperLogLog, KLLSketch
from mergesketch.distributed.cli.number_files import read_numbers


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


NUMBERS = np.random.default_rng(7).lognormal(3.0, 2.0, 2000)


def table(out: str) -> list[tuple[float, ...]]:
    """Return the rows of the table in an answer."""
    lines = out.splitlines()
    assert lines[0].split() == ["quantile", "value", "at", "least", "at", "most"]
    end = next(i for i, line in enumerate(lines) if line.startswith("least, largest"))
    return [tuple(map(float, line.split())) for line in lines[1:end]]


def exact(q: float) -> float:
    return float(np.quantile(NUMBERS, q, method="lower"))


def test_every_format_gives_the_same_sketch(run):
    texts = [repr(x) for x in NUMBERS.tolist()]
    lines = "".join(f"{text}\n" for text in texts)
    Path("a.txt").write_text(lines)
    Path("words.log").write_text("".join(f"GET {text} ok\n" for text in texts))
    Path("a.csv").write_text("page,ms\n" + "".join(f'/x,"{text}"\n' for text in texts))
    Path("a.jsonl").write_text("".join(f'{{"ms": {text}}}\n' for text in texts))
    Path("texts.jsonl").write_text("".join(f'{{"ms": "{text}"}}\n' for text in texts))
    files = [["a.txt"], ["words.log", "--column", "2"], ["a.csv", "--column", "ms"], ["-"]]
    files += [["a.jsonl", "--field", "ms"], ["texts.jsonl", "--field", "ms"]]
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        pass
    else:
        pq.write_table(pa.table({"page": ["/x"] * 2000, "ms": NUMBERS}), "a.parquet")
        files.append(["a.parquet", "--column", "ms"])
    expected = DDSketch(0.02).update(NUMBERS)
    for arguments in files:
        code, out, err = run("quantiles", *arguments, "--error", "0.02", "-o", "s", stdin=lines.encode())
        assert (code, err) == (0, ""), arguments
        assert mergesketch.load("s") == expected, arguments
        assert "\nnumbers          2,000, " in out and "skipped" not in out


def test_the_table_holds_what_it_says(run):
    Path("a.txt").write_text("".join(f"{x!r}\n" for x in NUMBERS.tolist()))
    for q, value, low, high in table(
        run("quantiles", "a.txt", "-q", "0", "0.25", "0.999", "1", "-o", "d")[1]
    ):
        assert abs(value / exact(q) - 1) <= 0.0101 and low <= exact(q) <= high <= low * 1.03
    answer = run("query", "d")[1]
    assert [row[0] for row in table(answer)] == [0.5, 0.9, 0.99] and "within 1 % of the true ones\n" in answer
    assert f"least, largest   {float(NUMBERS.min())}, {float(NUMBERS.max())}\n" in answer
    out = run("quantiles", "a.txt", "--rank-error", "0.05", "-q", "0.5", "-o", "k")[1]
    assert mergesketch.load("k") == KLLSketch.for_error(0.05).update(NUMBERS)
    ((_, value, low, high),) = table(out)
    assert value in NUMBERS and low <= exact(0.5) <= high
    share = float(out.partition("ranks are within ")[2].partition(" %")[0])
    assert 0 < share <= 5 and abs(np.mean(value >= NUMBERS) - 0.5) <= share / 100
    assert table(run("query", "k", "-q", "0.5")[1]) == [(0.5, value, low, high)]


def test_numbers_that_have_no_relative_error(run):
    Path("a.txt").write_text("0\n" * 3 + "1e300\n" * 2 + "2e300\n")
    out = run("quantiles", "a.txt", "-q", "0.5", "0.7")[1]
    assert "true ones, or differ from them by at most 1e-09; beyond 1e+18, only the bounds are certain" in out
    (zero, large) = table(out)
    assert zero[2] <= 0 <= zero[3] < 1.1e-9 and large[2] <= 1e300 <= large[3] == 2e300
    out = run("quantiles", "a.txt", "--rank-error", "0.1", "-q", "0.7")[1]
    assert table(out) == [(0.7, 1e300, 1e300, 1e300)] and "values are exact" in out


def test_what_is_no_number_is_counted(run, fails):
    Path("a.csv").write_text("ms\n 1.5 \nabc\n\n1_000\nnan\ninf\n1e999\n-2e-3\n0x10\n")
    code, out, _ = run("quantiles", "a.csv", "-o", "s")
    assert code == 0 and (mergesketch.load("s").min, mergesketch.load("s").max) == (-0.002, 1.5)
    assert (
        "numbers          2, " in out and "empty            1 without a number\nskipped          6\n" in out
    )
    assert "    a.csv: infinite (2)\n    a.csv: not a number (4)\n" in out
    values: list = [1, None, "2", "x", True, math.nan, [3]]
    Path("a.jsonl").write_text("".join(json.dumps({"v": value}) + "\n" for value in values))
    out = run("quantiles", "a.jsonl", "--field", "v", "-o", "s")[1]
    assert mergesketch.load("s").total == 2 and "a.jsonl: not a number (2)" in out
    assert "the field 'v' is null, not a string or a number (1)" in out
    Path("words.txt").write_text("a\nb\n")
    Path("zeros.bin").write_bytes(bytes(100))
    for name, n in (("words.txt", 2), ("zeros.bin", 1)):
        assert fails("quantiles", name) == f"no number could be read ({n} skipped; {name}: not a number)"
    assert fails("quantiles", "a.csv", "--strict") == "a.csv: not a number (strict)"
    assert run("quantiles", "-", "-o", "none")[1].startswith(
        "quantiles        none, because there are no numbers\n"
    )
    assert run("query", "none")[1] == "quantiles        none, because there are no numbers\n"


def test_parquet_columns(run, fails):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {
        "f4": pa.array([0.5, None, math.nan], pa.float32()),
        "i": pa.array([-3, 2**40, None]),
        "d": pa.array([Decimal("1.25"), None, None]),
        "s": pa.array(["7", "x", None]),
        "t": pa.array([1, 2, 3], pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), "a.parquet")
    for column, values, skipped in (
        ("f4", [0.5], ["not a number (1)", "null (1)"]),
        ("i", [-3.0, 2.0**40], ["null (1)"]),
        ("d", [1.25], ["null (2)"]),
        ("s", [7.0], ["not a number (1)", "null (1)"]),
    ):
        out = run("quantiles", "a.parquet", "--column", column, "-o", "s")[1]
        assert mergesketch.load("s") == DDSketch().update(values), column
        assert [line.partition(": ")[2] for line in out.splitlines() if "    a.parquet" in line] == skipped
    message = "the column 't' of a.parquet holds timestamp[us], not numbers or text"
    assert fails("quantiles", "a.parquet", "--column", "t") == message
    assert fails("count", "a.parquet", "--column", "f4").endswith("holds float, not text or integers")


def test_wrong_options_are_named(fails):
    Path("a.txt").write_text("1\n")
    for arguments, message in [
        (["a.txt", "-q", "1.5"], "argument -q: invalid quantile value: '1.5'"),
        (["-q", "0.5", "a.txt"], "argument -q: invalid quantile value: 'a.txt'"),
        (["a.txt", "--error", "1e-9"], "--error 1e-09 is not possible: relative_error must"),
        (["a.txt", "--rank-error", "1e-9"], "--rank-error 1e-09 is not possible: rank_error must"),
        (["a.txt", "--rank-error", "0.1", "--error", "0.1"], "--error 0.1 is not possible: it has"),
        (["missing"], "cannot read missing: No such file or directory"),
    ]:
        assert fails("quantiles", *arguments).startswith(message)
    for name, sketch in (("d", DDSketch()), ("k", KLLSketch()), ("h", HyperLogLog())):
        sketch.save(name)
        kind = type(sketch).__name__
        assert fails("query", name, "1") == f"{name} holds a {kind}, which cannot be asked about a key"


def test_saved_sketches_merge_and_are_shown(run):
    for name, numbers in (("a", NUMBERS[:900]), ("b", NUMBERS[900:])):
        Path(f"{name}.txt").write_text("".join(f"{x!r}\n" for x in numbers.tolist()))
    for options, whole in (([], DDSketch().update(NUMBERS)), (["--rank-error", "0.1"], None)):
        for name in "ab":
            assert run("quantiles", f"{name}.txt", *options, "-o", name)[0] == 0
        assert run("merge", "a", "b", "-o", "both")[0] == 0
        both = mergesketch.load("both")
        assert both.n_updates == 2000 and (whole is None or both == whole)
        assert ", 2,000 updates, " in run("inspect", "both")[1]
        ((_, _, low, high),) = table(run("query", "both", "-q", "0.9")[1])
        assert low <= exact(0.9) <= high


@given(
    st.lists(
        st.one_of(
            st.floats().map(repr), st.integers().map(str), st.text("0123456789.eE+-_ naif", max_size=30)
        ),
        max_size=9,
    )
)
def test_texts_are_read_as_python_reads_them(texts):
    def read(text):
        try:
            return math.nan if "_" in text else float(text)
        except ValueError:
            return math.nan

    data = np.frombuffer("".join(texts).encode(), np.uint8)
    offsets = np.cumsum([0, *map(len, texts)])
    expected = np.array([read(text) for text in texts], np.float64)
    found = read_numbers(data, offsets)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
