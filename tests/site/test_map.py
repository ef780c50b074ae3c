"""The map of the repository is complete, and is the one that the tree of files gives."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import mergesketch
import pytest
from paths import ROOT

PACKAGE = Path(mergesketch.__file__).parent
PAGE = ROOT / "docs" / "developers" / "map.md"


@pytest.fixture(scope="module")
def make_map() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_map", PAGE.with_name("make_map.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_map_is_up_to_date(make_map: ModuleType) -> None:
    """Otherwise run `python docs/developers/make_map.py`."""
    assert make_map.page(PACKAGE, ROOT) == PAGE.read_text()


@pytest.mark.parametrize(
    "name", ["mergesketch", "mergesketch.lsh", "mergesketch.distributed", "mergesketch.errors"]
)
def test_everything_public_is_in_the_map(name: str) -> None:
    listed = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    module = importlib.import_module(name)
    public = {n for n in {*module.__all__, *getattr(module, "_LAZY", ())} if not n.startswith("_")}
    assert public - {"errors", "lsh", "distributed"} <= listed


def test_every_kernel_module_and_gpu_twin_is_in_the_map() -> None:
    page = PAGE.read_text()
    kernels = {p.stem for p in PACKAGE.glob("*/kernels/[!_]*.py")}
    assert len(kernels) > 50
    assert kernels <= set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    twins = {p.stem for p in (PACKAGE / "gpu").glob("[!_]*.py")} & kernels
    assert twins <= set(re.findall(r"^\| `\w+` \| `(\w+)` \|", page, flags=re.MULTILINE))
