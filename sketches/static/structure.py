"""Base of static functions, static tables and ribbon filters: their ribbons, storage and devices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import HASH_COLLISION, KEY_KINDS, Keys, is_key, read_keys
from ...lsh.support.backend import PLACES, device_of
from ...lsh.support.lazy import lazy
from ...lsh.support.types import Device, KeyLike, KeysLike
from ..core.state import Arrays, ArraySpec, State
from ..core.stored import Stored
from ..kernels import static
from .ribbon import SIZES, Ribbon, lay_out, padding

__all__ = ["StaticStructure", "pass_rate"]

#: Number of keys that a thread, or a launch on a GPU, looks up at a time; it bounds the temporary memory.
BLOCK = {"cpu": 1 << 14, "gpu": 1 << 24}
_MAX_SHARDS = 1 << 31


def pass_rate(n_keys: int, n_bits: int) -> float:
    """Return the share of absent keys that pass fingerprints of `n_bits` bits of `n_keys` distinct keys.

    An absent key passes with probability 2**-n_bits, and always if its 64-bit hash is that of a key.
    """
    alike = n_keys * HASH_COLLISION
    return alike + (1.0 - alike) * 2.0**-n_bits if n_keys else 0.0


class StaticStructure(Stored):
    """Base of the immutable structures: hashed keys in `n_shards` shards, which are solved independently.

    A subclass defines its ribbons (`_ribbons`), and adds its own fields to the configuration.
    """

    _parameters: ClassVar[tuple[str, ...]] = ("seed", "n_keys", "n_shards", "key_kind")

    seed: int
    n_keys: int
    n_shards: int
    key_kind: str

    @abstractmethod
    def _ribbons(self) -> list[Ribbon]:
        """Return the shapes of all ribbons, in the order in which they are stored."""

    # -- storage --------------------------------------------------------------------------------------

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        new = cls.__new__(cls)
        new._set_config(config)
        return new

    def _set_config(self, config: Mapping[str, Any]) -> None:
        """Set the attributes of a configuration; ValueError, TypeError or KeyError if it is not valid."""
        seed, n_keys, n_shards, kind = (config[name] for name in StaticStructure._parameters)
        for name, value, end in (("seed", seed, 1 << 64), ("n_keys", n_keys, 1 << 63)):
            if type(value) is not int or not 0 <= value < end:
                raise ValueError(f"{name} must be an int in [0, {end}), got {value!r}")
        if type(n_shards) is not int or not 1 <= n_shards <= _MAX_SHARDS or n_shards & (n_shards - 1):
            raise ValueError(f"n_shards must be a power of two of at most {_MAX_SHARDS}, got {n_shards!r}")
        if not isinstance(kind, str) or kind not in ("", *KEY_KINDS):
            raise ValueError(f"key_kind must be '' or one of {', '.join(map(repr, KEY_KINDS))}, got {kind!r}")
        self.seed, self.n_keys, self.n_shards, self.key_kind = seed, n_keys, n_shards, kind

    def _set(self, config: Mapping[str, Any], arrays: Arrays) -> None:
        """Become the structure of a configuration and its arrays."""
        self._set_config(config)
        self._set_arrays(arrays)

    @lazy
    def _state(self) -> State[ArraySpec]:
        return State(type(self).__name__, self._specs())

    def _specs(self) -> Mapping[str, ArraySpec]:
        return {
            "sizes": ArraySpec("uint32", 3),
            "thresholds": ArraySpec("uint8", on_device=True),
            "solution": ArraySpec("uint64", on_device=True),
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

    # -- devices --------------------------------------------------------------------------------------

    def to(self, device: Device) -> Self:
        """Return the structure on a device: look-ups take arrays of keys there, and return arrays there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Building and saving use the CPU.

        Returns
        -------
        An equal structure; the structure itself if it is on the device already.

        Raises
        ------
        TypeError, ValueError
            If `device` is no such name.
        NotImplementedError
            For "gpu" if the values are strings or bytes.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        return self if device == self.device else self._moved(device)

    def __len__(self) -> int:
        return self.n_keys

    def __copy__(self) -> Self:
        return self  # immutable

    # -- reading --------------------------------------------------------------------------------------

    @lazy
    def _plan(self) -> NDArray[np.uint32]:
        return lay_out(self._arrays["sizes"], self._ribbons())[0]

    def _ribbon_arguments(self, ribbon: int) -> tuple[Any, ...]:
        """Return the arguments with which kernels read a ribbon, or the ribbons from it on."""
        arrays, n_shards = self._arrays, np.uint64(self.n_shards)
        return arrays["thresholds"], arrays["solution"], n_shards, self._plan, ribbon

    def _read_keys(self, keys: Any) -> Keys:
        """Read the keys of a look-up; TypeError if their kind or device is not that of the structure."""
        if device_of(keys) != self.device and not is_key(keys):
            raise TypeError(
                f"keys lie {PLACES[device_of(keys)]}, but the {type(self).__name__} {PLACES[self.device]}: "
                f'copy the keys there, or move it with .to("{device_of(keys)}")'
            )
        read = read_keys(keys, device=self.device)
        if read.kind and self.key_kind and read.kind != self.key_kind:
            raise TypeError(
                f"keys must be {KEY_KINDS[self.key_kind]} as at construction, got {KEY_KINDS[read.kind]}"
            )
        return read

    @abstractmethod
    def contains(self, keys: KeysLike) -> Any:
        """Test for each key of a batch if it was present at construction."""

    def __contains__(self, key: KeyLike) -> bool:
        """Test if one key was present, as `contains` does."""
        return bool(self.contains(key if is_key(key) else [key]))

    def _has_fingerprint(
        self, hashes: NDArray[np.uint64], ribbon: int, purpose: int, bits: int
    ) -> NDArray[np.bool_]:
        """Test for each key if a fixed ribbon has its fingerprint."""
        backend = self._backend
        if self.n_keys == 0:
            return backend.xp.zeros(hashes.size, dtype=np.bool_)
        out = backend.xp.empty(hashes.size, dtype=np.bool_)
        arguments = (*self._ribbon_arguments(ribbon), purpose, bits)
        check_keys = backend.kernels(static).check_keys
        backend.map_blocks(
            lambda start, stop: check_keys(hashes[start:stop], *arguments, out[start:stop]),
            hashes.size,
            BLOCK[self.device],
        )
        return out
