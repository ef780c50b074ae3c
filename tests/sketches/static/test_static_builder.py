"""Test builders of static functions: any batches, merges and files give StaticFunction's result."""

import errno
import gc
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mergesketch import StaticFunction, StaticFunctionBuilder
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import hash_keys
from mergesketch.lsh.hashing.unhash import unhash_u64
from mergesketch.sketches.coding import value_counts
from mergesketch.sketches.coding.codebook import Codebook
from mergesketch.sketches.coding.codebook_choice import Others
from mergesketch.sketches.static import records as static_records
from mergesketch.sketches.static.dictionary import Dictionary

VALUES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "small": lambda rng, n: rng.integers(-3, 4, n),
    "bytes": lambda rng, n: rng.integers(0, 200, n, dtype=np.uint8),
    "wide": lambda rng, n: rng.integers(0, 2**64, n, dtype=np.uint64),
    "even": lambda rng, n: 2 * rng.geometric(0.02, n),
    "mostly one": lambda rng, n: np.where(rng.random(n) < 0.9, 7, rng.integers(0, 1000, n)),
    "bool": lambda rng, n: rng.random(n) < 0.3,
    "float": lambda rng, n: rng.standard_normal(n).astype(np.float32),
    "U": lambda rng, n: np.array(["", "a", "bcd", "é"])[rng.integers(0, 4, n)],
    "S": lambda rng, n: np.array([b"x", b"yz"])[rng.integers(0, 2, n)],
    "object": lambda rng, n: np.array(["", "a", "bcd", "é"], dtype=object)[rng.integers(0, 4, n)],
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks small, so that files are appended to, and runs of counts cut, many times."""
    monkeypatch.setattr(static_records, "_PENDING", 40)
    monkeypatch.setattr(value_counts, "_MERGED", 64)
    monkeypatch.setattr(value_counts, "_SAMPLE", 8)


def keys_of(kind: str, n: int) -> Any:
    numbers = np.arange(n) * 7919 - 1000
    return numbers if kind == "int" else np.array([f"key {i}" for i in numbers.tolist()], dtype="U")


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_batches_and_merges_give_the_file(
    data: st.DataObject, tmp_path: Path, small_blocks: None
) -> None:
    kind = data.draw(st.sampled_from(["int", "text"]))
    values_of = data.draw(st.sampled_from(sorted(VALUES)))
    n = data.draw(st.sampled_from([0, 1, 2, 50, 400, 3000]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    keys, values = keys_of(kind, n), VALUES[values_of](rng, n)
    options: dict[str, Any] = {
        "seed": data.draw(st.sampled_from([0, 2**64 - 1])),
        "key_check_bits": data.draw(st.sampled_from([0, 9])),
    }
    if values_of == "float" and n:
        options["precision"] = data.draw(st.sampled_from([None, 0.25]))
    expected = StaticFunction(keys, values, **options).to_bytes()
    # In any order, a third of them twice.
    rows = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, max(n, 1), n // 3)]))
    cuts = np.sort(rng.integers(0, rows.size + 1, data.draw(st.integers(0, 6))))
    builders: list[StaticFunctionBuilder] = []
    for i, part in enumerate(np.split(rows, cuts)):
        if not builders or data.draw(st.booleans()):
            spill = tmp_path if data.draw(st.booleans()) else None
            builders.append(StaticFunctionBuilder(spill=spill, **options))
        batch = values[part].astype(np.int32) if values_of == "small" and i else values[part]
        builders[-1].update(keys[part], batch)
    while len(builders) > 1:
        one = builders.pop(data.draw(st.integers(0, len(builders) - 1)))
        if data.draw(st.booleans()):
            builders[0].merge(one)
        else:
            builders[0] = one | builders[0]
    if values_of == "small" and n:
        widest = values.astype(builders[0].gathered.kinds.result.dtype)
        expected = StaticFunction(keys, widest, **options).to_bytes()
    for _ in range(2):
        assert builders[0].build(progress=False).to_bytes() == expected
    assert builders[0].n_records == rows.size
    del builders[:]
    one = None
    gc.collect()
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize("values_of", ["small", "wide", "even", "mostly one"])
def test_rare_values_beyond_the_limit_are_escaped(
    values_of: str, limit: int, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_counts, "MOST_VALUES", limit)
    rng = np.random.default_rng(5)
    keys, values = keys_of("int", 3000), VALUES[values_of](rng, 3000)
    function = StaticFunction(keys, values)
    np.testing.assert_array_equal(function.lookup(keys), values)
    for spill in (None, tmp_path):
        builder = StaticFunctionBuilder(spill=spill)
        for part in np.array_split(rng.permutation(3000), 5):
            builder.update(keys[part], values[part])
        assert builder.build() == function


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 2**64 - 1), st.integers(1, 1000), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 10),
)
def test_counting_in_parts_keeps_the_most_frequent(table: dict[int, int], limit: int, n_parts: int) -> None:
    values = np.array(sorted(table), dtype=np.uint64)
    counts = np.array([table[v] for v in values.tolist()])
    most = value_counts.MOST_VALUES
    value_counts.MOST_VALUES = limit
    try:
        whole = value_counts.keep_most(values, counts)
        part_of = np.arange(values.size) % n_parts
        parts = [value_counts.keep_most(values[part_of == p], counts[part_of == p]) for p in range(n_parts)]
        merged = value_counts.merge_counted(parts)
    finally:
        value_counts.MOST_VALUES = most
    best = sorted(sorted(table, key=lambda v: (-table[v], v))[:limit])
    rest = sorted(set(table) - set(best))
    for found in (whole, merged):
        assert found.values.tolist() == best
        assert found.counts.tolist() == [table[v] for v in best]
        if rest:
            assert found.others is not None
            assert found.others[:3] == (sum(table[v] for v in rest), rest[0], rest[-1])
            assert found.others.step == math.gcd(*(v - rest[0] for v in rest))
        else:
            assert found.others is None


def test_codebooks_reach_others() -> None:
    values, counts = np.array([10, 20, 30], dtype=np.uint64), np.array([500, 90, 5])
    book = Codebook.build(values, counts, others=Others(40, 4, 64, 20))
    assert book.header.has_escape and book.header.n_keys == 635
    coded = book.encode(np.array([10, 20, 4, 24, 44, 64, 30]))
    # Steps of 2 are the greatest that reach all values; there are 30.
    assert book.header.raw_bits == 5
    assert coded.escaped[2:6].all() and not coded.escaped[:2].any()
    with pytest.raises(ValueError, match="others need an escape"):
        Codebook.build(values, counts, others=Others(1, 4, 4, 0), raw_bits_allowed=False)
    single = Codebook.build(values, counts, others=Others(1, 4, 4, 0))
    assert single.encode(np.array([4])).escaped.all()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_unhash_inverts_the_hash_of_integers(key: int, seed: int) -> None:
    assert unhash_u64(int(hash_keys(np.array([key], dtype=np.uint64), seed)[0]), seed) == key


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_unhash_at_the_ends_of_every_dtype(dtype: str) -> None:
    info = np.iinfo(dtype)
    for key in (int(info.min), 0, 1, int(info.max)):
        hash_ = int(hash_keys(np.array([key], dtype=dtype), 3)[0])
        assert unhash_u64(hash_, 3) == key % 2**64


@pytest.mark.parametrize("spilled", [False, True])
def test_two_values_for_a_key_are_told(spilled: bool, tmp_path: Path) -> None:
    def builder() -> StaticFunctionBuilder:
        return StaticFunctionBuilder(seed=4, spill=tmp_path if spilled else None)

    first, second = ("batches 0 to 1",) * 2 if spilled else ("row 1 of batch 0", "row 0 of batch 1")
    clashing = builder().update([1, -5], [10, 20]).update(np.array([-5, 3]), [21, 30])
    with pytest.raises(ValueError, match=rf"got -5 with 20 \({first}\) and 21 \({second}\)$"):
        clashing.build()
    large = builder().update(np.array([2**64 - 5], dtype=np.uint64), [True]).update([2**64 - 5], [False])
    with pytest.raises(ValueError, match=f"got {2**64 - 5} with True .* and False"):
        large.build()
    text = builder().update(["a", "b"], ["x", "y"]).update(["b"], ["z"])
    with pytest.raises(
        ValueError, match=rf"hash is {int(hash_keys(['b'], 4)[0]):#018x} with 'y' \({first}\) and 'z'"
    ):
        text.build()
    # Nothing has changed: the builder can be used, and fails as before.
    assert text.update(["c"], ["x"]).n_records == 4
    with pytest.raises(ValueError, match="choose another seed"):
        text.build()
    halves = builder().update([1, 2], [1, 2]) | builder().update([2, 1], [5, 1])
    with pytest.raises(ValueError, match=r"got 2 with 2 .* and 5"):
        halves.build()


def test_places_are_told_by_what_was_written_together(tmp_path: Path, small_blocks: None) -> None:
    builder = StaticFunctionBuilder(spill=tmp_path)
    for start in range(0, 200, 20):
        builder.update(np.arange(start, start + 20), np.zeros(20, dtype=int))
    builder.update([35], [1])
    with pytest.raises(ValueError, match=r"got 35 with 0 \(batches 0 to 1\) and 1 \(batch 10\)"):
        builder.build()


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (["a", "b"], [1, -2]),
        ([5, 6], ["x", "longer"]),
        ([b"a", b"b"], [b"x", b"y"]),
        ([5, 2**64 - 1], [0.5, 1.5]),
        (["a", "b"], [True, False]),
    ],
)
def test_keys_and_values_one_by_one(keys: Any, values: Any) -> None:
    expected = StaticFunction(keys, values).to_bytes()
    for array in (False, True):
        builder = StaticFunctionBuilder()
        for key, value in zip(keys, values, strict=True):
            is_number = array and not isinstance(value, (str, bytes))
            assert builder.update(np.array(key) if array else key, np.array(value) if is_number else value)
        assert builder.build().to_bytes() == expected


def test_all_ways_to_merge_are_one(tmp_path: Path) -> None:
    parts = [StaticFunctionBuilder().update([i, i + 1], [i, i + 1]) for i in range(3)]
    expected = parts[0].merge().build().to_bytes(), StaticFunction(range(4), range(4)).to_bytes()
    ways = [
        StaticFunctionBuilder().merge(*parts),
        StaticFunctionBuilder(spill=tmp_path).merge(parts),
        StaticFunctionBuilder().merge(part for part in parts),
        sum(parts),
        parts[0] + parts[1] | parts[2],
    ]
    one = StaticFunctionBuilder()
    for part in parts:
        before = one
        one |= part
        assert one is before
    for way in [*ways, one]:
        assert way.n_records == 6 and way.build().to_bytes() == expected[1]
    assert [part.n_records for part in parts] == [2, 2, 2] and parts[0].build().to_bytes() == expected[0]
    stranger: Any
    for stranger in (3, "abc", [parts[0], 3]):
        with pytest.raises(TypeError, match="expected a StaticFunctionBuilder"):
            one.merge(stranger)
    other = StaticFunctionBuilder(seed=1)
    with pytest.raises(IncompatibleSketchError, match="differ in seed"):
        one.merge([parts[0], other])
    assert one.n_records == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "values", "error"),
    [
        (["a"], [1], "keys must be integers as before, got strings"),
        ([1], [1.5], r"values must be of one kind, got float \(float64\) after int \(int64\)"),
        ([1], ["x"], "values must be of one kind"),
        ([1], np.array([1], dtype=np.uint64), r"got int \(uint64\) after int \(int64\)"),
        ([1], [True], "got bool"),
        ([1, 2], [1], "keys and values must have the same length, got 2 and 1"),
        ([1], [[1]], "values must be one-dimensional"),
        (iter([1]), [1], "keys must be an array or a list"),
        ([1.5], [1], "keys must be all str, all bytes or all int, got float"),
        ([1], [None], "values must be"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    keys: Any, values: Any, error: str, tmp_path: Path
) -> None:
    for spill in (None, tmp_path):
        builder = StaticFunctionBuilder(spill=spill).update([5, 6], [7, 8])
        before = builder.build().to_bytes()
        with pytest.raises((TypeError, ValueError), match=error):
            builder.update(keys, values)
        assert builder.n_records == 2
        assert builder.build().to_bytes() == before


def test_widths_of_floats_and_text_and_bytes_are_kept_apart() -> None:
    floats = StaticFunctionBuilder().update([1], np.array([1.5], dtype=np.float32))
    with pytest.raises(TypeError, match="float64"):
        floats.update([2], [1.5])
    with pytest.raises(TypeError, match="bytes"):
        StaticFunctionBuilder().update([1], ["a"]).update([2], [b"a"])
    mixed = StaticFunctionBuilder().update([1], np.array(["ab"])).update([2], ["c"]).build()
    assert mixed == StaticFunction([1, 2], ["ab", "c"])
    assert StaticFunctionBuilder().update(pa.array([1]), pa.array(["é"])).build()[1] == "é"


def test_texts_with_one_hash_are_refused_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = StaticFunctionBuilder().update([1], ["a"])
    word = next(iter(builder.gathered.dictionary._entries))

    def forged(self: Dictionary, values: Any, name: str) -> np.ndarray:
        self._entries[word] = b"other"
        return np.array([word], dtype=np.uint64)

    monkeypatch.setattr(Dictionary, "words", forged)
    with pytest.raises(ValueError, match="same 64-bit hash"):
        builder.update([2], ["other"])
    assert builder.n_records == 1 and builder.build()[1] == "a"


def test_configurations_must_agree() -> None:
    builder = StaticFunctionBuilder().update([1], [2])
    for other, field in (
        (StaticFunctionBuilder(seed=1), "seed: 0 here, 1 there"),
        (StaticFunctionBuilder(key_check_bits=3), "key_check_bits"),
        (StaticFunctionBuilder(precision=0.5), "precision"),
    ):
        with pytest.raises(IncompatibleSketchError, match=field):
            builder.merge(StaticFunctionBuilder().update([8], [9]), other)
        with pytest.raises(IncompatibleSketchError, match=field):
            builder | other
    with pytest.raises(TypeError, match="expected a StaticFunctionBuilder, got int"):
        builder.merge(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        builder | 3  # type: ignore[operator]
    assert builder.n_records == 1
    assert builder.merge(builder).build() == StaticFunction([1], [2])
    for name, value in (("seed", -1), ("key_check_bits", 65), ("precision", -1.0)):
        with pytest.raises(ValueError, match=name):
            StaticFunctionBuilder(**{name: value})


def test_extend_takes_an_iterator() -> None:
    builder = StaticFunctionBuilder().extend((np.arange(i, i + 5), np.arange(5)) for i in range(0, 50, 5))
    assert builder.build() == StaticFunction(np.arange(50), np.arange(50) % 5)


def test_files_are_private_and_gone_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="spill must be a folder"):
        StaticFunctionBuilder(spill=tmp_path / "absent")
    with StaticFunctionBuilder(spill=tmp_path) as builder:
        assert os.listdir(tmp_path) == []
        builder.update(np.arange(10), np.arange(10)).build()
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert not any(path.name.startswith("build-") for path in folder.iterdir())
    assert os.listdir(tmp_path) == [] and builder.n_records == 0
    assert builder.update(["a"], ["b"]).build()["a"] == "b"
    child = os.fork()
    if child == 0:
        builder.close()  # a copy, which owns no files
        os._exit(0)
    os.waitpid(child, 0)
    assert builder.build()["a"] == "b"
    builder.close()
    assert os.listdir(tmp_path) == []


def test_links_in_place_of_files_are_not_followed(tmp_path: Path, small_blocks: None) -> None:
    spill, target = tmp_path / "spill", tmp_path / "target"
    spill.mkdir()
    target.write_bytes(b"mine")
    builder = StaticFunctionBuilder(spill=spill)
    folder = builder.gathered.store.folder()
    for part in range(static_records.PARTS):
        (folder / f"records-{part:02d}").symlink_to(target)
    with pytest.raises(OSError, match="spill folder"):
        builder.update(np.arange(100), np.arange(100))
    assert target.read_bytes() == b"mine"


def test_a_full_disk_is_named_and_leaves_the_builder_whole(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = StaticFunctionBuilder(spill=tmp_path).update(np.arange(100), np.arange(100) % 3)
    opened = 0
    real = static_records._open_own

    def full(path: str, flags: int) -> int:
        nonlocal opened
        opened += 1
        if opened % 20 == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags)

    with monkeypatch.context() as patched:
        patched.setattr(static_records, "_open_own", full)
        for _ in range(3):
            with pytest.raises(OSError, match=r"spill folder: No space left.*" + tmp_path.name) as caught:
                builder.update(np.arange(100, 300), np.arange(200) % 3)
            assert caught.value.errno == errno.ENOSPC
    assert builder.n_records == 100
    assert builder.build() == StaticFunction(np.arange(100), np.arange(100) % 3)
    builder.update(np.arange(100, 300), np.arange(100, 300) % 3)
    assert builder.build() == StaticFunction(np.arange(300), np.arange(300) % 3)


@pytest.mark.slow
def test_files_bound_the_memory(tmp_path: Path) -> None:
    def batches() -> Any:
        for start in range(0, n, 100_000):
            keys = np.arange(start, start + 100_000)
            yield keys, keys & 3

    n = 3_000_000
    expected = StaticFunctionBuilder(spill=tmp_path).extend(batches()).build()  # also compiles all kernels
    threads = mergesketch.get_num_threads()
    mergesketch.set_num_threads(1)
    tracemalloc.start()
    try:
        with StaticFunctionBuilder(spill=tmp_path).extend(batches()) as builder:
            _, gathering = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            function = builder.build()
            _, building = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        mergesketch.set_num_threads(threads)
    assert function == expected
    # Records take 48 MB. Records to be written are in memory four times; then the output twice, a shard
    # and a part.
    assert gathering < 4 * 16 * (static_records._PENDING + 100_000) + 3e6
    assert building < 2 * function.nbytes + 40e6


@pytest.mark.slow
def test_threads_do_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    keys, values = rng.permutation(700_000), rng.geometric(0.4, 700_000)
    threads = mergesketch.get_num_threads()
    files = set()
    try:
        for n_threads in (1, 3):
            mergesketch.set_num_threads(n_threads)
            for spill in (None, tmp_path):
                with StaticFunctionBuilder(spill=spill) as builder:
                    files.add(
                        builder.update(keys[:1000], values[:1000]).update(keys, values).build().to_bytes()
                    )
    finally:
        mergesketch.set_num_threads(threads)
    assert files == {StaticFunction(keys, values).to_bytes()}


FORKED = """
import os, sys
import numpy as np
from mergesketch import StaticFunctionBuilder

