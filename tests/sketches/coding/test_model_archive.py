"""Test archives of models: the very files come back, and each tensor is read on its own."""

from __future__ import annotations

import errno
import json
import os
import re

import mergesketch
import numpy as np
import pytest
import safetensors.numpy
from mergesketch import CompressedFloats, FloatArchive, pack_model, unpack_model
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.coding import (
    archive_packing,
    archive_reading,
    float_parts,
    model_packing,
    safetensors_file,
)
from mergesketch.sketches.coding.model_folder import MANIFEST
from tensor_files import Part, tensor_file

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(0, 0.02, 30_000).astype(np.float32)
#: The upper halves of float32 are bfloat16.
BRAIN = (NORMAL.view(np.uint32) >> 16).astype(np.uint16)
#: All bytes, most of which are small numbers.
BYTES = RNG.geometric(0.1, 20_000).astype(np.uint8)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, data):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)


def read(name) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def tree(folder) -> dict[str, bytes]:
    """Return the contents of all files below a folder."""
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return {os.path.relpath(path, folder): read(path) for path in found}


FLOATS = [
    Part("brain", "BF16", (100, 300), BRAIN.tobytes()),
    Part("single", "F32", (30_000,), NORMAL.tobytes()),
    Part("half", "F16", (3, 10_000), NORMAL.astype(np.float16).tobytes()),
    Part("double", "F64", (5_000,), NORMAL[:5_000].astype(np.float64).tobytes()),
    Part("f8a", "F8_E4M3", (20_000,), BYTES.tobytes()),
    Part("f8b", "F8_E5M2", (2, 10_000), BYTES[::-1].tobytes()),
    Part("f8c", "F8_E4M3FNUZ", (20_000,), (BYTES ^ 128).tobytes()),
    Part("f8d", "F8_E5M2FNUZ", (20_000,), (BYTES ^ 64).tobytes()),
]
OTHERS = [
    Part("long", "I64", (3,), np.arange(3).tobytes()),
    Part("flags", "BOOL", (2, 2), b"\1\0\0\1"),
    Part("bytes", "U8", (5,), b"abcde"),
    Part("four", "F4", (4,), b"ab"),
    Part("later", "TYPE_OF_TOMORROW", (7,), b"xyz"),
    Part("none", "F32", (0, 3), b""),
    Part("no integers", "I8", (2, 0), b""),
    Part("scalar", "F32", (), b"\1\2\3\4"),
]
HOLE, PATTERNS = (
    Part(None, "", (), b"\0" * 11),
    Part("all", "BF16", (65536,), np.arange(65536, dtype="<u2").tobytes()),
)
REPEATS = [
    *(FLOATS[0], FLOATS[1], FLOATS[0]._replace(name="tied"), FLOATS[1]._replace(name="copy")),
    *(OTHERS[0], OTHERS[0]._replace(name="long again")),
]
SPACED = b'{ "x\\u00e9\\ud83d\\ude00" :\n{"shape":[1],"dtype":"U8", "data_offsets":[0 ,1],"k":[]}}'
#: Files that are unlike each other.
FILES = {
    "floats": tensor_file(FLOATS),
    "others": tensor_file(OTHERS, metadata={"format": "pt"}),
    "mixed": tensor_file([*OTHERS[:3], *FLOATS[:2], *OTHERS[3:], FLOATS[4]]),
    "unsorted": tensor_file(FLOATS[:3], order=[2, 0, 1], padding=b" " * 7),
    "odd places": tensor_file([Part("b", "U8", (1,), b"x"), *FLOATS[:3]]),
    "holes": tensor_file([HOLE, FLOATS[0], HOLE, FLOATS[1], HOLE]),
    "trailing": tensor_file([FLOATS[2], Part(None, "", (), b"\0\1" * 40)]),
    "wide padding": tensor_file(FLOATS[:1], padding=b" " * 300_000),
    "no tensors": tensor_file([]),
    "only metadata": tensor_file([], metadata={"a": "b"}, padding=b" \n\t"),
    "only trailing": tensor_file([Part(None, "", (), b"abc")]),
    "spaces": tensor_file([], text=SPACED) + b"!",
    "repeats": tensor_file(REPEATS),
    "patterns": tensor_file([PATTERNS]),
}  # fmt: skip


@pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())
def test_files_come_back_byte_for_byte(data):
    write("a.safetensors", data)
    pack_model("a.safetensors", "a.floats")
    FloatArchive("a.floats").verify()
    unpack_model("a.floats", "b")
    assert read("b") == data
    assert sorted(os.listdir()) == ["a.floats", "a.safetensors", "b"]


def test_floats_take_less_space():
    write("a", FILES["floats"])
    pack_model("a", "b")
    archive = FloatArchive("b")
    infos = {info.name: info for info in archive.tensors(entropy=True)}
    assert archive.raw_nbytes == os.path.getsize("a") and archive.nbytes == os.path.getsize("b")
    assert sum(info.nbytes for info in infos.values()) < archive.nbytes < 0.8 * archive.raw_nbytes
    for part in FLOATS:
        info = infos[part.name]
        assert info[:6] == ("", part.name, part.dtype, part.shape, len(part.data), info.nbytes)
        assert info.kept == "coded" and info.nbytes < 0.95 * info.raw_nbytes, info
        # The entropy is the bound; the lengths of the code words and of the streams come on top.
        bits = 8 * len(part.data) / np.prod(part.shape)
        assert info.entropy < 8 * info.nbytes / np.prod(part.shape) < bits, info
    assert (
        repr(archive) == f"<FloatArchive 'b': 8 tensors, {archive.raw_nbytes:,} bytes in {archive.nbytes:,}>"
    )


def test_each_tensor_is_read_on_its_own():
    parts = [*OTHERS[:4], *FLOATS, *OTHERS[4:]]
    write("a", tensor_file(parts))
    pack_model("a", "b")
    archive = FloatArchive("b")
    os.remove("b")  # The open file stays.
    assert set(archive) == {part.name for part in parts} and len(archive) == len(parts)
    for part in parts:
        tensor = archive[part.name]
        array = archive.decode(part.name)
        if part.dtype in safetensors_file.FLOATS:
            assert isinstance(tensor, CompressedFloats)
            assert tensor.format == safetensors_file.FLOATS[part.dtype]
            assert tensor.shape == array.shape == part.shape
        else:
            assert isinstance(tensor, np.ndarray)
            assert array.dtype.name == {"long": "int64", "flags": "bool", "no integers": "int8"}.get(
                part.name, "uint8"
            )
            assert array.shape == ((len(part.data),) if part.name in ("four", "later") else part.shape)
        assert array.tobytes() == part.data
    with pytest.raises(KeyError, match="'nowhere'"):
        archive["nowhere"]


def test_numpy_reads_what_the_library_writes():
    arrays = {"w": NORMAL.reshape(100, 300), "b": NORMAL[:300]}
    safetensors.numpy.save_file(arrays, "a.safetensors")
    pack_model("a.safetensors", "a.floats")
    archive = FloatArchive("a.floats")
    for name, array in arrays.items():
        found = archive.decode(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array)
    row = archive["w"][17]
    np.testing.assert_array_equal(row, arrays["w"][17])


def test_many_tensors_need_few_descriptors():
    parts = [Part(f"t{i}", "F32", (300,), NORMAL[300 * i : 300 * i + 300].tobytes()) for i in range(60)]
    write("a", tensor_file(parts))
    pack_model("a", "b")
    before = len(os.listdir("/proc/self/fd"))
    archive = FloatArchive("b")
    tensors = dict(archive)
    assert [tensors[part.name].decode().tobytes() for part in parts] == [part.data for part in parts]
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_equal_tensors_are_kept_once():
    write("a", FILES["repeats"])
    pack_model("a", "b")
    kept = {info.name: (info.kept, info.nbytes) for info in FloatArchive("b").tensors()}
    assert kept["tied"] == kept["copy"] == kept["long again"] == ("same", 0)
    assert kept["brain"][0] == kept["single"][0] == "coded"


