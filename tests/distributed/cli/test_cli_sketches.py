"""Test the commands that build sketches of keys, and the one that asks them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from mergesketch import (
    BloomFilter,
    CountMinSketch,
    CountSketch,
    HeavyHitters,
    HyperLogLog,
    MinHashSketch,
    RibbonFilter,
    TopK,
)
from mergesketch.distributed.cli import key_files
from mergesketch.distributed.cli.answers import cardinality_error
from mergesketch.distributed.cli.key_columns import AskedColumn
from mergesketch.distributed.cli.messages import percent
from mergesketch.distributed.ranks.comm import Communicator
from mergesketch.lsh.support.wording import counted
from ranks import needs_mpi


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


USERS = [f"user{x}" for x in np.minimum(np.random.default_rng(4).zipf(1.5, 3000), 200)]


def write_every_format() -> dict[str, list[str]]:
    """Write the same keys in every format; return the options that find them in each file."""
    lines = "".join(f"{user}\n" for user in USERS)
    Path("lines.txt").write_text(lines)
    Path("lines.txt.gz").write_bytes(gzip.compress(lines.encode()))
    Path("lines.txt.bz2").write_bytes(bz2.compress(lines.encode()))
    Path("lines.xz").write_bytes(lzma.compress(lines.encode()))
    Path("crlf.txt").write_bytes(b"\xef\xbb\xbf" + lines.replace("\n", "\r\n").encode())
    Path("words.log").write_text("".join(f"  GET\t{user}  /x\n" for user in USERS))
    for name, delimiter in (("t.csv", ","), ("t.tsv", "\t"), ("semicolon.csv", ";")):
        with Path(name).open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["note", "user"])
            writer.writerows((f'a {delimiter} "{i}"\nb', user) for i, user in enumerate(USERS))
    Path("t.csv.gz").write_bytes(gzip.compress(Path("t.csv").read_bytes()))
    Path("bom.csv").write_bytes(b"\xef\xbb\xbfuser\r\n" + lines.replace("\n", "\r\n").encode())
    Path("bare.csv").write_text("".join(f"1,{user}\n" for user in USERS))
    Path("t.jsonl").write_text("".join(json.dumps({"user": user}) + "\n" for user in USERS))
    Path("t.ndjson.gz").write_bytes(gzip.compress(Path("t.jsonl").read_bytes()))
    return {
        "lines.txt": [],
        "lines.txt.gz": [],
        "lines.txt.bz2": [],
        "lines.xz": [],
        "crlf.txt": [],
        "words.log": ["--column", "2"],
        "t.csv": ["--column", "user"],
        "t.csv.gz": ["--column", "2"],
        "t.tsv": ["--column", "user"],
        "semicolon.csv": ["--column", "user", "--delimiter", ";"],
        "bom.csv": ["--column", "user"],
        "bare.csv": ["--column", "2", "--no-header"],
        "t.jsonl": ["--field", "user"],
        "t.ndjson.gz": ["--field", "user"],
    }


def write_parquet(name: str) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {"n": list(range(len(USERS))), "user": [None, *USERS[1:]], "same": [7] * len(USERS)}
    pq.write_table(pa.table(columns), name, row_group_size=700)


# -- building -------------------------------------------------------------------------------------


def test_every_format_gives_the_same_sketch(run):
    expected = CountMinSketch.for_error(0.0001).update(USERS)
    for name, options in write_every_format().items():
        code, out, err = run("count", name, *options, "-o", "c", "--ask", "user1", "--ask", "nobody")
        assert (code, err) == (0, ""), name
        assert mergesketch.load("c") == expected, name
        assert out.startswith(f"{USERS.count('user1'):>12,}  user1\n{0:>12}  nobody\n\n"), name
        assert "\nkeys             3,000, " in out and "read from 1 file in" in out, name
        assert "empty" not in out and "skipped" not in out, name


def test_parquet(run):
    write_parquet("t.parquet")
    for column in ("user", "2"):
        code, out, _ = run("count", "t.parquet", "--column", column, "-o", "c")
        assert code == 0 and "    t.parquet: null (1)\n" in out
        assert mergesketch.load("c") == CountMinSketch.for_error(0.0001).update(USERS[1:])
    assert run("count", "t.parquet", "--column", "same", "--ask", "7")[1].startswith("       3,000  7\n")


def test_several_files_and_folders(run):
    Path("in").mkdir()
    Path("in/a.txt").write_text("tea\ncake\n")
    Path("in/b.csv").write_text("word\ntea\n")
    Path("in/c.jsonl").write_text('{"word": "tea"}\n')
    assert "choose" not in run("count", "in", "--column", "word")[2]
    Path("in/a.txt").unlink()
    code, out, _ = run("count", "in", "in/b.csv", "--column", "word", "--ask", "tea")
    assert code == 0 and out.startswith("           2  tea\n") and "from 2 files" in out


def test_the_standard_input(run):
    text = "".join(f"{user}\n" for user in USERS).encode()
    code, out, err = run("top", "-", "-k", "1", "-o", "t", stdin=text)
    assert (code, err) == (0, "") and "from 1 file in" in out
    assert mergesketch.load("t").top(1) == [("user1", USERS.count("user1"))]
    for options, text in [
        (["--format", "csv", "--column", "b"], b'a,b\n1,tea\n"2\n",tea\n'),
        (["--format", "csv", "--column", "2", "--no-header"], b"1,tea\n2,tea"),
        (["--format", "tsv", "--column", "b"], b"b\tc\ntea\t\ntea\t\n"),
        (["--format", "jsonl", "--field", "b"], b'{"b": "tea"}\n{"b": "tea"}'),
        (["--column", "1"], b"tea x\ntea y"),
    ]:
        code, out, err = run("count", "-", "--ask", "tea", *options, stdin=text)
        assert (code, err) == (0, "") and out.startswith("           2  tea\n"), options
    assert run("distinct", "-", stdin=b"")[1].startswith("different keys   0 (exact)")


def test_keys_that_are_not_utf8(run):
    latin, cut = "Zo\udceb", "\udcc3"  # as Python reads such bytes of a command line
    Path("a.txt").write_bytes(b"Zo\xeb\nok\nZo\xeb\n\xc3\n\xa9\n")
    shown = "           2  Zo\\xeb\n           1  \\xc3\n           0  é\n"
    out = run("count", "a.txt", "--ask", latin, "--ask", cut, "--ask", "é", "-o", "count")[1]
    assert out.startswith(shown)
    assert run("query", "count", latin, "ok")[:2] == (0, "2\tZo\\xeb\n1\tok\n")
    out = run("filter", "a.txt", "--capacity", "9", "--ask", cut, "-o", "filter")[1]
    assert out.startswith("         yes  \\xc3\n")
    assert run("query", "filter", "--keys", "a.txt")[1].splitlines()[3:] == ["yes\t\\xc3", "yes\t\\xa9"]
    assert run("top", "a.txt", "-o", "top")[0] == 0
    assert dict(mergesketch.load("top").top()) == {b"Zo\xeb": 2, "ok": 1, b"\xc3": 1, b"\xa9": 1}
    assert run("query", "top", latin)[1] == "2\tZo\\xeb\n"


def test_numbers_are_the_text_that_is_written(run):
    Path("a.jsonl").write_text('{"k": 7}\n{"k": "7"}\n{"k": 1.50}\n{"k": -0}\n{"k": 1' + "0" * 5000 + "}\n")
    assert run("count", "a.jsonl", "--field", "k", "-o", "c", "--strict")[0] == 0
    assert mergesketch.load("c").query(["7", "1.50", "-0", "1" + "0" * 5000]).tolist() == [2, 1, 1, 1]


def test_what_is_no_key_is_counted(run, fails):
    Path("a.log").write_text("a b\nc\n\n  \nd e f\n")
    code, out, _ = run("count", "a.log", "--column", "2", "--ask", "b", "--ask", "e")
    assert code == 0 and out.startswith("           1  b\n           1  e\n")
    assert (
        "empty            2 without a key\nskipped          1\n    a.log: a line without word 2 (1)\n" in out
    )
    Path("a.csv").write_text('x,y\n1,\n2,"z"\n3\n\n')
    out = run("count", "a.csv", "--column", "y", "--ask", "z")[1]
    assert out.startswith("           1  z\n") and "a.csv: a line without field 2 (1)" in out
    Path("a.jsonl").write_text('{"k": "a"}\n{"k": null}\n{"k": true}\nno\n{"k": "b"}\n{"k": null}\n')
    out = run("count", "a.jsonl", "--field", "k", "-o", "c")[1]
    assert (
        "skipped          4\n" in out
        and "null, not a string or a number (2)" in out
        and "not JSON (1)" in out
    )
    assert mergesketch.load("c").total == 2
    assert "a.log: a line without word 2 (strict)" in fails("count", "a.log", "--column", "2", "--strict")
    assert "(strict)" in fails("count", "a.jsonl", "--field", "k", "--strict")
    Path("bad.jsonl").write_text("no\n" * 3)
    message = fails("count", "bad.jsonl", "--field", "k", "-o", "d")
    assert message == "no key could be read (3 skipped; bad.jsonl: not JSON)" and not Path("d").exists()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_text_of_two_or_four_bytes_a_character_is_refused(fails, name, encoding):
    content = "\ufeff" + ('{"user": "ann"}\n' if name == "a.jsonl" else "user\nann\n")
    Path(name).write_bytes(content.encode(encoding))
    column = [] if name == "a.txt" else ["--column", "user"]
    message = f"cannot read {name}: it is text in {encoding.upper()}; convert it"
    assert fails("top", name, *column).startswith(message)


def test_long_keys_of_top_are_counted_by_their_hash(run):
    Path("a.txt").write_text("tea\n" + "x" * 9 + "\ncake\n" + "z" * 300 + "\ntea\n" + "z" * 300 + "\n")
    for options in (["-k", "9"], ["--frequency", "0.01"]):
        out = run("top", "a.txt", "--max-key-bytes", "8", *options, "-o", "t")[1]
        assert "keys             6, " in out and "skipped" not in out
        found = dict(mergesketch.load("t").top())
        long = {name[:8]: count for name, count in found.items() if "\u2026" in name}
        assert (found["tea"], found["cake"], long) == (2, 1, {"x" * 8: 1, "z" * 8: 2})


def test_batches_and_ranges_are_joined(run, monkeypatch):
    """A file is cut in the middle of lines and of quoted fields."""
    monkeypatch.setattr(key_files, "CHUNK", 1000)
    monkeypatch.setattr(key_files, "BATCH", 50)
    monkeypatch.setattr("mergesketch.distributed.documents.jsonl.BLOCK", 64)
    expected = CountMinSketch.for_error(0.0001).update(USERS)
    for name, options in write_every_format().items():
        assert run("count", name, *options, "-o", "c")[0] == 0
        assert mergesketch.load("c") == expected, name


def test_distinct(run):
    Path("a.txt").write_text("".join(f"{i % 5000}\n" for i in range(20_000)))
    code, out, _ = run("distinct", "a.txt", "--error", "0.02", "-o", "d")
    sketch = mergesketch.load("d")
    assert code == 0 and sketch == HyperLogLog.for_error(0.02).update([str(i) for i in range(5000)] * 4)
    low, high = sketch.bounds()
    answer = (
        f"different keys   about {sketch.cardinality():,.0f}; from {low:,} to {high:,} with 95 % confidence\n"
    )
    assert out.startswith(answer) and run("query", "d")[1] == answer
    assert (
        abs(sketch.cardinality() - 5000) < 6 * sketch.standard_error * 5000 and sketch.standard_error < 0.02
    )


def test_no_more_distinct_keys_are_printed_than_there_are_keys(run):
    Path("a.txt").write_text("".join(f"{i}\n" for i in range(5000)))
    sketch = HyperLogLog.for_error(0.01).update([str(i) for i in range(5000)])
    assert sketch.cardinality() > 5000
    out = run("distinct", "a.txt")[1]
    assert out.startswith(f"different keys   about 5,000; from {sketch.bounds()[0]:,} to 5,000 with 95 %")


def test_sketches_of_distinct_keys_of_earlier_versions(run, fails):
    for name, keys in (("old", ["a", "b"]), ("old.2", ["b", "c"])):
        MinHashSketch(n_hashes=10_000).update(keys).save(name)
    Path("a.txt").write_text("a\n")
    assert run("distinct", "a.txt", "-o", "new")[0] == 0
    assert run("merge", "old", "old.2", "-o", "both")[0] == 0
    assert run("query", "both")[1].startswith("different keys   about 3, with a standard error of ")
    message = fails("merge", "old", "new", "-o", "none")
    assert message == "old and new differ in class: MinHashSketch and HyperLogLog"


@pytest.mark.parametrize("n", [20, 400, 20_000])
def test_the_standard_error_of_a_number_of_keys(n):
    """The mean square of 400 errors has, by the law of chi-square, a relative deviation of about 0.07."""
    errors, claimed = [], []
    for seed in range(400):
        sketch = MinHashSketch(n_hashes=400, seed=seed).update(np.arange(n))
        errors.append(float(sketch.cardinality()[0]) - n)
        claimed.append(cardinality_error(sketch) ** 2)
    assert 0.6 < np.mean(np.square(errors)) / np.mean(claimed) < 1.5


def check_rows(lines):
    assert lines[0].split() == ["count", "share", "key"]
    for line, (key, count) in zip(lines[1:3], Counter(USERS).most_common(2), strict=True):
        assert line == f"{count:>12,}  {percent(count / 3000):>8}  {key}"


def test_top(run):
    Path("a.txt").write_text("".join(f"{user}\n" for user in USERS))
    code, out, _ = run("top", "a.txt", "-k", "2", "-o", "t")
    assert code == 0 and mergesketch.load("t") == TopK(2, max_key_bytes=256).update(USERS)
    answer = out.splitlines()[:5]
    check_rows(answer)
    assert answer[3] == "frequent keys    2; all of them are certainly among the 2 most frequent"
    assert answer[4] == "error            these counts are exact"
    assert run("query", "t", "-k", "2")[1].splitlines() == answer


def test_what_is_certain_of_the_top_keys(run):
    """The key b was dropped and came again, so that it may have occurred less often than c."""
    sketch = TopK(2, n_counters=2)
    for keys in (["a"] * 5, ["b"] * 2, ["c"] * 3, ["b"] * 2):
        sketch.update(keys)
    sketch.save("t")
    top = sketch.top()
    assert sketch.n_guaranteed() == 1 and top == [("a", 5), ("b", 4)]
    assert run("query", "t")[1].splitlines()[-2:] == [
        "frequent keys    2; 1 of them is certainly among the 2 most frequent",
        "error            these counts are never too low, and at most 2 too high",
    ]
    assert run("query", "t", "-k", "1")[1].splitlines()[-2] == (
        "frequent keys    1; certainly the most frequent one"
    )
    TopK(1, n_counters=1).update("b", 2).update("c", 3).update("b", 2).save("u")
    assert mergesketch.load("u").n_guaranteed() == 0
    assert run("query", "u")[1].splitlines()[-2] == "frequent keys    1; not certainly the most frequent one"


def test_top_by_a_frequency(run):
    Path("a.txt").write_text("".join(f"{user}\n" for user in USERS))
    code, out, _ = run("top", "a.txt", "-k", "2", "--frequency", "0.01", "-o", "t")
    assert code == 0
    lines = out.splitlines()
    check_rows(lines)
    n_frequent = sum(count > 30 for count in Counter(USERS).values())
    assert lines[3].strip() == f"... and {n_frequent - 2} more"
    assert lines[4] == f"frequent keys    {n_frequent}: all that make up more than 1 % of the keys"
    out = run("top", "a.txt", "-k", "100", "--frequency", "0.01")[1]
    assert "a smaller --frequency finds more" in out and "more\nfrequent" not in out
    sketch = mergesketch.load("t")
    assert isinstance(sketch, HeavyHitters) and sketch.n_buckets == int(np.ceil(np.e / 0.001))
    assert run("top", "a.txt", "--error", "0.0005", "-o", "k")[0] == 0
    assert mergesketch.load("k").n_counters == 2000


def test_filter(run):
    Path("a.txt").write_text("tea\ncake\n")
    code, out, _ = run("filter", "a.txt", "--capacity", "10", "--ask", "tea", "--ask", "jam", "-o", "f")
    assert code == 0 and out.startswith("         yes  tea\n          no  jam\n\ndifferent keys   about 2\n")
    assert mergesketch.load("f") == BloomFilter(10, 0.01).update(["tea", "cake"])
    Path("b.txt").write_text("".join(f"{i}\n" for i in range(50)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ", more than --capacity\n" in run("filter", "b.txt", "--capacity", "10")[1]


def test_growing_filters_are_asked(run):
    mergesketch.ScalableBloomFilter(initial_capacity=2).update(["tea", "cake", "milk"]).save("f")
    assert run("query", "f", "tea", "jam")[1] == "yes\ttea\nno\tjam\n"


def test_saved_sketches_merge_and_are_shown(run):
    Path("a.txt").write_text("tea\n")
    Path("b.csv").write_text("k\ntea\ncake\n")
    for command, *options in (
        ["count"],
        ["distinct"],
        ["top"],
        ["top", "--frequency", "0.1"],
        ["filter", "--capacity", "9"],
    ):
        for name in ("a.txt", "b.csv"):
            assert run(command, name, *options, "-o", f"{name}.sketch", "--column", "1")[0] == 0
        assert run(command, "a.txt", "b.csv", *options, "-o", "both", "--column", "1")[0] == 0
        assert run("merge", "a.txt.sketch", "b.csv.sketch", "-o", "merged")[0] == 0
        assert mergesketch.load("merged") == mergesketch.load("both")
        assert "  HyperLogLog, " in run("inspect", "merged")[1] or command != "distinct"
        assert ", 3 updates, " in run("inspect", "merged")[1]
        assert ", 1 update, " in run("inspect", "a.txt.sketch")[1]


# -- asking ---------------------------------------------------------------------------------------


def test_query_of_counts(run):
    for sketch in (CountMinSketch(4, 1000), CountSketch(5, 1000), HeavyHitters(0.1), TopK()):
        sketch.update(["tea", "tea", "caf\u00e9 \x1b"]).save("s")
        code, out, err = run("query", "s", "tea", "jam", "caf\u00e9 \x1b")
        assert (code, err) == (0, "")
        answers = [line.split("\t") for line in out.splitlines()]
        assert [key for _, key in answers] == ["tea", "jam", "caf\u00e9 \\x1b"]
        assert [float(count) for count, _ in answers] == sketch.query(
            ["tea", "jam", "caf\u00e9 \x1b"]
        ).tolist()


def test_query_of_sets(run):
    BloomFilter(100).update(["tea"]).save("b")
    RibbonFilter(["tea"], error_rate=1e-6).save("r")
    Path("keys.csv").write_text("a,b\n1,tea\n2,jam\n")
    for name in ("b", "r"):
        assert run("query", name, "tea", "jam")[1] == "yes\ttea\nno\tjam\n"
        assert (
            run("query", name, "tea", "--keys", "keys.csv", "--column", "b")[1]
            == "yes\ttea\nyes\ttea\nno\tjam\n"
        )
        assert run("query", name, "--keys", "-", stdin=b"jam\ntea")[1] == "no\tjam\nyes\ttea\n"


def test_query_of_integers(run, fails):
    HeavyHitters(0.1).update([7, 7, -1]).save("h")
    assert "keys must be integers" in fails("query", "h", "7") and "see --integers" in fails(
        "query", "h", "7"
    )
    for arguments in (["--integers", "h", "7", "-1"], ["h", "7", "-1", "--integers"]):
        assert run("query", *arguments)[1] == "2\t7\n1\t-1\n"
    assert "--integers: invalid literal" in fails("query", "--integers", "h", "x")


def test_query_without_a_key(run, fails):
    HeavyHitters(0.1).update(["tea"] * 3 + ["jam"]).save("h")
    out = run("query", "h", "-k", "1")[1]
    assert "           3      75 %  tea\n" in out and "... and 1 more" in out
    TopK(1).update(["tea"] * 3 + ["jam"]).save("k")
    assert run("query", "k", "-k", "1")[1].splitlines()[1] == "           3      75 %  tea"
    assert len(run("query", "k")[1].splitlines()) == 5 and run("query", "k", "-k", "0")[1] == ""
    MinHashSketch(n_sets=2).update(["a"], sets=1).save("m")
    assert (
        run("query", "m")[1]
        == "set 0            about 0 different keys\nset 1            about 1 different keys\n"
    )
    assert fails("query", "m", "tea") == "m holds a MinHashSketch, which cannot be asked about a key"
    assert fails("query", "m", "-k", "3") == "-k is for sketches of `top`; m holds a MinHashSketch"
    assert fails("query", "h", "-q", "0.5") == "-q is for sketches of `quantiles`; h holds a HeavyHitters"
    assert fails("query", "h", "tea", "-k", "3") == "-k does not go with keys"
    CountMinSketch(2, 9).save("c")
    assert fails("query", "c").endswith("give the keys to ask for, or --keys FILE")
    mergesketch.StaticFunction(["a"], [1]).save("f")
    assert fails("query", "f", "a") == "f holds a StaticFunction, which this command cannot ask"
    Path("n").write_text("no sketch")
    assert fails("query", "n", "a").startswith("n: ")
    assert fails("query", "missing", "a") == "cannot read missing: No such file or directory"


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b'"a\nb",key,c\r\n', ["a\nb", "key", "c"]),
        (b'\xef\xbb\xbf"say ""key""","x"y"z,\n', ['say "key"', 'xy"z', ""]),
        (
            b"a\0," + b"x" * 200_000 + b',"' + b"\n" * 200_000 + b'"\r\n',
            ["a\0", "x" * 200_000, "\n" * 200_000],
        ),
        (b'"","a\r\nb",c', ["", "a\r\nb", "c"]),
    ],
)
@pytest.mark.parametrize("from_stdin", [False, True])
def test_the_header_is_the_first_record_as_kernels_cut_it(header, names, from_stdin):
    text = header + b"\n1,2,3\n4,5,6"
    Path("a.csv").write_bytes(text)
    for number, name in enumerate(names):
        asked = AskedColumn(name, "csv")
        paths = ["-"] if from_stdin else ["a.csv"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
            source = key_files.KeyFiles(paths, asked, Communicator(None))
            keys = [keys.item(i) for keys in source.batches() for i in range(len(keys))]
        assert keys == [str(number + 1), str(number + 4)]


def test_headers_that_nothing_can_be_found_in_are_refused(fails):
    Path("mac.csv").write_bytes(b"a,b\r1,2\r")
    Path("open.csv").write_bytes(b'a,"b""\n1,2\n')
    Path("long.csv").write_bytes(b"a" * (1 << 20) + b",b\n1,2\n")
    Path("blank.csv").write_bytes(b"\r\na,b\n1,2\n")
    for name, message in [
        ("mac.csv", "a carriage return stands within its first line, and lines must end with a line feed"),
        ("open.csv", "a quote is opened and not closed"),
        ("long.csv", "its first line is longer than 1,048,576 bytes"),
        ("blank.csv", "its first line has no columns"),
    ]:
        assert fails("count", name, "--column", "a") == f"cannot read {name}: {message}"


@pytest.mark.parametrize("number", ["9" * 19, "9" * 5000])
def test_no_column_has_a_number_beyond_64_bits(fails, number):
    Path("a.txt").write_text("1 2\n")
    assert "whose columns have numbers from 1: no column '999" in fails("count", "a.txt", "--column", number)


@pytest.mark.slow
def test_streams_that_are_closed():
    def run(redirections):
        command = f"exec {sys.executable} -m mergesketch.distributed distinct - {redirections}"
        return subprocess.run(["sh", "-c", command], input=b"a\nb\n", capture_output=True, timeout=300)

    done = run("<&-")
    assert done.returncode == 2
    assert done.stderr == b"mergesketch: error: cannot read - (the standard input): it is closed\n"
    done = run("-o a.sketch >&-")
    assert (done.returncode, done.stderr) == (0, b"") and mergesketch.load("a.sketch").n_updates == 2


def test_wrong_columns_are_named(fails):
    Path("a.csv").write_text("x,y,y\n1,2,3\n")
    Path("a.txt").write_text("1 2\n")
    Path("a.jsonl").write_text('{"x": 1}\n')
    Path("empty.csv").write_text("")
    Path("open.csv").write_text('x\na\n"b\nc\n')
    Path("cut.txt.gz").write_bytes(gzip.compress(b"a\n" * 10_000)[:-9])
    for arguments, message in [
        (["a.csv"], "a.csv has 3 columns, choose one by --column: 'x', 'y', 'y'"),
        (["a.csv", "--column", "z"], "a.csv has no column 'z', it has 3 columns: 'x', 'y', 'y'"),
        (["a.csv", "--column", "4"], "a.csv has no column '4', it has 3 columns: 'x', 'y', 'y'"),
        (["a.csv", "--column", "0"], "a.csv has no column '0', it has 3 columns: 'x', 'y', 'y'"),
        (["a.csv", "--column", "y"], "a.csv has 2 columns 'y': give the column's number"),
        (["a.csv", "--column", "x", "--no-header"], "a.csv has no column 'x', it has 3 columns"),
        (["a.txt", "--column", "x"], "a.txt is text, whose columns have numbers from 1: no column 'x'"),
        (
            ["a.txt", "--delimiter", ";"],
            "--delimiter is for csv and tsv, and a.txt is read as text; see --format",
        ),
        (["a.txt", "--no-header"], "--no-header is for csv and tsv, and a.txt is read as text; see --format"),
        (["a.jsonl"], "a.jsonl has JSON lines: name the field of the keys by --field"),
        (["a.jsonl", "--field", "y"], "a.jsonl has no field 'y' in its first records; they have 'x'"),
        (["empty.csv"], "cannot read empty.csv: its first line has no columns"),
        (["open.csv"], "cannot read open.csv: a quote is opened and not closed"),
        (["-", "--format", "parquet"], "cannot read standard input as parquet: give the file by its name"),
        (["missing"], "cannot read missing: No such file or directory"),
        (["a.txt", "-o", "a.txt"], "cannot write a.txt: it is one of the files to read"),
        (["a.txt", "--error", "1e-9"], "--error 1e-09 is not possible: relative_error must"),
    ]:
        assert fails("count", *arguments).startswith(message)
    assert fails("count", "cut.txt.gz").startswith("cannot read cut.txt.gz: damaged: ")
    for arguments, message in [
        (["count", "a", "--error", "1"], "argument --error: must be above 0 and below 1, got 1"),
        (["count", "a", "--delimiter", "ab"], "argument --delimiter: invalid character value: 'ab'"),
        (["filter", "a"], "the following arguments are required: --capacity"),
        (
            ["top", "a", "--error", "1e-8"],
            "-k 10 --error 1e-08 is not possible: relative_error must",
        ),
        (
            ["top", "a", "--frequency", "1e-8"],
            "--frequency 1e-08 --error 1e-09 is not possible: frequency must",
        ),
        (["distinct", "a", "--error", "1e-5"], "--error 1e-05 is not possible: relative_error must"),
        (["distinct", "a", "--error", "1e-200"], "--error 1e-200 is not possible: relative_error must"),
    ]:
        assert fails(*arguments).startswith(message)


def test_a_quote_that_is_never_closed_does_not_take_all_memory(fails, monkeypatch):
    monkeypatch.setattr(key_files, "MAX_RECORD", 1000)
    monkeypatch.setattr(key_files, "BATCH", 100)
    monkeypatch.setattr("mergesketch.distributed.documents.jsonl.BLOCK", 64)
    read = []
    line_blocks = key_files.line_blocks

    def counted_blocks(*arguments):
        for block in line_blocks(*arguments):
            read.append(len(block))
            yield block

    monkeypatch.setattr(key_files, "line_blocks", counted_blocks)
    Path("a.csv").write_text('x\n"a\n' + "b\n" * 10_000)
    assert fails("count", "a.csv") == "cannot read a.csv: a quote is opened and not closed"
    assert sum(read) < 2000


def test_words_of_messages():
    assert [counted(n, "file") for n in (0, 1, 2, 1500)] == ["0 files", "1 file", "2 files", "1,500 files"]
    shares = [0.0, 0.00012345, 0.05, 0.1234, 0.5, 0.99949, 1.0]
    assert [percent(s) for s in shares] == ["0 %", "0.0123 %", "5 %", "12.34 %", "50 %", "99.95 %", "100 %"]


# -- ranks ----------------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.slow
def test_any_number_of_ranks_gives_the_same(run, ranks):
    """Files of all formats, which are larger than a chunk where that matters, are shared among the ranks."""
    rng = np.random.default_rng(2)
    numbers = rng.zipf(1.3, 1_600_000) % 100_000
    Path("a.txt").write_text("".join(f"the key {n}\n" for n in numbers.tolist()))
    Path("b.csv").write_text("x,y\n" + "".join(f"{n},{n % 10} of 10\n" for n in numbers.tolist()))
    Path("c.csv").write_text("x,y\n" + "".join(f'{n},"\n, quoted"\n' for n in numbers.tolist()))
    assert all(Path(name).stat().st_size > key_files.CHUNK for name in ("a.txt", "b.csv", "c.csv"))
    table, text = ["b.csv", "c.csv", "--column", "x"], ["a.txt", "--column", "3"]
    for command, *arguments in (
        ["count", *table],
        ["top", "--frequency", "0.001", *text],
        ["quantiles", *table],
        ["distinct", *table],
        ["filter", "--capacity", "100000", *text],
    ):
        assert run(command, *arguments, "-o", "1")[0] == 0
        done = ranks.command(3, command, *arguments, "-o", "3", timeout=200.0)
        assert (done.returncode, done.stderr) == (0, "")
        assert mergesketch.load("1") == mergesketch.load("3"), command
        assert mergesketch.load("3").n_updates == len(numbers) * (2 if "x" in arguments else 1)


@pytest.mark.slow
@needs_mpi
def test_errors_over_ranks(ranks):
    Path("a.csv").write_text("x,y\n1,2\n")
    for arguments, message in [
        (["count", "a.csv"], "a.csv has 2 columns, choose one by --column: 'x', 'y'"),
        (["count", "-"], "- (the standard input) is for one process: give files to several ranks"),
    ]:
        done = ranks.command(2, *arguments)
        assert (done.returncode, done.stdout) == (2, ["", ""])
        assert done.stderr == f"mergesketch: error: {message}\n"
