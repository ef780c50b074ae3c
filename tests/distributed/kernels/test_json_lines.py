"""Test the kernel that takes texts out of lines of JSON against Python's own parser."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.distributed.documents.jsonl import parse_block, pick_lines
from mergesketch.distributed.kernels.json_lines import LEFT, is_utf8, take_texts

texts = st.text(st.sampled_from('a "\\/\b\n\t\0\x1f\x7fé€😀\u2028')) | st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["text", "tëxt", "a.b", "", 'a"b'])
# Values that are not JSON by themselves, in the places where something else may stand.
wrong = [b"01", b"1.", b".5", b"1e", b"-", b"+1", b"--1", b"NaN", b"-Infinity", b"nul", b"True", b"'a'", b""]
wrong += [
    b'"\\u12"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\ud83d\\u0041"',
    b'"\\x"',
    b'"\t"',
]
wrong += [
    b'"\xff"',
    b'"\xc0\x80"',
    b'"\\u+123"',
    b'"\\u00e9\\n"',
    b"[1,]",
    b"[,1]",
    b"{,}",
    b'{"a" 1}',
    b'{"a":1,}',
]
wrong += [b"1E+5", b"-0.5e-7", b"9" * 5000, b"[[[]]]", b"{}", b"[1 2]", b'"a" "b"', b"\xef\xbb\xbf1", b'"\\']
wrong += [b"[" * 100 + b"]" * 100, b"[" * 62 + b"]" * 62, b"[" * 63 + b"]" * 63, b"[}", b"{]", b"truefalse"]


def by_json(block, field):
    """Return what Python's parser gives, which is used when the value of a further field is asked for."""
    return parse_block(block, field, extra="another", bad_bytes=True)._replace(extra=[])


def check(block, field):
    assert parse_block(block, field, bad_bytes=True) == by_json(block, field)


@st.composite
def lines(draw):
    """Draw a line: an object, often with the field, written in one of the ways of `json.dumps`."""
    field = draw(fields)
    record = draw(st.dictionaries(fields | texts, values, max_size=4))
    if draw(st.booleans()):
        record[field] = draw(texts)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    line = json.dumps(record, ensure_ascii=draw(st.booleans()), separators=separators)
    return field, line.encode("utf-8", "surrogatepass")


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=5), st.sampled_from([b"", b" ", b"\r", b"\t\r"]))
def test_lines_of_objects(drawn, end):
    check((end + b"\n").join(line for _, line in drawn) + end, drawn[0][0])


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(lines(), st.integers(0, 200), st.integers(0, 3), st.sampled_from(list(b'"\\{}[]:, \n0a\xff\xc3')))
def test_damaged_lines(drawn, at, n, byte):
    field, line = drawn
    at %= len(line) + 1
    check(line[:at] + bytes([byte]) + line[at + n :], field)
    check(line[:at] + line[at + n :], field)


@pytest.mark.parametrize("value", wrong)
def test_unusual_values(value):
    for line in (
        b'{"text": %b}',
        b'{"other": %b, "text": "a"}',
        b'{"text": "a", "other": [%b]}',
        b'{"text": "a", "text": %b}',
        b'{"text": %b, "text": "a"}',
        b'{"text": {"text": %b}}',
        b'[{"text": %b}]',
        b'{"text": "a"}%b',
        b'%b{"text": "a"}',
        b"%b",
    ):
        check(line.replace(b"%b", value), "text")


@pytest.mark.parametrize("n", range(20))
def test_every_length_of_what_is_before_and_in_the_text(n):
    for special in ('"', "\\", "\n", "é", "😀", "\x01", "x"):
        text = "a" * n + special + "b" * (19 - n) + special
        for before in ("", "c" * n):
            line = json.dumps({before: 1, "text": text, "z" * n: special})
            check(line.encode() + b"\n" + line.encode(), "text")


def taken(block: bytes, field: str = "text") -> list[int]:
    data = np.frombuffer(block, dtype=np.uint8)
    n = block.count(b"\n") + 1
    starts, lengths, out = np.empty(n + 1, np.int64), np.empty(n, np.int64), np.empty_like(data)
    take_texts(data, np.frombuffer(field.encode(), np.uint8), starts, lengths, out)
    assert starts.tolist() == [0, *(i + 1 for i, byte in enumerate(block + b"\n") if byte == 10)]
    return lengths.tolist()


def test_usual_lines_are_taken():
    usual = {"id": 7, "meta": {"tags": ["a", "b\n"], "text": None, "score": -1.5e-3}, "text": 'say "é😀"\n'}
    for ensure_ascii in (True, False):
        block = "\n".join([json.dumps(usual, ensure_ascii=ensure_ascii)] * 3).encode()
        assert taken(block) == [len(usual["text"].encode())] * 3
    assert taken(b'\n{"text": 1}\n{"text": ""}\n') == [LEFT, LEFT, 0, LEFT]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=24) | texts.map(str.encode))
@example(b"a" * 8 + b"\xe2\x82")
def test_is_utf8(data):
    try:
        data.decode()
        right = True
    except UnicodeDecodeError:
        right = False
    assert is_utf8(np.frombuffer(data, dtype=np.uint8)) == right


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    st.lists(lines().map(lambda drawn: drawn[1]) | st.just(b"not JSON"), max_size=6),
    st.sets(st.integers(0, 7)),
)
def test_some_lines_of_a_block(written, wanted):
    block, wanted = b"\n".join(written), np.array(sorted(wanted), dtype=np.int64)
    every, some = parse_block(block, "text", bad_bytes=True), pick_lines(block, wanted, "text")
    assert some.n_lines == every.n_lines
    chosen = [i for i, record in enumerate(every.records) if record in wanted]
    assert some.records == [every.records[i] for i in chosen]
    assert some.texts == [every.texts[i] for i in chosen]
    for got, right in ((some.problems, every.problems), (some.damaged, every.damaged)):
        assert got == [(line, reason) for line, reason in right if line in wanted]


def test_a_line_that_is_too_long():
    assert pick_lines(None, np.array([0]), "text") == parse_block(None, "text")
