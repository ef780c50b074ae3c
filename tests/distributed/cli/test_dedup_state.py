"""Test ``mergesketch dedup --against`` and ``--save-state``, and what other commands do with states."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mergesketch import CountMinSketch, DocumentSignatures
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.cli import dedup as cli_dedup
from mergesketch.distributed.cli import dedup_lists
from ranks import Ranks, needs_mpi

POEM = "tyger tyger burning bright in the forests of the night what immortal hand or eye"
FERRY = "the ferry leaves at nine from the old harbour and comes back at noon every day"
BREAD = "bread is baked from flour water salt and a little patience and eaten while it is warm"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("2024-05-01/a.jsonl", POEM, FERRY, POEM.upper())
    write("2024-05-02/b.jsonl", BREAD, FERRY + " of the year")
    write("2024-05-02/c.jsonl", BREAD + "!", "   ")


def write(path: str, *texts: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Path(path).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: Any) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(str(end.code))
        return code, *capsys.readouterr()

    return run


def refused(run: Run, message: str, *arguments: Any) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1, err


def facts(out: str) -> dict[str, str]:
    lines = [line for line in out.splitlines() if line[:1].isalpha()]
    return {line[:16].rstrip(): line[17:] for line in lines}


def groups(path: str) -> list[list[tuple[str, int, bool]]]:
    return [
        [(d["path"], d["line"], d.get("old", False)) for d in json.loads(line)["documents"]]
        for line in Path(path).read_text().splitlines()
    ]


def test_two_days(run: Run) -> None:
    code, out, _ = run("dedup", "2024-05-01", "--save-state", "corpus.state", "-o", "one.jsonl")
    assert code == 0
    found = facts(out)
    assert found["documents"].startswith("3,") and "old documents" not in found
    assert found["state"].startswith("corpus.state, ")
    assert groups("one.jsonl") == [[("2024-05-01/a.jsonl", 1, False), ("2024-05-01/a.jsonl", 3, False)]]
    first = Path("corpus.state").read_bytes()

    code, out, _ = run(
        *(
            "dedup",
            "2024-05-02",
            "--against",
            "corpus.state",
            "--save-state",
            "corpus.state",
            "-o",
            "two.jsonl",
        )
    )
    assert code == 0
    found = facts(out)
    assert found["documents"].startswith("4,")
    assert found["old documents"] == "3, in corpus.state"
    assert found["new duplicates"] == "1 of old documents, 1 of new ones"
    assert "replaced" not in found and "restored" not in found
    assert groups("two.jsonl") == [
        [("2024-05-01/a.jsonl", 1, True), ("2024-05-01/a.jsonl", 3, True)],
        [("2024-05-01/a.jsonl", 2, True), ("2024-05-02/b.jsonl", 2, False)],
        [("2024-05-02/b.jsonl", 1, False), ("2024-05-02/c.jsonl", 1, False)],
    ]
    assert len(DocumentSignatures.load("corpus.state")) == 6  # without the empty one

    # One run over all, and the days in the other order, give the same state and the same groups.
    whole = Path("corpus.state").read_bytes()
    run("dedup", "2024-05-02", "2024-05-01", "--save-state", "all.state", "-o", "all.jsonl")
    assert Path("all.state").read_bytes() == whole
    run("dedup", "2024-05-02", "--save-state", "second.state")
    _, out, _ = run(
        "dedup", "2024-05-01", "--against", "second.state", "--save-state", "b.state", "-o", "b.jsonl"
    )
    assert Path("b.state").read_bytes() == whole
    unmarked = [[name[:2] for name in group] for group in groups("two.jsonl")]
    for path in ("all.jsonl", "b.jsonl"):
        assert [[name[:2] for name in group] for group in groups(path)] == unmarked
    # The first day's documents are preferred, whenever they come.
    assert facts(out)["replaced"] == "1 old document not kept any more"
    assert "    2024-05-02/b.jsonl:2, for 2024-05-01/a.jsonl:2\n" in out

    Path("first.state").write_bytes(first)
    code, out, _ = run("merge", "second.state", "first.state", "second.state", "-o", "merged.state")
    assert code == 0 and out.startswith("3 files merged into merged.state: <DocumentSignatures(")
    assert Path("merged.state").read_bytes() == whole
    code, out, _ = run("inspect", "merged.state")
    assert code == 0 and "  DocumentSignatures, " in out and "  array signatures: uint32[6, 128]\n" in out


def test_documents_that_are_read_again(run: Run) -> None:
    run("dedup", "2024-05-01", "--save-state", "a.state")
    _, out, _ = run("dedup", "2024-05-01", "2024-05-02", "--against", "a.state")
    assert facts(out)["old documents"] == "3, 3 of them read again, in a.state"
    write("2024-05-01/a.jsonl", POEM, BREAD)
    message = "2024-05-01/a.jsonl:2 was read before with another text"
    refused(run, message, "dedup", "2024-05-01", "--against", "a.state", "--save-state", "a.state")
    assert len(DocumentSignatures.load("a.state")) == 3


def test_what_is_refused(run: Run) -> None:
    run("dedup", "2024-05-01", "--save-state", "a.state")
    day = ("dedup", "2024-05-02", "--against")
    refused(run, "a.state has other settings: ", *day, "a.state", "--seed", 1)
    refused(run, "differ in family.n_hashes: 64 here, 128 there", *day, "a.state", "--hashes", 64)
    refused(run, "differ in size: 3 here, 5 there", *day, "a.state", "--shingle-size", 3)
    refused(run, "differ in unit: 'character' here", *day, "a.state", "--unit", "character")
    refused(run, 'got "exact": the texts of old documents', *day, "a.state", "--verify", "exact")
    refused(run, "cannot write a.state: it is the file of a state", *day, "a.state", "-o", "a.state")
    refused(run, "it is the file of a state", "dedup", "2024-05-02", "--save-state", "b", "-o", "./b")
    refused(run, "there is no folder", "dedup", "2024-05-02", "--save-state", "no/a.state")
    refused(run, "cannot read none", *day, "none")
    refused(run, "2024-05-01/a.jsonl: expected a sketch file", *day, "2024-05-01/a.jsonl")
    CountMinSketch(2, 8).save("counts")
    refused(run, "counts: expected a DocumentSignatures, got a CountMinSketch", *day, "counts")
    refused(run, "differ in class", "merge", "a.state", "counts", "-o", "merged")
    target = "2024-05-02/b.jsonl"
    refused(run, "it is one of the files to read", "dedup", "2024-05-02", "--save-state", target)
    data = bytearray(Path("a.state").read_bytes())
    data[-200] ^= 1
    Path("damaged").write_bytes(data)
    refused(run, "damaged: the arrays' checksum does not match", *day, "damaged")
    Path("short").write_bytes(data[:-1])
    refused(run, "short: ", *day, "short")
    assert not os.path.exists("merged") and not os.path.exists("b")


def test_the_state_is_replaced_when_everything_else_is_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("dedup", "2024-05-01", "--save-state", "a.state")
    before = Path("a.state").read_bytes()

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    day = ("dedup", "2024-05-02", "--against", "a.state", "--save-state", "a.state", "-o", "groups.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(dedup_lists, "write_lines", fail)
        refused(run, "No space left", *day)
    assert Path("a.state").read_bytes() == before and not os.path.exists("groups.jsonl")
    monkeypatch.setattr(cli_dedup, "write_report", fail)
    refused(run, "No space left", *day, "--report", "report.html", "--clean", "cleaned")
    assert Path("a.state").read_bytes() == before and os.path.exists("cleaned")


def test_only_new_files_are_cleaned(run: Run) -> None:
    run("dedup", "2024-05-02", "--save-state", "b.state")
    code, out, _ = run(
        *("dedup", "2024-05-01", "--against", "b.state", "--save-state", "b.state", "--clean", "cleaned"),
        *("-o", "groups.parquet", "--threshold", 0.5),
    )
    assert code == 0
    assert {path.name for path in Path("cleaned").glob("*.jsonl")} == {"a.jsonl", "removed.jsonl"}
    lines = Path("cleaned/a.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == [POEM, FERRY]
    removed = [json.loads(line) for line in Path("cleaned/removed.jsonl").read_text().splitlines()]
    assert removed == [
        {
            "path": "2024-05-01/a.jsonl",
            "line": 3,
            "kept": {"path": "2024-05-01/a.jsonl", "line": 1},
            "similarity": 1.0,
            "reason": "copy",
        },
        {
            "path": "2024-05-02/b.jsonl",
            "line": 2,
            "old": True,
            "kept": {"path": "2024-05-01/a.jsonl", "line": 2},
            "similarity": pytest.approx(12 / 15, abs=0.15),
            "reason": "near",
        },
    ]
    assert facts(out)["cleaned"].endswith("without 1 document")
    assert facts(out)["replaced"] == "1 old document not kept any more"
    pq = pytest.importorskip("pyarrow.parquet")
    rows = pq.read_table("groups.parquet").to_pylist()
    assert [(row["path"], row["line"], row["old"], row["keep"]) for row in rows] == [
        ("2024-05-01/a.jsonl", 1, None, True),
        ("2024-05-01/a.jsonl", 3, None, False),
        ("2024-05-01/a.jsonl", 2, None, True),
        ("2024-05-02/b.jsonl", 2, True, False),
        ("2024-05-02/b.jsonl", 1, True, True),
        ("2024-05-02/c.jsonl", 1, True, False),
    ]


def test_new_duplicates_of_old_documents_are_cleaned(run: Run) -> None:
    """Texts of old documents are not read again, and lists and report do without them."""
    run("dedup", "2024-05-01", "--save-state", "a.state")
    for again in range(2):  # the second run resumes
        code, out, _ = run(
            *("dedup", "2024-05-02", "--against", "a.state", "--clean", "cleaned", "--report", "r.html"),
            *("--id-field", "text", "--removed", "removed.jsonl", "--threshold", 0.6),
        )
        assert code == 0 and ("kept of an earlier run" in out) == bool(again)
        lines = Path("cleaned/b.jsonl").read_text().splitlines()
        assert [json.loads(line)["text"] for line in lines] == [BREAD]
        assert [json.loads(line)["text"] for line in Path("cleaned/c.jsonl").read_text().splitlines()] == [
            "   "
        ]
        near, copy = map(json.loads, Path("removed.jsonl").read_text().splitlines())
        assert near["kept"] == {"path": "2024-05-01/a.jsonl", "line": 2, "old": True, "id": None}
        assert near["id"] == FERRY + " of the year" and near["reason"] == "near"
        assert copy["kept"] == {"path": "2024-05-02/b.jsonl", "line": 1, "id": BREAD}
        assert "A document is of an earlier run." in Path("r.html").read_text()


def test_states_in_the_folder_of_documents_are_not_read(run: Run) -> None:
    run("dedup", "2024-05-01", "--save-state", "2024-05-01/corpus.state")
    code, out, _ = run(
        "dedup",
        "2024-05-01",
        "--against",
        "2024-05-01/corpus.state",
        "--save-state",
        "2024-05-01/corpus.state",
    )
    assert code == 0 and facts(out)["documents"].startswith("3,") and facts(out)["skipped"] == "0"
    assert facts(out)["old documents"] == "3, 3 of them read again, in 2024-05-01/corpus.state"
    refused(run, "it must be a file", "dedup", "2024-05-01", "--save-state", "/dev/null")
    refused(run, "it must be a file", "dedup", "2024-05-01", "--save-state", "-")


def test_best_of_old_and_new(run: Run) -> None:
    for day, score in (("2024-06-01", 3), ("2024-06-02", 5)):
        os.makedirs(day)
        Path(day, "x.jsonl").write_text(json.dumps({"text": POEM, "score": score}) + "\n")
    run("dedup", "2024-06-01", "--save-state", "s.state", "--keep", "best:score")
    _, out, _ = run("dedup", "2024-06-02", "--against", "s.state", "--keep", "best:score")
    assert "    2024-06-01/x.jsonl:1, for 2024-06-02/x.jsonl:1\n" in out
    run("dedup", "2024-06-01", "--save-state", "none.state")
    message = "the old documents in against have no scores"
    refused(run, message, "dedup", "2024-06-02", "--against", "none.state", "--keep", "best:score")


@pytest.mark.slow
@needs_mpi
def test_ranks(run: Run, ranks: Ranks) -> None:
    """The files are equal, byte for byte."""
    run("dedup", "2024-05-01", "--save-state", "a.state")
    run("dedup", "2024-05-02", "--against", "a.state", "--save-state", "b.state", "-o", "b.jsonl")
    code = """
    from mergesketch.distributed.__main__ import main
    main(["dedup", "2024-05-01", "--save-state", "c.state"])
    code = main("dedup 2024-05-02 --against c.state --save-state c.state -o c.jsonl".split())
    main(["merge", "a.state", "c.state", "b.state", "-o", "d.state"])
    print(code)
    """
    for n in (2, 3):
        ran = ranks.run(n, code)
        assert ran.returncode == 0, ran.stderr
        assert facts(ran.stdout[0])["new duplicates"] == "1 of old documents, 1 of new ones"
        for one, other in (("b.state", "c.state"), ("b.jsonl", "c.jsonl"), ("b.state", "d.state")):
            assert Path(one).read_bytes() == Path(other).read_bytes(), other
