"""Read the rows and labels of ranks so that all ranks know the same classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from ...errors import DistributedError
from ...sketches.learned.slide_targets import is_multilabel, read_labels

__all__ = ["Labelled", "common_labels", "describe_labels", "has_no_rows"]


class Labelled(NamedTuple):
    """The classes or labels that a rank has.

    Attributes
    ----------
    classes : ndarray or None
        Where each row has one class.
    n_labels : int or None
        Where a row may have several labels: their number.
    is_exact : bool
        Whether there may be more labels, or more classes, on other ranks: a list of ids does not show it.
    """

    classes: NDArray[Any] | None
    n_labels: int | None
    is_exact: bool


def has_no_rows(X: Any) -> bool:
    """Tell whether a rank passes no rows: None, or an array or a list without any."""
    if X is None:
        return True
    shape = getattr(X, "shape", None)
    return bool(shape and shape[0] == 0) or (shape is None and hasattr(X, "__len__") and len(X) == 0)


def describe_labels(Y: Any, classes: Any, n_labels: int | None, *, partial: bool) -> Labelled:
    """Return what the labels of this rank show about all labels."""
    if Y is None:
        # The words are those that scikit-learn's checks look for.
        raise ValueError("fit requires y to be passed, but the target y is None")
    if is_multilabel(Y):
        if n_labels is None and isinstance(Y, (list, tuple)):
            if partial:
                raise ValueError("n_labels must be given with the first call of partial_fit, got None")
            return Labelled(None, read_labels(Y).n_labels, False)
        return Labelled(None, read_labels(Y).n_labels if n_labels is None else n_labels, True)
    if classes is not None:
        return Labelled(np.unique(column_or_1d(classes)), None, True)
    if partial:
        raise ValueError("classes must be given with the first call of partial_fit, got None")
    return Labelled(np.unique(column_or_1d(Y)), None, False)


def common_labels(every: list[Labelled | None]) -> Labelled:
    """Return the classes or labels of all ranks; None stands for a rank without rows."""
    found = [(rank, one) for rank, one in enumerate(every) if one is not None]
    if not found:
        raise ValueError("X must have at least one row on at least one rank, got 0 rows on all ranks")
    first, one = found[0]
    for rank, other in found:
        if (one.classes is None) != (other.classes is None):
            kinds = ("one class for each row", "labels of which a row may have several")
            raise DistributedError(
                f"ranks must agree on the kind of Y: rank {first} has {kinds[one.classes is None]}, "
                f"rank {rank} has {kinds[other.classes is None]}"
            )
    exact = [(rank, other) for rank, other in found if other.is_exact]
    for rank, other in exact:
        ours, theirs = exact[0][1], other
        if ours.n_labels != theirs.n_labels or not np.array_equal(ours.classes, theirs.classes):  # type: ignore[arg-type]
            name = "n_labels, or the number of columns of Y" if one.classes is None else "classes"
            shown = [r.n_labels if r.classes is None else r.classes.tolist() for r in (ours, theirs)]
            raise DistributedError(
                f"ranks must agree on {name}: rank {exact[0][0]} has {shown[0]!r}, rank {rank} has "
                f"{shown[1]!r}"
            )
    if exact:
        return exact[0][1]
    if one.classes is None:
        return one._replace(n_labels=max(other.n_labels or 0 for _, other in found))
    arrays = [other.classes for _, other in found if other.classes is not None]
    for (rank, _), array in zip(found, arrays, strict=True):
        if (array.dtype.kind in "biuf") != (arrays[0].dtype.kind in "biuf"):
            raise DistributedError(
                f"ranks must agree on the kind of classes: rank {first} has {arrays[0].dtype}, rank {rank} "
                f"has {array.dtype}"
            )
    return one._replace(classes=np.unique(np.concatenate(arrays)))
