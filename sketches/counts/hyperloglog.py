"""HyperLogLog: the number of distinct keys of a stream, in a few thousand bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Nulls
from ...lsh.support.backend import to_host
from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.threads import get_num_threads, run_tasks
from ...lsh.support.types import KeysLike
from ...lsh.support.wording import counted
from ..core.key_kinds import KeysOfOneKind, kind_specs
from ..core.state import StateSpec
from ..kernels import hyperloglog
from .hyperloglog_theory import (
    ERROR,
    JOINED,
    Floats,
    is_register,
    keys_a_register,
    moments,
    relative_error,
)
from .hyperloglog_tokens import (
    ENDS,
    capacity,
    check_tokens,
    count_of_tokens,
    hashes_of,
    joined,
    most_hidden,
    shared_variance,
)

__all__ = ["HyperLogLog"]

_LEAST, _MOST = 3, 26
#: Keys that are worth a thread of their own, and registers that are.
_KEYS_BLOCK, _REGISTERS_BLOCK = 1 << 17, 1 << 20
#: The most registers of which every thread may have its own.
_OWN_REGISTERS = 1 << 18
#: Keys whose tokens are sorted together, on a GPU.
_GPU_BLOCK = 1 << 20


class _Batch(NamedTuple):
    """Keys as 64-bit integers that the kernels hash, or as hashes, and the bits of their kind."""

    values: NDArray[np.uint64]
    hashed: bool
    forms: tuple[int, ...]


class _Estimate(NamedTuple):
    """An estimated number of keys, and by how much a register of each value moves it."""

    n: float
    influence: Floats


class _Overlap(NamedTuple):
    """The estimated keys of two sketches and of their union, and the variance of those that they share."""

    ours: float
    theirs: float
    either: float
    variance: float

    @property
    def shared(self) -> float:
        return self.ours + self.theirs - self.either


class HyperLogLog(KeysOfOneKind):
    """Count distinct keys (unique users, different queries) in ``2**precision`` bytes, and merge the counts.

    Parameters
    ----------
    precision : int, default 12
        The number of registers, a byte each, is m = ``2**precision``; from 3 to 26. The standard error is
        0.761 / sqrt(m): 1.2 % for 12, 0.6 % for 14.
    seed : int, default 0
        In [0, 2**64). Only sketches of one precision and seed merge.

    Attributes
    ----------
    standard_error : float
        The standard error of `cardinality` for many keys, as a share of it.

    Notes
    -----
    **Registers**. These are the registers of UltraLogLog (Ertl 2024), which needs 28 % less memory for an
    error than HyperLogLog with registers of 6 bits. A hash chooses a register by its first bits. Its value is
    k with probability ``2**-k``. A register remembers the largest value u of its keys in 6 bits, and in two
    more bits if it has seen the values u - 1 and u - 2. So the state depends only on the set of keys:
    repeated keys, the order of keys, and the order of merges do not matter.

    **Estimate**. The number of keys is estimated by maximum likelihood, minus its bias of first order (Cox
    and Snell 1968). There is one formula for all numbers of keys, and nothing to switch between. The relative
    standard error is 0.5 / sqrt(m) for fewer keys than registers, and rises to 0.761 / sqrt(m) for many. With
    the default precision, 30 keys are counted exactly in 19 of 20 cases, and 1,000 keys with an error of
    0.8 %. Counts up to 10**18 have the same error.

    **Hashes**. Two keys with the same 64-bit hash count as one: among n keys about ``n**2 / 2**65`` pairs.

    **Cost**. Adding an integer takes about 2 ns on one thread. Threads share a batch.

    Use `CountMinSketch` to count how often each key occurred, and `MinHashSketch` for the similarity of many
    sets.

    References
    ----------
    - Ertl. UltraLogLog: a practical and more space-efficient alternative to HyperLogLog for approximate
      distinct counting. PVLDB 17(7), 2024.
    - Flajolet, Fusy, Gandouet, Meunier. HyperLogLog: the analysis of a near-optimal cardinality estimation
      algorithm. AofA 2007.
    - Cox, Snell. A general definition of residuals. JRSS B 30(2), 1968.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> monday = mergesketch.HyperLogLog().update(np.arange(0, 60_000))
    >>> tuesday = mergesketch.HyperLogLog().update(np.arange(40_000, 100_000))
    >>> week = monday | tuesday
    >>> bool(abs(week.cardinality() / 100_000 - 1) < 4 * week.standard_error)
    True
    >>> low, high = week.bounds(confidence=0.999)
    >>> low < 100_000 < high
    True
    """

    _parameters = ("precision", "seed")
    _gpu = True

    def __init__(self, precision: int = 12, *, seed: int = 0) -> None:
        self.precision = check_int("precision", precision, _LEAST, _MOST)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, relative_error: float, *, seed: int = 0) -> Self:
        """Return the smallest sketch whose standard error is at most `relative_error` of the number of keys.

        Parameters
        ----------
        relative_error : float
            In (0, 1). Two of three estimates err by less than this, and 95 % by less than twice this.
        seed : int, default 0

        Returns
        -------
        HyperLogLog

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range, or if the error needs more than
            ``2**26`` registers.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.HyperLogLog.for_error(0.01)
        <HyperLogLog(precision=13, seed=0) for relative_error=0.01: 0 updates, 8,209 bytes>
        """
        relative_error = check_real("relative_error", relative_error, 0.0, 1.0)
        least = ERROR / math.sqrt(1 << _MOST)
        if relative_error < least:
            raise ValueError(
                f"relative_error must be at least {least:.2g}, that of 2**{_MOST} registers, got "
                f"{relative_error!r}"
            )
        precision = max(_LEAST, math.ceil(2.0 * math.log2(ERROR / relative_error)))
        return cls(precision, seed=seed)._asked_for(relative_error=relative_error)

    @property
    def standard_error(self) -> float:
        return ERROR / math.sqrt(self._size)

    @property
    def _size(self) -> int:
        return 1 << self.precision

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "registers": StateSpec((self._size,), "uint8", "registers", may_be_cut=True),
            "is_dense": StateSpec((1,), "uint8", "registers", on_device=False),
            **kind_specs(),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        # Earlier versions had no lists of tokens.
        return np.ones(1, np.uint8) if name == "is_dense" else super()._absent_array(name)

    def _arrays_to_store(self) -> dict[str, NDArray[Any]]:
        arrays = super()._arrays_to_store()
        if not self._is_dense:
            arrays["registers"] = arrays["registers"][: 4 * self._tokens().size]
        return arrays

    # -- tokens of few keys -----------------------------------------------------------------------

    @property
    def _is_dense(self) -> bool:
        return bool(self._arrays["is_dense"][0])

    @property
    def _capacity(self) -> int:
        return capacity(self._size)

    def _list(self, registers: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Return the memory of registers as that of a list of tokens."""
        return registers[: 4 * self._capacity].view("<u4")

    def _tokens(self) -> NDArray[np.uint32]:
        """Return a copy of the list of tokens."""
        tokens = self._list(self._arrays["registers"])
        return tokens[tokens != 0]

    def _put_tokens(self, tokens: NDArray[np.uint32]) -> None:
        """Replace the list by a longer one, of rising tokens."""
        self._list(self._arrays["registers"])[: tokens.size] = tokens

    def _with_tokens_of(self, batch: _Batch) -> NDArray[np.uint32] | None:
        """Return the list with the tokens of a batch, or None if it is too long."""
        xp, tokens, n, most = self._backend.xp, self._tokens(), batch.values.size, self._capacity
        kernels, is_gpu = self._backend.kernels(hyperloglog), self.device == "gpu"
        block = _GPU_BLOCK if is_gpu else 4 * most + 1024
        # Sorting takes longer than all else, and keys of a long batch that has few tokens repeat.
        cache = None if is_gpu or n <= block else np.zeros(4 << most.bit_length(), np.uint32)
        for start in range(0, n, block):
            found = xp.empty(min(block, n - start), np.uint32)
            kernels.find_tokens(
                batch.values, np.uint64(self.seed), batch.hashed, start, start + found.size, found
            )
            if cache is not None:
                found = found[: kernels.drop_repeats(found, cache)]
            tokens = joined(tokens, found, xp)
            if tokens.size > most:
                return None
        return tokens

    def _registers_of(self, tokens: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Return the registers of some tokens."""
        registers: NDArray[np.uint8] = self._backend.xp.zeros(self._size, np.uint8)
        hashes = hashes_of(tokens, self._backend.constant(ENDS))
        kernel = self._backend.kernels(hyperloglog).add_keys
        kernel(hashes, np.uint64(self.seed), True, self.precision, 0, 0, hashes.size, registers)
        return registers

    def _dense_registers(self) -> NDArray[np.uint8]:
        """Return the registers, or those that the tokens would give."""
        registers: NDArray[np.uint8] = self._arrays["registers"]
        return registers if self._is_dense else self._registers_of(self._tokens())

    def _put_registers(self, registers: NDArray[np.uint8]) -> None:
        """Replace the list of tokens by registers."""
        self._arrays["registers"][:] = registers
        self._arrays["is_dense"][:] = 1

    # -- updates and merging ----------------------------------------------------------------------

    def update(self, keys: KeysLike, *, nulls: Nulls = "raise") -> Self:
        """Add a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys may repeat and have any type that `mergesketch.lsh.hash_keys` accepts. Integer arrays are the
            fastest.
        nulls : {"raise", "skip"}, default "raise"
            What to do with keys that are null: to refuse the batch, or to leave these keys out.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys have mixed types, a type that is not accepted, or another kind than the keys before
            (17 and "17" are two keys). Nothing changes then.
        """
        return self._take_in({"keys": keys}, nulls)

    def _read(self, keys: Any, nulls: Nulls) -> _Batch:
        read = self._read_keys(keys, nulls)
        values = read.hashes(self.seed) if read.words is None else read.words
        return _Batch(values, read.words is None, self._forms(read))

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"n_updates": batch.values.size}

    def _add(self, batch: _Batch) -> None:
        if self._is_dense:
            self._add_to(self._arrays["registers"], batch)
        elif (tokens := self._with_tokens_of(batch)) is not None:
            self._put_tokens(tokens)
        else:
            # Nothing changes if there is no memory for these registers.
            registers = self._registers_of(self._tokens())
            self._add_to(registers, batch)
            self._put_registers(registers)
        self._note_forms(batch.forms)

    def _add_to(self, registers: NDArray[np.uint8], batch: _Batch) -> None:
        """Add a batch to registers."""
        n, size = batch.values.size, self._size
        kernels = self._backend.kernels(hyperloglog)
        n_tasks = 1 if self.device == "gpu" else max(1, min(get_num_threads(), n // _KEYS_BLOCK))

        def add(first: int, start: int, stop: int, registers: NDArray[np.uint8]) -> None:
            how = np.uint64(self.seed), batch.hashed, self.precision, first
            kernels.add_keys(batch.values, *how, start, stop, registers)

        if n_tasks == 1:
            add(0, 0, n, registers)
        elif size <= _OWN_REGISTERS:
            own = np.zeros((n_tasks, size), np.uint8)
            run_tasks(lambda i: add(0, n * i // n_tasks, n * (i + 1) // n_tasks, own[i]), n_tasks)
            for part in own:
                kernels.join_registers(part, 0, size, registers)
        else:
            # A thread owns a range of registers, so that no two write to one. Each reads all keys.
            bounds = [size * i // n_tasks for i in range(n_tasks + 1)]
            run_tasks(lambda i: add(bounds[i], 0, n, registers[bounds[i] : bounds[i + 1]]), n_tasks)

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        registers, others = ours["registers"], theirs["registers"]
        if not theirs["is_dense"][0]:
            found = self._list(others)
            tokens = found[found != 0]
            if not self._is_dense:
                both = joined(self._tokens(), tokens, self._backend.xp)
                if both.size <= self._capacity:
                    self._put_tokens(both)
                    return
            others = self._registers_of(tokens)
        if not self._is_dense:
            self._put_registers(self._dense_registers())
        kernel = self._backend.kernels(hyperloglog).join_registers
        self._backend.map_blocks(lambda a, b: kernel(others, a, b, registers), self._size, _REGISTERS_BLOCK)

    def downsize(self, precision: int) -> Self:
        """Return the sketch of the same keys with a lower precision, for example to merge it with others.

        Parameters
        ----------
        precision : int
            From 3 to the precision of this sketch.

        Returns
        -------
        HyperLogLog
            The sketch that updates with the keys would have given, bit for bit. This one does not change.

        Raises
        ------
        TypeError, ValueError
            If `precision` is no such integer.

        Examples
        --------
        >>> import mergesketch
        >>> fine = mergesketch.HyperLogLog(14).update(["tea", "cake"])
        >>> coarse = mergesketch.HyperLogLog(10).update(["cake", "jam"])
        >>> round((fine.downsize(10) | coarse).cardinality())
        3
        """
        precision = check_int("precision", precision, _LEAST, self.precision)
        new = type(self)(precision, seed=self.seed)
        backend, arrays = self._backend, self.copy()._arrays
        if not self._is_dense:
            tokens = self._tokens()
            new._set_arrays(arrays | {"registers": backend.xp.zeros(new._size, np.uint8)}, self.device)
            if tokens.size <= new._capacity:
                new._put_tokens(tokens)
            else:
                new._put_registers(new._registers_of(tokens))
            return new
        joined = backend.constant(JOINED)
        for before in range(self.precision, precision, -1):
            pairs = arrays["registers"].reshape(-1, 2)
            even, odd = pairs[:, 0], pairs[:, 1]
            # The last bit of a register's number becomes the first bit of the values. That changes only the
            # value of hashes without a one behind the 0 of an even number: they have one more zero now.
            all_zeros = 4 * (66 - before) | ((even & 2) >> 1)
            even = backend.xp.where(even >= 4 * (65 - before), all_zeros, even).astype(np.uint8)
            arrays["registers"] = joined[even, odd]
        return new._set_arrays(arrays, self.device)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        registers, n = to_host(arrays["registers"]), int(arrays["n_updates"][0])
        flag = int(arrays["is_dense"][0])
        if flag > 1:
            raise ValueError(f"is_dense must be 0 or 1, got {flag}")
        if not flag:
            check_tokens(self._list(registers), n)
            if registers[4 * self._capacity :].any():
                raise ValueError("registers must have zeros behind the tokens, as long as they are not dense")
            return
        possible = is_register(self.precision)[registers]
        if not possible.all():
            raise ValueError(
                f"registers must be those of hashes, got {registers[int(possible.argmin())]} in one"
            )
        used = int(np.count_nonzero(registers))
        if used > n:
            raise ValueError(f"registers must be used by at most n_updates, {n}, keys, got {used} in use")

    # -- estimates --------------------------------------------------------------------------------

    def cardinality(self) -> float:
        """Estimate the number of distinct keys added.

        Returns
        -------
        float
            0 for no keys. It takes about 0.1 ms, and 1 ms more for each million registers.
        """
        if not self._is_dense:
            return count_of_tokens(self._tokens().size)
        return self._estimate(self._counts()).n

    def bounds(self, confidence: float = 0.95) -> tuple[int, int]:
        """Return the ends of an interval that contains the number of distinct keys with some probability.

        Parameters
        ----------
        confidence : float, default 0.95
            In (0, 1): the probability.

        Returns
        -------
        (int, int)
            No less than the number of registers in use, and no more than the number of keys that were added
            with their repetitions. These two limits are certain.

        Raises
        ------
        TypeError, ValueError
            If `confidence` has the wrong type or lies outside its range.

        Notes
        -----
        The interval is that of a normal distribution of the estimate, with the standard error that the Fisher
        information gives for that number of keys, rounded outwards to whole numbers.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.HyperLogLog().update(["tea", "cake", "tea"]).bounds()
        (2, 3)
        """
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        if not self._is_dense:
            used = self._tokens().size
            return used, min(used + most_hidden(used, confidence), self.n_updates)
        counts = self._counts()
        n = self._estimate(counts).n
        margin = NormalDist().inv_cdf(0.5 + 0.5 * confidence) * relative_error(n, self.precision)
        used, most = int(counts[1:].sum()), self.n_updates
        low = math.floor(n / (1.0 + margin))
        high = math.ceil(n / (1.0 - margin)) if margin < 1.0 else most
        return min(max(low, used), most), max(min(high, most), used)

    def union_cardinality(self, other: Self) -> float:
        """Estimate the number of distinct keys in either sketch: the cardinality of ``self | other``.

        Parameters
        ----------
        other : HyperLogLog
            A sketch of the same configuration; it does not change.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.
        """
        return self._overlap(other).either

    @overload
    def intersection_cardinality(self, other: Self, return_std: Literal[False] = ...) -> float: ...
    @overload
    def intersection_cardinality(self, other: Self, return_std: Literal[True]) -> tuple[float, float]: ...
    def intersection_cardinality(self, other: Self, return_std: bool = False) -> Any:
        """Estimate the number of distinct keys that are in both sketches, and the error of this number.

        Parameters
        ----------
        other : HyperLogLog
            A sketch of the same configuration; it does not change.
        return_std : bool, default False
            True to return the standard error, too.

        Returns
        -------
        float, or (float, float)
            The estimate ``|A| + |B| - |A or B|`` of the three cardinalities, and its standard error in keys.
            The estimate is unbiased. If few keys are shared, it is negative in about half of all cases. Use
            ``max(0, ...)`` if you need that.

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.

        Notes
        -----
        The error is about that of the union, for any size of the intersection: if the sets have a million
        keys each, and share a thousand, the estimate says nothing about the thousand at the default
        precision. The standard error shows this. Registers are independent, so it is computed from the pairs
        of registers themselves, by how far each pair moves the three estimates.

        Examples
        --------
        >>> import numpy as np
        >>> import mergesketch
        >>> a = mergesketch.HyperLogLog(14).update(np.arange(0, 60_000))
        >>> b = mergesketch.HyperLogLog(14).update(np.arange(40_000, 100_000))
        >>> shared, std = a.intersection_cardinality(b, return_std=True)
        >>> abs(shared - 20_000) < 4 * std, 300 < std < 400
        (True, True)
        """
        return_std = check_flag("return_std", return_std)
        found = self._overlap(other)
        return (found.shared, math.sqrt(max(found.variance, 0.0))) if return_std else found.shared

    def jaccard(self, other: Self) -> float:
        """Estimate the number of keys in both sketches as a share of those in either; 0 if both are empty.

        It can be negative if few keys are shared: see `intersection_cardinality`.

        Parameters
        ----------
        other : HyperLogLog
            A sketch of the same configuration; it does not change.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.
        """
        found = self._overlap(other)
        return found.shared / found.either if found.either else 0.0

    def _fullness(self) -> list[str]:
        if not self._is_dense:
            return [f"a list of {counted(self._tokens().size, 'key')}"]
        registers = self._shown("registers")
        if registers is None:
            return []
        return [f"{np.count_nonzero(registers):,} of {registers.size:,} registers used"]

    def _counts(self) -> NDArray[np.int64]:
        """Return the numbers of registers of each value."""
        registers, backend = self._arrays["registers"], self._backend
        kernel = backend.kernels(hyperloglog).count_registers

        def count(start: int, stop: int) -> NDArray[np.int64]:
            counts: NDArray[np.int64] = backend.xp.zeros(256, np.int64)
            kernel(registers, start, stop, counts)
            return counts

        return to_host(sum(backend.map_blocks(count, self._size, _REGISTERS_BLOCK)))

    def _overlap(self, other: Self) -> _Overlap:
        """Return the estimates for both sketches and for their union."""
        self._check_compatible(other)
        if not (self._is_dense or other._is_dense):
            return _overlap_of_tokens(to_host(self._tokens()), to_host(other._tokens()))
        # The errors of registers that share keys cancel, so both sketches are asked as registers.
        ours, theirs = self._dense_registers(), self._on_our_device(other)._dense_registers()
        backend = self._backend
        kernel = backend.kernels(hyperloglog).count_pairs

        def count(start: int, stop: int) -> NDArray[np.int64]:
            counts: NDArray[np.int64] = backend.xp.zeros((256, 256), np.int64)
            kernel(ours, theirs, start, stop, counts)
            return counts

        pairs = to_host(sum(backend.map_blocks(count, self._size, _REGISTERS_BLOCK)))
        both = np.bincount(JOINED.reshape(-1), pairs.reshape(-1), 256).astype(np.int64)
        alone = self._estimate(pairs.sum(axis=1)), self._estimate(pairs.sum(axis=0))
        either = self._estimate(both)
        found = _Overlap(alone[0].n, alone[1].n, either.n, 0.0)
        moved = alone[0].influence[:, None] + alone[1].influence - either.influence[JOINED]
        # The number of shared keys varies in the model, but it is given: see `relative_error`.
        return found._replace(variance=float((pairs * moved**2).sum()) - max(found.shared, 0.0))

    def _estimate(self, counts: NDArray[np.int64]) -> _Estimate:
        x = keys_a_register(counts, self.precision)
        if x == 0.0:
            return _Estimate(0.0, np.zeros(256))
        found = moments(x, self.precision)
        return _Estimate(self._size * x - found.bias, found.influence)


def _overlap_of_tokens(ours: NDArray[np.uint32], theirs: NDArray[np.uint32]) -> _Overlap:
    counts = ours.size, theirs.size, np.union1d(ours, theirs).size
    one, other, either = (count_of_tokens(n) for n in counts)
    found = _Overlap(one, other, either, 0.0)
    alone = found.either - found.theirs, found.either - found.ours
    return found._replace(variance=shared_variance(alone[0], max(found.shared, 0.0), alone[1]))
