"""Test the parser of safetensors files: what it finds, and what it refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import safetensors.numpy
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.coding.safetensors_file import (
    Tensor,
    open_file,
    parse_tensors,
    read_tensors,
    segments,
)


def test_tensors_are_those_of_the_library(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "float": rng.normal(size=(3, 5)).astype(np.float32),
        "half": rng.normal(size=7).astype(np.float16),
        "none": np.zeros((0, 4)),
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
    }
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    data = path.read_bytes()
    with open_file(str(path)) as (descriptor, size):
        header, tensors = read_tensors(descriptor, size)
    assert size == len(data) and data[8 : 8 + len(header)] == header
    assert {tensor.name for tensor in tensors} == set(arrays)
    for name, dtype, shape, start, stop in tensors:
        assert shape == arrays[name].shape and data[start:stop] == arrays[name].tobytes(), name
        assert (
            dtype
            == {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64", "b1": "BOOL"}[arrays[name].dtype.str[1:]]
        )
    ranges = segments(tensors, 8 + len(header), size)
    assert [start for start, _, _ in ranges[1:]] == [stop for _, stop, _ in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (8 + len(header), size)


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def test_ranges_between_tensors_are_found():
    text = json.dumps(
        {"b": entry(offsets=[12, 20]), "a": entry(offsets=[0, 8]), "none": entry(shape=[0], offsets=[9, 9])}
    )
    start = 8 + len(text)
    tensors = parse_tensors(text.encode(), start + 25)
    a, none, b = tensors
    assert (a, b) == (
        Tensor("a", "F32", (2,), start, start + 8),
        Tensor("b", "F32", (2,), start + 12, start + 20),
    )
    assert none.start == none.stop
    ends = [
        (first - start, last - start, tensor) for first, last, tensor in segments(tensors, start, start + 25)
    ]
    assert ends == [(0, 8, a), (8, 12, None), (12, 20, b), (20, 25, None)]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"__metadata__": {}}',
        '{"__metadata__": {"a": 3}}',
        '{"__metadata__": null}   ',
    ],
)
def test_files_without_tensors(text):
    assert parse_tensors(text.encode(), 8 + len(text)) == []


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "TYPE_OF_TOMORROW", "BF16", "F8_E4M3"])
def test_types(dtype):
    shape = {"F4": [4], "BF16": [1]}.get(dtype, [2])
    text = json.dumps({"a": entry(dtype, shape, [0, 2])})
    assert parse_tensors(text.encode(), 10 + len(text))[0].dtype == dtype


REFUSED = {
    "no object": ("[1]", "begin with a brace"),
    "a space first": (" {}", "begin with a brace"),
    "half": ('{"a":', "Expecting value"),
    "no UTF-8": (b'{"\xff": 1}', "utf-8"),
    "NaN": ('{"a": NaN}', "NaN is not JSON"),
    "nested": ('{"a":' + "[" * 100_000, "nested too deeply"),
    "twice": ('{"a": 1, "b": 2, "a": 3}', "'a' occurs twice"),
    "twice inside": ('{"a": {"dtype": "F32", "dtype": "F16"}}', "'dtype' occurs twice"),
    "number": ('{"a": 3}', "it is no object"),
    "no dtype": (json.dumps({"a": entry(None)}), "no dtype"),
    "dtype a list": (json.dumps({"a": entry(["F32"])}), "no dtype"),
    "no shape": (json.dumps({"a": entry(shape=None)}), "no list of sizes"),
    "negative": (json.dumps({"a": entry(shape=[-2])}), "no list of sizes"),
    "fraction": (json.dumps({"a": entry(shape=[2.0])}), "no list of sizes"),
    "a boolean": (json.dumps({"a": entry(shape=[True, 2])}), "no list of sizes"),
    "beyond integers": (json.dumps({"a": entry(shape=[10**30])}), "no list of sizes"),
    "too many digits": ('{"a": ' + "1" * 5000 + "}", "safetensors"),
    "33 dimensions": (json.dumps({"a": entry(shape=[1] * 32 + [2])}), "no list of sizes"),
    "wraps to 0": (json.dumps({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}), "too large"),
    "zero times huge": (json.dumps({"a": entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}), "too large"),
    "three offsets": (json.dumps({"a": entry(offsets=[0, 8, 8])}), "no pair of places"),
    "reversed": (json.dumps({"a": entry(offsets=[8, 0])}), "outside"),
    "beyond the end": (json.dumps({"a": entry(offsets=[8, 17])}), "outside"),
    "other size": (json.dumps({"a": entry(offsets=[0, 4])}), "another number"),
    "half a byte": (json.dumps({"a": entry("F4", [3], [0, 1])}), "another number"),
    "overlap": (json.dumps({"a": entry(), "b": entry(offsets=[4, 12])}), "'a' and 'b' share bytes"),
    "one inside": (
        json.dumps({"a": entry(shape=[4], offsets=[0, 16]), "b": entry(offsets=[4, 12])}),
        "share bytes",
    ),
    "many lists": ('{"__metadata__":[' + "[]," * 400_000 + "0]}", "too many lists"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_headers(text, message):
    text = text.encode() if isinstance(text, str) else text
    with pytest.raises(SketchFormatError, match=message):
        parse_tensors(text, 8 + len(text) + 16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "only 0 bytes"),
        (b"\x02\0\0\0\0\0\0", "only 7 bytes"),
        (b"\x03\0\0\0\0\0\0\0{}", "claims 3 bytes, and the file has 10"),
        (b"\xff" * 20, "claims"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_refused_beginnings(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with (
        open_file(str(tmp_path / "a")) as (descriptor, size),
        pytest.raises(SketchFormatError, match=message),
    ):
        read_tensors(descriptor, size)


def test_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SketchFormatError, match="not a regular file"), open_file(str(tmp_path / "pipe")):
        pass
