"""Checks that all classes share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mergesketch import BloomFilter, Race, StaticFunction
from mergesketch.lsh import MinHash, PStable, SignedRandomProjection, hash_keys
from mergesketch.lsh.validation import check_choice, refuse_masked


def test_true_is_no_number() -> None:
    assert check_choice("p", 1, (1, 2)) == 1
    for wrong in (True, 1.0, "1", None, [1]):
        with pytest.raises(ValueError, match=r"p must be one of 1, 2, got"):
            check_choice("p", wrong, (1, 2))


ROWS = np.ma.array(np.ones((3, 4)), mask=np.eye(3, 4, dtype=bool))
NUMBERS = np.ma.array([1, 2, 3], mask=[False, True, False])
ANGLES = SignedRandomProjection(4, n_hashes=2, power=2)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("X", lambda: ANGLES.hash(ROWS)),
        ("X", lambda: PStable(4, n_hashes=2, width=1.0).hash(ROWS)),
        ("X", lambda: Race(ANGLES).update(ROWS)),
        ("weights", lambda: Race(ANGLES).update(np.ones((3, 4)), weights=NUMBERS)),
        ("distance", lambda: ANGLES.collision_probability(ROWS)),
        (r"sets\[1\]", lambda: MinHash(4).hash([np.array([1]), NUMBERS])),
        ("keys", lambda: hash_keys(NUMBERS)),
        ("keys", lambda: BloomFilter(100).update(NUMBERS)),
        ("keys", lambda: StaticFunction(NUMBERS, [1, 2, 3])),
        ("values", lambda: StaticFunction([1, 2, 3], NUMBERS)),
    ],
)
def test_masked_values_are_refused_by_name(name: str, call: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must not be masked, got [13] masked values"):
        call()


def test_arrays_of_which_nothing_is_masked_pass() -> None:
    whole = np.ma.array([1, 2, 3])
    refuse_masked(whole, "whole")
    assert hash_keys(whole).tolist() == hash_keys([1, 2, 3]).tolist()
