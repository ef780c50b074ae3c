"""The compressors of gradients: each exchanges a part of a bucket between ranks.

They write the mean over the ranks into the bucket's buffer. They return what this rank has sent of the
parameters that some rank has used, and which parameters these are. Values for other parameters have no
meaning.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .error_memory import top_positions
from .torch_buckets import Bucket, unpack_flags
from .torch_process_group import ProcessGroup

__all__ = ["PowerFactors", "count_columns", "exchange_block", "exchange_top", "is_factored"]

#: Columns of a factor with smaller numbers are drawn again: their products could be rounded to 0.
_LEAST_COLUMN = 1e-30


def exchange_top(
    group: ProcessGroup, bucket: Bucket, k: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Exchange the k entries of each rank that are largest in magnitude."""
    part = bucket.part
    # The failure and the used parameters, the positions and the values: all are words of 32 bits.
    bits = bucket.pack_flags()
    message = np.zeros(bits.size + 2 * k, np.int32)
    message[: bits.size] = bits
    at = slice(bits.size, bits.size + k)
    own = np.zeros(bucket.buffer.numel(), np.float32)
    if part is not None:
        positions = top_positions(part.corrected, k)
        own[positions] = part.corrected[positions]
        message[at] = positions.view(np.int32)
        message[at.stop :] = part.corrected[positions].view(np.int32)
    every = group.gather(torch.from_numpy(message))
    bits = np.bitwise_or.reduce([one.numpy()[: bits.size] for one in every])
    any_failed, is_used = unpack_flags(bits, bucket.is_used.size)
    group.raise_failures(any_failed, bucket.failure)
    mean = bucket.buffer.numpy()
    mean[...] = 0
    for one in every:
        words = one.numpy()
        # The positions of a rank differ.
        values = words[at.stop :].view(np.float32)
        mean[words[at].view(np.uint32)] += values / np.float32(group.size)
    return own, is_used


def exchange_block(
    group: ProcessGroup, bucket: Bucket, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Exchange the entries at positions that are the same on all ranks."""
    part = bucket.part
    k = positions.size
    own = np.zeros(bucket.buffer.numel(), np.float32)
    message = np.zeros(k + 1 + bucket.is_used.size, np.float32)
    message[k] = bucket.failure is not None
    message[k + 1 :] = bucket.is_used
    if part is not None:
        message[:k] = own[positions] = part.corrected[positions]
    group.sum(torch.from_numpy(message))
    group.raise_failures(message[k] > 0, bucket.failure)
    mean = bucket.buffer.numpy()
    mean[...] = 0
    mean[positions] = message[:k] / np.float32(group.size)
    is_used = message[k + 1 :] > 0
    return own, is_used


class PowerFactors:
    """Exchange matrices as two factors of low rank (PowerSGD), and keep those that the next step begins with.

    Parameters
    ----------
    rank : int
        The number of columns of a factor.
    seed : int

    Attributes
    ----------
    factors : dict of int to Tensor
        The right factor of each matrix in the last step, by the position of its first entry.
    """

    def __init__(self, rank: int, seed: int) -> None:
        self.rank, self._seed = rank, seed
        self.factors: dict[int, Tensor] = {}

    def exchange(self, group: ProcessGroup, bucket: Bucket) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Exchange the factors of matrices, and other gradients in full."""
        part, buffer = bucket.part, bucket.buffer
        # Two sums follow, in which a rank that has failed could not take part.
        bits = torch.from_numpy(bucket.pack_flags())
        group.join_bits(bits)
        any_failed, is_used = unpack_flags(bits.numpy(), bucket.is_used.size)
        group.raise_failures(any_failed, bucket.failure)
        assert part is not None
        corrected = torch.from_numpy(part.corrected)
        own, matrices, vectors = torch.zeros_like(corrected), [], []
        for one, used in zip(part.parameters, is_used, strict=True):
            if not used:
                continue
            if is_factored(one.shape, self.rank):
                matrices.append((one, one.of(corrected).reshape(one.shape[0], -1)))
            else:
                vectors.append(one.cut)
                own[one.cut] = corrected[one.cut]
        left = [matrix @ self._factor(one.first, matrix.shape[1]) for one, matrix in matrices]
        sums = _join([*left, *(corrected[cut] for cut in vectors)])
        group.sum(sums)
        left, rest = _split(sums, left)
        for cut in vectors:
            n = cut.stop - cut.start
            buffer[cut], rest = rest[:n] / group.size, rest[n:]
        left = [torch.linalg.qr(one).Q for one in left]
        right = [matrix.T @ one for (_, matrix), one in zip(matrices, left, strict=True)]
        for (parameter, _), p, q in zip(matrices, left, right, strict=True):
            parameter.of(own).copy_((p @ q.T).view(parameter.shape))
        sums = _join(right)
        group.sum(sums)
        right, _ = _split(sums / group.size, right)
        for (parameter, _), p, q in zip(matrices, left, right, strict=True):
            parameter.of(buffer).copy_((p @ q.T).view(parameter.shape))
            self.factors[parameter.first] = q.clone()
        return own.numpy(), is_used

    def _factor(self, first: int, n_columns: int) -> Tensor:
        """Return the right factor that a matrix begins with: that of the last step, or random numbers.

        Only the directions of its columns matter. Columns of the last step have 1 as their largest magnitude.
        """
        factor = self.factors.get(first)
        largest = torch.zeros(self.rank) if factor is None else factor.abs().amax(0)
        # A column of zeros, as a gradient of zeros leaves it, could stay so for ever.
        is_lost = largest < _LEAST_COLUMN
        if factor is None or is_lost.any():
            generator = torch.Generator().manual_seed((self._seed + first) % 2**63)
            drawn = torch.randn(n_columns, self.rank, generator=generator)
            factor = drawn if factor is None else torch.where(is_lost, drawn, factor)
        return factor / torch.where(is_lost, 1.0, largest)


def count_columns(shape: torch.Size) -> int:
    """Return the number of columns of a gradient as a matrix."""
    return math.prod(shape[1:])


def is_factored(shape: torch.Size, rank: int) -> bool:
    """Return if a gradient is smaller as two factors."""
    return len(shape) > 1 and rank * (shape[0] + count_columns(shape)) < math.prod(shape)


def _join(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]) if tensors else torch.empty(0)


def _split(joined: Tensor, like: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return tensors of the shapes of others from the beginning of a joined one, and its rest."""
    parts, at = [], 0
    for one in like:
        parts.append(joined[at : at + one.numel()].view(one.shape))
        at += one.numel()
    return parts, joined[at:]
