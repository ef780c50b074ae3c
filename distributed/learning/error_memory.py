"""The memory of error feedback, read by the positions of parameters, and what a rank chooses to send."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_named, read_only
from ...lsh.support.checks import check_real
from ...lsh.support.random import random_uint64
from ..kernels import sketched_error_feedback as kernels

__all__ = ["ErrorMemory", "block_start", "check_share", "share_of", "top_positions"]

#: Values that are worth a thread of their own.
_VALUES_BLOCK = 1 << 16


def check_share(name: str, value: Any) -> float:
    """Return a share that is above 0 and at most 1."""
    try:
        share = check_real(name, value, 0.0, 1.0, closed=True)
        if share > 0:
            return share
        raise ValueError
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a number in (0, 1], got {value!r}") from None


def share_of(n_parameters: int, share: float) -> int:
    """Return the number of a share of the parameters, which is at least one."""
    return min(n_parameters, max(1, round(share * n_parameters)))


def block_start(n_parameters: int, seed: int, n_steps: int) -> int:
    """Return the first position of the block that all ranks send in a step."""
    word = int(random_uint64(seed, f"block of step {n_steps}", 1)[0])
    return ((word >> 32) * n_parameters) >> 32


def top_positions(values: NDArray[np.float32], k: int) -> NDArray[np.uint32]:
    """Return the ascending positions of the k largest magnitudes; of equal ones the first positions."""
    sizes = np.abs(values)
    least = np.partition(sizes, sizes.size - k)[sizes.size - k]
    chosen = np.flatnonzero(sizes >= least)
    if chosen.size > k:
        # Several have the least magnitude, and the first of them are taken.
        is_larger = sizes[chosen] > least
        is_equal = np.cumsum(~is_larger) <= k - np.count_nonzero(is_larger)
        chosen = chosen[is_larger | is_equal]
    return chosen.astype(np.uint32)


class ErrorMemory:
    """Read and change an array of errors by the positions of parameters.

    Parameters
    ----------
    places : ndarray of float32
        The memory, which `add` changes.
    n_parameters : int
    beta : float or None
        None for 1 less the share of the memory.
    seed : int
    """

    def __init__(self, places: NDArray[np.float32], n_parameters: int, beta: float | None, seed: int) -> None:
        self.places = places
        self._keys = read_only(random_uint64(seed, "error memory", 2))
        self._factor = np.float32(places.size / n_parameters if beta is None else 1.0 - beta)

    def corrected(
        self, gradient: NDArray[np.float32], first: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return the gradient of the parameters from `first` on, plus the errors that are sent again."""
        out = np.empty_like(gradient) if out is None else out
        places, values = read_only(self.places), read_only(gradient)
        backend_named("cpu").map_blocks(
            lambda start, stop: kernels.read_errors(
                places, self._keys, self._factor, values, first, start, stop, out
            ),
            gradient.size,
            _VALUES_BLOCK,
        )
        return out

    def add(self, errors: NDArray[np.float32], first: int) -> None:
        """Add what was not sent of the parameters from `first` on."""
        values, n_places = read_only(errors), self.places.size
        if values.size == 0:
            return
        # Each thread has places of its own, and a share of the errors that is worth a thread.
        n_threads = -(-values.size // _VALUES_BLOCK)
        backend_named("cpu").map_blocks(
            lambda start, stop: kernels.add_errors(values, self._keys, first, start, stop, self.places),
            n_places,
            max(_VALUES_BLOCK, -(-n_places // n_threads)),
        )
