"""Arrays of floats at their entropy: every bit comes back, and rows are read at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ...lsh.support.backend import device_of, read_only
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import Device
from .float_array import FloatArray
from .float_chunks import CHUNK, Encoded, Encoder, join
from .float_coding import CODINGS, SIGN_AFTER_EXPONENT, bound, survey, total
from .float_delta import FloatDelta
from .float_device import DeviceReader
from .float_formats import FloatFormat, read_floats
from .float_reader import FloatReader
from .float_rows import read_rows

__all__ = ["CompressedFloats"]


class CompressedFloats(FloatArray):
    """Keep an array of floats in about as many bits as its exponents need, without any loss.

    Parameters
    ----------
    array : array_like of any shape
        Of dtype float16, float32, float64, or of the dtypes bfloat16, float8_e4m3fn, float8_e5m2,
        float8_e4m3fnuz and float8_e5m2fnuz of `ml_dtypes`; a tensor of PyTorch; or unsigned
        integers with the bits of such floats, and `dtype`. Big-endian arrays are brought to the native byte
        order.
    dtype : str or dtype, optional
        The format of the floats, needed for unsigned integers only: "bfloat16", for example.
    coding : {"auto", "exponent", "joint", "raw"}, default "auto"
        What gets code words. "exponent": the exponent alone, which decodes fastest. "joint": the exponent
        with the first mantissa bits, the sign, or both, whichever is smallest. "raw": nothing. "auto": the
        fastest coding that takes at most 0.5 % of a float's bits more than the smallest one with up to 2 bits
        beyond the exponent; of wide floats, 0.08 bits more. For most weights that is the exponent alone, and
        one more bit for float8.

    Attributes
    ----------
    shape : tuple of int
    size : int
        Number of values.
    format : str
        Name of the format, "bfloat16" for example.
    dtype : dtype
        NumPy's dtype of the values; that of unsigned integers if `ml_dtypes` is not installed.
    nbytes, raw_nbytes : int
        Bytes of the compressed arrays, and of the array of floats. The former is at most 64 bytes larger.
    coding : str
        What has code words in most values: "exponent", "sign+exponent+2" with two mantissa bits, or "raw".
    entropy : float
        Bits a value that any code of the exponents, or of what `coding` can name, takes at least.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    The values of trained networks have 2 to 3 bits of entropy in their exponents, which take 5 to 11 bits
    (DFloat11 [1]_). The top bits of a value, its symbol, are replaced by the words of an optimal prefix code
    of up to 11 bits [2]_. The other bits are stored as they are, but for lowest bits that are the same in all
    values. A code of words takes 0.02 to 0.06 bits a value more than the entropy.

    Values are cut into chunks of 2**18 with a code each, and these into streams of 1,024 values. A row is
    decoded from its streams alone. Where a chunk would not become smaller it is stored as it is. Every bit
    pattern comes back, with the payloads of NaNs and the signs of zeros.

    **Cost**: to encode a value takes about 2 ns and to decode it 1 ns on one core. Threads share the work.
    An array takes its compressed bytes, and 16 KB for each of up to 256 chunks that were read last.

    References
    ----------
    .. [1] Zhang, Hariri, Zhong, Chaudhary, Sui, Hu, Shrivastava. 70% size, 100% accuracy: lossless LLM
       compression for efficient GPU inference via dynamic-length float (DFloat11). NeurIPS 2025.
    .. [2] Larmore, Hirschberg. A fast algorithm for optimal length-limited Huffman codes. JACM 37, 1990.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> weights = np.random.default_rng(0).normal(0, 0.02, (512, 256)).astype(np.float32)
    >>> compressed = mergesketch.CompressedFloats(weights)
    >>> bool((compressed.decode() == weights).all())
    True
    >>> compressed.nbytes < 0.84 * weights.nbytes
    True
    >>> bool((compressed[7] == weights[7]).all())
    True
    """

    def __init__(self, array: ArrayLike, *, dtype: DTypeLike | None = None, coding: str = "auto") -> None:
        coding = check_choice("coding", coding, CODINGS)
        form, bits = read_floats("array", array, dtype)
        flat = read_only(bits.reshape(-1))
        self.shape, self.format = bits.shape, form.name
        self._set_arrays(Encoder(form, coding).encode(flat)._asdict(), device_of(bits))

    @classmethod
    def _from_encoded(cls, shape: tuple[int, ...], form: FloatFormat, encoded: Encoded) -> Self:
        """Return the array of a shape and its chunks, which must be right."""
        return cls._from_config({"shape": shape, "format": form.name})._set_arrays(encoded._asdict())

    # -- what it is -------------------------------------------------------------------------------

    @property
    def coding(self) -> str:
        """Name what has code words in most values: "exponent", "sign+exponent+2" or the like, or "raw"."""
        plans = self._reader.plans.plans
        values: dict[tuple[int, int], int] = {}
        for n, bits, turn in plans[:, [0, 3, 7]].tolist():
            values[bits, turn] = values.get((bits, turn), 0) + n
        bits, turn = max(values, key=lambda kind: values[kind], default=(0, 0))
        if bits == 0:
            return "raw"
        has_sign = turn == SIGN_AFTER_EXPONENT
        mantissa = bits - self._form.exponent - has_sign
        sign, more = ("sign+" if has_sign else ""), (f"{mantissa:+d}" if mantissa else "")
        return f"{sign}exponent{more}"

    @property
    def entropy(self) -> float:
        """Bits a value that any code of exponents, signs and up to 3 mantissa bits takes at least.

        It is computed when it is first asked for, about as fast as `decode`. It is 0 without values.
        """

        def make() -> float:
            bits, here = self._form.bits_dtype, self._on_cpu()
            found = [survey(read_only(part.view(bits)), self._form) for part in here.iter_parts()]
            return bound(total(found), self._form) if found else 0.0

        return self._state.cached("entropy", make)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("CompressedFloats of no dimensions have no length")
        return self.shape[0]

    # -- decoding ---------------------------------------------------------------------------------

    def to(self, device: Device) -> Self:
        """Return the array on a device, where it decodes to arrays of that device.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Saving and deltas use the CPU.

        Returns
        -------
        CompressedFloats
            The object itself if it is on the device already.

        Raises
        ------
        TypeError, ValueError
            If `device` is no such name.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        return self if device == self.device else self._moved(device)

    def _make_reader(self) -> FloatReader | DeviceReader:
        on_cpu: FloatReader = self._reader_of(self._on_cpu()._arrays)
        return on_cpu if self.device == "cpu" else DeviceReader(on_cpu, self._backend, self.dtype)

    def decode(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the array.

        Parameters
        ----------
        out : ndarray of the shape, optional
            Where to write it: contiguous, of the dtype, or of unsigned integers of the same width.

        Returns
        -------
        ndarray
            `out` if it is given.

        Raises
        ------
        TypeError, ValueError
            If `out` is not such an array.
        """
        if out is None:
            return self.bits().view(self.dtype)
        self.bits(self._as_bits(out))
        return out

    def bits(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the bits of the floats as unsigned integers.

        Parameters
        ----------
        out : ndarray of the shape, optional
            Where to write them: contiguous, of unsigned integers of the same width.

        Returns
        -------
        ndarray
            `out` if it is given.

        Raises
        ------
        TypeError, ValueError
            If `out` is not such an array.
        """
        out = self._empty(self.shape) if out is None else self._as_bits(out)
        self._reader.read(0, self.size, out.reshape(-1))
        return out

    def _as_bits(self, out: Any) -> NDArray[Any]:
        """Return the array of a caller as unsigned integers that share its memory."""
        bits = self._form.bits_dtype
        xp = self._backend.xp
        if not isinstance(out, xp.ndarray):
            library = "NumPy" if xp is np else "CuPy"
            raise TypeError(f"out must be a {library} array, got {type(out).__name__}")
        if out.dtype not in (bits, self.dtype):
            raise TypeError(f"out must have dtype {self.dtype} or {bits}, got {out.dtype}")
        if out.shape != self.shape:
            raise ValueError(f"out must have shape {self.shape}, got {out.shape}")
        # Arrays of CuPy can always be written to.
        usable = xp is not np or (out.flags.writeable and out.flags.aligned)
        if not (out.flags.c_contiguous and usable):
            raise ValueError("out must be contiguous and writeable")
        # Subclasses, such as `numpy.matrix`, would keep more than one dimension when they are flattened.
        return cast(NDArray[Any], xp.asarray(out).view(bits))

    def _empty(self, shape: int | tuple[int, ...]) -> NDArray[Any]:
        """Return an array for bits, where the floats lie."""
        out: NDArray[Any] = self._backend.xp.empty(shape, self._form.bits_dtype)
        return out

    def iter_parts(self, n_values: int = CHUNK) -> Iterator[NDArray[Any]]:
        """Decode the values in their order, some at a time, so that little memory is needed.

        Parameters
        ----------
        n_values : int, default 2**18
            Number of values of a part.

        Yields
        ------
        ndarray of shape (n_values,)
            The last part may have fewer.
        """
        n_values = check_int("n_values", n_values, 1)
        for start in range(0, self.size, n_values):
            stop = min(start + n_values, self.size)
            out = self._empty(stop - start)
            self._reader.read(start, stop, out)
            yield out.view(self.dtype)

    # -- access along the first axis --------------------------------------------------------------

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return rows, of which only their streams of 1,024 values are decoded.

        Parameters
        ----------
        rows : int, slice, or (k,) array_like of integers
            Along the first axis; negative numbers count from the end.

        Returns
        -------
        ndarray
            As the array itself returns it: of shape ``shape[1:]`` for one row.

        Raises
        ------
        IndexError
            If a row is out of range, or the array has no dimension.
        TypeError
            If `rows` is something else.
        """
        shape = self.shape
        if type(rows) is int and len(shape) == 2 and 0 <= rows < shape[0]:
            # What follows would take longer than to decode a thousand values.
            return self._reader.read_row(rows * shape[1], shape[1])
        if not self.shape:
            raise IndexError("CompressedFloats of no dimensions have no rows")
        row_shape = self.shape[1:]
        width = math.prod(row_shape)
        wanted = read_rows(rows, self.shape[0])
        if isinstance(wanted, np.ndarray):
            return self._gather(wanted, row_shape)
        if isinstance(wanted, int):
            out = self._empty(width)
            self._reader.read(wanted * width, wanted * width + width, out)
            return out.view(self.dtype).reshape(row_shape) if row_shape else out.view(self.dtype)[0]
        if wanted.step != 1 and width:
            return self._gather(np.array(wanted, np.int64), row_shape)
        out = self._empty((len(wanted), *row_shape))
        self._reader.read(wanted.start * width, wanted.start * width + out.size, out.reshape(-1))
        return out.view(self.dtype)

    def _gather(self, rows: NDArray[Any], row_shape: tuple[int, ...]) -> NDArray[Any]:
        width = math.prod(row_shape)
        out = self._empty((rows.size, *row_shape))
        self._reader.read_many([row * width for row in rows.tolist()], width, out.reshape(rows.size, width))
        return out.view(self.dtype)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Iterate over the rows."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the decoded array, for `numpy.asarray`."""
        if self.device != "cpu":
            raise TypeError('CompressedFloats lie on the GPU; move them with .to("cpu")')
        if copy is False:
            raise ValueError("CompressedFloats cannot become an array without a copy")
        array = self.decode()
        return array if dtype is None else array.astype(dtype, copy=False)

    # -- joining ----------------------------------------------------------------------------------

    @classmethod
    def concatenate(cls, parts: Sequence[CompressedFloats]) -> CompressedFloats:
        """Join arrays along the first axis, without decoding.

        Parameters
        ----------
        parts : sequence of CompressedFloats
            At least one, of one format, and of one shape but for the first axis: for example the shards that
            the ranks of a job have encoded.

        Returns
        -------
        CompressedFloats
            Equal to the array of all values, but for where its chunks begin.

        Raises
        ------
        TypeError, ValueError
            If there is no part, or they do not fit each other.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("parts must have at least one array, got none")
        for i, part in enumerate(parts):
            if not isinstance(part, CompressedFloats):
                raise TypeError(f"parts[{i}] must be CompressedFloats, got {type(part).__name__}")
            if not part.shape:
                raise ValueError(f"parts[{i}] must have a first axis, got shape ()")
            if (part.format, part.shape[1:]) != (parts[0].format, parts[0].shape[1:]):
                rows = f"({', '.join(['n', *map(str, parts[0].shape[1:])])})"
                raise ValueError(
                    f"parts[{i}] must be {parts[0].format} of shape {rows} as parts[0], got "
                    f"{part.format} of shape {part.shape}"
                )
        shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        encoded = join([Encoded(**part._on_cpu()._arrays) for part in parts])
        return CompressedFloats._from_encoded(shape, parts[0]._form, encoded)

    def delta(self, base: ArrayLike | CompressedFloats) -> FloatDelta:
        """Return what changed since another array, such as the checkpoint before.

        Parameters
        ----------
        base : array_like or CompressedFloats
            Of the same shape and format.

        Returns
        -------
        FloatDelta
            Its ``decode(base)`` returns this array. It is small if most floats are near those of the base.

        Raises
        ------
        TypeError, ValueError
            If `base` has another shape or format.
        """
        return FloatDelta(self, base)

    def _facts(self) -> list[tuple[str, str]]:
        return [("coding", self.coding), *super()._facts()]


publish("mergesketch", __all__, globals())
