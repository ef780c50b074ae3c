"""Test the tables that notebooks show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from mergesketch import BloomFilter, CountMinSketch, LSHIndex, PrivateRace
from mergesketch.sketches.core.notebook import Share, html_table
from registry import STORED_EXAMPLES
from toy_family import ToyFamily


@pytest.mark.slow
@pytest.mark.parametrize("structure", STORED_EXAMPLES)
def test_every_class_shows_its_configuration_size_and_fullness(structure: str) -> None:
    for stored in STORED_EXAMPLES[structure].values():
        before = stored.to_bytes()
        text = stored._repr_html_()
        table = ElementTree.fromstring(text)
        rows = [(row.findtext("th"), "".join(row.find("td").itertext()).strip()) for row in table.iter("tr")]
        names = [name for name, _ in rows]
        assert table.findtext("caption/b") == type(stored).__name__
        assert set(stored._parameters) <= set(names)
        assert dict(rows)["size"] == f"{stored.nbytes:,} bytes"
        assert "color" not in text and "script" not in text
        share = re.search(r"([\d.e+-]+)% of (counters|bits|bins|slots|registers|parameters)", repr(stored))
        meters = list(table.iter("meter"))
        assert len(meters) == (share is not None)
        if share is not None:
            assert float(meters[0].get("value")) == pytest.approx(float(share[1]) / 100, abs=0.005)
            shown = ("state", share[0] + " used") in rows
            assert shown or any(value.startswith(share[0]) for _, value in rows)
        assert stored.to_bytes() == before


def test_the_arguments_by_which_a_size_was_chosen_are_shown() -> None:
    text = CountMinSketch.for_error(0.01, confidence=0.9)._repr_html_()
    assert "chosen for" in text and "relative_error=0.01, confidence=0.9" in text
    assert "meter" not in text
    assert "meter" in BloomFilter(capacity=100).update([1])._repr_html_()


def test_nothing_that_was_counted_is_shown_of_a_release() -> None:
    rows = np.random.default_rng(0).integers(0, 9, (50, 2))
    family = ToyFamily(2, 6, 9)
    text = PrivateRace(family).empty_like()._repr_html_()
    assert "meter" not in text and "epsilon" in text
    assert "meter" in LSHIndex(family, capacity=60).update(rows)._repr_html_()


def test_texts_are_escaped_and_long_ones_are_cut() -> None:
    text = html_table("<b>", [("<script>", "a & b"), ("long", "x" * 1000), ("bar", Share(0.5, '"<i>'))])
    table = ElementTree.fromstring(text)
    assert table.findtext("caption/b") == "<b>"
    assert [row.findtext("th") for row in table.iter("tr")] == ["<script>", "long", "bar"]
    assert next(table.iter("meter")).get("value") == "0.5000"
    assert Share(0.5, "bits") == "50% of bits"
    assert max(len(line) for line in text.split("\n")) < 500
