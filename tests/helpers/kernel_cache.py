"""Keep compiled kernels from one run of the tests to the next, also in another clone.

The folder of compiled kernels is named by a hash of all kernels. A new folder begins with the code of the
folder that was used last: the package itself compiles again what does not fit the changed sources. Numba
looks for compiled code by the path of the source; a link for every folder of kernels lets clones share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["digest_of", "kernel_folders", "prepare", "use_kernel_cache"]

#: Folders of other hashes that are kept, and the seconds for which one is safe after its last use.
KEPT, SAFE_SECONDS = 4, 24 * 3600.0


def kernel_folders(package: Path) -> list[Path]:
    """Return the folders of a package that have kernels."""
    return sorted(path for path in package.glob("*/kernels") if path.is_dir())


def digest_of(package: Path, environment: Mapping[str, str]) -> str:
    """Hash everything that compiled kernels depend on, except the processor, which Numba distinguishes."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    for name in sorted(name for name in environment if name.startswith("NUMBA_")):
        digest.update(f"{name}={environment[name]}\n".encode())
    for folder in kernel_folders(package):
        for path in sorted(folder.glob("*.py")):
            source = path.read_bytes()
            digest.update(f"{path.relative_to(package)} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:20]


def prepare(base: Path, package: Path, environment: Mapping[str, str]) -> Path:
    """Make and return the folder for the kernels of `package`, and remove old folders.

    Several processes may do so at once.
    """
    cache = base / digest_of(package, environment)
    if not cache.exists():
        _begin_with_last(base, cache)
    for folder in kernel_folders(package):
        shared = cache / str(folder.relative_to(package)).replace(os.sep, "-")
        shared.mkdir(parents=True, exist_ok=True)
        # The name that Numba gives to the folder of a source file.
        link = cache / f"{folder.name}_{hashlib.sha1(str(folder).encode()).hexdigest()}"
        with contextlib.suppress(FileExistsError):
            link.symlink_to(shared.name)
    os.utime(cache)
    _remove_old(base)
    return cache


def _begin_with_last(base: Path, cache: Path) -> None:
    """Copy the code of the folder that was used last to a new one."""
    with contextlib.suppress(OSError, ValueError):  # there is none, or another process has made the new one
        last = max((path for path in base.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        made = Path(tempfile.mkdtemp(prefix="new-", dir=base))
        for shared in last.glob("*-kernels"):
            shutil.copytree(shared, made / shared.name, ignore=shutil.ignore_patterns("*.lock"))
        try:
            made.rename(cache)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _remove_old(base: Path) -> None:
    ages = []
    for path in base.iterdir():
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            ages.append((time.time() - path.stat().st_mtime, path))
    for age, path in sorted(ages)[KEPT:]:
        if age > SAFE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def use_kernel_cache() -> None:
    """Make Numba keep kernels in that folder, in this process and in all that it starts.

    Nothing changes where the user has set NUMBA_CACHE_DIR, or where nothing can be written.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    found = importlib.util.find_spec("mergesketch")
    if found is None or found.origin is None:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with contextlib.suppress(OSError):
        cache = prepare(home / "mergesketch-tests", Path(os.path.abspath(found.origin)).parent, os.environ)
        os.environ["NUMBA_CACHE_DIR"] = str(cache)