# Records that fill the files, so that parent and child would write into them.
n = 1 << 18
keys = np.arange(4 * n)
with StaticFunctionBuilder(spill=sys.argv[1]) as builder:
    builder.update(keys[:n], keys[:n] % 5)
    child = os.fork()
    if child == 0:
        for use in (lambda: builder.update(keys[n : 2 * n], keys[n : 2 * n] % 3), builder.build,
                    lambda: StaticFunctionBuilder().merge(builder)):
            try:
                use()
            except RuntimeError as error:
                assert "make a builder in each process and merge them" in str(error)
            else:
                os._exit(1)
        assert builder.n_records == n
        builder.close()  # like a new one, with its own files
        with builder.update(keys[3 * n :], keys[3 * n :] % 3) as anew:
            right = (anew.build(progress=False).lookup(keys[3 * n :]) == keys[3 * n :] % 3).all()
        os._exit(0 if right else 2)
    builder.update(keys[2 * n : 3 * n], keys[2 * n : 3 * n] % 7)
    assert os.waitpid(child, 0)[1] == 0
    function = builder.build(progress=False)
    assert (function.lookup(keys[:n]) == keys[:n] % 5).all()
    assert (function.lookup(keys[2 * n : 3 * n]) == keys[2 * n : 3 * n] % 7).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_files_belong_to_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
