"""Test the svmlight reader against a plain parser and scikit-learn's, in pieces, compressed, and damaged."""

from __future__ import annotations

import gzip
import io
import math
import os
import threading
from decimal import Decimal, localcontext

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import iter_svmlight, parse_svmlight, read_svmlight, svmlight
from mergesketch.errors import DocumentError
from naive import svmlight as naive

numbers = st.one_of(
    st.floats(allow_nan=False, width=32).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.tuples(st.integers(0, 10**22), st.integers(-30, 30)).map(lambda t: f"{t[0]}e{t[1]:+d}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1000, max_value=1000).map(str),
    st.sampled_from(["1", "-0", "+2.50", ".5", "7.", "1E3", "0.1", "inf", "-Infinity"]),
)
features = st.lists(st.tuples(st.integers(0, 2**63 - 1) | st.integers(0, 99), numbers), max_size=6)
tails = st.sampled_from(["", " ", " # a comment 1:2", "\r", "\t", " qid:7"])
lines = st.one_of(
    st.builds(
        lambda label, entries, gap, tail: gap.join([label, *(f"{i}:{v}" for i, v in entries)]) + tail,
        numbers,
        features,
        st.sampled_from([" ", "  ", "\t"]),
        tails,
    ),
    st.sampled_from(["", "   ", "# only a comment", "\r"]),
)
texts = st.lists(lines, max_size=8).flatmap(lambda ls: st.sampled_from(["\n".join(ls), "\n".join([*ls, ""])]))


def assert_rows(rows: mergesketch.distributed.SvmlightRows, expected: list) -> None:
    assert len(rows.labels) == len(expected) == len(rows.offsets) - 1
    for i, (label, entries) in enumerate(expected):
        part = slice(rows.offsets[i], rows.offsets[i + 1])
        assert rows.labels[i] == label
        assert rows.indices[part].tolist() == [index for index, _ in entries]
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(
                rows.values[part], np.array([v for _, v in entries], np.float64).astype(np.float32)
            )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_rows_are_those_of_the_plain_parser(text: str) -> None:
    assert_rows(parse_svmlight(text.encode()), naive.svmlight_rows(text))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(text=texts, piece=st.integers(1, 60), batch=st.integers(1, 200), cut=st.integers(0, 300))
def test_files_in_pieces(text: str, piece: int, batch: int, cut: int, tmp_path_factory) -> None:
    """Any pieces, batches and ranges of bytes give every line once and in order."""
    path = tmp_path_factory.mktemp("svmlight") / "rows.svm"
    path.write_bytes(text.encode())
    expected = naive.svmlight_rows(text)
    before = svmlight._PIECE
    svmlight._PIECE = piece
    try:
        parts = [
            *iter_svmlight(path, stop=cut, batch_bytes=batch),
            *iter_svmlight(path, start=cut, batch_bytes=batch),
        ]
    finally:
        svmlight._PIECE = before
    found = [row for part in parts for row in _listed(part)]
    assert [label for label, _ in found] == [label for label, _ in expected]
    assert [[i for i, _ in e] for _, e in found] == [[i for i, _ in e] for _, e in expected]
    path.with_suffix(".gz").write_bytes(gzip.compress(text.encode()))
    packed = [
        row for part in iter_svmlight(path.with_suffix(".gz"), batch_bytes=batch) for row in _listed(part)
    ]
    assert packed == found


def _listed(rows: mergesketch.distributed.SvmlightRows) -> list:
    return [
        (
            rows.labels[i],
            list(zip(rows.indices[a:b].tolist(), rows.values[a:b].tolist(), strict=True)),
        )
        for i, (a, b) in enumerate(zip(rows.offsets[:-1], rows.offsets[1:], strict=True))
    ]


def test_same_as_scikit_learn(tmp_path) -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 40)) * (rng.random((500, 40)) < 0.2)
    stream = io.BytesIO()
    sklearn.dump_svmlight_file(X, rng.integers(0, 2, 500), stream, zero_based=False)
    (tmp_path / "rows.svm").write_bytes(stream.getvalue())
    theirs, labels = sklearn.load_svmlight_file(str(tmp_path / "rows.svm"), n_features=40, zero_based=False)
    ours = read_svmlight(tmp_path / "rows.svm")
    np.testing.assert_array_equal(ours.labels, labels)
    np.testing.assert_array_equal(ours.offsets, theirs.indptr)
    np.testing.assert_array_equal(ours.indices - 1, theirs.indices)
    np.testing.assert_array_equal(ours.values, theirs.data.astype(np.float32))


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "123456789012345678901234567890",
        "9007199254740993",
        "1e-320",
        "4.35",
        "1" + "0" * 300,
        "0." + "0" * 100 + "1",
        "-0." + "1" * 500 + "e5",
        "7" * 100 + "e-99",
    ],
)
def test_numbers_are_the_nearest_floats(text: str) -> None:
    rows = parse_svmlight(f"{text} 1:{text} 2:3".encode())
    assert rows.labels[0] == float(text)
    with np.errstate(over="ignore"):
        assert rows.values.tolist() == [np.float32(float(text)), 3]


