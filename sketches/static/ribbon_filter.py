"""Ribbon filters: approximate membership in a fixed set, within a few per cent of the least memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import read_key_list
from ...lsh.inputs.answers import like
from ...lsh.support.aliases import alias
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.progress import progress_bar
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ...lsh.support.wording import counted
from .column import solve_filter
from .ribbon import Ribbon, Shard, Solved, stored_arrays
from .shards import number_of_shards, order_records, solve_shards
from .structure import StaticStructure, pass_rate

__all__ = ["RibbonFilter"]

_MAX_BITS = 64
#: The purpose of the fingerprints; a ribbon filter has only one.
_PURPOSE = 0
#: The error rate may exceed the requested rate by this share of it.
_SLACK = 1e-6


class RibbonFilter(StaticStructure):
    """Test membership in a fixed set, without false negatives: log2(1 / error_rate) bits a key + 1 %.

    Parameters
    ----------
    keys : array or list of keys
        Integers or strings, as for `mergesketch.lsh.hash_keys`; repeated keys count once.
    error_rate : float
        The largest rate of false positives among absent keys, in (0, 1). The filter stores the fewest bits
        that achieve it: the true rate is between `error_rate` and half of it.
    seed : int
    progress : bool
        True to show a progress bar, on a terminal and after a second.

    Attributes
    ----------
    n_keys, n_bits, nbytes : int
        Number of distinct keys, bits of each fingerprint, and bytes of the arrays.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or `error_rate` is below the least rate
        of 64-bit hashes: about ``(n_keys + 1) / 2**64``.

    Notes
    -----
    An absent key passes with probability ``2**-n_bits``, and always if its 64-bit hash is that of one of the
    n keys, as that of ``n_keys / 2**64`` of all absent keys is. `error_rate` counts both.

    A `BloomFilter` of the same error rate takes at least 1.44 times the memory, but accepts new keys and
    merges: a ribbon filter is the solution of a linear system [1]_, built once from all keys. Construction
    takes about 200 ns a key on one thread and 40 bytes a key of memory, a query 6 to 10 ns a key.

    References
    ----------
    .. [1] Dillinger, Huebschle-Schneider, Sanders, Walzer. Fast Succinct Retrieval and Approximate Membership
       using Ribbon. SEA 2022.

    Examples
    --------
    >>> import mergesketch
    >>> seen = mergesketch.RibbonFilter(["a", "b", "c"], error_rate=1e-6)
    >>> seen.contains(["a", "x"]).tolist()
    [True, False]
    >>> "b" in seen
    True
    """

    _parameters = (*StaticStructure._parameters, "n_bits")

    n_bits: int

    def __init__(
        self, keys: KeysLike, error_rate: float = 0.01, *, seed: int = 0, progress: bool = True
    ) -> None:
        error_rate = check_real("error_rate", error_rate, 0.0, 1.0)
        seed = check_int("seed", seed, 0, (1 << 64) - 1)
        refuse_gpu("building a RibbonFilter", keys)
        read = read_key_list(keys)
        hashes = read.hashes(seed)
        records = order_records(hashes, np.zeros(hashes.size, dtype=np.uint64))
        n_keys = records.hashes.size
        n_shards, n_bits = number_of_shards(n_keys), _fewest_bits(n_keys, error_rate)

        def solve(shard: Shard, _values: NDArray[np.uint64]) -> list[Solved]:
            return [solve_filter(shard, _PURPOSE, n_bits)]

        with progress_bar("Solving", n_keys, progress, " keys") as advance:
            solved = solve_shards(records, range(n_shards), n_shards, solve, advance)
        config = {
            "seed": seed,
            "n_keys": n_keys,
            "n_shards": n_shards,
            "key_kind": read.kind,
            "n_bits": n_bits,
        }
        self._set(config, stored_arrays(solved, n_shards, [Ribbon(n_bits)]))

    @property
    def error_rate(self) -> float:
        """Rate of false positives among absent keys; 0 if the set is empty."""
        return pass_rate(self.n_keys, self.n_bits)

    @overload
    def contains(self, keys: KeyLike) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def contains(self, keys: KeysLike) -> NDArray[np.bool_]: ...
    def contains(self, keys: KeysLike) -> Any:
        """Test for each key of a batch if it is in the set.

        Parameters
        ----------
        keys : array or list of n keys, or one key

        Returns
        -------
        ndarray of shape (n,), bool
            True for every key of the set, and for others with probability `error_rate`. A bool if `keys` is
            one key.

        Raises
        ------
        TypeError, ValueError
            If the keys have mixed types, or a type that is not accepted.
        """
        read = self._read_keys(keys)
        found = self._has_fingerprint(read.hashes(self.seed), 0, _PURPOSE, self.n_bits)
        return like(keys, read.answer(found))

    query = alias(contains)

    def _ribbons(self) -> list[Ribbon]:
        return [Ribbon(self.n_bits)]

    def _set_config(self, config: Mapping[str, Any]) -> None:
        super()._set_config(config)
        self.n_bits = check_int("n_bits", config["n_bits"], 1, _MAX_BITS)

    def _facts(self) -> list[tuple[str, str]]:
        return [*super()._facts(), ("error rate", f"{self.error_rate:.2g}")]

    def __repr__(self) -> str:
        keys = counted(self.n_keys, "key")
        return f"<RibbonFilter: {keys}, error rate {self.error_rate:.2g}, {self.nbytes:,} bytes>"


def _fewest_bits(n_keys: int, wanted: float) -> int:
    """Return the fewest bits of a fingerprint that achieve an error rate; ValueError if no number does."""
    for n_bits in range(1, _MAX_BITS + 1):
        if pass_rate(n_keys, n_bits) <= wanted * (1.0 + _SLACK):
            return n_bits
    raise ValueError(
        f"error_rate must be at least {pass_rate(n_keys, _MAX_BITS):.3g} for {counted(n_keys, 'key')} of "
        f"64-bit hashes, got {wanted!r}"
    )


publish("mergesketch", __all__, globals())
