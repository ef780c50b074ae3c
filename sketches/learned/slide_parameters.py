"""Check the parameters of `SlideClassifier`, and choose those that are "auto"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...lsh.support.checks import check_choice, check_int, check_real
from ..core.estimator import seed_of
from .slide_settings import FAMILIES, NEGATIVES, SlideSettings, auto_share, auto_sparsity, auto_tables

if TYPE_CHECKING:
    from .slide_classifier import SlideClassifier

__all__ = ["batch_size_of", "is_auto", "n_epochs_of", "settings_of"]

#: Batches that "auto" epochs have at least, and the bounds of their number.
_LEAST_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 1000, 5, 200
_MOST_BATCH = 256


def is_auto(value: Any) -> bool:
    """Tell whether a parameter is to be chosen."""
    return isinstance(value, str) and value == "auto"


def settings_of(model: SlideClassifier, n_ranges: Any) -> SlideSettings:
    """Return the settings of a network for the rows and classes that an estimator has read.

    `n_ranges` is the parameter of that name, which is never "auto".
    """
    n_labels = len(model.classes_)
    check_choice("negatives", model.negatives, NEGATIVES)
    check_choice("family", model.family, FAMILIES)
    sparsity = auto_sparsity(n_labels) if is_auto(model.sparsity) else model.sparsity
    sparsity = check_real("sparsity", sparsity, 0.0, 1.0, closed=True)
    if sparsity == 0.0:
        raise ValueError(f"sparsity must be a number in (0, 1], got {model.sparsity!r}")
    table_share = auto_share(n_labels) if is_auto(model.table_share) else model.table_share
    n_active = max(1, math.ceil(sparsity * n_labels - 1e-9))
    n_hashes, power = auto_tables(sparsity, model.family)
    if not is_auto(model.n_hashes):
        n_hashes = check_int("n_hashes", model.n_hashes, 1, 1 << 12)
    if not is_auto(model.power):
        most = 20 if model.family == "signed_random_projection" else 6
        power = check_int("power", model.power, 1, most)
    n_hidden = check_int("n_hidden", model.n_hidden, 1, 1 << 16)
    if model.family == "winner_take_all" and n_hidden < 8:
        raise ValueError(f"n_hidden must be at least 8 for winner_take_all, got {n_hidden}")
    return SlideSettings(
        n_features=model.n_features_in_,
        n_labels=n_labels,
        n_hidden=n_hidden,
        n_active=n_active,
        negatives=model.negatives,
        family=model.family,
        n_hashes=n_hashes,
        power=power,
        learning_rate=check_real("learning_rate", model.learning_rate, 0.0, 1e6),
        weights=check_choice("weights", model.weights, ("float32", "bfloat16")),
        rounding=check_choice("rounding", model.rounding, ("stochastic", "nearest")),
        rebuild_interval=check_int("rebuild_interval", model.rebuild_interval, 1),
        n_ranges=check_int("n_ranges", n_ranges, 1, n_labels),
        seed=seed_of(model.random_state),
        table_share=check_real("table_share", table_share, 0.0, 1.0, closed=True),
    )


def batch_size_of(model: SlideClassifier, most: int) -> int:
    """Return the rows of a step; for "auto" at most the given number."""
    if is_auto(model.batch_size):
        return min(_MOST_BATCH, max(1, most))
    return check_int("batch_size", model.batch_size, 1)


def n_epochs_of(model: SlideClassifier, n: int, size: int) -> int:
    """Return the passes of `fit` over n rows, in steps of the given number of rows."""
    if is_auto(model.n_epochs):
        steps = max(1, -(-n // size))
        return min(max(_LEAST_EPOCHS, -(-_LEAST_STEPS // steps)), _MOST_EPOCHS)
    return check_int("n_epochs", model.n_epochs, 1)
