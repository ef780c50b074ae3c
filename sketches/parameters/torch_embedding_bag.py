"""HashedEmbeddingBag: the bags of embeddings of PyTorch, whose rows share a smaller array."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...lsh.support.checks import check_choice, check_flag
from ...lsh.support.public import publish
from .parameter_map import ParameterMap
from .torch_array import SharedArray
from .torch_embedding import EmbeddingTable
from .torch_reading import bag_of

__all__ = ["HashedEmbeddingBag"]


class HashedEmbeddingBag(EmbeddingTable):
    """Compute sums, means or maxima of rows, as `torch.nn.EmbeddingBag` does, from a smaller array.

    Parameters
    ----------
    num_embeddings : int or None
    embedding_dim : int
    max_norm, norm_type, scale_grad_by_freq
        They must have their default values, as for `HashedEmbedding`.
    mode : {"mean", "sum", "max"}
    sparse : bool, default False
        As for `HashedEmbedding`.
    include_last_offset : bool, default False
        True if the offsets end with the end of the last bag. Input behind it lies in no bag.
    padding_idx : int, optional
        A row that is in no bag, and is not counted in means.
    device, dtype : optional
    n_parameters, shared, map, seed, table, scale : optional
        As for `HashedEmbedding`.

    Attributes
    ----------
    weight : Tensor of shape (num_embeddings, embedding_dim)
        The whole table, computed from the parameters whenever it is asked for.
    shared : SharedArray

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.
    IndexError
        If the input has numbers of rows that the table does not have.

    Notes
    -----
    Sums and means never write the rows themselves to memory. The sum, mean and maximum of an empty bag are 0.

    References
    ----------
    - Desai, Chou, Shrivastava. Random offset block embedding (ROBE) for compressed embedding tables in deep
      learning recommendation systems. MLSys 2022.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import HashedEmbeddingBag, hash_ids
    >>> bags = HashedEmbeddingBag(None, 16, mode="sum", n_parameters=1000)
    >>> words = hash_ids(["green", "tea", "cake"])
    >>> bags(words, torch.tensor([0, 2])).shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        num_embeddings: int | None,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        n_parameters: int | None = None,
        shared: SharedArray | None = None,
        map: ParameterMap | None = None,
        seed: int = 0,
        table: int | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, ("mean", "sum", "max"))
        self.include_last_offset = check_flag("include_last_offset", include_last_offset)
        own: dict[str, Any] = {"n_parameters": n_parameters, "shared": shared, "seed": seed}
        own |= {"table": table, "scale": scale, "device": device, "dtype": dtype}
        flags = (padding_idx, max_norm, scale_grad_by_freq, sparse)
        self._set_up(num_embeddings, embedding_dim, *flags, map, **own)

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the sum, mean or maximum of the rows of each bag.

        Parameters
        ----------
        input : Tensor of integers, of shape (n_bags, n) or (n,)
            For a `PairMap` with a last dimension of 2.
        offsets : Tensor of integers of shape (n_bags,), or (n_bags + 1,) with `include_last_offset`
            Where the bags begin, for an input of shape (n,) only.
        per_sample_weights : Tensor of numbers of the shape of `input`, optional
            The factor of each row, for the mode "sum" only.

        Returns
        -------
        Tensor of shape (n_bags, embedding_dim)
        """
        ids = self._flat(self._checked(input))
        ends = self._ends(input, ids.shape[0], offsets)
        kept, factors = self._kept(ids), per_sample_weights
        if factors is not None:
            if self.mode != "sum":
                raise ValueError(
                    f'per_sample_weights must be None unless mode is "sum", got mode {self.mode!r}'
                )
            if factors.shape != input.shape[: input.dim() - self._is_of_pairs]:
                raise ValueError(
                    f"per_sample_weights must have the shape of the input, got {tuple(factors.shape)}"
                )
            factors = factors.reshape(-1)
        if self.mode == "max":
            return self._maximum(self._rows(ids, None, None, self.sparse), ends, kept)
        if kept is not None:
            factors = kept if factors is None else factors * kept
        # A sparse gradient is one of the parameters only.
        sparse = self.sparse and not (factors is not None and factors.requires_grad)
        sums = self._rows(ids, ends, factors, sparse)
        if self.mode == "mean":
            sums = sums / _counts(ends, kept, sums.dtype)[:, None].clamp(min=1)
        return sums

    def _ends(self, input: Tensor, n: int, offsets: Tensor | None) -> Tensor:
        """Return where bags begin, and where the last one ends."""
        dimensions = input.dim() - self._is_of_pairs
        if dimensions == 2:
            if offsets is not None:
                raise ValueError(
                    "offsets must be None for an input of two dimensions, whose rows are the bags"
                )
            n_bags, size = input.shape[:2]
            return torch.arange(n_bags + 1, device=input.device) * size
        if dimensions != 1:
            raise ValueError(f"input must have one or two dimensions, got shape {tuple(input.shape)}")
        if offsets is None or offsets.dim() != 1 or offsets.is_floating_point():
            raise ValueError("offsets must be a tensor of integers of one dimension, for an input of one")
        if self.include_last_offset:
            if offsets.shape[0] == 0:
                raise ValueError("offsets must have at least the end of the last bag, got none")
            return offsets.to(torch.int64)
        return torch.cat([offsets.to(torch.int64), offsets.new_full((1,), n, dtype=torch.int64)])

    def _maximum(self, rows: Tensor, ends: Tensor, kept: Tensor | None) -> Tensor:
        n_bags, bags = ends.shape[0] - 1, bag_of(rows.shape[0], ends)
        if kept is not None:
            bags = torch.where(kept > 0, bags, n_bags)
        # The last of the bags takes what lies in none.
        out = rows.new_zeros(n_bags + 1, self.embedding_dim)
        where = bags[:, None].expand_as(rows)
        return out.scatter_reduce(0, where, rows, "amax", include_self=False)[:n_bags]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"


def _counts(ends: Tensor, kept: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the number of rows of each bag that are no padding."""
    if kept is None:
        return (ends[1:] - ends[:-1]).to(dtype)
    sums = torch.cat([kept.new_zeros(1), kept.to(torch.float64).cumsum(0)])
    return (sums[ends[1:]] - sums[ends[:-1]]).to(dtype)


publish("mergesketch", __all__, globals())
