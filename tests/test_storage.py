"""Files of sketches: what a stranger's bytes can do (nothing but SketchFormatError), and atomic writing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import safetensors.numpy
import xxhash
from mergesketch import CountMinSketch, CountSketch, HeavyHitters, MergeableSketch, Race
from mergesketch.errors import SketchFormatError
from mergesketch.sketches import storage
from registry import ToyFamily


def make_sketches() -> dict[str, MergeableSketch]:
    rng = np.random.default_rng(0)
    return {
        "CountMinSketch": CountMinSketch(3, 50, seed=5).update(rng.integers(0, 99, 300)),
        "HeavyHitters": HeavyHitters(0.25, n_buckets=8, max_key_bytes=8).update(
            ["tea", "cake", "tea", "日本"]
        ),
        "Race": Race(ToyFamily(4, 6, seed=1)).update(rng.integers(0, 4, (30, 4))),
    }


SKETCHES = make_sketches()
every_sketch = pytest.mark.parametrize("sketch", SKETCHES.values(), ids=SKETCHES.keys())


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(data: bytes, header: Any, *, sign: bool = True) -> bytes:
    """`data` under another header; with `sign`, under one whose checksum is right, as a forger's would be."""
    if sign:
        metadata = {k: v for k, v in header["__metadata__"].items() if k != "header_xxh3"}
        names = {
            "I32": "int32", "I64": "int64", "U64": "uint64", "U8": "uint8", "U16": "uint16", "F32": "float32",
        }  # fmt: skip
        shapes = {n: [names[e["dtype"]], e["shape"]] for n, e in header.items() if n != "__metadata__"}
        text = json.dumps([metadata, shapes], sort_keys=True)
        header["__metadata__"] = {**metadata, "header_xxh3": xxhash.xxh3_64_hexdigest(text.encode())}
    body = data[8 + int.from_bytes(data[:8], "little") :]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def forged(sketch: MergeableSketch, change: Callable[[dict[str, Any]], None]) -> bytes:
    data = sketch.to_bytes()
    header = header_of(data)
    change(header)
    return with_header(data, header)


def assert_refused(data: bytes, path: Path, match: str | None = None) -> None:
    """Refused as bytes, as a file and as a mapped file, quickly and without taking memory."""
    path.write_bytes(data)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(SketchFormatError, match=match):
            MergeableSketch.from_bytes(data)
        with pytest.raises(SketchFormatError, match=match) as caught:
            mergesketch.load(path)
        assert str(path) in str(caught.value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data) + 500_000
    assert time.perf_counter() - started < 2.0


# -- the format -----------------------------------------------------------------------------------


@every_sketch
def test_the_safetensors_library_opens_it(sketch: MergeableSketch, tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    sketch.save(path)
    arrays = safetensors.numpy.load_file(path)
    assert arrays.keys() == sketch.state.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, sketch.state[name].array)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "mergesketch"
    assert metadata["class"] == type(sketch).__name__
    assert json.loads(metadata["config"]) == sketch.config()
    assert safetensors.numpy.load(sketch.to_bytes()).keys() == arrays.keys()


@every_sketch
def test_arrays_lie_aligned(sketch: MergeableSketch) -> None:
    data = sketch.to_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    assert start % 8 == 0
    for name, entry in header_of(data).items():
        if name != "__metadata__":
            assert (start + entry["data_offsets"][0]) % sketch.state[name].array.itemsize == 0


@every_sketch
def test_a_file_that_safetensors_wrote_is_read(sketch: MergeableSketch) -> None:
    metadata = header_of(sketch.to_bytes())["__metadata__"]
    arrays = {name: np.ascontiguousarray(state.array) for name, state in sketch.state.items()}
    assert MergeableSketch.from_bytes(safetensors.numpy.save(arrays, metadata=metadata)) == sketch


def test_the_same_sketch_gives_the_same_bytes_in_every_process() -> None:
    code = (
        "import sys, mergesketch; sys.stdout.buffer.write("
        "mergesketch.CountMinSketch(2, 9).update(['a', 'b', 'a']).to_bytes())"
    )
    here = CountMinSketch(2, 9).update(["a", "b", "a"]).to_bytes()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == here


