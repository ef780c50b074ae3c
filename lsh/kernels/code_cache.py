"""Files that keep the code of compiled functions.

They are those of Numba, in the folder named by `NUMBA_CACHE_DIR`; without it, in ``__pycache__`` beside the
source; where that cannot be written, in the cache folder of the user. They differ in these ways:

- Code counts as stale when the source of any kernel that it may contain has changed. Numba itself looks at
  the file of the function alone, and would run old code after an upgrade of another file.
- A process that runs during an upgrade neither loads nor keeps code: the sources on disk are not its own.
- A file of code says what it is for. Two processes that compile different versions of one function at the
  same moment may give their files one name; Numba would then run the code of one version for the other.
- Files that are damaged, after a power failure for example, are written anew.
- Code is also loaded from those folders that cannot be written, such as a folder of a container's image.
- One process compiles a function while others that need it wait, and then load it; see `compile_lock`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import resolve_name
from itertools import takewhile
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
)
from numba.core.runtime.nrt import rtsys

from .announcements import warn_of_lost_code
from .compile_lock import CompileLock
from .inlined import InlinedCacheImpl

__all__ = ["HelperCache", "KernelCache", "sources"]

#: The time before which this process read no source of a kernel.
_STARTED = time.time_ns()

_IMPORT = re.compile(r"^from (\.[\w.]*) import ", re.MULTILINE)


class _ReadOnly:
    """The part of a locator that accepts a folder which is there, whether or not it can be written."""

    def ensure_cache_path(self) -> None:
        if not os.path.isdir(self.get_cache_path()):  # type: ignore[attr-defined]
            raise FileNotFoundError


# The folder that the user names, and the one beside the source. The names of the classes differ between
# versions of Numba by an underscore.
_READ_ONLY: list[Any] = [
    type(f"_ReadOnly{locator.__name__}", (_ReadOnly, locator), {})
    for locator in CompileResultCacheImpl._locator_classes
    if locator.__name__.lstrip("_") in ("UserProvidedCacheLocator", "InTreeCacheLocator")
]

# Without a home folder, Numba would make one named "~" in the working folder, and load code from there.
_LOCATORS = [
    locator
    for locator in CompileResultCacheImpl._locator_classes
    if "UserWide" not in locator.__name__
    or os.path.isabs(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~")))
] + _READ_ONLY


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = _LOCATORS


class _HelperCacheImpl(InlinedCacheImpl):
    _locator_classes = _LOCATORS


class _Files(IndexDataCacheFile):
    """The files of a function's code: an index, and one file for each combination of argument types."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        try:
            stamp, found, data = super().load(key)
        except Exception:
            # There is none, or it is damaged: unpickling may raise any error then.
            return None
        return data if (stamp, found) == (self._source_stamp, key) else None

    def _load_index(self) -> dict[Any, str]:
        try:
            return dict(super()._load_index())
        except Exception:
            return {}


class KernelCache(FunctionCache):
    """The cache of a kernel."""

    _impl_class: type[CompileResultCacheImpl] = _KernelCacheImpl

    def __init__(self, function: Callable[..., Any], stamp: str) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)
        # Folders that come before this one, so that they cannot be written.
        found = (locator.from_function(function, inspect.getfile(function)) for locator in _READ_ONLY)
        folders = (locator.get_cache_path() for locator in found if locator)
        before = takewhile(lambda folder: folder != self._cache_path, folders)
        others = [_Files(folder, self._impl.filename_base, stamp) for folder in before]
        self._all_files = [self._cache_file, *others]
        self.lock = CompileLock(self._cache_path, self._impl.filename_base)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> KernelCache | None:
        """Return the cache of a function, or None if nothing can or may be written for it."""
        stamp = _stamp_of_unchanged(function.__module__)
        if stamp is None:
            return None
        try:
            return cls(function, stamp)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            warn_of_lost_code()
            return None

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the code for a signature. If there is none, lock the function for its compilation."""
        # Numba would first load all that it can compile, which takes longer than everything else here.
        rtsys.initialize(target_context)
        key = self._index_key(signature, target_context.codegen())
        data = next((data for files in self._all_files if (data := files.load(key)) is not None), None)
        # Another process may have compiled the function while this one waited for the lock.
        if data is None and self.lock.acquire():
            data = self._cache_file.load(key)
        return None if data is None else self._impl.rebuild(target_context, data)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write the code for a signature."""
        try:
            super().save_overload(signature, compiled)
        except OSError:
            # The disk is full, for example. The code is there for this process.
            warn_of_lost_code()


class HelperCache(KernelCache):
    """The cache of a helper."""

    _impl_class = _HelperCacheImpl


def _stamp_of_unchanged(module: str) -> str | None:
    """Return the stamp of a module's sources; None if they may have changed since this process read them."""
    # Not the time of the content, which an installation sets to an old one.
    try:
        stamp, paths = _stamp(module)
        return stamp if all(os.stat(path).st_ctime_ns < _STARTED for path in paths) else None
    except OSError:
        return None  # One is gone.


@cache
def _stamp(module: str) -> tuple[str, list[Path]]:
    digest, paths = hashlib.sha256(), list(sources(module))
    for source in paths:
        digest.update(source.read_bytes())
    return digest.hexdigest(), paths


def sources(module: str) -> Iterator[Path]:
    """Yield the file of a module, then those of all modules of the package that it imports."""
    waiting = [module]
    for name in waiting:
        loaded = sys.modules[name]
        path = Path(str(loaded.__file__))
        yield path
        # The pattern also finds text that looks like an import; that names no module, or one too many.
        imports = _IMPORT.findall(path.read_text()) if loaded.__package__ else []
        imported = dict.fromkeys(resolve_name(found, loaded.__package__) for found in imports)
        waiting.extend(other for other in imported if other in sys.modules and other not in waiting)
