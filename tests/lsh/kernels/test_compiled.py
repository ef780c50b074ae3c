"""Kernels are compiled as seldom as possible, and code on disk is used only where it is still right."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from mergesketch.lsh.kernels.compiled import helper, kernel, sources

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


def test_code_is_stale_when_a_kernel_that_it_calls_has_changed(tmp_path: Path) -> None:
    """Numba alone would run the old code of `twice`, for the file of `fill` is the same."""
    package = tmp_path / "kernels_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "user.py").write_text(USER)
    paths = os.pathsep.join([str(tmp_path), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for factor, expected in ((2, "0 2 4 0"), (2, "0 2 4 1"), (3, "0 3 6 0")):
        (package / "used.py").write_text(USED.format(factor=factor))
        done = subprocess.run(
            [sys.executable, "-B", "-c", RUN], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == expected


def imported(module: str) -> set[str]:
    """Return the modules of the package that a module of kernels imports, and those that they import."""
    loaded = import_module(module)
    found = {module}
    for node in ast.walk(ast.parse(Path(str(loaded.__file__)).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.module, f"{module} must import names of modules, not modules"
            found |= imported(resolve_name("." * node.level + node.module, loaded.__package__))
    return found


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


def copy_without_cache(folder: Path) -> Path:
    """Return a copy of the package's folders of kernels that no code can be written to, also as root."""
    root = folder / "site" / "mergesketch"
    without = shutil.ignore_patterns("__pycache__")
    for room in ("lsh", "sketches", "distributed", "gpu"):
        shutil.copytree(PACKAGE / room, root / room, ignore=without)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(PACKAGE / name, root / name)
    for kernels in root.glob("*/kernels"):
        (kernels / "__pycache__").touch()  # a file, so no folder
    return root.parent


def test_an_installation_that_cannot_be_written_keeps_code_in_the_cache_folder_of_the_user(
    tmp_path: Path,
) -> None:
    site = copy_without_cache(tmp_path)
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
