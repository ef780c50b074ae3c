"""Weights of a linear layer in few bits, on grids that keep the outputs of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_dense, check_magnitude
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import PLACES, device_of, read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import Device, RowsLike
from ..core.state import ArraySpec, State
from ..core.stored import Stored
from ..kernels import loss_aware_grid as kernels
from .grid_fitting import GRIDS, expand_grids, fit_rows, pack_codes
from .second_moments import SecondMoments

__all__ = ["LossAwareGrid"]

_MAX_BITS = 8
_MAX_P = 16.0
#: The largest magnitude of a weight: so the distance of two weights, a step of a grid, fits float32.
_LARGEST = float(np.finfo(np.float32).max) / 2
#: Weights that are decoded at a time for a product: a mebibyte on the CPU.
_DECODED = {"cpu": 1 << 18, "gpu": 1 << 26}
#: Weights that are worth a thread of their own.
_WEIGHTS_BLOCK = 1 << 18


class LossAwareGrid(Stored):
    """Store the weights of a linear layer in 1 to 8 bits each, so that its outputs change little.

    Each row of the weights gets a grid of ``2**bits`` values, and each weight the number of one of them.
    Grids are placed by weighted k-means, where a weight counts as much as its errors would change the outputs
    on typical inputs. The weights are then rounded column by column, and the columns that are left make up
    for the error of each column.

    Parameters
    ----------
    W : array_like of shape (n_outputs, n_features)
        The weights; the layer is ``X @ W.T``. Numbers of at most 1.7e38 in magnitude, half of the largest
        float32. They are not changed.
    calibration : SecondMoments
        Of typical inputs of the layer: some thousands of rows, better more than `n_features`. Sketches that
        ranks have built merge.
    bits : int, default 4
        Bits of a weight, from 1 to 8.
    p : float, default 1.0
        The importance of a weight is ``d**-p``, with d the entry of its column on the diagonal of the inverse
        of the damped moments. 0 makes all weights equally important. From 0 to 16.
    grid : {"free", "affine"}
        "free" for any values, in ``4 * 2**bits`` bytes a row, from the best k-means there is. "affine" for
        values at equal distances, in 8 bytes a row.

    Attributes
    ----------
    shape : tuple of int
        ``(n_outputs, n_features)``.
    device : str
    nbytes : int
        Bytes of codes and grids.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, if `W` holds NaN, infinity or larger
        numbers, or has another number of columns than the calibration, or if the calibration has no
        rows.

    Notes
    -----
    With H the mean of ``x x.T`` over the inputs, an error matrix E of the weights has the mean squared output
    error ``trace(E H E.T)``. 1 % of the mean diagonal entry of H is added to its diagonal, so that H has an
    inverse even if the inputs of a column are always 0. Grids minimise ``sum(d**-p * (w - q)**2)`` over the
    weights w of a row and their nearest grid points q, as in LeanQuant [1]_. Its authors chose p = 4; the
    layers of the benchmark have smaller errors with p = 1. The loop over columns is that of GPTQ [2]_.

    Building takes ``O(n_outputs n_features (2**bits log(n_features) + n_features) + n_features**3)`` time.

    References
    ----------
    .. [1] Zhang, Shrivastava. LeanQuant: Accurate and Scalable Large Language Model Quantization with
       Loss-error-aware Grid. ICLR 2025.
    .. [2] Frantar, Ashkboos, Hoefler, Alistarh. GPTQ: Accurate Post-Training Quantization for Generative
       Pre-trained Transformers. ICLR 2023.

    Examples
    --------
    >>> import mergesketch, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> W, X = rng.standard_normal((16, 64)), rng.standard_normal((500, 64))
    >>> moments = mergesketch.SecondMoments(64).update(X)
    >>> layer = mergesketch.LossAwareGrid(W, moments, bits=4)
    >>> layer.matmul(X).shape, layer.nbytes, W.astype(np.float32).nbytes
    ((500, 16), 1552, 4096)
    >>> moments.relative_error(W, layer.decode()) < 0.01
    True
    """

    _parameters = ("bits", "p", "grid")

    def __init__(
        self,
        W: ArrayLike,
        calibration: SecondMoments,
        bits: int = 4,
        *,
        p: float = 1.0,
        grid: Literal["free", "affine"] = "free",
    ) -> None:
        if not isinstance(calibration, SecondMoments):
            raise TypeError(f"calibration must be SecondMoments, got {type(calibration).__name__}")
        self._set_config({"bits": bits, "p": p, "grid": grid})
        refuse_gpu("building a LossAwareGrid", W)
        weights = check_dense(W, calibration.n_features, "W").astype(np.float64)
        if len(weights) == 0:
            raise ValueError("W must have at least one row, got none")
        check_magnitude("W", weights, _LARGEST)
        if calibration.n_updates <= 0:
            raise ValueError("calibration must have rows, got a sketch without")
        shape = np.array(weights.shape, np.int64)
        fitted = fit_rows(weights, calibration.mean_products(), self.bits, self.p, self.grid)
        self._set_arrays(
            {"shape": shape, "codes": pack_codes(fitted.codes, self.bits), "grids": fitted.grids}
        )

    # -- storage --------------------------------------------------------------------------------------

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        new = cls.__new__(cls)
        new._set_config(config)
        return new

    def _set_config(self, config: Mapping[str, Any]) -> None:
        """Set the attributes of a configuration; ValueError, TypeError or KeyError if it is not valid."""
        self.bits = check_int("bits", config["bits"], 1, _MAX_BITS)
        self.p = check_real("p", config["p"], 0.0, _MAX_P, closed=True)
        self.grid: str = check_choice("grid", config["grid"], GRIDS)

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "shape": ArraySpec("int64"),
            "codes": ArraySpec("uint8", 2, on_device=True),
            "grids": ArraySpec("float32", 2, on_device=True),
        }
        return State(type(self).__name__, specs)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        shape, codes, grids = arrays["shape"], arrays["codes"], arrays["grids"]
        if shape.shape != (2,) or not (shape > 0).all():
            raise ValueError(f"shape must be two numbers above 0, got {shape.tolist()}")
        n_outputs, n_features = shape.tolist()
        expected = (n_outputs, -(-n_features // 8) * self.bits)
        if codes.shape != expected:
            raise ValueError(f"codes must have shape {expected}, got {codes.shape}")
        expected = (n_outputs, 1 << self.bits if self.grid == "free" else 2)
        if grids.shape != expected or not np.isfinite(grids).all():
            raise ValueError(f"grids must be finite numbers of shape {expected}, got {grids.shape}")

    def __copy__(self) -> Self:
        return self  # immutable

    def to(self, device: Device) -> Self:
        """Return the layer on a device: `matmul` takes rows there, and results lie there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Building and saving use the CPU.

        Returns
        -------
        An equal layer; the layer itself if it is on the device already.

        Raises
        ------
        TypeError, ValueError
            If `device` is no such name.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        return self if device == self.device else self._moved(device)

    # -- reading --------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weights, ``(n_outputs, n_features)``."""
        n_outputs, n_features = self._arrays["shape"].tolist()
        return n_outputs, n_features

    def grid_points(self) -> NDArray[np.float32]:
        """Return the values that the weights of each row have.

        Returns
        -------
        ndarray of shape (n_outputs, 2**bits), float32
            Ascending. Values repeat if a row had fewer different weights.
        """
        return expand_grids(self._arrays["grids"], self.grid, 1 << self.bits).copy()

    def _decode(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the weights of the rows [start, stop)."""
        arrays, backend = self._arrays, self._backend
        out: NDArray[np.float32] = backend.xp.empty((stop - start, self.shape[1]), np.float32)
        tables = expand_grids(arrays["grids"][start:stop], self.grid, 1 << self.bits)
        codes = read_only(arrays["codes"][start:stop])
        backend.kernels(kernels).decode_rows(codes, read_only(tables), self.bits, 0, stop - start, out)
        return out

    def _map_rows(self, function: Any) -> None:
        """Call ``function(start, stop)`` for blocks of rows, which do not depend on the number of threads."""
        n_outputs, n_features = self.shape
        size = max(1, _DECODED[self.device] // n_features)

        def work(first: int, last: int) -> None:
            for block in range(first, last):
                function(block * size, min(n_outputs, (block + 1) * size))

        self._backend.map_blocks(work, -(-n_outputs // size), max(1, _WEIGHTS_BLOCK // (size * n_features)))

    def decode(self) -> NDArray[np.float32]:
        """Return the weights as a matrix.

        Returns
        -------
        ndarray of shape (n_outputs, n_features), float32
        """
        out: NDArray[np.float32] = self._backend.xp.empty(self.shape, np.float32)

        def fill(start: int, stop: int) -> None:
            out[start:stop] = self._decode(start, stop)

        self._map_rows(fill)
        return out

    def matmul(self, X: RowsLike) -> Any:
        """Return the outputs of the layer, ``X @ W.T``.

        Some rows of weights are decoded at a time, by look-ups in the grids, and multiplied: the memory that
        this takes does not grow with the layer.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_outputs), float32 or float64
            float64 if `X` needs it, as rows of float64 do.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, has another width, or lies on another device.
        """
        if device_of(X) != self.device:
            raise TypeError(
                f"X lies {PLACES[device_of(X)]}, but the LossAwareGrid {PLACES[self.device]}: copy the rows "
                f'there, or move it with .to("{device_of(X)}")'
            )
        rows = read_rows(X, self.shape[1]).dense
        out: NDArray[Any] = self._backend.xp.empty((len(rows), self.shape[0]), rows.dtype)

        def multiply(start: int, stop: int) -> None:
            out[:, start:stop] = rows @ self._decode(start, stop).astype(rows.dtype, copy=False).T

        self._map_rows(multiply)
        return like(X, out)

    def _facts(self) -> list[tuple[str, str]]:
        n_outputs, n_features = self.shape
        return [*super()._facts(), ("weights", f"{n_outputs:,} x {n_features:,}")]

    def __repr__(self) -> str:
        n_outputs, n_features = self.shape
        return (
            f"<LossAwareGrid: {n_outputs:,} x {n_features:,} weights of {self.bits} bits, {self.grid} grids, "
            f"{self.nbytes:,} bytes>"
        )


publish("mergesketch", __all__, globals())
