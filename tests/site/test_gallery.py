"""Every example of the gallery prints what its page shows, up to the last digits of numbers."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from paths import ROOT

PAGES = sorted(page for page in (ROOT / "docs" / "gallery").glob("*.md") if page.stem != "index")
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```$)?", flags=re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def differences(printed: str, shown: str) -> list[str]:
    """Return how two texts differ, if not only by a tenth of a number.

    Versions of NumPy may draw other random numbers from one seed.
    """
    if NUMBER.sub("#", printed).split() != NUMBER.sub("#", shown).split():
        return [f"{printed!r} is not {shown!r}"]
    pairs = zip(map(float, NUMBER.findall(printed)), map(float, NUMBER.findall(shown)), strict=True)
    return [f"{a:g} is not {b:g}" for a, b in pairs if a != pytest.approx(b, rel=0.1, abs=0.01)]


def test_differences_are_seen() -> None:
    assert differences("3 groups [0.81 2.0]\n", "3 groups  [0.80 2.00]\n") == []
    assert differences("3 groups\n", "4 groups\n") == ["3 is not 4"]
    assert differences("3 groups\n", "3 sets\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_print_what_is_shown(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    found = list(BLOCK.finditer(page.read_text()))
    assert sum(block["shown"] is not None for block in found) >= 2
    for block in found:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block["code"], page.name, "exec"), namespace)
        assert differences(printed.getvalue(), block["shown"] or "") == []
