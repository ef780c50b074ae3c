"""The base of scikit-learn estimators that learn from a sketch: they merge as the sketch does.

This module imports scikit-learn, so no module imports it that `import mergesketch` imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from numbers import Integral
from typing import Any, ClassVar, Self, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ...errors import IncompatibleSketchError
from ...lsh.inputs.columns import refuse_masked
from .base import MergeableSketch
from .merging import parts_of

__all__ = ["SketchEstimator", "restored_if_it_raises", "seed_of", "validated"]


class SketchEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator whose fitted state is a sketch, `sketch_`, and attributes that follow from it.

    Notes
    -----
    ``a.merge(b, c)`` and ``a.merge([b, c])`` change `a`. ``a | b`` is a new estimator. A subclass names in
    `_must_agree` the fitted attributes that two estimators must have in common, beside the configuration of
    their sketches, and computes what depends on the sketch in `_after_merge`.
    """

    #: The fitted attributes in which estimators that merge must not differ.
    _must_agree: ClassVar[tuple[str, ...]] = ()

    sketch_: MergeableSketch
    n_features_in_: int

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge other fitted estimators into this one, in place.

        Parameters
        ----------
        *others : fitted estimators of this class, or iterables of them
            They do not change. Their sketches have the same configuration as this one's.

        Returns
        -------
        The estimator itself, which is then as if it had been fitted to the rows of all.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If one of the estimators has not been fitted.
        IncompatibleSketchError
            If the estimators differ in their class, in the names of the features, in the configuration of
            their sketches or in what was learnt from the first rows. Nothing changes then.
        """
        check_is_fitted(self, "sketch_")
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_mergeable(part)
        self._merge_parts(parts)
        return self

    def _check_mergeable(self, part: Any) -> None:
        """Refuse to merge an estimator that differs in more than its sketch."""
        if type(part) is not type(self):
            raise IncompatibleSketchError(
                f"expected a {type(self).__name__} to merge, got {type(part).__name__}"
            )
        check_is_fitted(part, "sketch_")
        for name in ("n_features_in_", "feature_names_in_", *self._must_agree):
            ours, theirs = getattr(self, name, None), getattr(part, name, None)
            if not _equal(ours, theirs):
                raise IncompatibleSketchError(
                    f"{type(self).__name__} estimators differ in {name}: {ours} here, {theirs} there"
                )

    def _merge_parts(self, parts: tuple[Self, ...]) -> None:
        """Merge fitted estimators that agree with this one."""
        self.sketch_.merge(part.sketch_ for part in parts)
        self._after_merge()

    def _after_merge(self) -> None:
        """Compute the attributes that depend on the sketch."""

    def __or__(self, other: Self) -> Self:
        """Return a new estimator, as if fitted to the rows of both, which do not change."""
        return deepcopy(self).merge(other) if isinstance(other, SketchEstimator) else NotImplemented

    def __ior__(self, other: Self) -> Self:
        """Merge the other estimator into this one."""
        return self.merge(other) if isinstance(other, SketchEstimator) else NotImplemented

    def _restored_if_it_raises(self) -> AbstractContextManager[None]:
        """Bring back the attributes of the estimator if the block raises."""
        return restored_if_it_raises(self)

    def _forget(self) -> None:
        """Forget what was learnt before: all attributes that a fit has set."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)


@contextmanager
def restored_if_it_raises(estimator: BaseEstimator) -> Iterator[None]:
    """Bring back the attributes of an estimator if the block raises."""
    attributes = cast(dict[str, Any], vars(estimator))
    before = attributes.copy()
    try:
        yield
    except BaseException:
        attributes.clear()
        attributes.update(before)
        raise


def validated(estimator: BaseEstimator, X: Any, y: Any = "no_validation", **options: Any) -> Any:
    """Return rows, and targets if there are any, after scikit-learn's checks; masked values are refused.

    scikit-learn would use the numbers under the mask.
    """
    refuse_masked(X, "X")
    refuse_masked(y, "y")
    return validate_data(estimator, X, y, **options)


def seed_of(random_state: Any) -> int:
    """Return the seed of a sketch for an estimator's `random_state`: an integer is the seed itself.

    Raises
    ------
    ValueError
        If scikit-learn does not accept `random_state`.
    """
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        check_random_state(random_state)
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def _equal(ours: Any, theirs: Any) -> bool:
    """Tell whether two fitted attributes are equal; mappings are compared value by value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)
    return np.array_equal(np.asarray(ours, dtype=object), np.asarray(theirs, dtype=object))
