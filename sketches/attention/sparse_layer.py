"""Layers of which few units are computed: the forward pass over those."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.support.backend import CPU, read_only, refuse_gpu
from ...lsh.support.checks import check_choice
from ...lsh.support.types import RowsLike
from ..kernels import active_units as kernels
from .selected_rows import read_dense, read_numbers

__all__ = ["ACTIVATIONS", "read_bias", "sparse_layer"]

#: The activation functions by name, as the kernels number them.
ACTIVATIONS = {"relu": kernels.RELU, "gelu": kernels.GELU, "silu": kernels.SILU}
#: Inputs that are worth a thread of their own.
_INPUTS = 4


def sparse_layer(
    X: RowsLike,
    W: RowsLike,
    V: RowsLike,
    units: ArrayLike | None = None,
    *,
    up: RowsLike | None = None,
    bias: ArrayLike | None = None,
    output_bias: ArrayLike | None = None,
    activation: str = "relu",
) -> NDArray[np.float32]:
    """Return the outputs of a feed-forward layer of which only the selected units are computed.

    The outputs are ``activation(X @ W.T + bias) @ V + output_bias``, where the activations of all other units
    are taken as 0. With `up` the layer is gated (SwiGLU, GeGLU, ReGLU), as in Llama, Qwen, Mistral and Gemma:
    ``(activation(X @ W.T + bias) * (X @ up.T)) @ V + output_bias``.

    Parameters
    ----------
    X : array_like or sparse matrix of shape (n, n_features)
        The inputs.
    W : array_like of shape (n_units, n_features)
        The weights into each unit, before the activation: ``first.weight.detach()`` of PyTorch's first
        `Linear`, and ``gate_proj.weight.detach()`` of a gated layer.
    V : array_like of shape (n_units, n_outputs)
        The weights out of each unit: the transpose, ``second.weight.detach().T``, of PyTorch's second
        `Linear`, and ``down_proj.weight.detach().T`` of a gated layer.
    units : array_like of integers, of shape (k,) or (n, k), optional
        The units that are computed for all inputs, or for each, as `ActiveUnits.select` returns them: from 0
        to n_units - 1, or -1 for none. By default these are all units. A unit that is given twice counts
        twice.
    up : array_like of shape (n_units, n_features), optional
        The weights of the factors of a gated layer, which have no activation and no bias:
        ``up_proj.weight.detach()``.
    bias : array_like of shape (n_units,), optional
    output_bias : array_like of shape (n_outputs,), optional
    activation : {"relu", "gelu", "silu"}
        "gelu" is the exact one, ``z * Phi(z)``. The approximation by tanh, as in Gemma, differs from it by
        less than 0.0005.

    Returns
    -------
    ndarray of shape (n, n_outputs), float32

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, units lie outside their range, or numbers that are used, their products, or
        sums of some of these are not finite in float32. Inputs without selected units are not read.

    Notes
    -----
    Only the selected rows of `W` are read, and the rows of `up` and `V` of those units whose activation is
    not 0: at most ``4 k (n_features + n_outputs)`` bytes an input, and ``4 k n_features`` more with `up`.
    Matrices of float32 in C order are used where they are. All others are converted at each call, as a whole,
    which takes longer than the layer: pass ``np.ascontiguousarray(second.weight.detach().T)``, made once, as
    `V`. Sums are those of float32.

    Each input is computed by one thread, and reads its own rows. A matrix product reads all rows once for
    many inputs, so it is faster for batches.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> W, V = np.eye(3, dtype=np.float32), np.float32([[1, 0], [0, 1], [5, 5]])
    >>> mergesketch.sparse_layer([[1.0, 2.0, 3.0]], W, V, [[0, 1]])
    array([[1., 2.]], dtype=float32)

    A gated layer, whose factors here are twice the inputs:

    >>> mergesketch.sparse_layer([[1.0, 2.0, 3.0]], W, V, [[0, 1]], up=2 * W)
    array([[2., 8.]], dtype=float32)
    """
    refuse_gpu("sparse_layer", X, W, V, units, up, bias, output_bias)
    number = ACTIVATIONS[check_choice("activation", activation, tuple(ACTIVATIONS))]
    inputs, incoming, outgoing = (_read_floats(n, rows) for n, rows in (("X", X), ("W", W), ("V", V)))
    n_units, d = incoming.shape
    if inputs.shape[1] != d:
        raise ValueError(f"X must have {d} columns, as W has, got {inputs.shape[1]}")
    if len(outgoing) != n_units:
        raise ValueError(f"V must have {n_units} rows, one for each row of W, got {len(outgoing)}")
    factors = np.empty((0, d), np.float32) if up is None else _read_floats("up", up)
    if up is not None and factors.shape != incoming.shape:
        raise ValueError(f"up must have shape {incoming.shape}, as W has, got {factors.shape}")
    ours = read_bias("bias", bias, n_units)
    theirs = read_bias("output_bias", output_bias, outgoing.shape[1])
    if output_bias is None:
        theirs = np.zeros(outgoing.shape[1], np.float32)
    chosen = np.arange(n_units) if units is None else check_array("units", units)
    if units is not None:
        shape = (len(inputs), chosen.shape[-1]) if chosen.ndim == 2 else (chosen.size,)
        chosen = read_numbers("units", units, shape, n_units)
    if chosen.ndim == 1:
        chosen = np.tile(chosen, (len(inputs), 1))
    out = np.empty((len(inputs), outgoing.shape[1]), np.float32)
    given = [read_only(array) for array in (inputs, incoming, ours, factors, outgoing, theirs, chosen)]
    CPU.map_blocks(lambda a, b: kernels.forward_selected(*given, number, a, b, out), len(inputs), _INPUTS)
    # A sum of finite products is infinite only if it, or a part of it, does not fit float32.
    wild = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if wild.size:
        raise ValueError(
            f"X, W, {'' if up is None else 'up, '}V and biases must be finite in float32, and so their "
            f"products and the sums of some of these, got others for the input at index {wild[0]}"
        )
    return out


def read_bias(name: str, bias: Any, size: int) -> NDArray[np.float32]:
    """Return a vector of `size` finite numbers as float32, or an empty one for None."""
    if bias is None:
        return np.zeros(0, np.float32)
    numbers = check_array(name, bias)
    if numbers.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {numbers.shape}")
    floats = numbers
    if numbers.dtype != np.float32 or not numbers.flags.c_contiguous:
        with np.errstate(over="ignore"):
            floats = check_numbers(name, numbers).astype(np.float32)
    if not np.isfinite(floats).all():
        raise ValueError(f"{name} must be finite in float32, got NaN, infinity or a larger number")
    return floats


def _read_floats(name: str, rows: Any) -> NDArray[np.float32]:
    """Return rows as a float32 matrix in C order."""
    matrix: NDArray[np.float32] = read_dense(name, rows)
    if matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(matrix, np.float32)
    return matrix
