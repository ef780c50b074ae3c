"""Static functions: immutable maps from keys to values, in about the entropy of the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import Keys
from ...lsh.support.aliases import alias
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ..core.state import ArraySpec
from .batch import read_batch
from .blueprint import build_map
from .contexts import ARRAYS, Contexts, Rule
from .frames import series_like
from .map import StaticMap
from .value_kind import as_object

__all__ = ["StaticFunction"]


class StaticFunction(StaticMap):
    """Compress a read-only lookup table (dictionary): it stores no keys, and values in about their entropy.

    Parameters
    ----------
    keys : array or list of n keys, or a dict
        Integers or strings in any container that `mergesketch.lsh.hash_keys` accepts: NumPy or Arrow arrays,
        or lists. Arrays are read without a Python object for each key. If a key is repeated, its values must
        be equal. A dict has keys and values.
    values : array or list of n values, optional
        Integers of any dtype, booleans, float32 or float64 (stored bit for bit), strings, bytes, dates,
        times, durations, or decimal numbers of up to 18 digits. Values may be missing: None in a list, a
        masked item, or a null of a column. Only a dict needs no values.
    seed : int
        In [0, 2**64). The same seed and map give the same file, in any order of the keys.
    key_check_bits : int
        The number of bits, 0 to 64, of a fingerprint that is stored for each key. A look-up then detects
        absent keys, except one in ``2**key_check_bits``. A further share ``n_keys / 2**64`` is never
        detected, because their 64-bit hash equals the hash of a key. With 0 bits, absent keys get an
        arbitrary value.
    precision : float, optional
        For floats: store the nearest multiple of it, with an error of at most precision / 2.
    context : array or list of n integers, "length", or ("prefix", n), optional
        What is known of each key beside it, and says something of its value: at most 65,536 distinct
        integers, which must be passed to each look-up too, or the length of a string in bytes, or its first n
        bytes, 1 to 8. Contexts with similar values form up to 64 classes, and each class has a code of its
        own. The values then take about their conditional entropy, given the class, and 0.5 to 1 KB for each
        class.
    progress : bool
        True to show a progress bar, on a terminal and after a second.

    Attributes
    ----------
    n_keys : int
        Number of distinct keys; also `len`.
    nbytes : int
        Bytes of the arrays; the file has one or two kilobytes more.

    Raises
    ------
    ValueError
        If a key has two values; the message names it.
    TypeError
        If keys or values have mixed types, or a type that is not accepted.

    Notes
    -----
    Each value has a word of a prefix code; a filter first removes a value that most keys have. Every bit of a
    key's word is one equation over GF(2) between 128 bits of the file, and the equations are solved in bumped
    ribbons [1]_. Space for a million keys with geometric values: 1.2 to 1.9 % over the entropy for 2 bits a
    key or more, 15 % for half a bit; key_check_bits add their number of bits a key. Values that all differ
    take their width. A map of a few hundred keys takes a few hundred bytes more than that, and the file's
    header.

    Time: a batch look-up takes 10 to 25 ns a key on one thread, for any map; a single key takes about 12
    microseconds. Construction takes about 300 ns a key on one thread, and 50 bytes a key of memory in
    addition to the input; `StaticFunctionBuilder` takes batches and needs less. Look-ups release the GIL and
    run on all threads. A memory-mapped file (``load(path, mmap=True)``) opens at once, and processes share
    its memory.

    An absent key gets the value of some key, or a value that no key has. The look-up does not fail.

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

    #: How the context of a key is found; None without contexts.
    _rule: Rule | None = None

    def config(self) -> dict[str, Any]:
        config = super().config()
        return config if self._rule is None else config | {"context": self._context_config}

    def _set_config(self, config: Mapping[str, Any]) -> None:
        super()._set_config(config)
        if "context" in config:
            self._context_config = dict(config["context"])
            self._rule = Rule.from_config(self._context_config)
        elif len(self._column_configs) != 1:
            raise ValueError(f"columns must have one entry, got {len(self._column_configs)}")

    def _specs(self) -> Mapping[str, ArraySpec]:
        if self._rule is None:
            return super()._specs()
        return {**super()._specs(), **{name: ArraySpec(dtype) for name, dtype in ARRAYS.items()}}

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if self._rule is not None:
            self._contexts = self._read_contexts(arrays)
        super()._check_state(arrays)

    @lazy
    def _contexts(self) -> Contexts | None:
        return None if self._rule is None else self._read_contexts(self._arrays)

    def _read_contexts(self, arrays: Mapping[str, NDArray[Any]]) -> Contexts:
        return Contexts.read(arrays, self._context_config["largest"], len(self._column_configs))

    def __init__(
        self,
        keys: KeysLike | Mapping[Any, Any],
        values: ArrayLike | None = None,
        *,
        seed: int = 0,
        key_check_bits: int = 0,
        precision: float | None = None,
        context: ArrayLike | str | tuple[str, int] | None = None,
        progress: bool = True,
    ) -> None:
        batch = read_batch(keys, values, precision=precision)
        if context is None:
            self._set(*build_map(batch, seed, key_check_bits, progress))
            return
        rule = Rule.of(context)
        ids = rule.ids(batch.keys, context)
        config, arrays = build_map(batch, seed, key_check_bits, progress, contexts=ids)
        largest = int(ids.max(initial=0))
        self._set(config | {"context": {**rule._asdict(), "largest": largest}}, arrays)

    @overload
    def lookup(
        self, keys: KeyLike, missing: ArrayLike | None = ..., *, context: ArrayLike | None = ...
    ) -> Any: ...
    @overload
    def lookup(
        self, keys: KeysLike, missing: ArrayLike | None = ..., *, context: ArrayLike | None = ...
    ) -> NDArray[Any]: ...
    def lookup(
        self, keys: KeysLike, missing: ArrayLike | None = None, *, context: ArrayLike | None = None
    ) -> Any:
        """Return the values of a batch of keys, or the value of one key.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            The keys must have the same kind as at construction: integers, or strings and bytes.
        missing : value, optional
            With key_check_bits: the value for absent keys.
        context : array or list of n integers, or one integer
            The context of each key, if contexts were passed at construction. A key with another context than
            there gets an arbitrary value.

        Returns
        -------
        ndarray of shape (n,)
            Has the dtype of the values at construction; strings and bytes from a list or an Arrow array are
            objects, and so are decimal numbers. A missing value is None among objects and NaT among times.
            Missing numbers and booleans are masked. With key_check_bits and without `missing`, the array is
            masked, and so are absent keys. For one key it is the value itself, and None if the key is absent
            or its value missing; `get` and `contains` distinguish these. Keys in a Series of pandas or polars
            have their values in a Series, with nulls and not masked.

        Raises
        ------
        TypeError, ValueError
            If the keys have another kind than at construction, `missing` has another kind than the values, or
            `context` is given or absent in another way than at construction.

        Examples
        --------
        >>> import mergesketch
        >>> f = mergesketch.StaticFunction(["a", "b"], [3, 5], key_check_bits=32)
        >>> f.lookup(["b", "c"], missing=-1).tolist()
        [5, -1]
        >>> f.lookup("b")
        5
        """
        read = self._read_keys(keys)
        values = self._look_up(read, missing, self._ids(read, context))[:, 0]
        if not read.is_single:
            return series_like(keys, self._kind, values)
        if np.ma.is_masked(values):
            return None
        return as_object(values[0]) if self.device == "cpu" else values.item()

    query = alias(lookup)

    def _ids(self, keys: Keys, context: Any) -> NDArray[np.uint64] | None:
        if context is not None and (self._rule is None or self._rule.name != "given"):
            raise ValueError("context must be None, as no array of contexts was passed at construction")
        return None if self._rule is None else self._rule.ids(keys, context)

    def __getitem__(self, key: KeyLike) -> Any:
        """Return the value of one key, in about 12 microseconds; KeyError if check bits find it absent."""
        return self._row_of(self._read_key(key))[0]


publish("mergesketch", __all__, globals())
