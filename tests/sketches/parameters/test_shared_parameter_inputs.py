"""Shared parameters, given what strangers give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mergesketch import PairMap, RobeMap, SharedParameters, hash_keys
from mergesketch.sketches.parameters.parameter_map import Table
from mergesketch.sketches.parameters.table_rows import TableRows


def test_nested_lists_have_the_rows_of_flat_ones() -> None:
    parameters = SharedParameters(997).initialize(1.0)
    for flat in (["a", "a\0", "b"], [b"a", b"a\0", b"b"], [-1, 2**63 - 1, 0], [1, 2**63, 2**64 - 1]):
        np.testing.assert_array_equal(
            parameters.gather([flat], 3)[0], parameters.gather(flat, 3), err_msg=str(flat)
        )
    for bad in ([["a"], [1]], [["a"], [b"a"]], [[1.5]], [[None]], [[True]], [[2**64]], [[1], [2, 3]]):
        with pytest.raises((TypeError, ValueError), match=r"^rows must"):
            parameters.gather(bad, 3)


def test_pairs_of_strings_are_pairs_of_their_hashes() -> None:
    parameters = SharedParameters(997, PairMap(), seed=5).initialize(1.0)
    texts = [("tea", "cake"), ("tea\0", "cake"), ("cake", "tea")]
    read = parameters.gather(texts, 3)
    hashes = np.stack([hash_keys(list(part), 5) for part in zip(*texts, strict=True)], axis=1)
    np.testing.assert_array_equal(read, parameters.gather(hashes, 3))
    assert np.unique(read, axis=0).shape == (3, 3)
    np.testing.assert_array_equal(read, parameters.gather([list(pair) for pair in texts], 3))


def test_memory_that_cannot_be_used_is_not_copied_silently() -> None:
    unaligned = np.frombuffer(bytearray(41), np.float32, 9, 1)
    for given in ([1.0, 2.0], np.ones(9, ">f4"), unaligned):
        with pytest.raises(ValueError, match=r"^weights must be an array, contiguous"):
            SharedParameters.from_weights(given, copy=False)
        assert SharedParameters.from_weights(given).weights.size == len(given)


def test_numbers_that_overflow_are_refused() -> None:
    parameters = SharedParameters(100, RobeMap(4))
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: parameters.scatter_add([1], [[1e38]], scale=10.0), "gradients"),
        (lambda: parameters.update_bags([1], [0, 1], [[1e38]], [10.0]), "gradients"),
        (lambda: parameters.update_bags([1], [0, 1], [[1e-9]], [1e38], scale=10.0), "gradients"),
        (lambda: parameters.update_bags([1], [0, 1], [[1.0]], [1e39]), "weights"),
        (lambda: parameters.gather_bags([1], [0, 1], 3, [1e39]), "weights"),
        (lambda: parameters.update_product([[1e19]], [[1e18]], scale=100.0), "X and Y"),
    )
    for call, name in calls:
        with pytest.raises(ValueError, match=rf"^{name} must"):
            call()
    assert not parameters.weights.any() and parameters.n_updates == 0
    parameters.scatter_add([1], [[1e38, 1.0]], scale=-3.0)
    assert parameters.gather([1], 2).tolist() == [[np.float32(1e38) * np.float32(-3), -3.0]]


def test_bad_arguments_are_refused_before_memory_is_taken() -> None:
    parameters = SharedParameters(100)
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: parameters.matmul(np.ones((2, 3)), (1 << 40, 5)), "X"),
        (lambda: parameters.update_bags([1], None, [[1.0]], [1.0]), "offsets"),  # type: ignore[arg-type]
        (lambda: SharedParameters.for_error(0.1, map=RobeMap), "map"),  # type: ignore[arg-type]
        (lambda: SharedParameters.average(5), "parts"),  # type: ignore[arg-type]
        (lambda: SharedParameters.average(parameters), "parts"),  # type: ignore[arg-type]
    )
    for call, name in calls:
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
            call()


def one_row(self: RobeMap, rows: Any, table: Table, name: str = "rows") -> TableRows:
    """Take an array of one dimension as one row, as maps do whose rows have several numbers."""
    return TableRows(np.zeros(1, np.uint64), np.shape(rows)[:-1], False, False)


@pytest.mark.parametrize("map", [RobeMap(4), PairMap(4)], ids=["parts", "pairs"])
def test_matrices_need_rows_that_are_numbers(map: RobeMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RobeMap, "checked_rows", one_row)
    parameters = SharedParameters(100, map)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: parameters.matmul(np.ones((2, 6)), (6, 3)),
        lambda: parameters.update_product(np.ones((2, 6)), np.ones((2, 3))),
        lambda: parameters.gradient_scaler([(6, 3)]),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"^(map must have rows that are numbers|rows must be pairs)"):
            call()
