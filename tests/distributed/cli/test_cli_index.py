"""Test ``mergesketch index``: building from files and querying, alone and over ranks."""

import gzip
import json
import os
from pathlib import Path

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from mergesketch.distributed.__main__ import main
from ranks import needs_mpi

SETTINGS = ["--tables", "20", "--power", "6"]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 16)).astype(np.float32)
    np.save("x.npy", X)
    np.save("q.npy", X[:7] + np.float32(0.01))
    sets = scipy.sparse.random_array((300, 1000), density=0.05, format="csr", rng=rng)
    scipy.sparse.save_npz("s.npz", sets)
    with open("s.svm", "w") as file:
        for i in range(300):
            columns = np.sort(sets.indices[sets.indptr[i] : sets.indptr[i + 1]])
            file.write("1 " + " ".join(f"{column}:1" for column in columns) + "\n")


def run(capsys, *arguments):
    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def answers(text):
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["query"] for line in lines] == list(range(len(lines)))
    return lines


def test_dense_rows(capsys):
    code, out, err = run(capsys, "index", "build", "x.npy", "-o", "x.index", *SETTINGS)
    assert (code, err) == (0, "") and "500 of 16 features" in out
    index = mergesketch.load("x.index")
    assert isinstance(index, mergesketch.LSHIndex) and index.n_updates == 500
    code, out, err = run(capsys, "index", "query", "x.index", "q.npy", "-k", "3")
    assert (code, err) == (0, "")
    found = answers(out)
    ids, counts = index.query(np.load("q.npy"), 3)
    for i, line in enumerate(found):
        assert line["rows"][0] == i, "a row moved by little is not its own nearest neighbour"
        assert line["rows"] == ids[i][ids[i] >= 0].tolist()
        assert line["counts"] == counts[i][ids[i] >= 0].tolist()


@pytest.mark.parametrize("family", ["srp", "pstable"])
def test_neighbours_are_ranked_by_the_given_rows(capsys, family):
    """The neighbours are those of `LSHIndex.search`, and with many probes those of all rows."""
    width = ["--width", "4"] if family == "pstable" else []
    assert run(capsys, "index", "build", "x.npy", "-o", "x.index", "--family", family, *width)[0] == 0
    X, Q, index = np.load("x.npy"), np.load("q.npy"), mergesketch.load("x.index")
    code, out, err = run(
        capsys, "index", "query", "x.index", "q.npy", "--rows", "x.npy", "-k", "3", "--probes", "8"
    )
    assert (code, err) == (0, "")
    ids, distances = index.search(Q, X, 3, n_probes=8)
    for i, line in enumerate(answers(out)):
        assert set(line) == {"query", "rows", "distances"} and line["rows"][0] == i
        assert line["rows"] == ids[i][ids[i] >= 0].tolist()
        assert line["distances"] == distances[i][ids[i] >= 0].tolist()
    if family == "pstable":
        exact = np.linalg.norm(X[line["rows"]].astype(float) - Q[-1].astype(float), axis=1)
        np.testing.assert_allclose(line["distances"], exact, rtol=1e-12)


def test_sets_are_ranked_by_the_given_rows(capsys):
    assert run(capsys, "index", "build", "s.npz", "-o", "s.index")[0] == 0
    for name in ("s.npz", "s.svm"):
        code, out, _ = run(capsys, "index", "query", "s.index", "s.npz", "--rows", name, "-k", "1")
        assert code == 0
        found = answers(out)
        assert [(line["rows"], line["distances"]) for line in found] == [([i], [0.0]) for i in range(300)]


def test_probes(capsys):
    run(capsys, "index", "build", "x.npy", "-o", "x.index", "--tables", "2", "--power", "10")
    found = {}
    for n in ("1", "50"):
        _, out, _ = run(capsys, "index", "query", "x.index", "q.npy", "--probes", n, "-k", "200")
        found[n] = sum(len(line["rows"]) for line in answers(out))
    assert found["50"] > found["1"]


