"""Softmax cross-entropy from sampled classes, corrected by their probabilities, with its gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_finite, check_numbers, float_dtype
from ...lsh.support.backend import backend_of, check_one_device
from ...lsh.support.public import publish
from .id_rows import read_id_rows

__all__ = ["SampledLoss", "sampled_softmax"]


class SampledLoss(NamedTuple):
    """Contain the losses of n rows, and their gradients with respect to the logits."""

    #: float64, shape (n,): the cross-entropy of each row, in nats.
    losses: NDArray[np.float64]
    #: Shape (n, m + k): row i is the gradient of loss i. float32 for logits of float32, of float16, or of
    #: integers of at most 16 bits, and float64 for others.
    gradients: NDArray[Any]


def sampled_softmax(
    logits: ArrayLike, ids: ArrayLike, probabilities: ArrayLike, targets: ArrayLike
) -> SampledLoss:
    """Return the softmax cross-entropy of targets among all classes, estimated from sampled classes.

    Parameters
    ----------
    logits : array_like of shape (n, m + k), finite
        In each row the logits of its m targets, and then those of its k ids. Logits of places without a
        target or an id have no effect.
    ids : array_like of integers of shape (n, k), or (k,) for ids that all rows share
        The sampled classes; -1 for no class.
    probabilities : array_like of the shape of `ids`
        The probability above 0 with which each class is among the ids, as `LSHSampler.sample` returns it; for
        ids that are drawn with replacement and may repeat, the expected number of times. Places without an id
        have no effect.
    targets : array_like of integers of shape (n, m), or (n,) for one target a row
        The classes of each row, distinct; -1 fills rows. The targets of a row share its mass equally.

    Returns
    -------
    SampledLoss
        ``(losses, gradients)``. A row without targets has the loss 0 and no gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, logits are not finite, probabilities of ids are not finite
        numbers above 0, or targets of a row repeat.

    Notes
    -----
    The loss of a row with T targets is

        log Z - (1 / T) sum of the targets' logits,
        Z = sum over targets of exp(logit) + sum over other ids of exp(logit) / probability.

    Ids that are targets of the row ("accidental hits") are left out, because the first sum has them with
    certainty. So Z is an unbiased estimate of the sum of exp(logit) over all classes, and equals it if all
    classes are ids with the probability 1. The gradient is ``exp(logit) / (probability Z)``, minus ``1 / T``
    for targets: that of the estimated loss. It is a ratio of two unbiased estimates, so that its bias falls
    as 1 / k, and its standard error as 1 / sqrt(k). The loss is too low in the mean, by half the variance of
    ``Z`` over its squared mean.

    Subtracting the logarithm of the probability from a logit is Bengio and Senecal's correction (2008), also
    called log Q correction.

    Sums are added up in float64. CuPy arrays are computed on the GPU.

    References
    ----------
    - Bengio, Senecal. Adaptive importance sampling to accelerate training of a neural probabilistic language
      model. IEEE Transactions on Neural Networks, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import sampled_softmax
    >>> logits = np.log([[1.0, 2.0, 5.0]])  # of the target 7, and of the ids 3 and 4
    >>> losses, gradients = sampled_softmax(logits, [[3, 4]], [[1.0, 0.5]], targets=[7])
    >>> np.exp(-losses), gradients.round(4)  # 1 / (1 + 2 / 1 + 5 / 0.5)
    (array([0.07692308]), array([[-0.9231,  0.1538,  0.7692]]))
    """
    given = check_array("logits", logits)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"logits must hold real numbers, got dtype {given.dtype}")
    if given.ndim != 2:
        raise ValueError(f"logits must have shape (n, m + k), got {given.shape}")
    backend, n = backend_of(given), len(given)
    xp = backend.xp
    check_finite("logits", given, backend)
    for name, other in (("ids", ids), ("probabilities", probabilities), ("targets", targets)):
        _check_place(given, name, other)
    sampled, wanted = read_id_rows("ids", ids, n, shared=True), read_id_rows("targets", targets, n)
    shares = _read_probabilities(probabilities, sampled)
    m, k = wanted.shape[1], sampled.shape[1]
    if given.shape[1] != m + k:
        raise ValueError(
            f"logits must have {m} + {k} columns, for the targets and then for the ids of a row, "
            f"got {given.shape[1]}"
        )
    _refuse_repeated(xp, wanted)
    # exp(z) are the terms of Z.
    z = given.astype(np.float64)
    z[:, :m][wanted < 0] = -np.inf
    z[:, m:] -= xp.log(shares)
    z[:, m:][is_hit(xp, sampled, wanted) | (sampled < 0)] = -np.inf
    # Differences beyond float64 become infinite, as losses of that size are.
    with np.errstate(over="ignore"):
        return _losses(xp, given, wanted, z)


def _losses(xp: Any, given: Any, wanted: Any, z: Any) -> SampledLoss:
    """Return the losses for the logarithms z of the terms of Z."""
    m, is_target = wanted.shape[1], wanted >= 0
    n_targets = is_target.sum(axis=1)
    largest = xp.max(z, axis=1, keepdims=True) if z.shape[1] else xp.zeros((len(z), 1))
    largest[~xp.isfinite(largest)] = 0.0
    terms = xp.exp(z - largest)
    total = terms.sum(axis=1)
    has_targets = n_targets > 0
    total[~has_targets] = 1.0
    mass = is_target / xp.maximum(n_targets, 1)[:, None]
    of_targets = (mass * xp.where(is_target, z[:, :m], 0.0)).sum(axis=1)
    losses = xp.where(has_targets, xp.log(total) + largest[:, 0] - of_targets, 0.0)
    gradients = terms / total[:, None]
    gradients[:, :m] -= mass
    gradients[~has_targets] = 0.0
    return SampledLoss(losses, gradients.astype(float_dtype(given.dtype), copy=False))


def is_hit(xp: Any, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> Any:
    """Mark ids that are targets of their row: shape (n, k)."""
    hits = xp.zeros((len(targets), ids.shape[1]), bool)
    for j in range(targets.shape[1]):
        hits |= ids == targets[:, j : j + 1]
    return hits


def _check_place(logits: Any, name: str, other: Any) -> None:
    if not isinstance(other, (list, tuple)):
        check_one_device("logits", logits, name, other)


def _read_probabilities(probabilities: Any, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return probabilities of the shape of ids, and 1 where there is no id."""
    array = check_numbers("probabilities", probabilities)
    array = array[None] if array.ndim == 1 else array
    if array.shape != ids.shape:
        raise ValueError(f"probabilities must have the shape of ids, {ids.shape}, got {array.shape}")
    xp = backend_of(array).xp
    array = xp.where(ids >= 0, array, 1.0)
    if not bool(((array > 0.0) & (array < np.inf)).all()):
        raise ValueError(
            f"probabilities must be finite numbers above 0, got {float(array.min())} to {float(array.max())}"
        )
    return array


def _refuse_repeated(xp: Any, targets: NDArray[np.int64]) -> None:
    ordered = xp.sort(targets, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if bool(repeated.any()):
        row, column = (int(places[0]) for places in xp.nonzero(repeated))
        raise ValueError(
            f"targets of a row must be distinct, got {int(ordered[row, column])} twice in row {row}"
        )


publish("mergesketch", __all__, globals())
