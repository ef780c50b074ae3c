"""Test SlideClassifier: scikit-learn's checks, forms of labels, rankings, and bad input."""

from __future__ import annotations

from mergesketch import SlideClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks([SlideClassifier(n_hidden=32), SlideClassifier(n_hidden=32, sparsity=0.5)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)
