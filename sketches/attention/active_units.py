"""Units of a layer that are active for an input, predicted without computing the layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_dense, check_magnitude
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import CPU, read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..coding.second_moments import SecondMoments
from ..core.state import Arrays, ArraySpec, State
from ..core.stored import Stored
from ..kernels import active_units as kernels
from ..neighbours.vector_codes import VectorCodes
from .sparse_layer import ACTIVATIONS, read_bias

__all__ = ["ActiveUnits"]

_METHODS = ("low_rank", "codes")
#: The arrays of each method, beside the shape and the bias.
_ARRAYS = {
    "low_rank": {"left": ("float32", 2), "right": ("float32", 2)},
    "codes": {"codes": ("uint64", 2), "scales": ("float32", 1), "radii": ("float32", 1)},
}
#: The default rank is one for each of these features.
_FEATURES_PER_RANK = 8
#: Bounds of the largest magnitude of a weight, so that lengths of rows fit float32; the lower one for codes.
_LARGEST, _SMALLEST = 1e30, 1e-30
#: The least variation of inputs in a direction, as a share of the largest, so that every direction counts.
#: Rounding of the moments, which are float64, is below it.
_LEAST = 1e-12
#: Inputs that are worth a thread of their own.
_INPUTS = 4


class ActiveUnits(Stored):
    """Predict which units of a layer are active for an input, without computing the layer (Deja Vu).

    The layer is ``activation(X @ W.T + bias) @ V``, and its middle is wide: of thousands of units, few are
    active for one input, and different ones for each. `select` returns those with the strongest predicted
    activations, and `sparse_layer` computes only them. Units of a gated layer, as in Llama and Qwen, are
    selected by their gate: `W` is then ``gate_proj.weight.detach()``.

    Parameters
    ----------
    W : array_like of shape (n_units, n_features)
        The weights into each unit: ``layer.weight.detach()`` of PyTorch's `Linear`. Numbers of at most 1e30
        in magnitude, and for the method "codes" not all below 1e-30, unless all are 0. They are not kept.
    bias : array_like of shape (n_units,), optional
    calibration : SecondMoments, optional
        Of typical inputs of the layer, for the method "low_rank": some thousands of rows. Sketches that ranks
        have built merge. Of inputs below 1e-150 in magnitude, it loses digits, or all.
    method : {"low_rank", "codes"}
        "low_rank" is learned from the calibration: it replaces `W` by a product of two narrow matrices.
        "codes" needs no inputs: it scores the rows of `W` in few bits, as `VectorCodes` does.
    rank : int, optional
        The width of the narrow matrices, at most the smaller side of `W`; an eighth of `n_features` by
        default. For the method "low_rank".
    bits : int, default 4
        Bits of a weight, from 1 to 8. For the method "codes".
    activation : {"relu", "gelu", "silu"}
        How `select` ranks units: by the magnitude of their predicted activation. For "relu" it ranks them by
        the number before the activation, so that units are chosen well even if fewer than k are active.
    seed : int, default 0
        Seed of the rotation of the codes, in [0, 2**64). For the method "codes".

    Attributes
    ----------
    shape : tuple of int
        ``(n_units, n_features)``.
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, if there is no calibration for the method
        "low_rank" or one for "codes", or if it has no rows or another number of features.

    Notes
    -----
    **low_rank**. Of all matrices of the rank, the one is taken whose products with the calibration's inputs
    have the least squared error: ``U U.T W``, where the columns of U are the directions of the largest
    variation of the outputs ``W x`` (reduced-rank regression, in closed form). Deja Vu trains a classifier of
    two layers by gradient steps instead. Inputs count as if they varied in every direction, by at least a
    millionth of the largest variation. So what varies less is not fitted, and where columns differ by such
    factors, scale or centre them first. Building takes O(n_units n_features**2) time, a query
    ``rank (n_features + n_units)`` multiplications, and memory is 4 bytes for each of these.

    **Gated layers**. Where `W` is the gate of ``(activation(X @ W.T) * (X @ up.T)) @ V``, `select` ranks by
    the activation of the gate alone. This is right for "relu" if all active units are selected. For "silu"
    and "gelu", select by the product of what predictors of both matrices predict, a of the gate and b of
    `up`. With ``z = a.scores(X)`` and the functions of ``scipy.special``, this is
    ``top_tokens(np.abs(z * expit(z) * b.scores(X)), k)`` for "silu", and has ``ndtr`` in the place of
    ``expit`` for "gelu".

    **codes**. The scores are those of `VectorCodes`, which estimate products without bias. A query reads
    ``n_units n_features bits / 8`` bytes.

    With the full rank, or with 8 bits, the prediction is the layer itself but for rounding, and takes longer
    than it.

    References
    ----------
    Liu, Wang, Dao, Zhou, Yuan, Song, Shrivastava, Zhang, Tian, Re, Chen. Deja Vu: contextual sparsity for
    efficient LLMs at inference time. ICML 2023.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> W, V = rng.standard_normal((2, 512, 64), dtype=np.float32)
    >>> X = rng.standard_normal((2000, 8)) @ rng.standard_normal((8, 64))  # inputs vary in few directions
    >>> moments = mergesketch.SecondMoments(64).update(X)
    >>> predictor = mergesketch.ActiveUnits(W, calibration=moments, rank=8)
    >>> units = predictor.select(X[:3], k=300)
    >>> units.shape
    (3, 300)
    >>> exact, sparse = mergesketch.sparse_layer(X[:3], W, V), mergesketch.sparse_layer(X[:3], W, V, units)
    >>> bool(np.allclose(exact, sparse, rtol=1e-3, atol=1e-2))
    True
    """

    _parameters = ("method", "rank", "bits", "activation", "seed")

    def __init__(
        self,
        W: ArrayLike,
        bias: ArrayLike | None = None,
        calibration: SecondMoments | None = None,
        *,
        method: str = "low_rank",
        rank: int | None = None,
        bits: int = 4,
        activation: str = "relu",
        seed: int = 0,
    ) -> None:
        refuse_gpu("ActiveUnits", W, bias)
        check_choice("method", method, _METHODS)
        if method == "low_rank" and not isinstance(calibration, SecondMoments):
            raise TypeError(
                'calibration must be SecondMoments for the method "low_rank", got '
                f"{type(calibration).__name__}"
            )
        if method == "codes" and calibration is not None:
            raise TypeError(
                'calibration must be None for the method "codes", which does not learn from inputs'
            )
        weights = check_dense(W, None if calibration is None else calibration.n_features, "W")
        if weights.size == 0:
            raise ValueError(f"W must have at least one row and one column, got shape {weights.shape}")
        largest = check_magnitude("W", weights, _LARGEST)
        if method == "codes" and 0.0 < largest < _SMALLEST:
            raise ValueError(
                f'W must have a number of magnitude {_SMALLEST:g} or more for the method "codes", got at '
                f"most {largest:g}; multiply W and bias by a power of two"
            )
        if calibration is not None and calibration.n_updates <= 0:
            raise ValueError("calibration must have rows, got a sketch without")
        if method == "low_rank" and rank is None:
            rank = min(max(1, weights.shape[1] // _FEATURES_PER_RANK), min(weights.shape))
        config = {"method": method, "rank": rank, "bits": bits, "activation": activation, "seed": seed}
        self._set_config(config)
        offsets = read_bias("bias", bias, len(weights)).copy()
        arrays: Arrays = {"shape": np.array(weights.shape, np.int64), "bias": offsets}
        if calibration is None:
            codes = VectorCodes(weights.shape[1], self.bits, seed=self.seed).update(weights)
            self._set_arrays(arrays | {name: codes._arrays[name] for name in _ARRAYS["codes"]})
        else:
            assert self.rank is not None
            if self.rank > min(weights.shape):
                raise ValueError(f"rank must be at most {min(weights.shape)} for these weights, got {rank}")
            factors = _factorise(weights.astype(np.float64), calibration.mean_products(), self.rank)
            self._set_arrays(arrays | dict(zip(_ARRAYS["low_rank"], factors, strict=True)))

    # -- storage ----------------------------------------------------------------------------------

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        new = cls.__new__(cls)
        new._set_config(config)
        return new

    def _set_config(self, config: Mapping[str, Any]) -> None:
        """Set the attributes of a configuration; ValueError, TypeError or KeyError if it is not valid."""
        self.method: str = check_choice("method", config["method"], _METHODS)
        rank = config["rank"]
        if (rank is None) != (self.method == "codes"):
            raise ValueError(f'rank must be given for the method "low_rank" only, got {rank}')
        self.rank = None if rank is None else check_int("rank", rank, 1, 1 << 31)
        self.bits = check_int("bits", config["bits"], 1, 8)
        self.activation: str = check_choice("activation", config["activation"], tuple(ACTIVATIONS))
        self.seed = check_int("seed", config["seed"], 0, 2**64 - 1)

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {"shape": ArraySpec("int64"), "bias": ArraySpec("float32")}
        own = {name: ArraySpec(*spec) for name, spec in _ARRAYS[self.method].items()}
        return State(type(self).__name__, specs | own)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        shape, bias = arrays["shape"], arrays["bias"]
        if shape.shape != (2,) or not (shape > 0).all():
            raise ValueError(f"shape must be two numbers above 0, got {shape.tolist()}")
        n_units, n_features = shape.tolist()
        if bias.size not in (0, n_units) or not np.isfinite(bias).all():
            raise ValueError(f"bias must be empty, or {n_units} finite numbers")
        if self.method == "codes":
            codes = VectorCodes(n_features, self.bits, seed=self.seed)
            codes._check_state(self._as_codes(codes, arrays))
            if len(arrays["codes"]) != n_units:
                raise ValueError(f"codes must have {n_units} rows, got {len(arrays['codes'])}")
            return
        for name, expected in (("left", (n_units, self.rank)), ("right", (self.rank, n_features))):
            if arrays[name].shape != expected or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} must be finite numbers of shape {expected}")

    @staticmethod
    def _as_codes(codes: VectorCodes, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the arrays of VectorCodes, without ids and a centre, from those of this object."""
        return {**codes._arrays, **{name: arrays[name] for name in _ARRAYS["codes"]}}

    @lazy
    def _codes(self) -> VectorCodes:
        """Return the rows of the weights in few bits."""
        codes = VectorCodes(self.shape[1], self.bits, seed=self.seed)
        return codes._set_arrays(self._as_codes(codes, self._arrays))

    def __copy__(self) -> Self:
        return self  # immutable

    # -- queries ----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weights, ``(n_units, n_features)``."""
        n_units, n_features = self._arrays["shape"].tolist()
        return n_units, n_features

    def scores(self, X: RowsLike) -> NDArray[np.float32]:
        """Return the predicted numbers before the activation, ``X @ W.T + bias``.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_units), float32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, has another width, or has scores that do not fit
            float32.
        """
        refuse_gpu("ActiveUnits", X)
        rows, arrays = read_rows(X, self.shape[1]), self._arrays
        with np.errstate(over="ignore", invalid="ignore"):
            if self.method == "codes":
                scores = self._codes.scores(rows.dense).astype(np.float32)
            else:
                inputs = rows.dense.astype(np.float32, copy=False)
                scores = (inputs @ arrays["right"].T) @ arrays["left"].T
            if arrays["bias"].size:
                scores += arrays["bias"]
        if not np.isfinite(scores).all():
            raise ValueError("X must have scores that fit float32, got larger ones")
        return scores

    def select(self, X: RowsLike, k: int) -> NDArray[np.int64]:
        """Return the k units with the strongest predicted activations for each input.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        k : int
            From 1 to `n_units`.

        Returns
        -------
        ndarray of shape (n, k), int64
            The numbers of the units, rising, as `sparse_layer` takes them. At equal strengths earlier units
            are selected.

        Raises
        ------
        TypeError, ValueError
            As `scores` does, or if `k` lies outside its range.
        """
        n_units = self.shape[0]
        k = check_int("k", k, 1, n_units)
        strengths = self.scores(X)
        n = len(strengths)
        if self.activation != "relu":
            scores, strengths = read_only(strengths), np.empty_like(strengths)
            number = ACTIVATIONS[self.activation]
            CPU.map_blocks(
                lambda a, b: kernels.measure_activations(scores, number, a, b, strengths), n, _INPUTS
            )
        limits = np.ascontiguousarray(np.partition(strengths, n_units - k, axis=1)[:, n_units - k])
        out, ranked = np.empty((n, k), np.int64), (read_only(strengths), read_only(limits))
        CPU.map_blocks(lambda a, b: kernels.pick_units(*ranked, a, b, out), n, _INPUTS)
        return out

    def _facts(self) -> list[tuple[str, str]]:
        n_units, n_features = self.shape
        return [*super()._facts(), ("weights", f"{n_units:,} x {n_features:,}")]

    def __repr__(self) -> str:
        n_units, n_features = self.shape
        how = f"rank {self.rank}" if self.method == "low_rank" else f"codes of {self.bits} bits"
        return f"<ActiveUnits: {n_units:,} units of {n_features:,} features, {how}, {self.nbytes:,} bytes>"


def _factorise(
    W: NDArray[np.float64], moments: NDArray[np.float64], rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two matrices whose product is the matrix of the rank with the best products with the inputs."""
    # In units of the largest numbers, nothing overflows.
    unit = float(np.abs(W).max()) or 1.0
    weights = W / unit
    moments = moments / (float(np.abs(moments).max()) or 1.0)
    values, vectors = np.linalg.eigh(moments)
    values = np.maximum(values, _LEAST * values[-1]) if values[-1] > 0.0 else np.ones_like(values)
    # Column j has the outputs along direction j of the inputs, as large as the inputs vary along it.
    outputs = (weights @ vectors) * np.sqrt(values)
    _, directions = np.linalg.eigh(outputs.T @ outputs)
    left, _ = np.linalg.qr(outputs @ directions[:, ::-1][:, :rank])
    right = unit * (left.T @ weights)
    return np.ascontiguousarray(left, np.float32), np.ascontiguousarray(right, np.float32)


publish("mergesketch", __all__, globals())
