"""Test ``mergesketch warmup``, which compiles kernels before they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mergesketch
import pytest
from mergesketch.distributed.__main__ import main
from mergesketch.distributed.cli.warmup import public_objects, run_examples

COUNT = """
from mergesketch import CountMinSketch
CountMinSketch.for_error(0.1).update([1, 2, 2]).query([2])
"""


def run(code: list[str], cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MERGESKETCH_QUIET"}
    return subprocess.run(
        [sys.executable, *code],
        env=environment | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    done = run(["-m", "mergesketch.distributed", "warmup", "CountMinSketch"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["hash_keys", "CountMinSketch"]
    done = run(["-c", COUNT], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_almost_every_public_object_has_examples_that_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The doctests run them all; here are those of some, and the number of all."""
    objects = public_objects()
    assert {"BloomFilter", "SignedRandomProjection", "deduplicate", "hash_keys"} <= set(objects)
    here = os.getcwd()
    for name in ("BloomFilter", "CountMinSketch"):
        assert run_examples(name, objects[name]) > 0
    assert os.getcwd() == here
    assert capsys.readouterr().out == ""


def test_names_that_nothing_has_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "BloomFilters"]) == 2
    message = capsys.readouterr().err
    assert "no class or function named 'BloomFilters'; did you mean BloomFilter?" in message


def test_an_estimator_is_warmed_up_or_says_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    assert main(["warmup", "StormRegressor"]) == 0
    assert "StormRegressor: " in capsys.readouterr().out

    def missing(name: str, package: str) -> None:
        raise ModuleNotFoundError("no sklearn", name="sklearn")

    monkeypatch.delattr(mergesketch, "StormRegressor")  # which the first call has imported
    monkeypatch.setattr("mergesketch.lsh.support.late_names.import_module", missing)
    assert main(["warmup", "StormRegressor"]) == 2
    assert "mergesketch.StormRegressor needs scikit-learn: " in capsys.readouterr().err


def test_an_example_that_fails_is_named() -> None:
    def broken() -> None:
        """Do nothing.

        >>> 1 / 0
        """

    from mergesketch.errors import MergesketchError

    with pytest.raises(MergesketchError, match=r"the example of broken failed: ZeroDivisionError"):
        run_examples("broken", broken)