def test_inspect(tmp_path: Path) -> None:
    sketch = SKETCHES["CountMinSketch"]
    path = tmp_path / "a.sketch"
    sketch.save(path)
    told = mergesketch.inspect(path)
    assert told["class"] == "CountMinSketch"
    assert told["config"] == sketch.config()
    assert told["n_updates"] == 300
    assert told["arrays"] == {"counts": "int32[3, 50]", "total": "int64[1]", "n_updates": "int64[1]"}
    assert told["bytes"] == path.stat().st_size
    assert told["intact"] is True
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert mergesketch.inspect(path)["intact"] is False
    path.write_bytes(b"")
    with pytest.raises(SketchFormatError, match=r"a\.sketch: expected a sketch file, got only 0 bytes"):
        mergesketch.inspect(path)


def test_widened_counters_are_stored_wide(tmp_path: Path) -> None:
    sketch = CountSketch(3, 10).update([1], [2**40])
    path = tmp_path / "a.sketch"
    sketch.save(path)
    for twin in (mergesketch.load(path), mergesketch.load(path, mmap=True)):
        assert twin == sketch
        assert twin.query([1])[0] == 2**40
        assert twin.state["counts"].array.dtype == np.int64


# -- damage ---------------------------------------------------------------------------------------


@every_sketch
def test_every_damaged_header_byte_is_found(sketch: MergeableSketch) -> None:
    data = sketch.to_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(1)
    for place in range(length):
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            twin = MergeableSketch.from_bytes(damaged)
        except SketchFormatError:
            continue
        # JSON has more than one way to write the same: then nothing may be lost.
        assert twin == sketch
        assert header_of(bytes(damaged)) == header_of(data)


