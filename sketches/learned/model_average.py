"""Averages of the parameters of classifiers, as federated averaging makes them, and their memory.

This module imports scikit-learn, so no module imports it that `import mergesketch` imports.
"""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ...errors import IncompatibleSketchError
from ...lsh.inputs.columns import refuse_masked
from .bucket_models import leaves_of
from .label_values import joined_classes

__all__ = [
    "Description",
    "averages",
    "describe",
    "full_bytes",
    "joined_labels",
    "parameter_bytes",
    "parameters_of",
    "read_weights",
    "row_weights",
    "set_averages",
    "shares_of",
]

#: The fitted attributes in which models that are averaged must not differ.
_MUST_AGREE = ("n_repetitions_", "n_buckets_", "seed_", "targets_", "readout_", "form_", "n_features_in_")

#: Forms of labels that are the same for an average.
_SAME = {"dense": "matrix", "sparse": "matrix"}
#: The attributes of the parameters of linear classifiers, and of neural networks.
_NAMES = (("coef_", "intercept_"), ("coefs_", "intercepts_"))
#: Attributes that belong to single clients: moments of the optimiser, which a new one replaces.
_CLIENT_ONLY = ("_optimizer",)


def _parameter_arrays(leaf: Any) -> list[NDArray[Any]] | None:
    """Return the parameters of a fitted linear classifier or neural network; None for other classifiers."""
    attributes = vars(leaf)
    for names in _NAMES:
        if all(name in attributes for name in names):
            arrays: list[Any] = []
            for name in names:
                value = attributes[name]
                arrays += value if isinstance(value, list) else [value]
            if all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in arrays):
                return arrays
    return None


def _set_parameters(leaf: Any, arrays: list[NDArray[Any]]) -> None:
    attributes = vars(leaf)
    names = next(names for names in _NAMES if all(name in attributes for name in names))
    for name in names:
        if isinstance(attributes[name], list):
            size = len(attributes[name])
            attributes[name], arrays = arrays[:size], arrays[size:]
        else:
            attributes[name], arrays = arrays[0], arrays[1:]


def row_weights(models: list[Any], kind: type) -> NDArray[np.float64]:
    """Return the numbers of rows that fitted models have learnt; other objects are refused."""
    for model in models:
        if not isinstance(model, kind):
            raise IncompatibleSketchError(f"expected a LabelHash to average, got {type(model).__name__}")
        check_is_fitted(model, "models_")
    return np.array([model.n_rows_ for model in models], float)


def read_weights(weights: Any, n: int) -> NDArray[np.float64]:
    """Return the weights that a caller gives to n models."""
    refuse_masked(weights, "weights")
    read = np.asarray(weights)
    if read.shape != (n,) or read.dtype.kind not in "iuf":
        raise ValueError(f"weights must be {n} positive numbers, one for each model, got {weights!r}")
    read = read.astype(float)
    if not (np.isfinite(read).all() and (read > 0.0).all()):
        raise ValueError(f"weights must be {n} positive numbers, one for each model, got {weights!r}")
    return read


class Leaf(NamedTuple):
    """A classifier without its parameters."""

    kind: str
    classes: Any
    shapes: list[tuple[int, ...]]


class Description(NamedTuple):
    """Contain what models that are averaged must agree on, and the labels of one of them."""

    facts: dict[str, Any]
    features: Any
    classes: NDArray[Any]
    #: The classifiers; None for those that have seen one class only.
    leaves: list[Leaf | None]


def describe(model: Any) -> Description:
    """Return the description of a fitted LabelHash; TypeError if its classifiers cannot be averaged."""
    facts = {name: _SAME.get(getattr(model, name), getattr(model, name)) for name in _MUST_AGREE}
    leaves = [_describe_leaf(leaf) for leaf in leaves_of(model.models_)]
    return Description(facts, getattr(model, "feature_names_in_", None), model.classes_, leaves)


def _describe_leaf(leaf: Any) -> Leaf | None:
    if leaf is None:
        return None
    shapes = [array.shape for array in parameters_of(leaf)]
    return Leaf(type(leaf).__name__, getattr(leaf, "classes_", None), shapes)


def joined_labels(models: list[Description]) -> NDArray[Any]:
    """Return the labels of all models; IncompatibleSketchError if the models differ in anything else."""
    first = models[0]
    for other in models[1:]:
        for name in _MUST_AGREE:
            ours, theirs = first.facts[name], other.facts[name]
            if ours != theirs:
                raise IncompatibleSketchError(
                    f"LabelHash models differ in {name.rstrip('_')}: {ours!r} here, {theirs!r} there"
                )
        if not np.array_equal(first.features, other.features):
            raise IncompatibleSketchError("LabelHash models differ in the names of their features")
    for group in zip(*(model.leaves for model in models), strict=True):
        _check_leaves(group)
    classes = first.classes
    for other in models[1:]:
        if first.facts["form_"] == "matrix" and first.classes.size != other.classes.size:
            raise IncompatibleSketchError(
                f"LabelHash models differ in the columns of their labels: {first.classes.size} here, "
                f"{other.classes.size} there"
            )
        try:
            classes = joined_classes(classes, other.classes)
        except ValueError as error:
            raise IncompatibleSketchError(
                f"LabelHash models differ in the type of their labels: {error}"
            ) from error
    return classes


