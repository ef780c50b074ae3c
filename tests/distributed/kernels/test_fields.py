"""Test the kernels that cut text into keys against Python's own means."""

import csv
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed.kernels.fields import take_fields, take_lines, take_words
from naive import fields as naive


def cut(kernel, text: str, *arguments):
    """Return the keys that a kernel cuts, and what else it returns."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    out, ends = np.empty(data.size, np.uint8), np.empty(text.count("\n"), np.int64)
    n, *rest = np.atleast_1d(kernel(data, *arguments, out, ends)).tolist()
    bounds = [0, *ends[:n].tolist()]
    keys = [out[a:b].tobytes().decode() for a, b in pairwise(bounds)]
    return keys, *rest


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab \té\r")))
def test_lines(lines):
    text = "".join(line + "\n" for line in lines)
    assert cut(take_lines, text) == (naive.lines(text),)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab \té\r")), st.integers(0, 3))
def test_words(lines, column):
    text = "".join(line + "\n" for line in lines)
    assert cut(take_words, text, column) == naive.words(text, column)


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.lists(st.text('aé,;" ')), st.integers(0, 3), st.sampled_from(["\n", "\r\n"]), st.sampled_from(",;"))
def test_fields(lines, column, end, delimiter):
    """Records end where csv ends them, and an open quote leaves its record to the next call."""
    text = "".join(line + end for line in lines)
    keys, n_short, kept = cut(take_fields, text, column, ord(delimiter), ord('"'))
    text = text.encode()[:kept].decode()
    found, n_found_short = naive.fields(text, column, delimiter)
    # csv gives nothing for blank records, and the kernel an empty key.
    assert [key for key in keys if key] == [key for key in found if key]
    assert len(found) <= len(keys) <= text.count("\n")
    assert n_short == n_found_short


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(st.lists(st.lists(st.text('a,"\n\té'), min_size=3, max_size=3), min_size=1), st.integers(0, 2))
def test_what_csv_has_written_is_read(rows, column):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    text = file.getvalue()
    keys, n_short, kept = cut(take_fields, text, column, ord(","), ord('"'))
    assert (keys, n_short, kept) == ([row[column] for row in rows], 0, len(text.encode()))


@pytest.mark.parametrize("text", ['a,"b\n', 'a,b\nc,"d\n', 'a\n"b""\nc\n'])
def test_an_open_quote_is_left(text):
    _, _, kept = cut(take_fields, text, 1, ord(","), ord('"'))
    assert kept == text.index("\n") + 1 if text.index('"') > text.index("\n") else kept == 0
