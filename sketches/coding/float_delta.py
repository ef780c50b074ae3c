"""Arrays of floats as what changed since another array: checkpoints, and models that were tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ..core.state import ArraySpec
from .float_array import FloatArray
from .float_chunks import CHUNK, Encoder, join
from .float_differences import METHODS, best_rule, difference, put_back, restore, split
from .float_formats import FloatFormat, integers_of
from .float_source import FloatSource

__all__ = ["FloatDelta"]


class FloatDelta(FloatArray):
    """Keep an array of floats as its differences from a base array, without any loss.

    Parameters
    ----------
    array : array_like or CompressedFloats
        As for `CompressedFloats`.
    base : array_like or CompressedFloats
        An array of the same shape and format, which `decode` needs again.
    dtype : str or dtype, optional
        The format of the floats, needed for unsigned integers only.

    Attributes
    ----------
    shape : tuple of int
    format : str
        Name of the format.
    method : {"difference", "xor"}
        What is stored: the number of floats from the base's to the array's, or the bits in which they differ;
        the smaller one.
    base_checksum : str
        XXH3 of the base's bits, in hexadecimal digits.
    nbytes, raw_nbytes : int
        Bytes of the differences, and of the array of floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, or shapes or formats differ.

    Notes
    -----
    A training step or a fine-tuning moves most floats by few of their neighbours. Floats are ordered as
    integers are, so the difference is a small integer, and these are coded as the symbols of
    `CompressedFloats` are. Rare large ones are kept apart. Equal arrays take 0.1 % of the floats.

    **Cost**: 10 to 30 ns a value to encode and 5 ns to decode on one core, and the memory of a few chunks of
    2**18 values besides the arrays.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> before = rng.normal(0, 0.02, 100_000).astype(np.float16)
    >>> after = (before + rng.normal(0, 1e-5, 100_000)).astype(np.float16)
    >>> delta = mergesketch.CompressedFloats(after).delta(before)
    >>> delta.nbytes < 0.25 * after.nbytes
    True
    >>> bool((delta.decode(before) == after).all())
    True
    """

    _parameters = (*FloatArray._parameters, "method", "n_bits", "base_checksum")

    method: str
    n_bits: int
    base_checksum: str

    def __init__(
        self,
        array: ArrayLike | FloatArray,
        base: ArrayLike | FloatArray,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        ours, theirs = FloatSource("array", array, dtype), FloatSource("base", base, dtype)
        if (ours.form, ours.shape) != (theirs.form, theirs.shape):
            found = f"{theirs.form.name} of shape {theirs.shape}"
            raise ValueError(f"base must be {ours.form.name} of shape {ours.shape}, as array, got {found}")
        n, integers = math.prod(ours.shape), integers_of(ours.form)
        rule = best_rule(n, lambda a, b: (ours.read(a, b), theirs.read(a, b)), integers) if n else None
        method, n_bits = rule or (METHODS[0], integers.width)
        encoder, checksum = Encoder(integers, "auto"), xxhash.xxh3_64()
        parts, apart = [], []
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            part = theirs.read(start, stop)
            checksum.update(part.data)
            small, large = split(difference(ours.read(start, stop), part, method), n_bits)
            parts.append(encoder.encode(read_only(np.ascontiguousarray(small))))
            apart.append(large)
        values = (ours.shape, ours.form.name, method, n_bits, checksum.hexdigest())
        self._set_config(dict(zip(self._parameters, values, strict=True)))
        kept = np.concatenate([np.zeros(0, ours.form.bits_dtype), *apart])
        self._set_arrays(join(parts)._asdict() | {"apart": kept})

    # -- state ------------------------------------------------------------------------------------

    def _set_config(self, config: Mapping[str, Any]) -> None:
        super()._set_config(config)
        self.method = check_choice("method", config["method"], METHODS)
        self.n_bits = check_int("n_bits", config["n_bits"], 1, self._form.width)
        checksum = config["base_checksum"]
        if not isinstance(checksum, str) or len(checksum) != 16:
            raise ValueError(f"base_checksum must be 16 hexadecimal digits, got {checksum!r}")
        self.base_checksum = checksum

    def _specs(self) -> dict[str, ArraySpec]:
        return {**super()._specs(), "apart": ArraySpec(self._form.bits_dtype.name)}

    @property
    def _coded_form(self) -> FloatFormat:
        return integers_of(self._form)

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError("FloatDelta has no GPU kernels")

    # -- decoding ---------------------------------------------------------------------------------

    def decode(self, base: ArrayLike | FloatArray) -> NDArray[Any]:
        """Return the array.

        Parameters
        ----------
        base : array_like or CompressedFloats
            The array that the delta was made from.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError
            If `base` is another array.
        """
        is_bits = isinstance(base, np.ndarray) and base.dtype.kind == "u"
        given = FloatSource("base", base, self.format if is_bits else None)
        if (given.form, given.shape) != (self._form, self.shape):
            theirs = f"{given.form.name} of shape {given.shape}"
            raise ValueError(f"base must be {self.format} of shape {self.shape}, got {theirs}")
        apart, n_apart = self._arrays["apart"], 0
        out, checksum = np.empty(self.size, self._form.bits_dtype), xxhash.xxh3_64()
        for start in range(0, self.size, CHUNK):
            stop = min(start + CHUNK, self.size)
            part = given.read(start, stop)
            checksum.update(part.data)
            integers = np.empty(stop - start, out.dtype)
            self._reader.read(start, stop, integers)
            n_apart += put_back(integers, apart[n_apart:], self.n_bits)
            out[start:stop] = restore(integers, part, self.method)
        if checksum.hexdigest() != self.base_checksum:
            raise ValueError("base must be the array that the delta was made from: it has other bits")
        if n_apart != apart.size:
            raise ValueError(
                f"the delta is damaged: {apart.size} values are kept apart, {n_apart} are marked"
            )
        return out.view(self.dtype).reshape(self.shape)


publish("mergesketch", __all__, globals())
