"""What static functions, static tables and ribbon filters share: shards, ribbons, and the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import HASH_COLLISION, read_keys
from ...lsh.support.backend import Backend, backend_named, device_of, to_host
from ...lsh.support.lazy import lazy
from ..core.stored import Stored
from ..kernels import static
from .ribbon import SIZES, Solved, lay_out, pack_thresholds, padding

__all__ = ["ArraySpec", "Flat", "StaticStructure", "flatten", "pass_rate"]

#: Keys that one thread looks up at a time; and what one launch does, for its temporary words take memory.
BLOCK = {"cpu": 1 << 14, "gpu": 1 << 24}
#: The arrays that look-ups read; all others stay in main memory.
_READ = ("thresholds", "solution")
_MAX_SHARDS = 1 << 31


def pass_rate(n_keys: int, n_bits: int) -> float:
    """Share of absent keys that pass the fingerprints of so many bits of `n_keys` distinct keys.

    One whose 64-bit hash is that of a key passes for certain; any other with chance 2**-n_bits.
    """
    alike = n_keys * HASH_COLLISION
    return alike + (1.0 - alike) * 2.0**-n_bits if n_keys else 0.0


@dataclass(frozen=True)
class ArraySpec:
    """An array whose length only its contents tell."""

    dtype: str
    n_dimensions: int = 1

    def __str__(self) -> str:
        return f"{self.dtype} of {self.n_dimensions} dimensions"

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Whether an array of this shape and dtype could be this one."""
        return len(shape) == self.n_dimensions and dtype.newbyteorder("=") == np.dtype(self.dtype)


class Flat(NamedTuple):
    """The ribbons of consecutive shards: sizes of shape (shards, ribbons, 3); words still in pieces."""

    sizes: NDArray[np.uint32]
    thresholds: NDArray[np.uint8]
    words: list[NDArray[np.uint64]]


def flatten(solved: list[list[Solved]], n_ribbons: int) -> Flat:
    """Ribbons by shards as `Flat`."""
    sizes = np.array([[ribbon.sizes for ribbon in shard] for shard in solved], dtype=np.uint32)
    thresholds = [ribbon.thresholds for shard in solved for ribbon in shard]
    return Flat(
        sizes.reshape(len(solved), n_ribbons, SIZES),
        np.concatenate([np.empty(0, np.uint8), *thresholds]),
        [ribbon.words for shard in solved for ribbon in shard],
    )