def test_tensors_with_equal_ends_are_told_apart():
    one, other = NORMAL.copy(), NORMAL.copy()
    other[15_000] = 7
    parts = [
        Part(name, "F32", (30_000,), data.tobytes()) for name, data in [("a", one), ("b", other), ("c", one)]
    ]
    write("a", tensor_file(parts))
    pack_model("a", "b")
    archive = FloatArchive("b")
    assert [info.kept for info in archive.tensors()] == ["coded", "coded", "same"]
    assert [archive.decode(name).tobytes() for name in "abc"] == [part.data for part in parts]


@pytest.fixture
def small_blocks(monkeypatch):
    """Make all tensors large ones, which are written and read in blocks."""
    for module in (safetensors_file, archive_packing, archive_reading):
        monkeypatch.setattr(module, "BLOCK", 8192)
    monkeypatch.setattr(float_parts, "_BLOCK", 2048)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_archives_do_not_depend_on_threads(n_threads):
    data = tensor_file([*FLOATS, *OTHERS])
    write("a", data)
    pack_model("a", "b")
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(n_threads)
    try:
        unpack_model("b", "c")
        pack_model("a", "d")
    finally:
        mergesketch.set_num_threads(before)
    assert read("c") == data
    assert read("d") == read("b")


@pytest.mark.parametrize("name", ["floats", "mixed", "holes", "trailing", "repeats", "patterns"])
def test_large_tensors_are_written_in_blocks(small_blocks, monkeypatch, name):
    write("a", FILES[name])
    pack_model("a", "b")
    FloatArchive("b").verify()
    # Whoever reads them may have other blocks.
    monkeypatch.setattr(archive_reading, "BLOCK", 1 << 24)
    unpack_model("b", "c")
    assert read("c") == FILES[name]


def test_large_differences_are_written_in_blocks(small_blocks, tuned):
    pack_model("tuned.safetensors", "packed", base="base")
    assert [info.kept for info in FloatArchive("packed").tensors()].count("difference") == 3
    unpack_model("packed", "again", base="base")
    assert read("again") == read("tuned.safetensors")


# -- folders --------------------------------------------------------------------------------------

FOLDER = {
    "config.json": b'{"a": 1}',
    "tokenizer/vocabulary.txt": b"a\nb\n",
    "model-00001-of-00002.safetensors": FILES["floats"],
    "model-00002-of-00002.safetensors": tensor_file([Part("w", "F32", (30_000,), NORMAL[::-1].tobytes())]),
    "model.safetensors.index.json": b"{}",
    "vae/model.SAFETENSORS": tensor_file([FLOATS[0]]),
    "empty": b"",
    ".hidden": b"x",
    "broken.safetensors": b"abc",
    "old.safetensors.floats": b"not of ours",
}


@pytest.fixture
def folder():
    for name, data in FOLDER.items():
        write(f"model/{name}", data)
    write("model/.git/objects/ab", b"copies")
    return "model"


def test_folders_come_back_byte_for_byte(folder):
    pack_model(folder, "packed")
    packed = tree("packed")
    safe = [name for name in FOLDER if name.lower().endswith(".safetensors") and name != "broken.safetensors"]
    assert set(packed) == {MANIFEST, *(name + ".floats" if name in safe else name for name in FOLDER)}
    archive = FloatArchive("packed")
    archive.verify()
    assert set(archive.files) == set(safe) and len(archive.kept) == len(FOLDER)
    assert archive.raw_nbytes == sum(map(len, FOLDER.values()))
    unpack_model("packed", "again")
    assert tree("again") == FOLDER
    # An empty folder is filled.
    os.mkdir("third")
    unpack_model("packed", "third")
    assert tree("third") == FOLDER
    assert sorted(os.listdir()) == ["again", "model", "packed", "third"]


def test_names_in_several_files(folder):
    pack_model(folder, "packed")
    archive = FloatArchive("packed")
    assert archive.decode("w").tobytes() == NORMAL[::-1].tobytes()
    with pytest.raises(ValueError, match=r"'brain' is in model-00001.*, vae/model.SAFETENSORS: see `files`"):
        archive["brain"]
    found = archive.files["vae/model.SAFETENSORS"].decode("brain")
    assert found.tobytes() == FLOATS[0].data


