"""Find the tensors of a model from which another model differs little."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .float_parts import Values
from .safetensors_file import Tensor

__all__ = ["BaseModel", "BaseTensor"]


class BaseTensor(NamedTuple):
    """A tensor of a base: the file that has it, its entry, and what opens its bits."""

    file: str
    tensor: Tensor
    open: Callable[[], Values]


class BaseModel:
    """The tensors of a model by their names.

    Parameters
    ----------
    name : str
        The name of the model in messages.
    tensors : iterable of BaseTensor
    """

    def __init__(self, name: str, tensors: Iterable[BaseTensor]) -> None:
        self.name = name
        self._holders: dict[str, list[BaseTensor]] = {}
        for tensor in tensors:
            self._holders.setdefault(tensor.tensor.name, []).append(tensor)

    def find(self, file: str, tensor: Tensor) -> Values | None:
        """Return what reads the bits of the tensor of that name, type and shape, or None if there is none.

        If several files have a tensor of that name, it is the one of the file named `file`.
        """
        holders = self._holders.get(tensor.name, [])
        found = [holder for holder in holders if holder.file == file] or holders
        if len(found) != 1 or found[0].tensor[1:3] != tensor[1:3]:
            return None
        return found[0].open()
