"""Test files of sketches: a stranger's bytes cause nothing but SketchFormatError, and writing is atomic."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import safetensors.numpy
from forged_files import SKETCHES, assert_refused, forged, header_of
from mergesketch import CountMinSketch, CountSketch, MergeableSketch, Race
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.core import atomic

every_sketch = pytest.mark.parametrize("sketch", SKETCHES, indirect=True)


@pytest.fixture
def sketch(request: pytest.FixtureRequest) -> MergeableSketch:
    return SKETCHES[request.param]


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


@pytest.mark.slow
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
    assert told["arrays"] == {
        "counts": "int32[3, 50]",
        "total": "int64[1]",
        "key_forms": "uint8[1]",
        "part_forms": "uint8[8]",
        "n_updates": "int64[1]",
    }
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
        # JSON can write the same in several ways; then nothing may be lost.
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
        with pytest.raises(SketchFormatError, match="it is not a regular file"):
            mergesketch.load("/dev/zero")


def test_a_pipe_is_neither_waited_for_nor_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for read in (mergesketch.load, mergesketch.inspect, CountMinSketch.load):
        with pytest.raises(SketchFormatError, match="pipe: expected a sketch file: it is not a regular file"):
            read(path)
    with pytest.raises(FileExistsError, match="exists and is not a file"):
        SKETCHES["Race"].save(path)
    assert path.is_fifo() and os.listdir(tmp_path) == ["pipe"]


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
    with pytest.raises(KeyboardInterrupt), atomic.atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert leftovers(tmp_path) == ["a.sketch"]
    assert mergesketch.load(path) == old
    new.save(path)
    assert mergesketch.load(path) == new


def test_errors_of_saving_name_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not name the temporary file, which the caller does not know; a full disk names no file."""
    sketch = SKETCHES["CountMinSketch"]
    for path, error in (
        (tmp_path / "absent" / "a", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        (tmp_path / ("x" * 256), OSError),
    ):
        with pytest.raises(error) as raised:
            sketch.save(path)
        assert raised.value.filename == str(path) and raised.value.filename2 is None
        assert leftovers(tmp_path) == []

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*/a'$"):
            sketch.save(tmp_path / "a")
    # An error of another file that the block reads is not changed.
    with pytest.raises(FileNotFoundError, match="other"), atomic.atomic_write(tmp_path / "a"):
        (tmp_path / "other").read_bytes()


def test_paths_are_names_of_files_and_no_descriptors(tmp_path: Path) -> None:
    sketch = SKETCHES["CountMinSketch"]
    name = os.fsencode(tmp_path / "a")
    sketch.save(name)
    assert mergesketch.load(name) == sketch
    with open(tmp_path / "a", "rb") as file:
        for call in (mergesketch.load, mergesketch.inspect, sketch.save):
            with pytest.raises(TypeError, match="path must be a path or a binary file object, got int"):
                call(file.fileno())
        assert file.read(8)  # nobody has closed it


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the system itself refuses the bytes."""
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
    sys.exit(7 if error.filename == sys.argv[1] else 8)
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
from mergesketch.sketches.core import atomic
sketch = mergesketch.CountMinSketch(4, 100_000).update(["a"])
with atomic.atomic_write(sys.argv[1]) as temporary:
    temporary.write_bytes(sketch.to_bytes()[:1000])
    print("half", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert mergesketch.load(path) == old
    assert [name for name in leftovers(tmp_path) if not name.startswith(".mergesketch-")] == ["a.sketch"]
    assert len(leftovers(tmp_path)) == 2
    # The next save removes the files of the killed process, but not those that others still write.
    others = [f".mergesketch-00000000-{i}.tmp" for i in range(2)]
    for name, age in zip(others, (0, 7 * 86_400), strict=True):
        (tmp_path / name).write_bytes(b"of another machine")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with atomic.atomic_write(tmp_path / "b.sketch") as written:
        written.write_bytes(b"half")
        old.save(path)
        assert leftovers(tmp_path) == sorted(["a.sketch", others[0], written.name])
    assert leftovers(tmp_path) == [others[0], "a.sketch", "b.sketch"]


def test_a_file_that_another_process_takes_for_one_left_behind_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock, a temporary file looks like that of a killed process."""
    open_file, removers = os.open, []

    def open_and_lose(path: Any, flags: int, *args: Any) -> int:
        descriptor = open_file(path, flags, *args)
        if flags & os.O_EXCL and len(removers) < 2:
            # The other process has found the file and locked it. It removes the file, then gives up the lock.
            other = open_file(path, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lost = Path(path)

            def remove() -> None:
                lost.unlink()
                os.close(other)

            removers.append(threading.Timer(0.02, remove))
            removers[-1].start()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    with atomic.atomic_write(tmp_path / "a.sketch") as temporary:
        temporary.write_bytes(b"whole")
    assert len(removers) == 2
    assert (tmp_path / "a.sketch").read_bytes() == b"whole"
    assert leftovers(tmp_path) == ["a.sketch"]


def test_an_error_is_not_hidden_by_clearing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="No space left"), atomic.atomic_write(tmp_path / "a.sketch"):
        raise OSError(errno.ENOSPC, "No space left on device")


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
    for mode in (0o600, 0o640, 0o444):
        path.chmod(mode)
        with atomic.atomic_write(path) as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == mode | 0o600, "read by more while it is written"
            temporary.write_bytes(path.read_bytes())
        assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
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