def test_links_are_followed_as_in_the_cache_of_hugging_face(folder):
    os.makedirs("cache/snapshots/1")
    os.rename(folder, "cache/blobs")
    for name in FOLDER:
        os.makedirs(os.path.dirname(f"cache/snapshots/1/{name}"), exist_ok=True)
        os.symlink(os.path.abspath(f"cache/blobs/{name}"), f"cache/snapshots/1/{name}")
    os.symlink(os.path.abspath("cache/blobs/tokenizer"), "cache/snapshots/1/linked")
    pack_model("cache/snapshots/1", "packed")
    assert not any(os.path.islink(f"packed/{name}") for name in os.listdir("packed"))
    unpack_model("packed", "again")
    assert tree("again") == {**FOLDER, "linked/vocabulary.txt": FOLDER["tokenizer/vocabulary.txt"]}


def test_folders_that_cannot_be_packed(folder):
    pack_model(folder, "packed")
    with pytest.raises(ValueError, match=f"packed is packed already: it has {MANIFEST}"):
        pack_model("packed", "twice")
    os.mkdir("empty")
    with pytest.raises(ValueError, match="empty has none"):
        pack_model("empty", "b")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        pack_model(folder, "packed")
    with pytest.raises(FileNotFoundError):
        pack_model(folder, "nowhere/packed")
    os.symlink("..", "model/tokenizer/up")
    with pytest.raises(ValueError, match="leads to a folder above it"):
        pack_model(folder, "b")
    os.remove("model/tokenizer/up")
    os.symlink("nowhere", "model/lost")
    with pytest.raises(FileNotFoundError, match="lost"):
        pack_model(folder, "b")
    os.remove("model/lost")
    os.mkfifo("model/pipe")
    with pytest.raises(ValueError, match="pipe: it is neither"):
        pack_model(folder, "b")
    os.remove("model/pipe")
    write("model/broken.safetensors.floats", b"")
    with pytest.raises(ValueError, match=r"must not have the file broken.safetensors.floats beside"):
        pack_model(folder, "b")
    assert sorted(os.listdir()) == ["empty", "model", "packed"]


