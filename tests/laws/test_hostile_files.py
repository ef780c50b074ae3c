"""Test that files made to harm are refused with SketchFormatError, quickly and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import safetensors.numpy
from forged_files import SKETCHES, assert_refused, forged, header_of, with_header
from mergesketch import (
    AceSketch,
    CountMinSketch,
    LSHIndex,
    MergeableSketch,
    PrivateRace,
    Race,
    StaticFunction,
    private_classifier,
)
from mergesketch.errors import SketchFormatError
from mergesketch.lsh import InnerProduct, SignedRandomProjection, WinnerTakeAll
from mergesketch.sketches.core.stored import stored_classes
from night import IS_NIGHT
from paths import TESTS, environment
from registry import stored_examples
from toy_family import ToyFamily

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
    # A complete header that is larger than any sketch needs is not even parsed.
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


def test_a_private_model_of_countless_features_is_refused_at_once(tmp_path: Path) -> None:
    X = np.random.default_rng(0).uniform(-1, 1, (50, 4))
    model = private_classifier(X, np.arange(50) % 2, epsilon=1.0, classes=[0, 1], low=-1.0, high=1.0)

    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"])
        config["family"]["n_features"], config["family"]["n_hashes"] = 2**28, 17
        header["__metadata__"]["config"] = json.dumps(config)

    assert_refused(forged(model, change), tmp_path / "a", "expected counts as")


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
        assert_refused(data, tmp_path / "a", "expected the arrays .*if another version wrote the file")


def test_hostile_states_of_heavy_hitters(tmp_path: Path) -> None:
    """Lengths and indices for kernels and decoders are checked even where checksums are right."""
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
    refused(set_to("candidate_counts", 0, 0), "used records must come first")
    refused(set_to("candidate_counts", 0, -1), "used records must come first")
    refused(set_to("candidate_counts", 0, 2**62), "candidate_counts must be at most total in all")
    refused(set_to("key_forms", 0, 77), "key_forms must be those of integers, or of strings and bytes")
    refused(set_to("key_forms", 0, 1 | 4), "key_forms must be those of integers, or of strings and bytes")
    refused(set_to("key_forms", 0, 1), "an integer key must have 8 bytes")
    refused(set_to("candidate_keys", (0, 0), 0xFF), "can't decode|hashes of candidate_keys")
    refused(set_to("candidate_hashes", 0, 1), "must be the hashes of candidate_keys")
    refused(set_to("total", 0, -5), "total must be at least 0")

    def swap(arrays: dict[str, np.ndarray]) -> None:
        for name in ("candidate_hashes", "candidate_counts", "candidate_lengths", "candidate_keys"):
            arrays[name][:2] = arrays[name][1::-1].copy()

    refused(swap, "must rise")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ids_beyond_63_bits_are_looked_up_nowhere(dtype: Any) -> None:
    """An index cannot know the number of rows of a search, so the search checks ids that no row can have."""
    family = SignedRandomProjection(4, n_hashes=3, power=2, seed=1)
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(dtype)
    index = LSHIndex(family, capacity=4, wide_ids=True).add(rows)
    for forged_slot in (2**63, 2**63 + 1, 10958613766568585332, 2**64 - 1):
        twin = index.copy()
        twin._arrays["slots"][...] = np.uint64(forged_slot)
        loaded = LSHIndex.from_bytes(twin.to_bytes())
        with pytest.raises(ValueError, match="rows must have a row for each id found, got 50 rows"):
            loaded.search(rows, rows, k=3)


@pytest.mark.slow
def test_refusals_under_a_memory_limit(tmp_path: Path) -> None:
    """Refusing hostile files takes little memory beyond that of the interpreter."""
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


# -- using what loads -----------------------------------------------------------------------------


@pytest.mark.slow
def test_what_loads_is_used_within_the_means_of_its_file() -> None:
    """Numbers and arrays of every class are forged; every method of the objects that load is called.

    Each is forged in one or two ways, and at night in all.
    """
    command = [sys.executable, TESTS / "helpers" / "forged_uses.py", *["all"] * IS_NIGHT]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=500
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_stored_class_is_forged() -> None:
    classes = stored_classes().items()
    ours = {name for name, cls in classes if cls.__module__.partition(".")[0] == "mergesketch"}
    assert {type(sketch).__name__ for sketch in stored_examples().values()} == ours


def with_family(sketch: Any, **changes: Any) -> bytes:
    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"])
        config["family"].update(changes)
        header["__metadata__"]["config"] = json.dumps(config)

    return forged(sketch, change)


def test_numbers_that_no_array_tells_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = LSHIndex(InnerProduct(4, 2, max_norm=9.0, power=2, seed=1), capacity=2)
    winners = LSHIndex(WinnerTakeAll(4, 1, group_size=2, n_buckets=8), capacity=2)
    assert_refused(
        with_family(products, n_features=2**36),
        tmp_path / "a",
        r"InnerProduct of n_features=68719476736, n_hashes=2, power=2.* takes .* random parameters",
    )
    assert_refused(
        with_family(winners, power=2**20),
        tmp_path / "a",
        "power must be an integer from 1 to 1024, got 1048576",
    )
    # A user who trusts the file can raise the limit.
    data = with_family(products, n_features=2**27)
    assert_refused(data, tmp_path / "a", "set MERGESKETCH_MAX_DRAWN=536870920$")
    monkeypatch.setenv("MERGESKETCH_MAX_DRAWN", "536870920")
    assert LSHIndex.from_bytes(data).family.n_features == 2**27


@pytest.mark.parametrize("features", [2**27, 2**40, 2**62])
def test_modes_in_a_box_of_countless_features(features: int) -> None:
    release = Race(SignedRandomProjection(4, 2, projection="sparse", seed=1)).release(1.0)
    loaded = PrivateRace.from_bytes(with_family(release, n_features=features))
    with pytest.raises(ValueError, match=f"n_starts must be at most 0 for rows of {features}"):
        loaded.modes(low=0.0, high=1.0)


def test_fewer_updates_than_none_are_refused() -> None:
    n_checked = 0
    for name, sketch in stored_examples().items():
        if not isinstance(sketch, MergeableSketch):
            continue
        forgery = sketch.copy()
        forgery._arrays["n_updates"][:] = -1
        try:
            sketch.copy().subtract(sketch)
        except TypeError:
            n_checked += 1
            with pytest.raises(SketchFormatError, match="n_updates"):
                type(sketch).from_bytes(forgery.to_bytes())
        else:
            # The difference of a part and the whole has fewer rows than none.
            assert type(sketch).from_bytes(forgery.to_bytes()).n_updates == -1, name
    assert n_checked >= 10


def test_numbers_beyond_all_floats_are_no_configuration(tmp_path: Path) -> None:
    """Infinity, written as 1e999, could not be saved again."""

    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["config"] = header["__metadata__"]["config"].replace("0.25", "1e999")

    assert_refused(forged(SKETCHES["HeavyHitters"], change), tmp_path / "a", "1e999 is beyond all floats")


def test_classes_that_are_but_the_base_of_others(tmp_path: Path) -> None:
    for name in ("StaticValues", "StaticStructure", "Stored", "MergeableSketch"):

        def change(header: dict[str, Any], name: str = name) -> None:
            header["__metadata__"]["class"] = name

        data = forged(StaticFunction([1, 2], [3, 4]), change)
        with pytest.raises(SketchFormatError, match="expected a sketch class of this version"):
            StaticFunction.from_bytes(data)
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(SketchFormatError, match="expected a sketch class of this version"):
            mergesketch.load(tmp_path / "a")


@pytest.mark.parametrize("keys", [[1, 2], []])
def test_a_static_function_has_one_column(keys: list[int]) -> None:
    function = StaticFunction(keys, np.full(len(keys), 3.0))

    def columns(n: int) -> Callable[[dict[str, Any]], None]:
        def change(header: dict[str, Any]) -> None:
            config = json.loads(header["__metadata__"]["config"])
            config["columns"] *= n
            header["__metadata__"]["config"] = json.dumps(config)

        return change

    for n in (0, 2):
        with pytest.raises(SketchFormatError, match=f"columns must have one entry, got {n}"):
            StaticFunction.from_bytes(forged(function, columns(n)))


def test_samples_of_more_rows_than_were_seen() -> None:
    """Two such detectors would together count beyond 63 bits, and could not be loaded again."""
    detector = AceSketch(ToyFamily(4, 3, seed=1), sample_size=8).update(np.zeros((5, 4), int))
    for weights in ([2**62], [6], [2**63 - 1, 2**63 - 1, 2**63 - 1]):
        twin = detector.copy()
        twin._arrays["sample_weights"][: len(weights)] = weights
        twin._arrays["sample_keys"][: len(weights)] = range(len(weights))
        with pytest.raises(SketchFormatError, match="sample_weights must not count more rows than n_updates"):
            AceSketch.from_bytes(twin.to_bytes())
    twin = detector.copy()
    twin._arrays["sample_weights"][:] = 0
    with pytest.raises(SketchFormatError, match="sample_weights must hold some of the rows"):
        AceSketch.from_bytes(twin.to_bytes())


def test_messages_quote_a_file_in_escapes() -> None:
    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"])
        header["__metadata__"]["config"] = json.dumps({**config, "\x1b[2J": 1})

    with pytest.raises(SketchFormatError) as caught:
        CountMinSketch.from_bytes(forged(SKETCHES["CountMinSketch"], change))
    assert "\\x1b[2J" in str(caught.value) and str(caught.value).isprintable()
