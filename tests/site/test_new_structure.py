"""The files on the page about new structures work as they are, and edit no list."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mergesketch
import pytest
from paths import ROOT

pytestmark = pytest.mark.slow

PACKAGE = Path(mergesketch.__file__).parent
PAGE = ROOT / "docs" / "developers" / "new-structure.md"
FILE = re.compile(r"^<!-- file: (\S+) -->\n(`{3,})\w+\n(.*?)^\2$", flags=re.DOTALL | re.MULTILINE)
FILES = {found[1]: found[3] for found in FILE.finditer(PAGE.read_text())}


def sources() -> Iterator[tuple[Path, Path]]:
    """Find the files of the package and of the project, and the paths that they have in the repository."""
    for root, folders in ((PACKAGE, ("lsh", "sketches", "distributed", "gpu")), (ROOT, ("tests", "docs"))):
        yield from ((path, path.relative_to(root)) for path in root.iterdir() if path.is_file())
        for folder in folders:
            for path in (root / folder).rglob("*"):
                if path.is_file() and not {"__pycache__", "_build"} & set(path.parts):
                    yield path, path.relative_to(root)


def copy_with_files(root: Path) -> None:
    """Make a copy of the repository, of links, which has the files of the page too."""
    for name, path in {name: path for path, name in sources()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(path)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with open(root / name, "x") as file:
            file.write(text)


def run(root: Path, *arguments: str) -> str:
    """Run pytest in the copy and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(root.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    # So that the copy looks for compiled kernels itself, in the folder of equal kernels.
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_every_kind_of_file() -> None:
    assert {name.split("/")[0] for name in FILES} == {"sketches", "tests", "docs", "benchmarks"}
    assert len(FILES) == 7


@pytest.mark.slow
def test_the_new_sketch_passes_its_tests_and_the_laws_and_keeps_to_the_architecture(tmp_path: Path) -> None:
    copy = tmp_path / "mergesketch"
    copy_with_files(copy)
    tests = ["tests/sketches/counts/test_maximum.py", "tests/laws/test_laws.py"]
    pages = ["tests/site/test_architecture.py", "tests/site/test_doctests.py"]
    rules = "keeps_to_the_table or numba_is or circle or every_kernel_is_used or maximum or Maximum"
    out = run(copy, "-v", *tests, *pages, "-k", rules)
    passed = re.findall(r"^(\S+)::\S.* PASSED", out, flags=re.MULTILINE)
    assert set(passed) == {*tests, *pages}, out
    assert sum(name in tests for name in passed) > 20, out
