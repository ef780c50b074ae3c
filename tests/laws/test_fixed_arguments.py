"""Test that the arguments that an object was made with cannot change: its arrays follow from them."""

from __future__ import annotations

import pytest
from mergesketch import CountMinSketch, HyperLogLog
from mergesketch.lsh import HashFamily
from mergesketch.lsh.support.configured import Configured, arguments_of
from registry import ROW_FAMILIES, SET_FAMILIES, STORED_EXAMPLES

FAMILIES: dict[str, HashFamily] = {
    **{name: family for name, (family, _) in ROW_FAMILIES.items()},
    **SET_FAMILIES,
}


@pytest.mark.parametrize("structure", STORED_EXAMPLES)
def test_arguments_and_families_stay(structure: str) -> None:
    for made in STORED_EXAMPLES[structure].values():
        assert_arguments_stay(made)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_arguments_of_families_stay(family: HashFamily) -> None:
    assert_arguments_stay(family)


def assert_arguments_stay(made: Configured) -> None:
    before = made.config()
    families = {name for name, value in vars(made).items() if isinstance(value, HashFamily)}
    for name in {*arguments_of(made), *filter(lambda name: not name.startswith("_"), families)}:
        with pytest.raises(AttributeError):
            setattr(made, name, getattr(made, name))
        with pytest.raises(AttributeError):
            delattr(made, name)
    assert made.config() == before


def test_the_message_says_what_to_do_instead() -> None:
    # A kernel that hashes to 2**26 registers wrote outside of the 16 that there are.
    sketch = HyperLogLog(4).update(range(100))
    with pytest.raises(AttributeError, match=r"^precision of a HyperLogLog cannot change: make a new Hyper"):
        sketch.precision = 26
    assert sketch == HyperLogLog(4).update(range(100))
    counts = CountMinSketch(n_rows=2, n_buckets=16)
    with pytest.raises(AttributeError, match=r"^n_buckets of a CountMinSketch cannot change"):
        counts.n_buckets = 10**8
