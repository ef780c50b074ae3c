"""Test that the figures and tables of the pages are those of the result files."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pytest
from paths import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("tables")


@pytest.mark.slow
def test_pages_agree_with_the_results(tables):
    """If not, run `python benchmarks/tables.py`."""
    for page in tables.PAGES:
        text = page.read_text()
        assert tables.filled(text) == text, page.name


def test_what_is_quoted_is_made_anew(tables):
    text = (
        "<!-- results: counting_costs -->\n<!-- end -->\nat <!-- figure: dedup_speed -->1<!-- end --> times\n"
    )
    made = tables.filled(text)
    assert tables.TABLES["counting_costs"]() in made
    assert f"at <!-- figure: dedup_speed -->{tables.FIGURES['dedup_speed']()}<!-- end --> times" in made
    assert tables.filled(made) == made
    with pytest.raises(KeyError, match="no_such_figure"):
        tables.filled("<!-- figure: no_such_figure -->1<!-- end -->")


def test_every_marker_is_closed_and_every_quotation_is_used(tables):
    pages = "".join(page.read_text() for page in tables.PAGES)
    opened = re.findall(r"<!-- (?:results|figure): (\w+) -->", pages)
    assert len(opened) == len(re.findall("<!-- end -->", pages))
    assert len(opened) == len(tables.MARKER.findall(pages)) + len(tables.FIGURE.findall(pages))
    assert set(tables.TABLES) | set(tables.FIGURES) <= set(opened)


def test_no_line_begins_with_a_figure(tables):
    """Markdown would end the paragraph there, because a line that begins with a comment is HTML."""
    for page in tables.PAGES:
        assert not re.search(r"^\s*<!-- figure", page.read_text(), flags=re.MULTILINE), page.name


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.0, 2, "0"), (0.00996, 2, "0.010"), (28.03, 2, "28"), (1234.5, 2, "1,200"), (9.96, 2, "10")],
)
def test_values_are_rounded_to_their_digits(tables, value, digits, text):
    assert importlib.import_module("figures").short(value, digits) == text


def test_no_item_of_a_list_stands_there_twice(tables):
    """Two versions of an item, one above the other, are left behind by a careless merge."""
    for page in tables.PAGES:
        items = re.findall(r"^\s*[-*] (.{40})", page.read_text(), flags=re.MULTILINE)
        assert len(items) == len(set(items)), (
            page.name,
            [item for item in set(items) if items.count(item) > 1],
        )
