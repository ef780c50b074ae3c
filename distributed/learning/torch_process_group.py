"""A group of PyTorch's processes that counts what it sends, and whose processes fail together."""

from __future__ import annotations

import zlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ...errors import DistributedError
from ..ranks.objects import refuse_difference

__all__ = ["ProcessGroup"]


class ProcessGroup:
    """Exchange tensors and failures between the processes of a group.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        None for the default group.

    Attributes
    ----------
    bytes_sent : int
        Bytes that this process has sent so far, if the best known algorithms were used.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self.bytes_sent = 0

    @property
    def size(self) -> int:
        """The number of processes."""
        return int(dist.get_world_size(self._group))

    def sum(self, tensor: Tensor) -> None:
        """Add up a tensor of all processes, in place."""
        dist.all_reduce(tensor, group=self._group)
        self.bytes_sent += 2 * tensor.numel() * tensor.element_size() * (self.size - 1) // self.size

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, which have one shape and dtype."""
        every = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(every, tensor, group=self._group)
        self.bytes_sent += tensor.numel() * tensor.element_size() * (self.size - 1)
        return every

    def check_same(self, what: str, config: dict[str, Any]) -> None:
        """Raise DistributedError in every process unless all of them pass equal values."""
        checksums = self.gather(torch.tensor([zlib.crc32(repr(config).encode())]))
        if all(bool(checksums[0] == other) for other in checksums):
            return
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, config, self._group)
        refuse_difference(what, every)

    def raise_failures(self, any_failed: bool, failure: Exception | None) -> None:
        """Raise the error of the first process that failed, in every process, if any has.

        Parameters
        ----------
        any_failed : bool
            The same in every process.
        failure : Exception or None
            That of this process.
        """
        if not any_failed:
            return
        messages: list[Any] = [None] * self.size
        message = None if failure is None else f"{type(failure).__name__}: {failure}"
        dist.all_gather_object(messages, message, self._group)
        rank = next(i for i, found in enumerate(messages) if found is not None)
        raise DistributedError(f"rank {rank} failed: {messages[rank]}") from failure

    def join_bits(self, words: Tensor) -> None:
        """Set the bits of words of integers, in place, that any process has set."""
        dist.all_reduce(words, dist.ReduceOp.BOR, group=self._group)
        self.bytes_sent += 2 * words.numel() * words.element_size() * (self.size - 1) // self.size