def _check_leaves(group: tuple[Leaf | None, ...]) -> None:
    """Refuse classifiers of one place in several models that have no mean."""
    first, *others = group
    kinds = {leaf.kind for leaf in group if leaf is not None}
    if len(kinds) > 1:
        raise IncompatibleSketchError(f"LabelHash models differ in their classifiers: {sorted(kinds)}")
    for leaf in others:
        if (leaf is None) != (first is None):
            raise IncompatibleSketchError(
                "LabelHash models differ in the buckets that their rows have: train with partial_fit, which "
                "gives every bucket parameters from the first batch on"
            )
        if leaf is None or first is None:
            continue
        if not np.array_equal(first.classes, leaf.classes) or leaf.shapes != first.shapes:
            raise IncompatibleSketchError(
                "LabelHash models differ in the buckets or features that their rows have: train with "
                "partial_fit, which gives every bucket parameters from the first batch on"
            )


def averages(
    models: list[Any], weights: NDArray[np.float64]
) -> tuple[list[list[NDArray[Any]]], NDArray[Any]]:
    """Return the mean parameters of the classifiers of models, and the labels of all; refuse what differs.

    Parameters
    ----------
    models : list of LabelHash
    weights : ndarray
        A positive number for each model.

    Returns
    -------
    list of lists of ndarray
        The means, for each place in a model. An empty list for a place that is constant in all models.
    ndarray
        The labels.
    """
    classes = joined_labels([describe(model) for model in models])
    shares = shares_of(weights)
    groups = zip(*(leaves_of(model.models_) for model in models), strict=True)
    return [_average(group, shares) for group in groups], classes


def shares_of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights that add up to 1, scaled by a power of two first so that their sum is finite."""
    scaled = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
    return np.asarray(scaled / scaled.sum())


def _average(group: tuple[Any, ...], weights: NDArray[np.float64]) -> list[NDArray[Any]]:
    every = [[] if leaf is None else parameters_of(leaf) for leaf in group]
    return [
        sum((w * part for w, part in zip(weights, parts, strict=True)), np.zeros_like(parts[0])).astype(
            parts[0].dtype
        )
        for parts in zip(*every, strict=True)
    ]


def parameters_of(leaf: Any) -> list[NDArray[Any]]:
    """Return the parameters of a classifier; TypeError if they cannot be averaged."""
    arrays = _parameter_arrays(leaf)
    if arrays is None:
        raise TypeError(
            "merge and average need classifiers with the parameters coef_ and intercept_ (linear ones) or "
            f"coefs_ and intercepts_ (neural networks), got {type(leaf).__name__}"
        )
    if getattr(leaf, "average", False):
        raise TypeError(
            f"merge and average need {type(leaf).__name__}(average=False), got average={leaf.average!r}, "
            "which keeps a second set of parameters"
        )
    return arrays


def set_averages(leaves: list[Any], means: list[list[NDArray[Any]]]) -> None:
    """Give classifiers the parameters that `averages` has returned."""
    for leaf, arrays in zip(leaves, means, strict=True):
        if leaf is not None:
            _set_parameters(leaf, arrays)
            for name in _CLIENT_ONLY:
                vars(leaf).pop(name, None)


def parameter_bytes(leaf: Any) -> int:
    """Return the bytes of the parameters of a classifier; of others than linear ones, those of its pickle."""
    if leaf is None:
        return 8
    arrays = _parameter_arrays(leaf)
    return len(pickle.dumps(leaf)) if arrays is None else sum(array.nbytes for array in arrays)


def full_bytes(leaf: Any, n_labels: int) -> int | None:
    """Return the bytes of a classifier's parameters if it had `n_labels` outputs; None if they are unknown.

    Linear classifiers have all parameters, and neural networks those of the last layer, for each output.
    """
    arrays = None if leaf is None else _parameter_arrays(leaf)
    if arrays is None:
        return None
    if "coef_" in vars(leaf):
        return sum(array.nbytes // array.shape[0] * n_labels for array in arrays)
    last = (len(arrays) // 2 - 1, len(arrays) - 1)
    n_outputs = arrays[-1].size
    return sum(a.nbytes // n_outputs * n_labels if i in last else a.nbytes for i, a in enumerate(arrays))