@every_sketch
def test_every_damaged_data_byte_is_found(sketch: MergeableSketch) -> None:
    data = sketch.to_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(2)
    for place in np.unique(rng.integers(start, len(data), 300)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(SketchFormatError, match="checksum does not match"):
            MergeableSketch.from_bytes(damaged)


@every_sketch
def test_every_truncation_and_extension_is_found(sketch: MergeableSketch, tmp_path: Path) -> None:
    data = sketch.to_bytes()
    for length in range(len(data)):
        with pytest.raises(SketchFormatError):
            MergeableSketch.from_bytes(data[:length])
    for more in (b"\0", b"\0" * 8, data):
        assert_refused(data + more, tmp_path / "long", "do not fit its length")
    assert_refused(data[:-1], tmp_path / "short", "do not fit its length")


def test_noise_is_refused() -> None:
    rng = np.random.default_rng(3)
    for size in (0, 1, 7, 8, 9, 100, 5000):
        for _ in range(20):
            with pytest.raises(SketchFormatError):
                MergeableSketch.from_bytes(rng.bytes(size))
    for wrong in ("text", 3, None, [1], memoryview(np.zeros((4, 4))[:, ::2])):
        with pytest.raises(TypeError, match="buffer must be"):
            MergeableSketch.from_bytes(wrong)


# -- wrong files ----------------------------------------------------------------------------------


def test_wrong_files(tmp_path: Path) -> None:
    sketch = SKETCHES["CountMinSketch"]
    data = sketch.to_bytes()
    path = tmp_path / "a.sketch"

    def version(header: dict[str, Any]) -> None:
        header["__metadata__"]["format_version"] = "2"

    def foreign(header: dict[str, Any]) -> None:
        header["__metadata__"]["format"] = "pt"

    def unknown(header: dict[str, Any]) -> None:
        header["__metadata__"]["class"] = "os.system"

    assert_refused(forged(sketch, version), path, "expected format version 1, got '2'; a newer mergesketch")
    assert_refused(forged(sketch, foreign), path, "expected a mergesketch file, got format 'pt'")
    assert_refused(forged(sketch, unknown), path, "expected a sketch class of this version, got 'os.system'")
    assert_refused(safetensors.numpy.save({"a": np.zeros(3)}), path, "damaged or foreign")
    assert_refused(safetensors.numpy.save({"a": np.zeros(3)}, metadata={"format": "np"}), path, "foreign")
    assert_refused(b"PK\x03\x04" + bytes(200), path, "header claims")
    with pytest.raises(SketchFormatError, match="expected a CountSketch, got a CountMinSketch"):
        CountSketch.from_bytes(data)
    path.write_bytes(data)
    for mmap in (False, True):
        with pytest.raises(SketchFormatError, match="expected a Race, got a CountMinSketch"):
            Race.load(path, mmap=mmap)
    with pytest.raises(FileNotFoundError):
        mergesketch.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        mergesketch.load(tmp_path)
    if os.path.exists("/dev/zero"):
        with pytest.raises(SketchFormatError, match="got only 0 bytes"):
            mergesketch.load("/dev/zero")


def test_a_file_within_a_file_descriptor_limit(tmp_path: Path) -> None:
    """Refused files are closed again."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        for mmap in (False, True):
            with pytest.raises(SketchFormatError):
                mergesketch.load(path, mmap=mmap)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


# -- hostile headers ------------------------------------------------------------------------------


def entry(dtype: Any = "I32", shape: Any = (3, 50), offsets: Any = (16, 616)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE_ENTRIES = {
    "negative offsets": entry(offsets=[-600, 0]),
    "overlap": entry(offsets=[0, 600]),
    "reversed": entry(offsets=[616, 16]),
    "huge offsets": entry(offsets=[16, 2**63]),
    "beyond any integer": entry(offsets=[16, 10**30]),
    "huge shape": entry(shape=[2**40, 2**40]),
    "shape wraps to 0": entry(shape=[2**32, 2**32], offsets=[16, 16]),
    "zero times huge": entry(shape=[0, 2**62, 2**62], offsets=[16, 16]),
    "negative shape": entry(shape=[-3, -50]),
    "fractional shape": entry(shape=[3.0, 50]),
    "boolean shape": entry(shape=[True, 150]),
    "text shape": entry(shape="39"),
    "null shape": entry(shape=None),
    "nested shape": entry(shape=[[3, 50]]),
    "100 dimensions": entry(shape=[1] * 100 + [150]),
    "unknown dtype": entry(dtype="BF16"),
    "no dtype": entry(dtype=None),
    "list as dtype": entry(dtype=["I32"]),
    "three offsets": entry(offsets=[16, 616, 616]),
    "no offsets": {"dtype": "I32", "shape": [3, 50]},
    "a list": [1, 2, 3],
    "a number": 5,
    "null": None,
    "other shape of the same size": entry(shape=[50, 3]),
    "other dtype of the same size": entry(dtype="F32"),
}


@pytest.mark.parametrize("hostile", HOSTILE_ENTRIES.values(), ids=HOSTILE_ENTRIES.keys())
def test_hostile_array_entries(hostile: Any, tmp_path: Path) -> None:
    data = SKETCHES["CountMinSketch"].to_bytes()
    header = header_of(data)
    assert header["counts"] == {"dtype": "I32", "shape": [3, 50], "data_offsets": [16, 616]}
    header["counts"] = hostile
    assert_refused(with_header(data, header, sign=False), tmp_path / "a")
    if isinstance(hostile, dict) and hostile["dtype"] in ("I32", "F32"):
        assert_refused(with_header(data, header), tmp_path / "a", "do not fit its length|expected counts as")


HOSTILE_TEXTS = {
    "not JSON": b"{",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a deep value": b'{"__metadata__": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deep in metadata": b'{"__metadata__": {"format": ' + b"[" * 400 + b"]" * 400 + b"}}",
    "NaN": b'{"__metadata__": {"format": NaN}}',
    "Infinity": b'{"__metadata__": {"format": "mergesketch", "format_version": "1"}, "a": Infinity}',
    "numbers as metadata": b'{"__metadata__": {"format": 1, "format_version": 1}}',
    "metadata is a list": b'{"__metadata__": ["format"]}',
    "metadata is text": b'{"__metadata__": "format"}',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "empty": b"",
    "a very long number": b"1" * 100_000,
    "not UTF-8": b'{"\xff": 1}',
    "UTF-16": '{"__metadata__": {}}'.encode("utf-16"),
    "a lone surrogate": b'{"__metadata__": {"format": "mergesketch", "format_version": "1"}, "\\ud800": {}}',
    "no arrays": b'{"__metadata__": {"format": "mergesketch", "format_version": "1"}}',
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_hostile_header_texts(text: bytes, tmp_path: Path) -> None:
    assert_refused(len(text).to_bytes(8, "little") + text, tmp_path / "a")


def test_hostile_header_lengths(tmp_path: Path) -> None:
    data = SKETCHES["CountMinSketch"].to_bytes()
    for length in (0, 1, 2**20 + 1, 2**31, 2**32, 2**63, 2**64 - 1, len(data) - 8, len(data) - 7):
        assert_refused(length.to_bytes(8, "little") + data[8:], tmp_path / "a")
    # A header that is all there, but larger than any sketch needs, is not even parsed.
    huge = (1 << 21).to_bytes(8, "little") + b"[" * (1 << 21)
    assert_refused(huge, tmp_path / "a", "header claims")


HOSTILE_CONFIGS = {
    "huge table": {"n_rows": 65536, "n_buckets": 2**28, "conservative": False, "seed": 0},
    "too huge": {"n_rows": 2**62, "n_buckets": 2**62, "conservative": False, "seed": 0},
    "negative": {"n_rows": -3, "n_buckets": 50, "conservative": False, "seed": 0},
    "fraction": {"n_rows": 3.0, "n_buckets": 50, "conservative": False, "seed": 0},
    "text": {"n_rows": "3", "n_buckets": 50, "conservative": False, "seed": 0},
    "truth as number": {"n_rows": True, "n_buckets": 50, "conservative": False, "seed": 0},
    "missing argument": {"n_rows": 3},
    "unknown argument": {"n_rows": 3, "n_buckets": 50, "shell": "true"},
    "self": {"self": 1, "n_rows": 3, "n_buckets": 50},
    "a family in place of a number": {"n_rows": {"family": "ToyFamily"}, "n_buckets": 50},
    "an unknown family": {"n_rows": {"family": "nonsense"}, "n_buckets": 50},
    "a family without a name": {"n_rows": {}, "n_buckets": 50},
    "a family of families": {"n_rows": {"family": "ToyFamily", "n_features": {"family": "ToyFamily"}}},
    "a list": [3, 50],
    "null": None,
    "a number": 3,
}


@pytest.mark.parametrize("config", HOSTILE_CONFIGS.values(), ids=HOSTILE_CONFIGS.keys())
def test_hostile_configurations(config: Any, tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["config"] = json.dumps(config)

    assert_refused(forged(SKETCHES["CountMinSketch"], change), tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 50_000, '{"n_rows":' * 20_000, '{"n_rows": NaN}'])
def test_configurations_that_are_no_json(text: str, tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["config"] = text

    assert_refused(
        forged(SKETCHES["CountMinSketch"], change), tmp_path / "a", "configuration of this CountMin"
    )


def test_a_configuration_that_only_python_takes_for_json(tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["config"] = header["__metadata__"]["config"].replace("0.25", "NaN")

    assert_refused(forged(SKETCHES["HeavyHitters"], change), tmp_path / "a", "NaN is not JSON")


def test_a_race_of_a_hostile_family_allocates_nothing(tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        family = {"family": "ToyFamily", "n_features": 4, "n_hashes": 2**40, "n_buckets": 2**28, "seed": 1}
        header["__metadata__"]["config"] = json.dumps({"family": family})

    assert_refused(forged(SKETCHES["Race"], change), tmp_path / "a", "expected counts as int32")


def test_missing_and_extra_arrays(tmp_path: Path) -> None:
    sketch = SKETCHES["CountMinSketch"]
    metadata = header_of(sketch.to_bytes())["__metadata__"]
    arrays = {name: state.array for name, state in sketch.state.items()}
    for changed in ({**arrays, "more": np.zeros(3, np.int64)}, {"counts": arrays["counts"]}, {}):
        data = safetensors.numpy.save(changed, metadata=metadata)
        data = with_header(data, header_of(data))
        assert_refused(data, tmp_path / "a", "expected the arrays")


def test_hostile_states_of_heavy_hitters(tmp_path: Path) -> None:
    """What kernels and decoders use as a length or an index is checked even where checksums are right."""
    sketch = SKETCHES["HeavyHitters"]

    def refused(change: Callable[[dict[str, np.ndarray]], None], match: str) -> None:
        twin = sketch.copy()
        change(twin._arrays)
        assert_refused(twin.to_bytes(), tmp_path / "a", f"no state of a HeavyHitters: .*{match}")
        with pytest.raises(SketchFormatError, match=match):
            mergesketch.load(tmp_path / "a", mmap=True)

    def set_to(name: str, place: Any, value: Any) -> Callable[[dict[str, np.ndarray]], None]:
        return lambda arrays: arrays[name].__setitem__(place, value)

    refused(set_to("candidate_lengths", 0, 9), "lengths must be at most 8")
    refused(set_to("candidate_lengths", 7, 65535), "lengths must be at most 8")
    refused(set_to("candidate_kinds", 0, 0), "used records must come first")
    refused(set_to("candidate_kinds", 0, 77), "kinds must be at most 4")
    refused(set_to("candidate_kinds", 0, 1), "an integer key must have 8 bytes")
    refused(set_to("candidate_keys", (0, 0), 0xFF), "can't decode|hashes of candidate_keys")
    refused(set_to("candidate_hashes", 0, 1), "must be the hashes of candidate_keys")
    refused(set_to("total", 0, -5), "total must be at least 0")

    def swap(arrays: dict[str, np.ndarray]) -> None:
        for name in ("candidate_hashes", "candidate_kinds", "candidate_lengths", "candidate_keys"):
            arrays[name][:2] = arrays[name][1::-1].copy()

    refused(swap, "must rise")


def test_refusals_under_a_memory_limit(tmp_path: Path) -> None:
    """Hostile files are refused with little memory above what the interpreter has already."""
    hostile = []
    for config in HOSTILE_CONFIGS.values():

        def change(header: dict[str, Any], config: Any = config) -> None:
            header["__metadata__"]["config"] = json.dumps(config)

        hostile.append(forged(SKETCHES["CountMinSketch"], change))
    hostile += [len(t).to_bytes(8, "little") + t for t in HOSTILE_TEXTS.values()]
    for i, data in enumerate(hostile):
        (tmp_path / f"{i}.sketch").write_bytes(data)
    code = """
import pathlib, resource, sys
import mergesketch
from mergesketch.errors import SketchFormatError
mergesketch.CountMinSketch(1, 8).update(["a"])
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    for mmap in (False, True):
        try:
            mergesketch.load(path, mmap=mmap)
        except SketchFormatError:
            continue
        sys.exit(f"{path} was not refused")
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


# -- atomic writing -------------------------------------------------------------------------------


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sketch"
    old, new = SKETCHES["CountMinSketch"], SKETCHES["Race"]
    old.save(path)
    for step in ("fsync", "replace"):

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space left"):
                new.save(path)
        assert leftovers(tmp_path) == ["a.sketch"]
        assert mergesketch.load(path) == old
    with pytest.raises(KeyboardInterrupt), storage.atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert leftovers(tmp_path) == ["a.sketch"]
    assert mergesketch.load(path) == old
    new.save(path)
    assert mergesketch.load(path) == new


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    """The system itself refuses the bytes: a limit on the size of files stands for a full disk."""
    SKETCHES["CountMinSketch"].save(tmp_path / "a.sketch")
    code = """
import resource, signal, sys
import mergesketch
sketch = mergesketch.CountMinSketch(4, 10_000).update(["a"])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    sketch.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__, error)
    sys.exit(7)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.sketch")]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 7, ran.stderr.decode()
    assert leftovers(tmp_path) == ["a.sketch"]
    assert mergesketch.load(tmp_path / "a.sketch") == SKETCHES["CountMinSketch"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    old = SKETCHES["CountMinSketch"]
    old.save(path)
    code = """
import sys, time
import mergesketch
from mergesketch.sketches import storage
sketch = mergesketch.CountMinSketch(4, 100_000).update(["a"])
with storage.atomic_write(sys.argv[1]) as temporary:
    temporary.write_bytes(sketch.to_bytes()[:1000])
    print("half", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert mergesketch.load(path) == old
    # What a killed process leaves cannot be helped; its name says whose it is.
    assert all(name == "a.sketch" or name.startswith(".mergesketch-") for name in leftovers(tmp_path))


def test_readers_see_whole_files_while_a_writer_replaces_them(tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    sketches = [CountMinSketch(2, 1000, seed=0).update([i] * 50) for i in range(3)]
    sketches[0].save(path)
    mapped = mergesketch.load(path, mmap=True)
    for sketch in sketches * 5:
        sketch.save(path)
        assert mergesketch.load(path) == sketch
    assert mapped == sketches[0]


def test_permissions_links_and_bad_places(tmp_path: Path) -> None:
    sketch = SKETCHES["Race"]
    path = tmp_path / "a.sketch"
    before = os.umask(0o027)
    try:
        sketch.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    sketch.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    link = tmp_path / "link"
    link.symlink_to(path)
    SKETCHES["CountMinSketch"].save(link)
    assert link.is_symlink()
    assert mergesketch.load(path) == SKETCHES["CountMinSketch"]
    with pytest.raises(FileNotFoundError):
        sketch.save(tmp_path / "no such folder" / "a.sketch")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        sketch.save(tmp_path / "folder")
    sketch.save(tmp_path / ("x" * 255))
    assert leftovers(tmp_path) == ["a.sketch", "folder", "link", "x" * 255]


# -- memory-mapping -------------------------------------------------------------------------------


@every_sketch
def test_updates_of_a_mapped_sketch_never_reach_the_file(sketch: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    sketch.save(path)
    stored = path.read_bytes()
    path.chmod(0o444)
    mapped = type(sketch).load(path, mmap=True)
    mapped.merge(sketch, sketch)
    assert mapped.n_updates == 3 * sketch.n_updates
    assert mapped == sketch | sketch | sketch
    assert path.read_bytes() == stored
    assert mergesketch.load(path, mmap=True) == sketch
    path.unlink()
    assert mapped == sketch | sketch | sketch


def test_mapping_reads_only_what_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    CountMinSketch(4, 4_000_000).save(path)
    code = """
import resource, sys
import mergesketch
mergesketch.CountMinSketch(1, 8).update([1]).query([1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mapped = mergesketch.load(sys.argv[1], mmap=True)
assert mapped.query([1])[0] == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    assert int(ran.stdout) < 8_000, "64 MB were mapped; kilobytes that became resident"


def test_loading_and_saving_take_no_second_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.sketch"
    sketch = CountMinSketch(4, 500_000).update([1])
    tracemalloc.start()
    try:
        sketch.save(path)
        assert tracemalloc.get_traced_memory()[1] < 0.1 * sketch.nbytes
        tracemalloc.reset_peak()
        twin = mergesketch.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * sketch.nbytes
    finally:
        tracemalloc.stop()
    assert twin == sketch


def test_unaligned_arrays_are_put_right(tmp_path: Path) -> None:
    data = SKETCHES["CountMinSketch"].to_bytes()
    header = header_of(data)
    body = data[8 + int.from_bytes(data[:8], "little") :]
    text = json.dumps(header).encode()
    text += b" " * ((5 - len(text)) % 8)
    path = tmp_path / "a.sketch"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    for mmap in (False, True):
        twin = mergesketch.load(path, mmap=mmap)
        assert twin == SKETCHES["CountMinSketch"]
        assert all(state.array.flags.aligned for state in twin.state.values())
        assert twin.update([1]).n_updates == 301