def test_rows_that_do_not_fit_the_index_are_refused(capsys):
    run(capsys, "index", "build", "x.npy", "-o", "x.index", *SETTINGS)
    run(capsys, "index", "build", "s.npz", "-o", "s.index")
    np.save("few.npy", np.load("x.npy")[:3])
    np.save("narrow.npy", np.load("x.npy")[:, :5])
    for index, queries, rows, message in [
        ("x.index", "q.npy", "few.npy", "rows must have a row for each id found, got 3 rows and id "),
        ("x.index", "q.npy", "narrow.npy", "the rows of narrow.npy have 5 features, the index 16"),
        ("x.index", "q.npy", "missing.npy", "cannot read missing.npy: No such file or directory"),
        ("s.index", "s.npz", "x.npy", "the index is of sparse rows, and those of x.npy are dense"),
    ]:
        code, out, err = run(capsys, "index", "query", index, queries, "--rows", rows)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1, err
    code, _, err = run(capsys, "index", "query", "x.index", "q.npy", "--rows", "x.npy", "-o", "x.npy")
    assert code == 2 and "it is one of the files to read" in err


@pytest.mark.parametrize("name", ["s.npz", "s.svm", "s.svm.gz"])
def test_sets(capsys, name):
    Path("s.svm.gz").write_bytes(gzip.compress(Path("s.svm").read_bytes()))
    assert run(capsys, "index", "build", name, "-o", "s.index")[0] == 0
    _, out, _ = run(capsys, "index", "query", "s.index", name, "-k", "1")
    assert [line["rows"] for line in answers(out)] == [[i] for i in range(300)]


@pytest.mark.parametrize(("family", "name"), [("srp", "s.svm"), ("pstable", "x.npy")])
def test_families(capsys, family, name):
    settings = ["--family", family, "--tables", "30", "--power", "4"]
    settings += ["--width", "4"] if family == "pstable" else []
    code, out, err = run(capsys, "index", "build", name, "-o", "y", *settings)
    assert (code, err) == (0, "")
    _, out, _ = run(capsys, "index", "query", "y", name, "-k", "1")
    found = answers(out)
    assert np.mean([line["rows"] == [line["query"]] for line in found]) > 0.99


def test_svmlight_without_the_last_features(capsys):
    """The text does not contain the number of features; the index knows it."""
    settings = ["--family", "srp", "--tables", "30", "--power", "4"]
    run(capsys, "index", "build", "s.svm", "-o", "y", *settings)
    lines = Path("s.svm").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if int(line.split()[-1].split(":")[0]) < 900)
    Path("q.svm").write_text(lines[number])
    Path("q.svm.gz").write_bytes(gzip.compress(lines[number].encode()))
    for name in ("q.svm", "q.svm.gz"):
        code, out, _ = run(capsys, "index", "query", "y", name, "-k", "1")
        assert code == 0 and answers(out)[0]["rows"] == [number]


@needs_mpi
@pytest.mark.slow
def test_any_number_of_ranks_gives_the_same(capsys, ranks):
    for name in ("x.npy", "s.svm"):
        run(capsys, "index", "build", name, "-o", "1.index", *SETTINGS)
        run(capsys, "index", "query", "1.index", name, "-o", "1.jsonl")
        for n in (2, 3, 4):
            for arguments in (
                ["build", name, "-o", f"{n}.index", *SETTINGS],
                ["query", f"{n}.index", name, "-o", f"{n}.jsonl"],
            ):
                done = ranks.command(n, "index", *arguments)
                assert (done.returncode, done.stderr) == (0, "")
            assert Path(f"{n}.index").read_bytes() == Path("1.index").read_bytes()
            assert Path(f"{n}.jsonl").read_bytes() == Path("1.jsonl").read_bytes()


@pytest.mark.slow
@needs_mpi
def test_parts_merge_if_their_rows_are_numbered_on(capsys, ranks):
    X = np.load("x.npy")
    np.save("a.npy", X[:300])
    np.save("b.npy", X[300:])
    settings = [*SETTINGS, "--buckets", "64"]
    for name, path, first in [
        ("x", "x.npy", []),
        ("a", "a.npy", []),
        ("b", "b.npy", ["--first-id", "300"]),
        ("again", "b.npy", []),
        ("near", "b.npy", ["--first-id", "299"]),
    ]:
        code, _, err = run(capsys, "index", "build", path, "-o", f"{name}.index", *settings, *first)
        assert (code, err) == (0, "")
    arguments = ["index", "build", "b.npy", *settings, "--first-id", "300", "-o", "b2.index"]
    assert ranks.command(2, *arguments).returncode == 0
    assert Path("b2.index").read_bytes() == Path("b.index").read_bytes()
    for parts in (["a.index", "b.index"], ["b.index", "a.index"]):
        assert run(capsys, "merge", *parts, "-o", "all.index")[0] == 0
        merged = mergesketch.load("all.index")
        assert merged == mergesketch.load("x.index")
        assert merged.query(X[450:452], 1).ids[:, 0].tolist() == [450, 451]
    for other in ("again", "near", "a"):
        code, out, err = run(capsys, "merge", "b.index", "a.index", f"{other}.index", "-o", "y")
        assert (code, out) == (2, "")
        assert f"rows of a.index and {other}.index have the same numbers: build the later one with" in err
        assert err.count("\n") == 1 and not Path("y").exists()
    code, _, err = run(capsys, "index", "build", "a.npy", "-o", "y", "--first-id", str(2**63 - 300))
    assert code == 2 and "--first-id 9223372036854775508 is too large for the 300 rows of a.npy" in err


