"""Test that changed files and archives are refused with a message, or give the very bytes that they claim.

Set MERGESKETCH_MUTATIONS to the number of changes of each kind of file, for example 1000000.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tracemalloc

import mergesketch
import numpy as np
import pytest
import xxhash
from mergesketch import CompressedFloats, FloatArchive, pack_model, unpack_model
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.coding import archive_format
from mergesketch.sketches.coding.archive_format import MAGIC, PartWriter
from mergesketch.sketches.coding.archive_packing import pack_file
from mergesketch.sketches.coding.float_differences import Rule
from mergesketch.sketches.coding.float_formats import FORMATS
from mergesketch.sketches.coding.float_parts import StoredPart, part_pieces
from mergesketch.sketches.coding.model_folder import MANIFEST
from mergesketch.sketches.coding.safetensors_file import open_file
from night import IS_NIGHT
from tensor_files import Part, mutated, tensor_file

N_MUTATIONS = int(os.environ.get("MERGESKETCH_MUTATIONS", 20_000 if IS_NIGHT else 500))
RNG = np.random.default_rng(7)
VALUES = (RNG.normal(0, 0.02, 3000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
PARTS = [
    Part("a", "BF16", (30, 100), VALUES.tobytes()),
    Part("b", "F8_E4M3", (1500,), RNG.geometric(0.1, 1500).astype(np.uint8).tobytes()),
    Part("c", "BF16", (30, 100), VALUES.tobytes()),
    Part("d", "I32", (4,), np.arange(4, dtype=np.int32).tobytes()),
    Part("e", "F32", (0,), b""),
]
MODEL = tensor_file(PARTS, metadata={"format": "pt"})
BASE = tensor_file([PARTS[0]._replace(data=(VALUES ^ 1).tobytes())])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Handing such small tensors to threads takes longer than to decode them.
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(1)
    yield
    mergesketch.set_num_threads(before)


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def read(name) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def test_changed_safetensors_files_come_back_or_are_refused():
    rng, header = np.random.default_rng(1), 8 + int.from_bytes(MODEL[:8], "little")
    refused = 0
    for i in range(N_MUTATIONS // 2):
        # Most changes are made to the header.
        data = mutated(MODEL[:header], rng) + MODEL[header:] if i % 4 else mutated(MODEL, rng)
        write("a", data)
        try:
            with open_file("a") as (descriptor, _), open("b", "wb") as out:
                pack_file(descriptor, out)
        except SketchFormatError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        assert b"".join(FloatArchive("b").original()) == data
    assert 0.3 < refused / (N_MUTATIONS // 2) < 0.95


def resealed(archive: bytes, rng) -> bytes:
    """Change an archive and make the checksum of its index right again, as an attacker would."""
    footer = len(MAGIC) + 16
    length = int.from_bytes(archive[-footer : 8 - footer], "little")
    place = len(archive) - footer - length
    if rng.integers(2):
        body, index = mutated(archive[:place], rng, len(MAGIC)), archive[place : place + length]
    else:
        body, index = archive[:place], mutated(archive[place : place + length], rng)
    return body + index + len(index).to_bytes(8, "little") + xxhash.xxh3_64_digest(index) + MAGIC


@pytest.mark.slow
@pytest.mark.parametrize("base", [None, "base"])
def test_changed_archives_are_refused(base):
    rng = np.random.default_rng(2)
    write("base", BASE)
    write("a", MODEL)
    pack_model("a", "b", base=base)
    archive = read("b")
    accepted = 0
    for i in range(N_MUTATIONS):
        data = resealed(archive, rng) if i % 2 else mutated(archive, rng)
        write("b", data)
        try:
            opened = FloatArchive("b", base=base)
            # Padding may change, and text that means the same.
            assert b"".join(opened.original()) == MODEL
            accepted += 1
        except SketchFormatError as error:
            assert str(error).startswith("b: ") and "\n" not in str(error)
        if i % 8 == 0:
            with contextlib.suppress(SketchFormatError):
                opened = FloatArchive("b", base=base)
                for name in opened:
                    opened.decode(name)
    assert accepted < 0.2 * N_MUTATIONS


@pytest.mark.parametrize("rule", [None, Rule("difference", 4)])
def test_changed_parts_are_safe_for_kernels(rule):
    """Kernels decode whatever the checks let through, without checksums."""
    rng, form, n = np.random.default_rng(3), FORMATS["bfloat16"], VALUES.size
    other = VALUES + (np.arange(n) % 20 == 0).astype(np.uint16) * 100

    def values(start, stop):
        return VALUES[start:stop]

    def base(start, stop):
        return other[start:stop]

    def decoded(part):
        stored = StoredPart(np.frombuffer(part, np.uint8), form)
        return stored.floats((n,)).bits() if rule is None else stored.restored(base, n)(0, n)

    part = b"".join(part_pieces(values, base, n, form, rule))
    np.testing.assert_array_equal(decoded(part), VALUES)
    n_decoded = 0
    for _ in range(N_MUTATIONS):
        with contextlib.suppress(SketchFormatError):
            assert decoded(mutated(part, rng)).shape == (n,)
            n_decoded += 1
    assert n_decoded > 0.1 * N_MUTATIONS


def test_lists_of_files_that_were_changed():
    rng = np.random.default_rng(4)
    os.mkdir("model")
    write("model/a.safetensors", MODEL)
    write("model/config.json", b"{}")
    pack_model("model", "packed")
    content = read(f"packed/{MANIFEST}")
    for _ in range(N_MUTATIONS // 8):
        write(f"packed/{MANIFEST}", mutated(content, rng))
        try:
            unpack_model("packed", "again")
        except SketchFormatError:
            pass
        except FileNotFoundError as error:
            assert error.filename.startswith("packed/")
        else:
            names = sorted(
                os.path.join(where, name) for where, _, names in os.walk("again") for name in names
            )
            assert len(names) == 2 and sorted(map(read, names)) == sorted([MODEL, b"{}"])
            shutil.rmtree("again")
        assert sorted(os.listdir()) == ["model", "packed"]


# -- archives that claim much ---------------------------------------------------------------------


def forged(header: bytes, rows, size=None, body=b"") -> bytes:
    """Return an archive with right checksums, of a header and the rows of its table."""

    class File:
        data = b""

        def write(self, data):
            self.data += bytes(data)

    file = File()
    writer = PartWriter(file)
    place = writer.begin()
    writer.write(body)
    for kind, at, length in rows:
        writer.add(kind, place if at is None else at, length, 0)
    writer.finish(header, 8 + len(header) + len(body) if size is None else size, "0" * 32, None)
    return file.data


def header_of(shape, size, names="a", dtype="BF16") -> bytes:
    entries = (
        f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{i * size},{(i + 1) * size}]}}'
        for i, name in enumerate(names)
    )
    return ("{" + ",".join(entries) + "}").encode()


HUGE = header_of([2**39], 2**40)
HOSTILE = {
    "a huge tensor of nothing": forged(HUGE, [(1, None, 64)], 8 + len(HUGE) + 2**40, bytes(64)),
    "a huge difference of nothing": forged(HUGE, [(3, None, 64)], 8 + len(HUGE) + 2**40, bytes(64)),
    "a huge raw tensor": forged(HUGE, [(0, None, 2**40)], 8 + len(HUGE) + 2**40, b""),
    "a huge tensor of a short part": forged(HUGE, [(1, None, 10)], 8 + len(HUGE) + 2**40, bytes(10)),
    "a raw tensor of another length": forged(header_of([4], 8), [(0, None, 7)], body=bytes(8)),
    "the same as itself": forged(header_of([4], 8), [(2, 0, 0)], body=bytes(8)),
    "the same as a later one": forged(header_of([4], 8, "ab"), [(2, 1, 0), (0, None, 8)], body=bytes(16)),
    "the same as the same": forged(
        header_of([4], 8, "abc"), [(0, None, 8), (2, 0, 0), (2, 1, 0)], body=bytes(24)
    ),
    "no kind": forged(header_of([4], 8), [(4, None, 8)], body=bytes(8)),
    "coded integers": forged(header_of([4], 8, dtype="I16"), [(1, None, 8)], body=bytes(8)),
    "more rows": forged(header_of([4], 8), [(0, None, 8)] * 2, body=bytes(8)),
    "a place beyond": forged(header_of([4], 8), [(0, 2**63, 8)], body=bytes(8)),
    "places that wrap around": forged(header_of([4], 8), [(0, 2**64 - 4, 8)], body=bytes(8)),
    "a size of less": forged(header_of([4], 8), [(0, None, 8)], 20, bytes(8)),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_archives_that_claim_much_take_little(data):
    write("b", data)
    tracemalloc.start()
    try:
        with pytest.raises(SketchFormatError):
            archive = FloatArchive("b")
            for name in archive:
                archive[name]
            archive.verify()
        with pytest.raises((SketchFormatError, OSError)):
            unpack_model("b", "c")
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data) + 1_000_000
    finally:
        tracemalloc.stop()
    assert os.listdir() == ["b"]


def test_a_header_that_was_compressed_much_is_refused(monkeypatch):
    monkeypatch.setattr(archive_format, "_MAX_RATIO", 10**9)
    data = forged(b"{}" + b" " * 10_000_000, [])
    monkeypatch.setattr(archive_format, "_MAX_RATIO", 50)
    assert len(data) < 20_000
    write("b", data)
    with pytest.raises(SketchFormatError, match="its header is too long"):
        FloatArchive("b")


def test_a_wide_header_is_not_compressed_beyond_what_is_read():
    data = tensor_file([Part("a", "U8", (1,), b"x")], padding=b" " * 1_000_000)
    write("a", data)
    pack_model("a", "b")
    assert os.path.getsize("b") > 1_000_000
    unpack_model("b", "c")
    assert read("c") == data


def test_a_mapped_tensor_refuses_to_be_written_to():
    write("a", MODEL)
    pack_model("a", "b")
    floats = FloatArchive("b")["a"]
    assert isinstance(floats, CompressedFloats)
    floats.decode()[...] = 0
    assert floats.bits().tobytes() == VALUES.tobytes()
