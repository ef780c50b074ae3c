"""Test the choice of bands against other choices, another library and random bands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mergesketch.distributed import band_parameters
from mergesketch.sketches.sets.band_parameters import candidate_probability
from scipy.integrate import quad


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("weight", [0.1, 0.5, 0.98])
def test_band_parameters_minimise_the_integral(threshold: float, weight: float) -> None:
    """No other choice costs less; the cost is found by adaptive quadrature."""

    def cost(bands: int, rows: int) -> float:
        shown = lambda s: 1 - (1 - s**rows) ** bands  # noqa: E731
        false_positives, _ = quad(shown, 0, threshold)
        false_negatives, _ = quad(lambda s: 1 - shown(s), threshold, 1)
        return (1 - weight) * false_positives + weight * false_negatives

    n = 24
    chosen = band_parameters(threshold, n, false_negative_weight=weight)
    least = min(cost(b, r) for r in range(1, n + 1) for b in range(1, n // r + 1))
    assert chosen[0] * chosen[1] <= n
    assert math.isclose(cost(*chosen), least, rel_tol=1e-4)


def test_same_bands_as_datasketch() -> None:
    lsh = pytest.importorskip("datasketch.lsh")
    for threshold in (0.5, 0.7, 0.8):
        assert band_parameters(threshold, 128) == tuple(lsh._optimal_param(threshold, 128, 0.5, 0.5))


def test_bad_band_parameters() -> None:
    for arguments, message in [
        ((1.5, 128), "threshold must be a number in"),
        (("a", 128), "threshold must be a number in"),
        ((0.5, 0), "n_hashes must be an integer from 1 to 65536"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            band_parameters(*arguments)
    with pytest.raises(ValueError, match="false_negative_weight"):
        band_parameters(0.5, 16, false_negative_weight=2.0)


def test_candidate_probability_is_that_of_random_bands() -> None:
    rng = np.random.default_rng(0)
    bands, rows, n = 5, 3, 40_000
    for s in (0.2, 0.5, 0.8):
        equal = rng.random((n, bands, rows)) < s
        measured = equal.all(axis=2).any(axis=1).mean()
        expected = float(candidate_probability(np.array([s]), bands, rows)[0])
        assert abs(measured - expected) < 6 * math.sqrt(expected * (1 - expected) / n)
