"""The number of keys that a Bloom filter was made for, and the warning that it has more."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.types import Device
from ..core.state import Arrays, StateSpec
from .bloom_blocks import BloomBlocks
from .bloom_theory import cardinality_error, cardinality_of_zeros, error_rate, warn_of_saturation

__all__ = ["MOST_KEYS", "BloomCapacity"]

#: The most keys that a filter is made for.
MOST_KEYS = 1 << 40
#: Standard errors by which the estimated number of keys exceeds the capacity before the filter warns.
_SURE = 6.0


class BloomCapacity(BloomBlocks):
    """Blocks of bits that know how many keys they were made for, and warn once if they have more."""

    #: Filters merge whatever they were made for, if their sizes are equal.
    _not_compared = BloomBlocks._not_compared | {"capacity"}

    @abstractmethod
    def error_rate(self) -> float:
        """Return the share of random absent keys that pass now."""

    @property
    def capacity(self) -> int | None:
        """The number of distinct keys that the filter was made for; None if its sizes were given instead.

        Files keep it. Merging keeps the largest.
        """
        known = self._arrays["capacity"][0] if self._state.is_allocated else self._asked.get("capacity", 0)
        return int(known) or None

    def _layout(self) -> dict[str, StateSpec]:
        known = self._asked.get("capacity", 0)
        return {
            **super()._layout(),
            "capacity": StateSpec((1,), "int64", "max", fill=known, on_device=False),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return np.zeros(1, np.int64) if name == "capacity" else super()._absent_array(name)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        known = int(arrays["capacity"][0])
        if not 0 <= known <= MOST_KEYS:
            raise ValueError(f"capacity must be from 0 to {MOST_KEYS}, got {known}")

    def _set_arrays(self, arrays: Arrays, device: Device | None = None) -> Self:
        known = int(arrays["capacity"][0])
        if known != self._asked.get("capacity", 0):
            # Empty filters that are made from this one have its capacity, too.
            device = self.device if device is None else device
            self._asked_for(**({"capacity": known} if known else {}))
            vars(self).pop("_state", None)
        return super()._set_arrays(arrays, device)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._asked and not self._state.is_allocated:
            return type(self)._empty, (self.config(), dict(self._asked))
        return super().__reduce__()

    @classmethod
    def _empty(cls, config: dict[str, Any], asked: dict[str, Any]) -> Self:
        """Return an empty filter of a configuration and a capacity; pickles refer to this name."""
        return cls._from_config(config)._asked_for(**asked)

    def _warn_past_capacity(self) -> None:
        """Warn once if there are more keys than the capacity; call it after each change."""
        caches, n = self._state.caches, self.n_updates
        # There are at most n distinct keys. Counting bits takes a pass over the filter, so it is left out
        # until n has reached the capacity, and then until there can be enough new keys.
        if n < caches.get("look_at", 0) or "has_warned" in caches:
            return
        capacity = self.capacity
        if capacity is None:
            caches["look_at"] = math.inf
            return
        if n <= capacity:
            caches["look_at"] = capacity + 1
            return
        zeros, sizes = self._unset_bits(self), (self.n_blocks, self.n_hashes)
        found = cardinality_of_zeros(zeros, *sizes)
        if found > capacity + _SURE * cardinality_error(capacity, *sizes):
            caches["has_warned"] = True
            now, then = self.error_rate(), error_rate(capacity, *sizes)
            warn_of_saturation(
                f"the {type(self).__name__} has {'about' if zeros else 'at least'} {found:,.0f} distinct "
                f"keys, more than its capacity of {capacity:,}: it now passes an absent key with probability "
                f"{now:.2g}, above the {then:.2g} at its "
                "capacity; give it a larger capacity"
            )
        caches["look_at"] = n + max(1, capacity // 4, math.ceil(capacity - found))

    def after_merge(self) -> None:
        self._state.caches.pop("look_at", None)
        self._warn_past_capacity()
