"""Sketches go to the device of their first data, and stay there."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import PLACES, device_of
from ...lsh.support.types import Device
from .state import SketchState
from .stored import Stored

__all__ = ["OnDevice"]


class OnDevice(Stored):
    """A stored object whose first data decide on which device it is."""

    _internal = True
    _state: SketchState

    #: True if there are CUDA kernels for all that the class does with arrays.
    _gpu: ClassVar[bool] = False

    def _check_device(self, device: str) -> None:
        if device == "gpu" and not self._gpu:
            raise NotImplementedError(
                f"{type(self).__name__} has no GPU kernels; pass arrays in main memory: array.get()"
            )

    def to(self, device: Device) -> Self:
        """Return a copy of the sketch on a device; its updates and queries take arrays there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device.

        Returns
        -------
        A new sketch of the same class, configuration and state, sharing no memory with this one.

        Raises
        ------
        TypeError, ValueError
            If `device` is neither.
        NotImplementedError
            For "gpu" if the class has no kernels there.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.

        Notes
        -----
        You need not move a sketch without data, because it goes to the device of its first rows. Sketches on
        different devices merge: the sketch in the argument is copied to the device of this one.
        """
        return self._moved(device)

    def _on_our_device(self, other: Self) -> Self:
        """Return `other`, or a copy of it on our device."""
        return other if other.device == self.device else other.to(self.device)

    def _claim_device(self, name: str, array: Any) -> None:
        """Take the device of the first data; refuse later data, named `name`, of the other device."""
        if array is None or isinstance(array, (int, float)):
            return
        device, state = device_of(array), self._state
        if state.is_allocated or state.decided_by:
            if device == state.device:
                return
            if not state.is_allocated:
                raise TypeError(
                    f"{name} lies {PLACES[device]}, but {state.decided_by} {PLACES[state.device]}: copy one "
                    "to where the other is"
                )
            raise TypeError(
                f"{name} lies {PLACES[device]}, but the {type(self).__name__} {PLACES[state.device]}: copy "
                f'the rows there, or move the sketch with .to("{device}")'
            )
        self._check_device(device)
        state.device = device
        if state.decided_by is not None:
            state.decided_by = name

    def _as_our_array(self, name: str, values: Any) -> NDArray[Any]:
        """Return `values` as an array where the sketch is: lists are brought there, arrays must be there."""
        array = check_array(name, values)
        if device_of(array) != self.device:
            if self.device == "cpu" or not isinstance(values, (list, tuple, range, int, np.generic)):
                self._claim_device(name, array)
            array = self._backend.xp.asarray(array)
        return array
