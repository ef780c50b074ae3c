"""Test that every example runs: in docstrings, and in Python blocks of the README and of docs/."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import cuda_host
import fake_cupy
import pytest
from paths import ROOT

#: The test of the gallery runs its pages, and compares what they print.
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if not {"_build", "gallery"} & {*page.parts}),
]
ROOMS = ["lsh", "sketches", "distributed", "gpu"]


def available(name: str) -> bool:
    """Check for a package, one of its modules, Java, or a GPU or its stand-in."""
    if name == "gpu":
        if cuda_host.compiler() is not None:
            fake_cupy.install()
        return "cupy" in sys.modules
    if name == "java":
        return shutil.which("java") is not None
    try:
        return importlib.import_module(name) is not None if "." in name else find_spec(name) is not None
    except ImportError:
        return False


def modules() -> list[str]:
    names = ["mergesketch", "mergesketch.errors"]
    # The stand-in for CuPy must exist before the first module that imports CuPy.
    for room in ROOMS if available("gpu") else ROOMS[:-1]:
        package = importlib.import_module(f"mergesketch.{room}")
        names.append(package.__name__)
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            names.append(info.name)
    with_torch = available("torch")
    return [name for name in names if not name.endswith("__main__") and (with_torch or ".torch_" not in name)]


class Finder(doctest.DocTestFinder):
    """Find public classes in the module that defines them, though they are shown under another name."""

    def _from_module(self, module, object):
        if isinstance(object, type):
            return vars(object).get("_defined_in", object.__module__) == module.__name__
        # Queries are wrapped.
        return super()._from_module(module, inspect.unwrap(object))


def doctests(name: str) -> list[doctest.DocTest]:
    found = Finder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.slow
@pytest.mark.parametrize("name", modules())
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctests(name):
        runner.run(test)
    assert runner.summarize().failed == 0


def test_no_docstring_is_left_out():
    """The number of examples has not fallen below the one at which the floor was set."""
    found = {
        (test.name.rpartition(".")[2], test.docstring): test for name in modules() for test in doctests(name)
    }
    assert len(found) >= 79 and sum(len(test.examples) for test in found.values()) >= 396


def blocks(page: Path) -> list[str]:
    """Return the Python blocks, except those below ``<!-- needs: package -->`` whose package is absent."""
    found = re.findall(
        r"^(?:<!-- needs: ([\w., ]+) -->\n)?```python\n(.*?)^```",
        re.sub(r"^(`{4,})\w*\n.*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE),
        flags=re.DOTALL | re.MULTILINE,
    )
    return [block for needs, block in found if all(map(available, re.findall(r"[\w.]+", needs)))]


def test_blocks_are_left_out_only_where_a_package_is_absent(tmp_path):
    page = tmp_path / "page.md"
    fence = "```python\n{}\n```\n"
    needs = "<!-- needs: {} -->\n"
    page.write_text(
        fence.format("a")
        + needs.format("numpy, no_such_package")
        + fence.format("b")
        + needs.format("numpy, numpy.linalg")
        + fence.format("c")
        + needs.format("numpy.no_such_module")
        + fence.format("d")
    )
    assert blocks(page) == ["a\n", "c\n"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page, tmp_path, monkeypatch):
    """The blocks of a page run in order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "page"}
    for number, block in enumerate(blocks(page)):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, namespace, f"{page.name}[{number}]", None, 0)
            assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0
            namespace.update(test.globs)
        else:
            exec(compile(block, f"{page.name}[{number}]", "exec"), namespace)
