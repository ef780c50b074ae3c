"""A rank's part of a bucket, in which DistributedDataParallel collects the gradients of parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Bucket", "Parameter", "Part", "strides_of", "unpack_flags"]


class Parameter(NamedTuple):
    """A parameter of a bucket."""

    #: The position of its first entry in the model.
    first: int
    #: Its entries in the bucket, in the order of its memory.
    cut: slice
    shape: torch.Size
    strides: tuple[int, ...]

    def of(self, bucket: Tensor) -> Tensor:
        """Return this parameter's part of a tensor like the bucket, with the parameter's shape."""
        return bucket[self.cut].as_strided(self.shape, self.strides)


class Part(NamedTuple):
    """The parameters of a bucket, and what this rank would send of them in full."""

    gradient: NDArray[np.float32]
    #: The gradient and the errors that are sent again.
    corrected: NDArray[np.float32]
    parameters: list[Parameter]


class Bucket(NamedTuple):
    """A bucket of this rank; `part` is None, and `failure` the reason, if the rank has failed.

    `is_used` tells for each parameter if its gradient has a number other than 0.
    """

    buffer: Tensor
    part: Part | None
    failure: Exception | None
    is_used: NDArray[np.bool_]

    def pack_flags(self) -> NDArray[np.int32]:
        """Return as the bits of words if the rank has failed, and which parameters are used."""
        flags = [self.failure is not None, *self.is_used]
        padded = np.zeros(-(-len(flags) // 32) * 32, np.bool_)
        padded[: len(flags)] = flags
        return np.packbits(padded).view(np.int32)


def unpack_flags(words: NDArray[np.int32], n: int) -> tuple[bool, NDArray[np.bool_]]:
    """Return the first flag of packed words, and the n flags that follow."""
    flags = np.unpackbits(words.view(np.uint8))
    return bool(flags[0]), flags[1 : n + 1].astype(np.bool_)


def strides_of(parameter: Tensor) -> tuple[int, ...]:
    """Return the strides that a parameter's gradient has in a bucket."""
    # They are those of the parameter if it is dense, and so copies have them too, or those of rows.
    like = torch.empty_like(parameter, device="meta", memory_format=torch.preserve_format)
    if like.stride() == parameter.stride():
        return like.stride()
    return torch.empty(parameter.shape, device="meta").stride()
