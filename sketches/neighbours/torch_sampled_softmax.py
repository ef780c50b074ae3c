"""Softmax cross-entropy from sampled classes, as a function of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...lsh.inputs.arrays import check_array, check_numbers, refuse_flags
from ...lsh.support.checks import check_choice

__all__ = ["sampled_softmax_loss"]


def sampled_softmax_loss(
    logits: Tensor, ids: Any, probabilities: Any, targets: Any, *, reduction: str = "mean"
) -> Tensor:
    """Return the softmax cross-entropy of targets among all classes, estimated from sampled classes.

    This is `sampled_softmax` for PyTorch: the loss has a gradient, and may be differentiated twice.

    Parameters
    ----------
    logits : Tensor of floats of shape (n, m + k)
        In each row the logits of its m targets, and then those of its k ids.
    ids : Tensor or array of integers of shape (n, k), or (k,) for ids that all rows share
        The sampled classes; -1 for no class.
    probabilities : Tensor or array of the shape of `ids`
        The probability above 0 with which each class is among the ids, or the expected number of times.
    targets : Tensor or array of integers of shape (n, m), or (n,) for one target a row
        The classes of each row, distinct; -1 fills rows. The targets of a row share its mass equally.
    reduction : {"mean", "sum", "none"}
        As for ``torch.nn.functional.cross_entropy``. The mean is over all rows, and rows without targets have
        the loss 0.

    Returns
    -------
    Tensor
        A number, or n numbers for "none", in the dtype of the logits; float32 for half precision.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, or entries of arrays are masked. To save time on
        GPUs, numbers are not checked: with a probability of 0 or below the loss is infinite or NaN.

    Notes
    -----
    Arrays are copied to the device of the logits. Formulas are those of `sampled_softmax`. Logarithms of the
    probabilities are taken in float64 before they are rounded to the dtype of the loss.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import sampled_softmax_loss
    >>> logits = torch.log(torch.tensor([[1.0, 2.0, 5.0]])).requires_grad_()
    >>> loss = sampled_softmax_loss(logits, [[3, 4]], [[1.0, 0.5]], targets=[7])
    >>> loss.backward()
    >>> float(loss.detach().exp().round(decimals=3)), logits.grad
    (13.0, tensor([[-0.9231,  0.1538,  0.7692]]))
    """
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 2:
        kind = f"{logits.dtype} of {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits)
        raise TypeError(f"logits must be a tensor of floats of shape (n, m + k), got {kind}")
    n = logits.shape[0]
    sampled, wanted = _ids("ids", ids, logits, n, shared=True), _ids("targets", targets, logits, n)
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    shares = _probabilities(probabilities, logits)
    shares = shares[None] if shares.ndim == 1 else shares
    if shares.shape != sampled.shape:
        raise ValueError(
            f"probabilities must have the shape of ids, {tuple(sampled.shape)}, got {tuple(shares.shape)}"
        )
    m, k = wanted.shape[1], sampled.shape[1]
    if logits.shape[1] != m + k:
        raise ValueError(
            f"logits must have {m} + {k} columns, for the targets and then for the ids of a row, "
            f"got {logits.shape[1]}"
        )
    is_target = wanted >= 0
    n_targets = is_target.sum(1)
    hits = (sampled[:, :, None] == wanted[:, None, :]).any(2)
    of_targets = z[:, :m].masked_fill(~is_target, -torch.inf)
    corrected = z[:, m:] - shares.log().to(z.dtype)
    of_others = corrected.masked_fill(hits | (sampled < 0), -torch.inf)
    terms = torch.cat([of_targets, of_others], 1)
    # The sum of a row without any term would have the gradient NaN.
    has_targets = n_targets > 0
    terms = terms.masked_fill(~has_targets[:, None], 0.0)
    mean = z[:, :m].masked_fill(~is_target, 0.0).sum(1) / n_targets.clamp(min=1)
    losses = (torch.logsumexp(terms, 1) - mean).masked_fill(~has_targets, 0.0)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def _ids(name: str, value: Any, logits: Tensor, n: int, *, shared: bool = False) -> Tensor:
    """Return ids as a matrix of int64 on the device of the logits."""
    ids = value if isinstance(value, Tensor) else _array_of_ids(name, value)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    shape, is_shared = tuple(ids.shape), shared and ids.ndim == 1
    if ids.ndim == 1:
        ids = ids[None] if shared else ids[:, None]
    if ids.ndim != 2 or (ids.shape[0] != n and not is_shared):
        shapes = f"(k,) or ({n}, k)" if shared else f"({n},) or ({n}, m)"
        raise ValueError(f"{name} must have shape {shapes}, got {shape}")
    return ids.to(logits.device).long()


def _array_of_ids(name: str, value: Any) -> Tensor:
    """Return ids that are no tensor as a tensor of int64 in new memory, whatever layout they have."""
    array = check_array(name, value)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    refuse_flags(name, value)
    return _copied(array, np.int64)


def _probabilities(value: Any, logits: Tensor) -> Tensor:
    """Return probabilities on the device of the logits, in float64 if it has that."""
    if not isinstance(value, Tensor):
        value = _copied(check_numbers("probabilities", value), np.float64)
    elif value.is_complex():
        raise TypeError(f"probabilities must hold real numbers, got {value.dtype}")
    # Devices of Apple have no float64.
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    return value.to(wide).to(logits.device)


def _copied(array: Any, dtype: type[np.generic]) -> Tensor:
    """Return an array of NumPy or CuPy as a tensor with its own memory, in native byte order."""
    copy = array.astype(dtype, order="C", copy=True)
    return torch.from_numpy(copy) if isinstance(copy, np.ndarray) else torch.as_tensor(copy)
