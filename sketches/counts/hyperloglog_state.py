"""The state of distinct counts: registers, or a list of tokens as long as it takes less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Nulls
from ...lsh.support.backend import to_host
from ...lsh.support.checks import check_int
from ...lsh.support.threads import get_num_threads, run_tasks
from ...lsh.support.wording import counted
from ..core.key_kinds import KeysOfOneKind, kind_specs
from ..core.state import StateSpec
from ..kernels import hyperloglog
from .hyperloglog_theory import is_register
from .hyperloglog_tokens import ENDS, capacity, check_tokens, hashes_of, joined

__all__ = ["LEAST_PRECISION", "MOST_PRECISION", "REGISTERS_BLOCK", "HyperLogLogState", "n_registers_for"]

LEAST_PRECISION, MOST_PRECISION = 3, 26
#: Up to this precision the number of registers may be any multiple of four. Registers then differ in the odds
#: of their keys by at most 2**-8, which moves estimates by 2**-18 of their value.
_ANY_NUMBER = 18
#: Keys that are worth a thread of their own, and registers that are.
_KEYS_BLOCK, REGISTERS_BLOCK = 1 << 17, 1 << 20
#: The most registers of which every thread may have its own.
_OWN_REGISTERS = 1 << 18
#: Keys whose tokens are sorted together, on a GPU.
_GPU_BLOCK = 1 << 20


def n_registers_for(share: float) -> int:
    """Return the least number of registers that is at least `share`, and that a sketch may have."""
    wanted = max(math.ceil(share / 4.0) * 4, 1 << LEAST_PRECISION)
    return wanted if wanted <= 1 << _ANY_NUMBER else 1 << (wanted - 1).bit_length()


class _Batch(NamedTuple):
    """Keys as 64-bit integers that the kernels hash, or as hashes, and the bits of their kind."""

    values: NDArray[np.uint64]
    hashed: bool
    forms: tuple[int, ...]


class HyperLogLogState(KeysOfOneKind):
    """Keep distinct keys in registers, or in a list of tokens as long as there are few of them.

    A sketch is dense, which means that it has registers, if its keys have more tokens than the list has room
    for. So the state depends only on the set of keys. The list lies in the memory of the registers.
    """

    _internal = True
    _parameters = ("precision", "n_registers", "seed")
    _gpu = True

    def __init__(self, precision: int = 12, *, n_registers: int | None = None, seed: int = 0) -> None:
        self.precision = check_int("precision", precision, LEAST_PRECISION, MOST_PRECISION)
        most = 1 << self.precision
        n = most
        if n_registers is not None and n_registers != most:
            n = check_int("n_registers", n_registers, most // 2 + 1, most)
            if n % 4 or self.precision > _ANY_NUMBER:
                raise ValueError(
                    f"n_registers must be {most}, or for precisions up to {_ANY_NUMBER} a multiple of 4, got "
                    f"{n_registers}"
                )
        self.n_registers = n
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "registers": StateSpec((self.n_registers,), "uint8", "registers", may_be_cut=True),
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
        return capacity(self.n_registers)

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
        registers: NDArray[np.uint8] = self._backend.xp.zeros(self.n_registers, np.uint8)
        hashes = hashes_of(tokens, self._backend.constant(ENDS))
        kernel = self._backend.kernels(hyperloglog).add_keys
        kernel(hashes, np.uint64(self.seed), True, self.n_registers, 0, 0, hashes.size, registers)
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
        n, size = batch.values.size, self.n_registers
        kernels = self._backend.kernels(hyperloglog)
        n_tasks = 1 if self.device == "gpu" else max(1, min(get_num_threads(), n // _KEYS_BLOCK))

        def add(first: int, start: int, stop: int, registers: NDArray[np.uint8]) -> None:
            how = np.uint64(self.seed), batch.hashed, self.n_registers, first
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
        self._backend.map_blocks(
            lambda a, b: kernel(others, a, b, registers), self.n_registers, REGISTERS_BLOCK
        )

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

    def _fullness(self) -> list[str]:
        if not self._is_dense:
            return [f"a list of {counted(self._tokens().size, 'key')}"]
        registers = self._shown("registers")
        if registers is None:
            return []
        return [f"{np.count_nonzero(registers):,} of {registers.size:,} registers used"]