class StaticStructure(Stored):
    """Immutable base: hashed keys in `n_shards` shards, each solved by itself; see `sketches.ribbon`.

    A subclass names its ribbons (`_ribbons`, width and longest word of each) and its own configuration.
    """

    _internal = True

    seed: int
    n_keys: int
    n_shards: int
    key_kind: str

    def _ribbons(self) -> list[tuple[int, int]]:
        """Width and longest word of every ribbon, in the order they are stored."""
        raise NotImplementedError

    def _own_config(self) -> dict[str, Any]:
        raise NotImplementedError

    def _set_own_config(self, config: Mapping[str, Any]) -> None:
        """Take over what `_own_config` gave; ValueError, TypeError or KeyError for anything else."""
        raise NotImplementedError

    # -- storage --------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """What there is beside the arrays, JSON-able.

        Returns
        -------
        dict
        """
        return {
            "seed": self.seed,
            "n_keys": self.n_keys,
            "n_shards": self.n_shards,
            "key_kind": self.key_kind,
            **self._own_config(),
        }

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        new = object.__new__(cls)
        new._set_keys(config["seed"], config["n_keys"], config["n_shards"], config["key_kind"])
        new._set_own_config(config)
        return new

    def _set_keys(self, seed: Any, n_keys: Any, n_shards: Any, kind: Any) -> None:
        for name, value, end in (("seed", seed, 1 << 64), ("n_keys", n_keys, 1 << 63)):
            if type(value) is not int or not 0 <= value < end:
                raise ValueError(f"{name} must be an int in [0, {end}), got {value!r}")
        if type(n_shards) is not int or not 1 <= n_shards <= _MAX_SHARDS or n_shards & (n_shards - 1):
            raise ValueError(f"n_shards must be a power of two of at most {_MAX_SHARDS}, got {n_shards!r}")
        if kind not in ("int", "bytes", ""):
            raise ValueError(f"key_kind must be 'int', 'bytes' or '', got {kind!r}")
        self.seed, self.n_keys, self.n_shards, self.key_kind = seed, n_keys, n_shards, kind

    def _specs(self) -> Mapping[str, ArraySpec]:
        return {
            "sizes": ArraySpec("uint32", 3),
            "thresholds": ArraySpec("uint8"),
            "solution": ArraySpec("uint64"),
        }

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        ribbons = self._ribbons()
        expected = (len(ribbons), self.n_shards, SIZES)
        if arrays["sizes"].shape != expected:
            raise ValueError(f"sizes must have shape {expected}, got {arrays['sizes'].shape}")
        _, n_words, n_buckets = lay_out(arrays["sizes"], ribbons)
        if arrays["solution"].size != n_words + padding(ribbons):
            raise ValueError(
                f"solution must have {n_words + padding(ribbons)} words, got {arrays['solution'].size}"
            )
        if arrays["thresholds"].size != n_buckets // 4 + 1:
            raise ValueError(
                f"thresholds must have {n_buckets // 4 + 1} bytes, got {arrays['thresholds'].size}"
            )

    def _assemble(self, solved: list[list[Solved]]) -> None:
        """Take over the ribbons of all shards, in their order."""
        self._join([flatten(solved, len(self._ribbons()))])

    def _join(self, parts: list[Flat]) -> None:
        """Take over the ribbons of all shards, some in each part, in their order."""
        ribbons = self._ribbons()
        sizes = np.concatenate([part.sizes for part in parts]).transpose(1, 0, 2)
        thresholds = np.concatenate([part.thresholds for part in parts])
        words = [array for part in parts for array in part.words]
        self._adopt(
            {
                "sizes": np.ascontiguousarray(sizes),
                "thresholds": pack_thresholds(thresholds),
                "solution": np.concatenate([*words, np.zeros(padding(ribbons), dtype=np.uint64)]),
            }
        )

    # -- devices --------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """Where look-ups run and their keys must lie: "cpu" or "gpu"."""
        return str(self.__dict__.get("_device", "cpu"))

    @property
    def _backend(self) -> Backend:
        return backend_named(self.device)

    def to(self, device: str) -> Self:
        """The same structure on a device: look-ups take arrays of keys there, and return arrays there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Building and saving stay on the CPU.

        Returns
        -------
        A structure equal to this one; itself if it is there already.

        Raises
        ------
        ValueError
            If `device` is neither.
        NotImplementedError
            For "gpu" if the values are strings or bytes.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        xp = backend_named(device).xp
        if device == self.device:
            return self
        self._check_device(device)
        new = type(self)._from_config(self.config())
        arrays = dict(self._arrays)
        for name in _READ:
            arrays[name] = xp.asarray(arrays[name]) if device == "gpu" else to_host(arrays[name])
        new.__dict__["_device"] = device
        return new._adopt(arrays)

    def _check_device(self, device: str) -> None:
        """NotImplementedError if there is something that kernels on the device cannot read."""

    def _on_cpu(self) -> Self:
        return self.to("cpu")

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays: of the file, but for its header of one or two kilobytes."""
        return sum(array.nbytes for array in self._arrays.values())

    def __len__(self) -> int:
        return self.n_keys

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable

    # -- reading --------------------------------------------------------------------------------------

    @lazy
    def _plan(self) -> NDArray[np.uint32]:
        return lay_out(self._arrays["sizes"], self._ribbons())[0]

    def _hashes(self, keys: Any) -> NDArray[np.uint64]:
        """Hashes of a batch; TypeError if the keys are of another kind than at construction, or elsewhere."""
        if device_of(keys) != self.device:
            here, there = ("on the GPU", "in main memory")[:: 1 if self.device == "gpu" else -1]
            raise TypeError(
                f"keys lie {there}, but the {type(self).__name__} {here}: copy the keys there, or move "
                f'it with .to("{device_of(keys)}")'
            )
        read = read_keys(keys)
        if read.kind and self.key_kind and read.kind != self.key_kind:
            names = {"int": "integers", "bytes": "strings or bytes"}
            raise TypeError(f"keys must be {names[self.key_kind]} as at construction, got {names[read.kind]}")
        return read.hashes(self.seed)

    def _has_fingerprint(
        self, hashes: NDArray[np.uint64], ribbon: int, purpose: int, bits: int
    ) -> NDArray[np.bool_]:
        """Whether each key has its fingerprint in a fixed ribbon."""
        backend, plan = self._backend, self._plan
        out = backend.xp.empty(hashes.size, dtype=np.bool_)
        thresholds, solution = self._arrays["thresholds"], self._arrays["solution"]

        def check(start: int, stop: int) -> None:
            backend.kernels(static).check_keys(
                hashes[start:stop], thresholds, solution,
                np.uint64(self.n_shards), plan, ribbon, purpose, bits, out[start:stop],
            )  # fmt: skip

        backend.map_blocks(check, hashes.size, BLOCK[self.device])
        return out