@settings(max_examples=300, deadline=None)
@given(
    small=st.floats(2.0**-100, 2.0**100, width=32) | st.floats(2.0**-30, 2.0**30, width=32),
    digits=st.integers(15, 60),
    last=st.integers(-2, 2),
    sign=st.sampled_from(["", "-"]),
)
def test_values_about_halfway_between_floats(small: float, digits: int, last: int, sign: str) -> None:
    """The last digits of such a value decide which float32 is the nearest."""
    with localcontext() as context:
        context.prec = 200
        above = float(np.nextafter(np.float32(small), np.float32(np.inf)))
        middle = (Decimal(small) + Decimal(above)) / 2
        context.prec = digits
        middle = +middle
        step = Decimal((0, (1,), middle.adjusted() - digits + 1))
        text = f"{sign}{middle + last * step}"
    values = parse_svmlight(f"0 1:{text} 2:{text.replace('E', 'e')}".encode()).values
    assert values.tolist() == [np.float32(float(text))] * 2


def test_nan_labels() -> None:
    assert math.isnan(parse_svmlight(b"nan 1:1").labels[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x 1:2", "a label that is not a number, got b'x'"),
        ("1:2 3:4", "a label that is not a number, got b'1:2'"),
        ("1,2 3:4", "a label that is not a number, got b'1,2'"),
        ("1 2", "a feature that is not index:value, got b'2'"),
        ("1 a:2", "a feature that is not index:value, got b'a:2'"),
        ("1 :2", "an index that is not a whole number below 2\\*\\*63, got b':2'"),
        ("1 -3:2", "a feature that is not index:value, got b'-3:2'"),
        ("1 9223372036854775808:2", "an index that is not a whole number"),
        ("1 3:", "a value that is not a number, got b''"),
        ("1 3:x", "a value that is not a number, got b'x'"),
        ("1 3:1e", "a value that is not a number, got b'1e'"),
        ("1 3:1.2.3", "a value that is not a number, got b'1.2.3'"),
        ("1 3:4:5", "a value that is not a number, got b'4:5'"),
        ("1 qid 3:4", "a feature that is not index:value, got b'qid'"),
        ("1 qidx:2 3:4", "a feature that is not index:value, got b'qidx:2'"),
        ("y" * 500 + " 1:2", f"a label that is not a number, got b'{'y' * 80}'"),
    ],
)
def test_bad_lines_are_named(line: str, message: str, tmp_path) -> None:
    text = ("1 2:3\n" * 6 + "# note\n" + line + "\n1 2:3\n").encode()
    with pytest.raises(ValueError, match=f"line 8: {message}"):
        parse_svmlight(text)
    path = tmp_path / "bad.svm"
    path.write_bytes(text)
    with pytest.raises(DocumentError, match=f"bad.svm:8: {message}"):
        read_svmlight(path)
    with pytest.raises(DocumentError, match=f"bad.svm:8: {message}"):
        list(iter_svmlight(path, batch_bytes=7))
    path = tmp_path / "bad.svm.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(DocumentError, match=f"bad.svm.gz:8: {message}"):
        list(iter_svmlight(path, batch_bytes=20))


def test_bad_files(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_svmlight(tmp_path / "none.svm")
    (tmp_path / "cut.svm.gz").write_bytes(gzip.compress(b"1 2:3\n" * 1000)[:-9])
    with pytest.raises(DocumentError, match="damaged"):
        read_svmlight(tmp_path / "cut.svm.gz")
    (tmp_path / "empty.svm").write_bytes(b"")
    assert read_svmlight(tmp_path / "empty.svm").labels.size == 0


@pytest.mark.parametrize("text", [b"1 2:3\n-1 4:5 # end\n", b"1 2:3\n" * 40_000, b"1 2:3\nx\n"])
def test_pipes_are_read_to_their_end(text: bytes, tmp_path) -> None:
    path = tmp_path / "rows.svm"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(text,))
    writer.start()
    try:
        if b"x" in text:
            with pytest.raises(DocumentError, match=r"rows\.svm:2: a label that is not a number, got b'x'"):
                read_svmlight(path)
        else:
            rows, expected = read_svmlight(path), parse_svmlight(text)
            for ours, theirs in zip(rows, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    finally:
        writer.join()


def test_arguments_are_refused(tmp_path) -> None:
    path = tmp_path / "rows.svm"
    path.write_bytes(b"1 2:3\n")
    for arguments, message in (
        ({"start": -1}, "start .*-1"),
        ({"stop": -1}, "stop .*-1"),
        ({"batch_bytes": 0}, "batch_bytes .*0"),
    ):
        with pytest.raises(ValueError, match=message):
            list(iter_svmlight(path, **arguments))
    packed = tmp_path / "rows.svm.GZ"
    packed.write_bytes(gzip.compress(b"1 2:3\n"))
    assert read_svmlight(packed).labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"start and stop must be left out for .* pipes, as .*rows\.svm\.GZ"):
        list(iter_svmlight(packed, stop=3))
    with pytest.raises(IsADirectoryError):
        read_svmlight(tmp_path)
