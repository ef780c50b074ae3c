"""Kernels are compiled as seldom as possible, and code on disk is used only where it is still right."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from copy_without_code import copy_without_code
from mergesketch.lsh.kernels import compile_lock
from mergesketch.lsh.kernels.code_cache import sources
from mergesketch.lsh.kernels.compiled import helper, kernel

PACKAGE = Path(mergesketch.__file__).parent

USER = """
import numpy as np
from mergesketch.lsh.kernels.compiled import kernel
from .used import twice

@kernel
def fill(out, start, stop):
    for i in range(start, stop):
        out[i] = twice(i)
"""
USED = """
from mergesketch.lsh.kernels.compiled import helper

@helper
def twice(x):
    return {factor} * x
"""
RUN = """
import numpy as np
from kernels_of_a_test import user

out = np.zeros(3, np.int64)
user.fill(out, 0, 3)
print(*out, sum(user.fill.stats.cache_hits.values()))
"""


class Package:
    """A package of two kernels, with a folder for their code."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder / "kernels_of_a_test", folder / "cache"
        self.folder.mkdir()
        (self.folder / "__init__.py").touch()
        (self.folder / "user.py").write_text(USER)
        self.write(2)
        paths = os.pathsep.join([str(folder), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
        self.environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(self.cache)}

    def write(self, factor: int) -> None:
        self.used = self.folder / "used.py"
        self.used.write_text(USED.format(factor=factor))

    def run(self, code: str = RUN) -> str:
        """Run code in a process of its own, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-B", "-c", code],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip() + done.stderr


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


@pytest.mark.slow
def test_code_is_stale_when_a_kernel_that_it_calls_has_changed(package: Package) -> None:
    """Numba alone would run the old code of `twice`, for the file of `fill` is the same."""
    for factor, expected in ((2, "0 2 4 0"), (2, "0 2 4 1"), (3, "0 3 6 0")):
        package.write(factor)
        assert package.run() == expected


@pytest.mark.slow
def test_a_process_that_runs_during_an_upgrade_neither_keeps_nor_loads_code(package: Package) -> None:
    change = "from kernels_of_a_test import used\nopen(used.__file__, 'w').write({!r})\n"
    # The first has the old functions in memory, and compiles them when the new source is on disk.
    assert package.run(change.format(USED.format(factor=3)) + RUN) == "0 2 4 0"
    assert [package.run(), package.run()] == ["0 3 6 0", "0 3 6 1"]
    # Code of the new source is on disk by now.
    package.write(2)
    assert package.run(change.format(USED.format(factor=3)) + RUN) == "0 2 4 0"
    package.write(2)
    assert package.run("import os\nfrom kernels_of_a_test import used\nos.remove(used.__file__)" + RUN) == (
        "0 2 4 0"
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_bytes", [0, 30])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_files_of_code_are_written_anew(package: Package, kind: str, n_bytes: int) -> None:
    assert package.run() == "0 2 4 0"
    for path in package.cache.rglob(f"*.{kind}"):
        path.write_bytes(path.read_bytes()[:n_bytes])
    assert [package.run(), package.run()] == ["0 2 4 0", "0 2 4 1"]


@pytest.mark.slow
def test_code_under_the_name_of_other_code_is_not_run(package: Package) -> None:
    """Two processes that compile two versions at the same moment give both one name."""
    assert package.run() == "0 2 4 0"
    (integers,) = (path for path in package.cache.rglob("user.fill*.nbc"))
    code = integers.read_bytes()
    shutil.rmtree(package.cache)
    reals = RUN.replace("np.int64", "np.float64")
    assert package.run(reals) == "0.0 2.0 4.0 0"
    integers.write_bytes(code)
    assert [package.run(reals), package.run(reals)] == ["0.0 2.0 4.0 0", "0.0 2.0 4.0 1"]


@pytest.mark.slow
def test_a_process_that_ended_before_it_wrote_code_leaves_no_stale_code(package: Package) -> None:
    """Numba writes the index first, so that it may name the file of an older version."""
    assert package.run() == "0 2 4 0"
    old = {path: path.read_bytes() for path in package.cache.rglob("*.nbc")}
    package.write(3)
    assert package.run() == "0 3 6 0"
    for path, code in old.items():
        path.write_bytes(code)
    assert [package.run(), package.run()] == ["0 3 6 0", "0 3 6 1"]


@pytest.mark.slow
def test_a_full_disk_stops_no_kernel(package: Package) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))"
    printed = package.run(limit + RUN)
    assert printed.startswith("0 2 4 0") and printed.count("RuntimeWarning: nothing can be written") == 1


@cache
def imported(module: str) -> frozenset[str]:
    """Return the modules of the package that a module of kernels imports, and those that they import."""
    loaded = import_module(module)
    found = {module}
    for node in ast.walk(ast.parse(Path(str(loaded.__file__)).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.module, f"{module} must import names of modules, not modules"
            found |= imported(resolve_name("." * node.level + node.module, loaded.__package__))
    return frozenset(found)


@pytest.mark.slow
def test_the_sources_of_code_are_all_modules_that_its_module_imports() -> None:
    modules = [
        f"mergesketch.{folder}.{path.stem}"
        for folder in ("lsh.kernels", "sketches.kernels", "distributed.kernels")
        for path in (PACKAGE / folder.replace(".", "/")).glob("*.py")
        if path.stem != "__init__"
    ]
    assert len(modules) > 50
    for module in modules:
        expected = [Path(str(import_module(name).__file__)) for name in imported(module)]
        assert sorted(sources(module)) == sorted(expected)


@pytest.mark.slow
def test_processes_that_need_one_function_at_the_same_time_compile_it_once(package: Package) -> None:
    go = package.folder / "go"
    code = f"""
import os, time
import numba.core.typed_passes
from kernels_of_a_test import user

print("ready", flush=True)
while not os.path.exists({str(go)!r}):
    time.sleep(0.001)
"""
    counts = "print(sum(user.fill.stats.cache_misses.values()), sum(user.twice.stats.cache_misses.values()))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-B", "-c", code + RUN + counts],
            env=package.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    go.touch()
    printed = [process.communicate(timeout=300)[0].split() for process in processes]
    assert all(line[:3] == ["0", "2", "4"] for line in printed)
    assert sorted(line[3:] for line in printed) == [["0", "1", "1"], ["1", "0", "0"], ["1", "0", "0"]]


@pytest.mark.slow
def test_a_fork_waits_until_no_thread_compiles(package: Package) -> None:
    code = """
import os, signal, threading, time, warnings
from mergesketch.lsh.kernels import compiled

compiling, announce = threading.Event(), compiled.announce_compilation

def announce_slowly():
    compiling.set()
    time.sleep(0.5)
    announce()

compiled.announce_compilation = announce_slowly
import numpy as np
from kernels_of_a_test import user

thread = threading.Thread(target=user.fill, args=(np.zeros(3, np.int64), 0, 3))
thread.start()
compiling.wait()
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on
child = os.fork()
if child == 0:
    signal.alarm(60)
    out = np.zeros(3)
    user.fill(out, 0, 3)
    os._exit(int(out.sum()))
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert package.run(code).split()[0] == "6"


def test_a_lock_that_nobody_gives_back_is_waited_for_in_vain_but_not_forever(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_lock, "_PATIENCE", 0.1)
    holder = f"""
import sys
from mergesketch.lsh.kernels.compile_lock import CompileLock
lock = CompileLock({str(package.folder)!r}, "f")
print(lock.acquire(), lock._locked, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "False True\n"
        lock = compile_lock.CompileLock(str(package.folder), "f")
        assert lock.acquire() and not lock._locked
        other = compile_lock.CompileLock(str(package.folder), "another function")
        assert not other.acquire() and other._locked
        other.release()
        process.communicate("")
    # The system has released the lock of the process that ended.
    assert not lock.acquire() and lock._locked
    lock.release()


@pytest.mark.slow
def test_threads_that_call_a_kernel_for_the_first_time_at_once_give_its_lock_back(package: Package) -> None:
    """Otherwise each thread makes a cache of its own, and the first one's lock is kept by the process."""
    code = """
import threading, time
import numpy as np
from kernels_of_a_test import user
from mergesketch.lsh.kernels.code_cache import KernelCache

caches, original = [], KernelCache.of

def of(function):
    found = original(function)
    caches.append(found)
    time.sleep(0.2 * len(caches))
    return found

KernelCache.of = of
threads = [threading.Thread(target=user.fill, args=(np.zeros(3, kind), 0, 3)) for kind in ("i8", "i4", "f8")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(user.fill.signatures), any(cache.lock._locked for cache in caches))
"""
    assert package.run(code) == "3 False"


def test_where_no_file_can_be_locked_nobody_waits(tmp_path: Path) -> None:
    lock = compile_lock.CompileLock(str(tmp_path / "absent"), "f")
    assert not lock.acquire() and not lock._locked
    lock.release()


READ_ONLY = """
import tempfile

def refuse(dir):
    if {names}:
        raise PermissionError(dir)
    return original(dir=dir)

original, tempfile.TemporaryFile = tempfile.TemporaryFile, refuse
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", ["'cache' in dir", "True"], ids=["the user has another folder", "nothing can be written"]
)
def test_code_is_loaded_from_a_folder_that_cannot_be_written(package: Package, names: str) -> None:
    """Numba finds out by a temporary file. The tests may run as a user who can write everywhere."""
    package.environment["XDG_CACHE_HOME"] = str(package.folder / "home")
    assert package.run() == "0 2 4 0"
    before = sorted(package.cache.rglob("*"))
    code = READ_ONLY.format(names=names) + RUN
    assert [package.run(code), package.run(code)] == ["0 2 4 1", "0 2 4 1"]
    assert sorted(package.cache.rglob("*")) == before


@pytest.mark.slow
def test_the_first_compilation_is_announced_once(package: Package) -> None:
    announcement = "mergesketch: compiling kernels for their first use"
    package.environment.pop("MERGESKETCH_QUIET")
    reals = RUN + RUN.replace("np.int64", "np.float64")
    assert package.run(reals).count(announcement) == 1
    assert announcement not in package.run(reals)
    shutil.rmtree(package.cache)
    package.environment["PMI_RANK"] = "1"
    assert announcement not in package.run(reals)
    shutil.rmtree(package.cache)
    package.environment |= {"PMI_RANK": "0", "MERGESKETCH_QUIET": "1"}
    assert announcement not in package.run(reals)


@helper
def _checked(x):
    if x < 0:
        raise ValueError("x must be at least 0, got", x)
    return x


@kernel
def _check_all(values):
    total = 0
    for value in values:
        total += _checked(value)
    return total


def test_errors_of_helpers_reach_python() -> None:
    assert _check_all(np.array([1, 2])) == 3
    with pytest.raises(ValueError, match="x must be at least 0") as raised:
        _check_all(np.array([1, -2]))
    assert raised.value.args == ("x must be at least 0, got", -2)


def test_helpers_have_no_machine_code() -> None:
    _check_all(np.array([1]))
    _check_all.recompile()  # or its code may come from disk, without that of the helper
    (compiled,) = _checked.overloads.values()
    assert compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0


@helper
def _shifted(x, by):
    return x + by


@kernel
def _shift(values, out):
    for i in range(values.size):
        out[i] = _shifted(values[i], 1) + _shifted(values[i], 2)


def test_literals_are_no_types_of_their_own() -> None:
    out = np.zeros(2, np.int64)
    _shift(np.array([5, 6]), out)
    assert out.tolist() == [13, 15]
    _shift.recompile()  # or its code may come from disk, without that of the helper
    assert len(_shifted.signatures) == 1


def test_helpers_are_called_by_kernels_only() -> None:
    _shift(np.array([1]), np.zeros(1, np.int64))
    with pytest.raises(TypeError, match=r"_shifted can be called by kernels only"):
        _shifted(1, 2)


@pytest.mark.slow
def test_an_installation_that_cannot_be_written_keeps_code_in_the_cache_folder_of_the_user(
    tmp_path: Path,
) -> None:
    site = copy_without_code(tmp_path)
    code = "import mergesketch as m; print(m.__file__, m.CountMinSketch(3, 9).update([1]).total)"
    plain = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    plain |= {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(**changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=plain | changes,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = run(XDG_CACHE_HOME=str(tmp_path / "user"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(site / "mergesketch" / "__init__.py"), "1"]
    assert list((tmp_path / "user").rglob("*.nbi"))
    # A folder that is none of the user's but happens to lie where the process runs.
    done = run(XDG_CACHE_HOME="relative")
    assert done.returncode == 0 and done.stderr.count("Warning") == 1, done.stderr
    assert not (tmp_path / "relative").exists()