def test_files_that_cannot_be_packed():
    write("a.safetensors", FILES["floats"])
    with pytest.raises(ValueError, match="another file than source"):
        pack_model("a.safetensors", "./a.safetensors")
    assert read("a.safetensors") == FILES["floats"]
    write("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(SketchFormatError, match=r"^lfs: .*git lfs pull"):
        pack_model("lfs", "b")
    with pytest.raises(FileNotFoundError):
        pack_model("nowhere", "b")
    with pytest.raises(SketchFormatError, match=r"a.safetensors: expected a float archive"):
        FloatArchive("a.safetensors")
    with pytest.raises(SketchFormatError, match=rf"it has no {MANIFEST}"):
        FloatArchive(".")
    assert sorted(os.listdir()) == ["a.safetensors", "lfs"]


# -- bases ----------------------------------------------------------------------------------------


@pytest.fixture
def tuned():
    """Write a model and one that differs little from it, in files of other names."""
    near = (NORMAL * (1 + 1e-4 * RNG.normal(size=NORMAL.size))).astype(np.float32)
    brain = BRAIN.copy()
    brain[::50] ^= 1
    write("base/a.safetensors", tensor_file([FLOATS[0], FLOATS[4]]))
    write("base/b.safetensors", tensor_file([FLOATS[1], FLOATS[2]]))
    tuned = [
        FLOATS[1]._replace(data=near.tobytes()),
        FLOATS[0]._replace(data=brain.tobytes()),
        FLOATS[2]._replace(shape=(30_000,)),
        FLOATS[4],
        Part("new", "BF16", (30_000,), BRAIN[::-1].tobytes()),
        Part("tied, and not in the base", "BF16", (100, 300), brain.tobytes()),
    ]
    write("tuned.safetensors", tensor_file(tuned))
    return tuned


def test_differences_from_a_base(tuned):
    pack_model("tuned.safetensors", "alone")
    pack_model("tuned.safetensors", "packed", base="base")
    kept = {info.name: info for info in FloatArchive("packed").tensors()}
    alone = {info.name: info for info in FloatArchive("alone").tensors()}
    assert kept["brain"].kept == kept["f8a"].kept == kept["single"].kept == "difference"
    # A tensor of another shape, and one that the base does not have.
    assert kept["half"].kept == kept["new"].kept == "coded"
    assert kept["tied, and not in the base"].kept == "same"
    for name in ("brain", "f8a", "single"):
        assert kept[name].nbytes < alone[name].nbytes
    assert kept["f8a"].nbytes < 1000 and kept["brain"].nbytes < 0.1 * kept["brain"].raw_nbytes
    # The base may be packed, or a file of it.
    pack_model("base", "base.packed")
    for base in ("base", "base.packed"):
        unpack_model("packed", "again", base=base)
        assert read("again") == read("tuned.safetensors")
        archive = FloatArchive("packed", base=base)
        assert archive.base == "base"
        for part in tuned:
            assert archive.decode(part.name).tobytes() == part.data
    pack_model("tuned.safetensors", "other", base="base.packed")
    assert read("other").replace(b'"base.packed"', b'"base"')[:-24] == read("packed")[:-24]


def test_a_file_of_the_base_is_not_replaced(tuned):
    """An archive of differences would be lost with its base."""
    before = tree("base")
    for base in ("base", "base/b.safetensors"):
        with pytest.raises(ValueError, match="target must be another file than base"):
            pack_model("tuned.safetensors", "base/b.safetensors", base=base)
        pack_model("tuned.safetensors", "packed", base=base)
        with pytest.raises(ValueError, match="target must be another file than base"):
            unpack_model("packed", "base/b.safetensors", base=base)
    assert tree("base") == before


def test_archives_that_are_packed_again(tuned):
    pack_model("tuned.safetensors", "packed", base="base")
    with pytest.raises(SketchFormatError, match=r"packed: .* got a float archive, which is packed already"):
        pack_model("packed", "again")
    with pytest.raises(SketchFormatError, match=r"packed: a base must be whole, .* from the model 'base'"):
        pack_model("tuned.safetensors", "again", base="packed")


def test_a_wrong_base_is_refused(tuned):
    pack_model("tuned.safetensors", "packed", base="base")
    archive = FloatArchive("packed")
    assert archive.base == "base"
    with pytest.raises(SketchFormatError, match="difference from the model 'base'"):
        archive["brain"]
    assert archive.decode("new").tobytes() == tuned[4].data
    write("base/b.safetensors", tensor_file([FLOATS[2]]))
    with pytest.raises(SketchFormatError, match="'base' has no 'single'"):
        unpack_model("packed", "again", base="base")
    changed = bytearray(FLOATS[1].data)
    changed[5] ^= 1
    write("base/b.safetensors", tensor_file([FLOATS[1]._replace(data=bytes(changed))]))
    with pytest.raises(ValueError, match="base"):
        unpack_model("packed", "again", base="base")
    os.mkdir("none")
    with pytest.raises(SketchFormatError, match="none: it has no tensors"):
        pack_model("tuned.safetensors", "b", base="none")
    assert "again" not in os.listdir()


# -- interrupted and impossible work --------------------------------------------------------------


def test_nothing_is_left_of_a_run_that_fails(folder, monkeypatch):
    pack_model(folder, "packed")
    packed = tree("packed")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(model_packing, "write_manifest", fail)
    with pytest.raises(OSError, match="no space"):
        pack_model(folder, "second")
    monkeypatch.setattr(archive_packing, "read_exactly", fail)
    with pytest.raises(OSError, match="no space"):
        pack_model("model/model-00001-of-00002.safetensors", "one")
    (name,) = [name for name in packed if name.startswith("model-00002") and name.endswith(".floats")]
    damaged = bytearray(packed[name])
    damaged[len(damaged) // 2] ^= 1
    write(f"packed/{name}", bytes(damaged))
    with pytest.raises(SketchFormatError, match=re.escape(name)):
        unpack_model("packed", "again")
    with pytest.raises(SketchFormatError, match=re.escape(name)):
        unpack_model(f"packed/{name}", "again")
    assert sorted(os.listdir()) == ["model", "packed"]


def test_a_file_that_changes_meanwhile_is_refused(monkeypatch):
    write("a", FILES["floats"])
    encode = archive_packing._Packing.add

    def add(*arguments):
        encode(*arguments)
        os.utime("a", ns=(1, 1))

    monkeypatch.setattr(archive_packing._Packing, "add", add)
    with pytest.raises(SketchFormatError, match=r"a: the file changed while it was read"):
        pack_model("a", "b")
    assert os.listdir() == ["a"]


def test_space_is_asked_for_before_work(monkeypatch):
    write("a", FILES["floats"])
    pack_model("a", "b")
    monkeypatch.setattr(model_packing.shutil, "disk_usage", lambda _: _Usage())
    with pytest.raises(OSError, match=r"No space left on device for \d.* bytes: 'c'"):
        unpack_model("b", "c")


class _Usage:
    free = 1000


# -- damage ---------------------------------------------------------------------------------------

HOSTILE_LISTS = {
    "up": {"path": "../x"},
    "up inside": {"path": "a/../../x"},
    "absolute": {"path": "/tmp/x"},
    "empty": {"path": ""},
    "here": {"path": "./x"},
    "backslash": {"path": "..\\x"},
    "zero": {"path": "a\0b"},
    "long": {"path": "a/" * 3000 + "a"},
    "number": {"path": 3},
    "archive above": {"path": "x", "packed": "../x.floats"},
    "negative": {"path": "x", "size": -1},
    "huge": {"path": "x", "size": 2**70},
    "fraction": {"path": "x", "size": 1.0},
    "twice": {"path": "config.json"},
    "a folder": {"path": "config.json/x"},
    "the list": {"path": MANIFEST},
    "a checksum": {"path": "x", "xxh3": 3},
    "surrogate": {"path": "\ud800"},
}


@pytest.mark.parametrize("entry", HOSTILE_LISTS.values(), ids=HOSTILE_LISTS.keys())
def test_lists_that_lead_elsewhere_are_refused(entry):
    write("model/config.json", b"{}")
    write("model/a.safetensors", FILES["no tensors"])
    pack_model("model", "packed")
    write("packed/x", b"")
    content = json.loads(read(f"packed/{MANIFEST}"))
    content["files"].append({"size": 0, "xxh3": "99aa06d3014798d86001c324468d497f", **entry})
    write(f"packed/{MANIFEST}", json.dumps(content).encode())
    with pytest.raises(SketchFormatError, match="expected the list of an archive"):
        FloatArchive("packed")
    with pytest.raises(SketchFormatError):
        unpack_model("packed", "again")
    assert sorted(os.listdir()) == ["model", "packed"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"\xff", b'{"format": "mergesketch floats", "version": 2}', b"[" * 9999]
)
def test_lists_that_are_none(text):
    write(f"packed/{MANIFEST}", text)
    with pytest.raises(SketchFormatError, match=MANIFEST):
        FloatArchive("packed")


def test_files_of_archives_that_were_changed(folder):
    pack_model(folder, "packed")
    write("packed/config.json", b'{"a": 2}')
    with pytest.raises(SketchFormatError, match=r"config.json: the checksum of the file does not match"):
        FloatArchive("packed").verify()
    write("packed/config.json", b"{}")
    with pytest.raises(SketchFormatError, match=r"config.json: it has 2 bytes, and the model's file has 8"):
        unpack_model("packed", "again")
    os.remove("packed/config.json")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        unpack_model("packed", "again")
    write("packed/config.json", b'{"a": 1}')
    write(
        "packed/model-00002-of-00002.safetensors.floats",
        read("packed/model-00001-of-00002.safetensors.floats"),
    )
    with pytest.raises(SketchFormatError, match=r"is not the archive of model-00002-of-00002.safetensors"):
        FloatArchive("packed")
    os.remove("packed/model-00002-of-00002.safetensors.floats")
    with pytest.raises(FileNotFoundError, match="model-00002"):
        FloatArchive("packed")