def test_bad_input(capsys):
    run(capsys, "index", "build", "x.npy", "-o", "x.index", *SETTINGS)
    content = bytearray(Path("x.index").read_bytes())
    content[-1] ^= 1
    Path("flipped.index").write_bytes(content)
    Path("short.index").write_bytes(content[:-10])
    mergesketch.CountMinSketch(n_rows=2, n_buckets=10).save("other.sketch")
    np.save("objects.npy", np.array([{}], dtype=object))
    np.save("line.npy", np.zeros(5))
    np.save("thin.npy", np.zeros((3, 0)))
    Path("bad.svm").write_text("1 3:1\n1 x:1\n")
    for name in ("bad.npy", "bad.npz", "bad.index"):
        Path(name).write_bytes(b"x" * 100)
    X = np.load("x.npy")
    X[3, 4] = np.nan
    np.save("nan.npy", X)
    run(capsys, "index", "build", "s.npz", "-o", "s.index")
    for name in ("pipe", "pipe.npy"):
        os.mkfifo(name)
    capsys.readouterr()
    for arguments, message in [
        (["build", "missing.npy", "-o", "y"], "cannot read missing.npy: No such file or directory"),
        (["build", "objects.npy", "-o", "y"], "objects.npy: it is not a NumPy matrix of numbers"),
        (["build", "bad.npy", "-o", "y"], "bad.npy: it is not a NumPy matrix of numbers"),
        (["build", "bad.npz", "-o", "y"], "bad.npz: it is not a SciPy sparse matrix"),
        (["build", "bad.svm", "-o", "y"], "bad.svm:2: "),
        (["build", "missing.svm", "-o", "y"], "cannot read missing.svm: No such file or directory"),
        (["build", "line.npy", "-o", "y"], "got dtype float64 and shape (5,)"),
        (
            ["build", "thin.npy", "-o", "y"],
            "thin.npy must hold rows of at least one number, got shape (3, 0)",
        ),
        (["build", "x.npy", "-o", "y", "--family", "minhash"], "--family minhash is for sparse rows"),
        (["build", "x.npy", "-o", "x.npy"], "it is one of the files to read"),
        (["build", "x.npy", "-o", "nowhere/y"], "there is no folder"),
        (["query", "flipped.index", "q.npy"], "flipped.index: its checksum does not match"),
        (["query", "short.index", "q.npy"], "short.index: "),
        (["query", "bad.index", "q.npy"], "bad.index: expected a sketch file"),
        (["query", "other.sketch", "q.npy"], "other.sketch holds a CountMinSketch, not an index"),
        (["query", "x.index", "s.npz"], "the rows of s.npz have 1,000 features, the index 16"),
        (["query", "x.index", "q.npy", "-o", "x.index"], "it is one of the files to read"),
        (
            ["build", "nan.npy", "-o", "y"],
            "nan.npy, among rows 0 to 499: X must be finite, got nan at index (3",
        ),
        (
            ["query", "x.index", "nan.npy"],
            "nan.npy, among rows 0 to 499: Q must be finite, got nan at index (3",
        ),
        (["query", "s.index", "x.npy"], "s.index is of sparse rows, and those of x.npy are dense"),
        (["build", "x.npy", "-o", "y", "--width", "2"], "--width is for --family pstable, got --family srp"),
        (
            ["build", "x.npy", "-o", "y", "--power", "40"],
            "--family srp --tables 16 --power 40 is not possible: ",
        ),
        (["build", "pipe", "-o", "y"], "cannot read pipe: it is not a regular file"),
        (["build", "pipe.npy", "-o", "y"], "cannot read pipe.npy: it is not a regular file"),
        (["query", "pipe", "q.npy"], "pipe: expected a sketch file: it is not a regular file"),
    ]:
        code, out, err = run(capsys, "index", *arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("mergesketch: error: ") and err.count("\n") == 1 and message in err
        assert not Path("y").exists()
