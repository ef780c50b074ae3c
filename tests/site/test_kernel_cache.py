"""Test the folder of compiled kernels that the tests keep between runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import kernel_cache
import pytest
from kernel_cache import digest_of, prepare
from paths import environment

KERNEL = "from numba import njit\n\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"


def clone(folder: Path, kernel: str = KERNEL) -> Path:
    """Write a package of one kernel."""
    (folder / "lsh" / "kernels").mkdir(parents=True)
    (folder / "lsh" / "kernels" / "double.py").write_text(kernel)
    return folder


def compiled(package: Path, cache: Path) -> int:
    """Run the kernel of a package; return how many times it had to be compiled."""
    code = "from double import double; double(3); print(sum(double.stats.cache_misses.values()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(NUMBA_CACHE_DIR=str(cache)),
        cwd=package / "lsh" / "kernels",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_equal_kernels_in_another_folder_are_not_compiled_again(tmp_path: Path) -> None:
    first, second = clone(tmp_path / "a"), clone(tmp_path / "b")
    cache = prepare(tmp_path / "cache", first, {})
    assert prepare(tmp_path / "cache", second, {}) == cache == prepare(tmp_path / "cache", first, {})
    assert [compiled(first, cache), compiled(first, cache), compiled(second, cache)] == [1, 0, 0]


def test_any_change_of_the_kernels_or_of_how_they_are_compiled_starts_another_folder(tmp_path: Path) -> None:
    package = clone(tmp_path / "a")
    digests = [digest_of(package, {}), digest_of(package, {"NUMBA_OPT": "1"})]
    assert digest_of(package, {"HOME": "/"}) == digests[0]
    digests.append(digest_of(clone(tmp_path / "b", KERNEL.replace("2", "3")), {}))
    (package / "lsh" / "kernels" / "other.py").write_text("")
    digests.append(digest_of(package, {}))
    assert len(set(digests)) == 4


def test_a_new_folder_begins_with_the_code_of_the_last(tmp_path: Path) -> None:
    package = clone(tmp_path / "a")
    first = prepare(tmp_path / "cache", package, {})
    (first / "lsh-kernels" / "double.nbc").write_bytes(b"code")
    (first / "lsh-kernels" / "double.lock").touch()
    (package / "lsh" / "kernels" / "other.py").write_text("")
    second = prepare(tmp_path / "cache", package, {})
    assert second != first
    assert [path.name for path in (second / "lsh-kernels").iterdir()] == ["double.nbc"]
    assert (second / "lsh-kernels" / "double.nbc").read_bytes() == b"code"
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {first.name, second.name}
    assert second.stat().st_mode & 0o777 == 0o700


def test_folders_that_are_long_unused_are_removed(tmp_path: Path) -> None:
    package, cache = clone(tmp_path / "a"), tmp_path / "cache"
    used = time.time() - kernel_cache.SAFE_SECONDS - 100
    for age in range(kernel_cache.KEPT + 2):
        (cache / f"old-{age}").mkdir(parents=True)
        os.utime(cache / f"old-{age}", (used - age, used - age))
    (cache / "recent").mkdir()
    ours = prepare(cache, package, {})
    kept = {path.name for path in cache.iterdir()}
    assert kept == {ours.name, "recent", *(f"old-{age}" for age in range(kernel_cache.KEPT - 2))}


def test_a_folder_that_the_user_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    kernel_cache.use_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "/elsewhere"


def test_the_folder_lies_in_the_cache_of_the_user(tmp_path: Path) -> None:
    code = "import kernel_cache, os; kernel_cache.use_kernel_cache(); print(os.environ['NUMBA_CACHE_DIR'])"
    kept = environment(XDG_CACHE_HOME=str(tmp_path))
    kept.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    named = Path(done.stdout.strip())
    assert named.is_relative_to(tmp_path)
    assert sum(path.is_symlink() for path in named.iterdir()) == 3
