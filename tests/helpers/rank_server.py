"""Run the snippets that the tests send to this rank, one after another, each in a fresh namespace.

``mpiexec -n N python rank_server.py SOCKET`` starts N ranks. Each waits on its own connection, outside
of MPI, so that idle ranks take no processor time. A rank ends when its connection ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import io
import linecache
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Client
from typing import Any

import mergesketch.distributed.ranks.leaving
import mergesketch.lsh
import mergesketch.sketches


def _load_package() -> None:
    """Import every module that needs no GPU, so that no snippet is the first to import one.

    Layers of PyTorch are left out, because PyTorch need not be installed, and so are estimators, because the
    import of scikit-learn takes longer than that of everything else.
    """
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    for package in (mergesketch.lsh, mergesketch.sketches, mergesketch.distributed):
        for name in package.__all__:
            with contextlib.suppress(ModuleNotFoundError):
                getattr(package, name)
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            last = info.name.rpartition(".")[2]
            if last != "__main__" and not last.startswith("torch_"):
                with contextlib.suppress(ModuleNotFoundError):
                    importlib.import_module(info.name)
    del sys.modules["sklearn"]


@contextlib.contextmanager
def _unchanged_modules() -> Iterator[None]:
    """Put back the numbers, functions and classes of the package's modules that a snippet replaces."""
    before = {
        module: dict(vars(module))
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "mergesketch"
    }
    try:
        yield
    finally:
        for module, names in before.items():
            for name, value in names.items():
                if isinstance(value, (int, float, str, tuple)) or callable(value):
                    setattr(module, name, value)


def _run(code: str, arguments: list[str], folder: str) -> tuple[int, str, str]:
    """Return the exit code of a snippet, its standard output and its standard error."""
    out, err, name = io.StringIO(), io.StringIO(), "<snippet>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    os.chdir(folder)
    sys.argv[1:] = arguments
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _unchanged_modules():
        try:
            exec(compile(code, name, "exec"), {"__name__": "__main__", "os": os, "sys": sys})
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            status = 1
            traceback.print_exc()
    return status, out.getvalue(), err.getvalue()


def main() -> None:
    # The tests ask for the stacks of ranks that do not end.
    faulthandler.register(signal.SIGUSR1)
    # There are more ranks than cores, so a rank that waits without a pause keeps a core from one that works.
    mergesketch.distributed.ranks.leaving.BUSY = 0.0
    # Modules stay, so searching them for garbage while they are loaded takes time and finds nothing.
    gc.disable()
    _load_package()
    gc.freeze()
    gc.enable()
    with Client(sys.argv.pop(), family="AF_UNIX") as tests:
        tests.send((int(os.environ["PMI_RANK"]), os.getpid()))
        with contextlib.suppress(EOFError):
            while True:
                request: Any = tests.recv()
                tests.send(_run(*request))


if __name__ == "__main__":
    main()
