"""Type checkers see the package's types in a project that installed it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("mypy")

#: A user's program. A `type: ignore` comment states an error that the checker must find.
PROGRAM = """
from typing import Literal, assert_type

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from mergesketch import BloomFilter, CountMinSketch, LSHIndex, Race, StaticFunction, load
from mergesketch.lsh import MinHash, SignedRandomProjection, hash_keys

X = np.zeros((4, 3))
family = SignedRandomProjection(n_features=3, n_hashes=8, power=2, seed=1)
race = Race(family)

# An update returns the sketch itself, of its own class; so do merges, copies and moves.
assert_type(race.update(X), Race)
assert_type(race.update(X).merge(race.copy()), Race)
assert_type(race | race, Race)
assert_type(race.to("cpu"), Race)
assert_type(race.device, Literal["cpu", "gpu"])
race.to("tpu")  # type: ignore[arg-type]
race.update()  # type: ignore[call-arg]

# The type of an answer depends on what was asked for.
assert_type(race.query(X), NDArray[np.float64])
assert_type(race.query(X, return_std=True), tuple[NDArray[np.float64], NDArray[np.float64]])
assert_type(race.density(X, groups=2), NDArray[np.float64])
assert_type(race.density(X, return_std=True), tuple[NDArray[np.float64], NDArray[np.float64]])

# Rows are arrays, lists, sparse matrices and sets.
assert_type(family.hash([[1.0, 2.0, 3.0]]), NDArray[np.uint32])
assert_type(family.hash(scipy.sparse.csr_array(X)), NDArray[np.uint32])
assert_type(MinHash(n_hashes=4, seed=1).hash([[1, 2], [3]]), NDArray[np.uint32])
assert_type(LSHIndex(family).add(X).query(X, k=2).ids, NDArray[np.int64])
family.hash(race)  # type: ignore[arg-type]

# Keys are integers, strings and bytes, in lists and arrays.
assert_type(hash_keys(["one", "two"]), NDArray[np.uint64])
assert_type(BloomFilter(100, error_rate=0.01).update(np.arange(3)), BloomFilter)
assert_type(CountMinSketch(3, 50).update([b"key"]).query([b"key"]), NDArray[np.int64])
assert_type("one" in BloomFilter(100, error_rate=0.01), bool)
StaticFunction(["one", "two"], [1, 2]).lookup(["one"])
hash_keys(race)  # type: ignore[call-overload]
load(5)  # type: ignore[arg-type]
"""


@pytest.mark.slow
def test_types_of_a_users_program(wheel: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    environment, program = tmp_path / "venv", tmp_path / "program.py"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    (site,) = environment.glob("lib/python*/site-packages")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, site], check=True, timeout=120)
    # The other packages are those of the environment of the tests.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program.write_text(PROGRAM)
    cache = kept.mkdir("mypy") if (kept := getattr(request.config, "cache", None)) else tmp_path / "cache"
    python = environment / "bin" / "python"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            cache,
            "--python-executable",
            python,
            program,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PATH": ""},
    )
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr
