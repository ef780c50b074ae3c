"""Test `mergesketch dedup --clean`, the lists that it writes, and its report."""

import gzip
import html.parser
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import mergesketch.distributed.cli.dedup_report as report_module
import mergesketch.distributed.cli.giant_groups as giant_module
import numpy as np
import pytest
from mergesketch.distributed.cli.word_differences import beginning, differences
from mergesketch.distributed.dedup.clean_manifest import MANIFEST
from paths import environment
from ranks import needs_mpi

WORDS = [f"word{i}" for i in range(2000)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def records(path) -> list:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.fixture
def corpus():
    """Write three families of near-duplicates in several kinds of files; return their texts by name."""
    rng = np.random.default_rng(3)

    def fresh(n=120):
        return list(rng.choice(WORDS, size=n))

    def near(words, *more):
        changed = list(words)
        changed[len(words) // 2] = "w"
        return [*changed, *more]

    first, second, third = fresh(), fresh(), fresh()
    texts = {
        ("in/a.txt", None): first,
        ("in/c.jsonl", 1): second,
        ("in/c.jsonl", 2): fresh(),
        ("in/c.jsonl", 3): near(second, "a", "longer", "text"),
        ("in/c.jsonl", 4): first,
        ("in/c.jsonl", 5): third,
        ("in/d.jsonl.gz", 1): near(third),
        ("in/d.jsonl.gz", 2): fresh(),
        ("in/sub/b.txt", None): near(first),
        ("in/sub/e.txt", None): [word.upper() for word in second],
    }
    stored = {name: " ".join(words) for name, words in texts.items()}
    lines = {name: [] for name, line in stored if line}
    for number, ((name, line), text) in enumerate(stored.items()):
        if line:
            lines[name].append(json.dumps({"id": f"id-{number}", "n": number, "text": text}) + "\n")
        else:
            write(name, text)
    lines["in/c.jsonl"].append("damaged\n")
    write("in/c.jsonl", "".join(lines["in/c.jsonl"]))
    write("in/d.jsonl.gz", gzip.compress("".join(lines["in/d.jsonl.gz"]).encode()))
    write("in/empty.txt", "")
    return stored


def left(folder) -> dict[str, list[str]]:
    """Return the lines of every file below a folder, without those that the command itself adds."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name not in (MANIFEST, "removed.jsonl"):
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            found[str(path.relative_to(folder))] = content.decode().splitlines()
    return found


def kept_names(folder, corpus) -> set:
    """Return the names of the documents of the corpus that are in the cleaned one."""
    texts = {}
    for name, text in corpus.items():
        texts.setdefault(text, []).append(name)
    names = set()
    for path, lines in left(folder).items():
        for line in lines:
            if line == "damaged":
                continue
            text = json.loads(line)["text"] if "jsonl" in path else line
            (name,) = [name for name in texts[text] if name[0] == f"in/{path}"]
            names.add(name)
    return names


def test_a_cleaned_corpus(run, corpus):
    code, out, err = run("dedup", "in", "--clean", "out", "--top", 0)
    assert (code, err) == (0, "")
    assert kept_names("out", corpus) == {
        ("in/a.txt", None),
        *(("in/c.jsonl", line) for line in (1, 2, 5)),
        ("in/d.jsonl.gz", 2),
    }
    assert left("out")["empty.txt"] == [] and left("out")["c.jsonl"][-1] == "damaged"
    assert sorted(os.listdir("out")) == sorted(
        [MANIFEST, "a.txt", "c.jsonl", "d.jsonl.gz", "empty.txt", "removed.jsonl"]
    )
    assert re.search(r"^cleaned          out: 4 files, 2 removed, [\d.]+ kB, without 5 documents$", out, re.M)
    assert "\nremoved          out/removed.jsonl\n" in out
    # A text of 120 words has 116 shingles, and a changed word changes 5 of them.
    near, longer = pytest.approx(111 / 121, abs=1e-6), pytest.approx(111 / 124, abs=1e-6)

    def line(path, line, kept_path, kept_line, similarity, reason):
        kept = {"path": kept_path, "line": kept_line}
        return {"path": path, "line": line, "kept": kept, "similarity": similarity, "reason": reason}

    assert records("out/removed.jsonl") == [
        line("in/c.jsonl", 3, "in/c.jsonl", 1, longer, "near"),
        line("in/c.jsonl", 4, "in/a.txt", None, 1.0, "copy"),
        line("in/d.jsonl.gz", 1, "in/c.jsonl", 5, near, "near"),
        line("in/sub/b.txt", None, "in/a.txt", None, near, "near"),
        line("in/sub/e.txt", None, "in/c.jsonl", 1, 1.0, "copy"),
    ]


def test_a_second_run_keeps_what_is_there(run, corpus):
    run("dedup", "in", "--clean", "out")
    before = {
        path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*") if "removed" not in path.name
    }
    code, out, _ = run("dedup", "in", "--clean", "out", "--threads", 1, "--top", 3)
    assert code == 0 and "out: 4 files, 2 removed, 4 kept of an earlier run" in out
    after = {path: path.stat().st_mtime_ns for path in before}
    del before[Path("out") / MANIFEST], after[Path("out") / MANIFEST]
    assert after == before
    code, _, err = run("dedup", "in", "--clean", "out", "--threshold", 0.8)
    assert code == 2
    assert err.startswith(
        "mergesketch: error: out was written with other settings: threshold was 0.7, and is 0.8"
    )


def test_the_cleaned_corpus_is_clean(run, corpus):
    run("dedup", "in", "--clean", "out")
    code, out, _ = run("dedup", "out", "--output", "again.jsonl")
    assert code == 0 and "\nduplicates       0 " in out
    assert records("again.jsonl") == []


@pytest.mark.parametrize("verify", ["exact", "signature", "none"])
def test_the_list_of_removed_documents_is_no_document(run, corpus, verify):
    """Similarities that were not computed are null."""
    run("dedup", "in", "--clean", "out", "--verify", verify)
    values = [record["similarity"] for record in records("out/removed.jsonl")]
    assert values.count(None) == (3 if verify == "none" else 0) and values.count(1.0) == 2
    code, out, _ = run("dedup", "out")
    assert code == 0 and out.startswith("documents        6, ")


def test_all_that_is_written_may_lie_in_the_folder(run, corpus):
    outputs = ("--output", "out/groups.jsonl", "--report", "out/report.html")
    for _ in range(2):
        code, _, err = run("dedup", "in", "--clean", "out", *outputs)
        assert (code, err) == (0, "")
    assert {"groups.jsonl", "report.html", "removed.jsonl"} <= set(os.listdir("out"))
    write("in/groups.jsonl", json.dumps({"text": "a text whose file has the name of an output"}))
    code, _, _ = run("dedup", "in", "--clean", "out", *outputs)
    assert code == 0
    assert len(records("out/groups.jsonl")) == 3 and len(records("out/groups~2.jsonl")) == 1


def test_a_folder_that_is_refused(run, corpus, monkeypatch):
    before = left("in")
    for folder in ("in", "in/out", "."):
        code, out, err = run("dedup", "in", "--clean", folder)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert err.startswith(f"mergesketch: error: cannot write the cleaned corpus to {folder}: ")
    assert left("in") == before and os.listdir() == ["in"]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("first", [("in/a.txt", None), ("in/c.jsonl", 1), ("in/c.jsonl", 5)]),
        ("last", [("in/sub/b.txt", None), ("in/sub/e.txt", None), ("in/d.jsonl.gz", 1)]),
        # Near-duplicates have a shorter word, one has more words; copies are equally long.
        ("longest", [("in/a.txt", None), ("in/c.jsonl", 3), ("in/c.jsonl", 5)]),
        # The numbers rise with the lines; texts have none.
        ("best:n", [("in/c.jsonl", 4), ("in/c.jsonl", 3), ("in/d.jsonl.gz", 1)]),
    ],
)
def test_which_document_is_kept(run, corpus, keep, kept):
    code, out, _ = run("dedup", "in", "--clean", "out", "--keep", keep, "--output", "groups.jsonl")
    assert code == 0 and "without 5 documents" in out
    unique = {("in/c.jsonl", 2), ("in/d.jsonl.gz", 2)}
    assert kept_names("out", corpus) == unique | set(kept)
    groups = records("groups.jsonl")
    chosen = [(d["path"], d["line"]) for group in groups for d in group["documents"] if d["keep"]]
    assert sorted(chosen, key=str) == sorted(kept, key=str)
    partners = {(record["kept"]["path"], record["kept"]["line"]) for record in records("out/removed.jsonl")}
    assert partners == set(kept)
    assert all(d["similarity"] == 1 for group in groups for d in group["documents"] if d["keep"])


def test_a_score_that_no_file_has(run, corpus):
    code, _, err = run("dedup", "in", "--keep", "best:quality")
    assert code == 2 and "no file has the score_field 'quality'" in err


def test_values_of_keep_that_are_none(run, corpus):
    for value in ("best", "best:", "shortest", ""):
        code, _, err = run("dedup", "in", "--keep", value)
        assert code == 2 and "must be first, last, longest or best:FIELD" in err


@needs_mpi
@pytest.mark.slow
def test_ranks_write_the_same_bytes(run, corpus, ranks):
    for i in range(40):
        write(f"in/more/{i}.txt", " ".join(WORDS[i * 3 : i * 3 + 100]))
    options = ("--keep", "best:n", "--id-field", "id")
    code, *_ = run("dedup", "in", "--clean", "out1", "--output", "groups1.jsonl", *options)
    assert code == 0
    for n in (2, 3):
        arguments = ["dedup", "in", "--clean", f"out{n}", "--output", f"groups{n}.jsonl", *options]
        assert ranks.command(n, *arguments).returncode == 0
        assert left(f"out{n}") == left("out1")
        for name in ("groups{}.jsonl", "out{}/removed.jsonl"):
            assert Path(name.format(n)).read_bytes() == Path(name.format(1)).read_bytes()


#: The command; its process kills itself while it writes the third file.
KILLED = """
import os, signal, sys
import mergesketch.distributed.dedup.cleaning as cleaning
from mergesketch.distributed.__main__ import main

original, n = cleaning.copy_without, 0

def copy(file, records, path, **options):
    global n
    n += 1
    if n == 3:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return original(file, records, path, **options)

cleaning.copy_without = copy
sys.exit(main())
"""


@pytest.mark.slow
def test_a_process_that_is_killed(run, corpus):
    write("killed.py", KILLED)
    ended = subprocess.run([sys.executable, "killed.py", "dedup", "in", "--clean", "out"], env=environment())
    assert ended.returncode == -signal.SIGKILL
    assert len(left("out")) == 3, "two files and a temporary one"
    assert "removed.jsonl" not in os.listdir("out")
    code, out, _ = run("dedup", "in", "--clean", "out")
    assert code == 0 and "2 kept of an earlier run" in out
    code, _, _ = run("dedup", "in", "--clean", "whole")
    assert left("out") == left("whole")


# -- lists ----------------------------------------------------------------------------------------


def test_groups(run, corpus):
    run("dedup", "in", "--output", "groups.jsonl")
    groups = records("groups.jsonl")
    assert [group["size"] for group in groups] == [3, 3, 2]
    assert [[document["keep"] for document in group["documents"]] for group in groups] == [
        [True, False, False],
        [True, False, False],
        [True, False],
    ]
    assert groups[0]["documents"][1] == {"path": "in/c.jsonl", "line": 4, "keep": False, "similarity": 1.0}
    assert 0.9 < groups[0]["documents"][2]["similarity"] < 1


def test_lists_as_parquet(run, corpus):
    pq = pytest.importorskip("pyarrow.parquet")
    run("dedup", "in", "--output", "groups.jsonl", "--removed", "removed.jsonl")
    code, out, _ = run("dedup", "in", "--output", "groups.parquet", "--removed", "removed.parquet")
    assert code == 0 and "removed          removed.parquet\nwritten          groups.parquet\n" in out
    found = pq.read_table("groups.parquet")
    assert dict(zip(found.column_names, map(str, found.schema.types), strict=True)) == {
        "group": "int64",
        "path": "string",
        "line": "int64",
        "keep": "bool",
        "similarity": "float",
    }
    expected = [
        {"group": group["group"], **document, "similarity": pytest.approx(document["similarity"])}
        for group in records("groups.jsonl")
        for document in group["documents"]
    ]
    assert found.to_pylist() == expected
    expected = [
        {
            "path": record["path"],
            "line": record["line"],
            "kept_path": record["kept"]["path"],
            "kept_line": record["kept"]["line"],
            "similarity": pytest.approx(record["similarity"]),
            "reason": record["reason"],
        }
        for record in records("removed.jsonl")
    ]
    assert pq.read_table("removed.parquet").to_pylist() == expected


def test_lists_have_the_ids_of_the_user(run, corpus):
    pq = pytest.importorskip("pyarrow.parquet")
    arguments = ("dedup", "in", "--id-field", "id", "--report", "report.html")
    run(*arguments, "--removed", "removed.jsonl", "--output", "groups.jsonl")
    first = records("removed.jsonl")[0]
    assert (first["id"], first["kept"]["id"]) == ("id-3", "id-1")
    assert [record["id"] for record in records("removed.jsonl")] == [
        *("id-3", "id-4", "id-6"),
        *("in/sub/b.txt", "in/sub/e.txt"),
    ]
    found = [[document["id"] for document in group["documents"]] for group in records("groups.jsonl")]
    assert found[0] == ["in/a.txt", "id-4", "in/sub/b.txt"]
    run(*arguments, "--removed", "removed.parquet")
    table = pq.read_table("removed.parquet")
    assert table["kept_id"].to_pylist()[0] == "id-1" and str(table.schema.field("id").type) == "string"
    assert "id id-3" in Page(Path("report.html").read_text()).text


def test_ids_that_are_numbers(run):
    pq = pytest.importorskip("pyarrow.parquet")
    text = " ".join(WORDS[:60])
    rows = [{"text": text, "about": {"id": 7}}, {"text": text, "about": {"id": 2**40}}, {"text": text}]
    write("in/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    run("dedup", "in", "--id-field", "about.id", "-o", "groups.parquet", "--removed", "removed.jsonl")
    table = pq.read_table("groups.parquet")
    assert str(table.schema.field("id").type) == "int64" and table["id"].to_pylist() == [7, 2**40, None]
    assert [record["id"] for record in records("removed.jsonl")] == [2**40, None]


def test_two_lists_in_one_file(run, corpus):
    code, out, err = run("dedup", "in", "--output", "a.jsonl", "--removed", "./a.jsonl")
    assert (code, out) == (2, "")
    assert (
        err == "mergesketch: error: --output and --removed must be different files, got ./a.jsonl for both\n"
    )


@pytest.mark.parametrize("option", ["--output", "--removed", "--report"])
def test_lists_that_the_cleaned_corpus_has_itself(run, corpus, option):
    """Neither the manifest nor the list of removed documents is written over by another list."""
    os.symlink("out", "link")
    wrong = {".mergesketch-clean.json": "the manifest of --clean"}
    if option != "--removed":
        wrong["removed.jsonl"] = "the list of removed documents of --clean"
    for name, what in wrong.items():
        code, out, err = run("dedup", "in", "--clean", "out", option, f"link/{name}")
        assert (code, out) == (2, "") and not os.path.exists("out")
        assert err == (
            f"mergesketch: error: {option} and {what} must be different files, got out/{name} for both\n"
        )
    code, _, err = run("dedup", "in", "--clean", "out", option, "link")
    assert code == 2 and f"{option} and --clean must be different files, got out for both" in err
    assert run("dedup", "in", "--clean", "out", "--removed", "out/removed.jsonl")[0] == 0


def test_parquet_without_pyarrow(run, corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, out, err = run("dedup", "in", "--output", "groups.parquet")
    assert (code, out) == (2, "")
    assert "writing the Parquet file groups.parquet needs pyarrow: pip install" in err


def test_names_that_are_not_utf8_in_parquet(run):
    pq = pytest.importorskip("pyarrow.parquet")
    for name in ("one", "two"):
        write(f"in/{name} \udcff\n.txt", " ".join(WORDS[:50]))
    run("dedup", "in", "--removed", "removed.parquet")
    assert pq.read_table("removed.parquet")["path"].to_pylist() == ["in/two \\xff\n.txt"]


def test_nothing_to_remove(run):
    pq = pytest.importorskip("pyarrow.parquet")
    write("in/a.txt", "one two three four five six")
    run("dedup", "in", "--clean", "out", "--removed", "r.parquet", "-o", "g.parquet", "--report", "r.html")
    assert pq.read_table("r.parquet").num_rows == pq.read_table("g.parquet").num_rows == 0
    assert "There is no group" in Path("r.html").read_text()


# -- the report -----------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Reads a page; `names` are its elements, `text` what is shown, `attributes` those of all elements."""

    def __init__(self, content):
        super().__init__()
        self.names, self.text, self.attributes, self.open = set(), "", [], []
        self.feed(content)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes += attributes
        if tag not in ("meta", "br", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.add(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_report_states_what_was_found(run, corpus):
    code, out, _ = run("dedup", "in", "--report", "report.html", "--clean", "out")
    assert code == 0 and "report           report.html" in out
    page = Page(Path("report.html").read_text())
    assert "5 of 11 documents are duplicates (45.45 %)" in page.text
    assert "Pairs near the threshold" in page.text and "Everything could be read" not in page.text
    assert "in/c.jsonl:6" in page.text and "not JSON" in page.text
    assert page.text.count("removed: ") == 3, "copies are no pairs near the threshold"
    assert "out: 4 files" in page.text and "threshold0.7" in page.text
    assert "svg" in page.names


HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> & \" ' </style> \u202e {{body}} \x1b[m "


def test_the_report_of_hostile_documents(run):
    """Texts and names cannot add elements, and cannot change the order of what is shown."""
    texts = [HOSTILE + " ".join(WORDS[:60]), HOSTILE + " ".join([*WORDS[:30], "<b>other</b>", *WORDS[31:60]])]
    texts[1] += "\x00"
    name = "in/<img src=x onerror=alert(1)>\u202e\n&amp;.txt"
    write(name, texts[0])
    write("in/second.jsonl", json.dumps({"text": texts[1]}))
    write("in/<script>.txt", b"caf\xe9")
    code, *_ = run("dedup", "in", "--report", "report.html", "--threshold", 0.5)
    assert code == 0
    content = Path("report.html").read_text()
    page = Page(content)
    assert not page.names & {"script", "img", "b2", "link", "iframe", "object", "a"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "<script>alert(1)</script>" in page.text and "<b>other</b>" in page.text
    assert not set("\u202e\x1b\x00") & set(content)
    assert "<img src=x onerror=alert(1)>\\u202e\\n&amp;.txt" in page.text


def test_the_report_needs_nothing_else(run, corpus):
    run("dedup", "in", "--report", "report.html")
    content = Path("report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import|url\(", content)
    assert "default-src 'none'" in content and "prefers-color-scheme: dark" in content


@pytest.fixture
def chain():
    """Write a chain of documents: neighbours have a similarity of 0.64 to 0.65, others less."""
    for i in range(8):
        write(f"in/{i}.txt", " ".join(WORDS[i * 21 : i * 21 + 100]))


def test_giant_groups_are_named(run, chain, monkeypatch):
    monkeypatch.setattr(giant_module, "LEAST_SIZE", 4)
    _, out, _ = run("dedup", "in", "--report", "report.html", "--threshold", 0.6)
    assert "\ngiant group      group 0: 8 documents, least similarity to the kept one 0.000\n" in out
    text = Page(Path("report.html").read_text()).text
    assert "A giant group: 8 documents (100 % of all) are one group." in text
    assert "This is below the threshold of 0.6: the group is a chain" in text


def test_stars(run, chain):
    """Each removed document is similar to the kept one, so that half of a chain stays."""
    code, out, _ = run("dedup", "in", "--threshold", 0.6, "--grouping", "star", "--clean", "out")
    assert code == 0 and "\ngroups           4, whose kept document has a similarity 0.6 or more\n" in out
    assert sorted(left("out")) == ["0.txt", "2.txt", "4.txt", "6.txt"]
    # 96 shingles, of which 75 are in both.
    assert [record["similarity"] for record in records("out/removed.jsonl")] == [pytest.approx(75 / 117)] * 4
    code, _, err = run("dedup", "in", "--threshold", 0.6, "--clean", "out")
    assert code == 2 and "grouping was 'star', and is 'connected' now" in err


def test_texts_that_are_gone_when_the_report_is_written(run, corpus, monkeypatch):
    original = report_module._texts

    def gone(source, ids):
        Path("in/sub/b.txt").unlink(missing_ok=True)
        return original(source, ids)

    monkeypatch.setattr(report_module, "_texts", gone)
    code, *_ = run("dedup", "in", "--report", "report.html")
    assert code == 0 and "cannot be read again" in Path("report.html").read_text()


# -- differences ----------------------------------------------------------------------------------


def marked(first, second) -> str:
    signs = {"both": "{}", "first": "-{}", "second": "+{}", "gap": "[{}]"}
    return " ".join(
        signs[part.kind].format(part.text) for part in differences(first.encode(), second.encode())
    )


def test_differences():
    assert marked("a b c", "a b c") == "a b c"
    assert marked("a b c", "a x c") == "a -b +x c"
    assert marked("a b", "") == "-a b"
    assert marked("", "a") == "+a"
    assert marked("", "") == ""
    assert marked("one  two\n\nthree", "one two three four") == "one two three +four"


def test_long_common_parts_are_left_out():
    common = " ".join(WORDS[:100])
    shown = marked(f"{common} x {common} y {common}", f"{common} {common} z {common}")
    head, tail = " ".join(WORDS[92:100]), " ".join(WORDS[:8])
    assert shown == (
        f"[92 equal words] {head} -x {tail} [84 equal words] {head} -y +z {tail} [92 equal words]"
    )


def test_long_texts_take_little_time():
    rng = np.random.default_rng(0)
    first, second = (" ".join(rng.choice(WORDS[:50], size=100_000)) for _ in range(2))
    parts = differences(first.encode(), second.encode())
    assert len(parts) < 100 and parts[-1].kind == "gap"
    assert sum(len(part.text) for part in parts) < 10_000
    assert len(differences(b"x" * 1_000_000, b"y")[0].text) < 100


def test_beginnings():
    assert beginning(b"a  b\nc", 10) == "a b c"
    assert beginning(b"abcdef", 3) == "abc…"
    assert beginning("\x1b\u202e\xff".encode() + b"\xff", 9) == "\\x1b\\u202e\xff\ufffd"
