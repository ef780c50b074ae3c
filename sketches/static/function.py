"""Static functions: immutable maps from keys to values, in about the entropy of the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from .batch import read_batch
from .blueprint import build_map
from .map import StaticMap

__all__ = ["StaticFunction"]


class StaticFunction(StaticMap):
    """An immutable map from keys to values that stores no keys: about the entropy of the values.

    Parameters
    ----------
    keys : array or list of n keys
        Integers or strings of any kind that `mergesketch.lsh.hash_keys` takes: NumPy, Arrow and lists;
        without a Python object for each key unless it is a list. A key may come twice with the same value.
    values : array or list of n values
        Integers of any dtype, booleans, float32 or float64 (kept bit for bit), strings or bytes.
    seed : int
        In [0, 2**64). The same seed and map give the same file, in whatever order the keys come.
    key_check_bits : int
        Bits of a fingerprint to keep of each key, 0 to 64. With them, keys that were not there are found out,
        all but one in ``2**key_check_bits``, and ``n_keys / 2**64`` more whose 64-bit hashes are those of
        keys, which no number of bits tells apart. Without them absent keys get some value.
    precision : float, optional
        For floats: keep the nearest multiple of it, within precision / 2.
    progress : bool
        Whether construction may show a bar: on a terminal, after a second.

    Attributes
    ----------
    n_keys : int
        Distinct keys; also `len`.
    nbytes : int
        Bytes of the arrays; the file has one or two kilobytes more.

    Raises
    ------
    ValueError
        If a key comes with two values: the message names it.
    TypeError
        If keys or values are of mixed or other types.

    Notes
    -----
    Values get the words of a prefix code (a value that most keys have is taken out by a filter first),
    and every bit of a key's word is one equation over GF(2) between 128 bits of the file, solved in bumped
    ribbons [1]_. Space at a million keys with geometric values: 1.2 to 1.9 % over the entropy for 2 bits a
    key or more, 15 % for half a bit; key_check_bits add their number of bits a key. Values that all differ
    take their width. A map of a few hundred keys takes a few hundred bytes more than that, and the file's
    header.

    Time: a batch look-up costs 10 to 25 ns a key on one thread, whatever is in the map; a single
    key about 12 microseconds. Construction takes some 300 ns a key on one thread, and 50 bytes a key of
    memory beside the input while it lasts; `StaticFunctionBuilder` takes batches and needs less. Look-ups
    release the GIL and run on all threads; a file that is mapped (``load(path, mmap=True)``) is there at once
    and shared between processes.

    A key that was not there gets the value of some key, or one that no key has. It never fails.

    References
    ----------
    .. [1] Dillinger, Huebschle-Schneider, Sanders, Walzer. Fast Succinct Retrieval and Approximate Membership
       using Ribbon. SEA 2022. The use for variable-length codes follows CARAMEL (Coleman et al., 2023).

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> capitals = mergesketch.StaticFunction(["France", "Peru", "Kenya"], ["Paris", "Lima", "Nairobi"])
    >>> capitals.lookup(["Peru", "France"]).tolist()
    ['Lima', 'Paris']
    >>> capitals["Kenya"]
    'Nairobi'
    >>> counts = mergesketch.StaticFunction(np.arange(100_000), np.arange(100_000) % 4, key_check_bits=16)
    >>> counts.lookup([6, 100_007])
    masked_array(data=[2, --],
                 mask=[False,  True],
           fill_value=999999)
    """

    def _set_own_config(self, config: Mapping[str, Any]) -> None:
        super()._set_own_config(config)
        if len(self._column_configs) != 1:
            raise ValueError(f"columns must be one, got {len(self._column_configs)}")

    def __new__(
        cls,
        keys: Any,
        values: Any,
        *,
        seed: int = 0,
        key_check_bits: int = 0,
        precision: float | None = None,
        progress: bool = True,
    ) -> Self:
        """Build the function."""
        batch = read_batch(keys, values, precision=precision)
        return build_map(cls, batch, seed, key_check_bits, progress)

    def lookup(self, keys: Any, missing: Any = None) -> NDArray[Any]:
        """The values of a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys
            Of the kind that the function was built of: integers, or strings and bytes.
        missing : value, optional
            With key_check_bits: what keys get that were not there.

        Returns
        -------
        ndarray of shape (n,)
            Of the dtype that the values had; strings and bytes that came as a list or from Arrow come as
            objects. With key_check_bits and without `missing` a masked array, in which absent keys are
            masked.

        Raises
        ------
        TypeError, ValueError
            If the keys are of another kind than those at construction, or `missing` than the values.

        Examples
        --------
        >>> import mergesketch
        >>> f = mergesketch.StaticFunction(["a", "b"], [3, 5], key_check_bits=32)
        >>> f.lookup(["b", "c"], missing=-1).tolist()
        [5, -1]
        """
        return self._look_up(keys, missing)[:, 0]

    def __getitem__(self, key: Any) -> Any:
        """The value of one key, in about 12 microseconds; with key_check_bits KeyError for an absent one."""
        value = self._get(key)[0]
        return value.item() if hasattr(value, "item") and self._kind.dtype == "object" else value

    def __repr__(self) -> str:
        return f"<StaticFunction: {self.n_keys:,} keys to {self._kind.dtype}, {self.nbytes:,} bytes>"
