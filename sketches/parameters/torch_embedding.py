"""HashedEmbedding: the embedding of PyTorch, whose rows share a smaller array."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.public import publish
from .hashed_maps import PairMap, RobeMap
from .parameter_map import ParameterMap
from .table_rows import read_table_rows
from .torch_array import SharedArray
from .torch_table import HashedTable

__all__ = ["EmbeddingTable", "HashedEmbedding", "hash_ids"]


def hash_ids(ids: Any, seed: int = 0) -> Tensor:
    """Return the hashes of strings or bytes, as row numbers for layers whose number of rows is None.

    Parameters
    ----------
    ids : str, bytes, or array, list or column of them, of any shape
        Integers are returned as they are.
    seed : int, default 0
        With the seed of a `SharedParameters`, its method `gather` reads the same rows for the strings.

    Returns
    -------
    Tensor of int64, of the shape of `ids`

    Raises
    ------
    TypeError, ValueError
        If the ids are of another type, or the seed is no integer in [0, 2**64).

    Examples
    --------
    >>> from mergesketch import HashedEmbedding, hash_ids
    >>> embedding = HashedEmbedding(None, 16, n_parameters=1000)
    >>> embedding(hash_ids(["green", "tea"])).shape
    torch.Size([2, 16])
    """
    read = read_table_rows(ids, check_int("seed", seed, 0, 2**64 - 1), "ids")
    return torch.from_numpy(read.words.view("int64").reshape(read.shape).copy())


class EmbeddingTable(HashedTable):
    """The base of both embeddings: their arguments, and the table as a whole."""

    #: False for a row of padding that has the values of its parameters, and no gradient.
    padding_is_zero = True

    def _set_up(
        self,
        num_embeddings: int | None,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        scale_grad_by_freq: bool,
        sparse: bool,
        map: ParameterMap | None,
        **arguments: Any,
    ) -> None:
        if max_norm is not None:
            raise ValueError(
                "max_norm must be None, because rows share their parameters: a row that is made shorter "
                f"changes others. Got {max_norm!r}"
            )
        if scale_grad_by_freq:
            raise ValueError(f"scale_grad_by_freq must be False, got {scale_grad_by_freq!r}")
        self.num_embeddings = (
            None if num_embeddings is None else check_int("num_embeddings", num_embeddings, 1)
        )
        self.embedding_dim = check_int("embedding_dim", embedding_dim, 1, 1 << 20)
        self.sparse = check_flag("sparse", sparse)
        map = RobeMap() if map is None else map
        self._is_of_pairs = isinstance(map, PairMap)
        if self._is_of_pairs and not (padding_idx is None and num_embeddings is None):
            raise ValueError(
                "num_embeddings and padding_idx must be None for a PairMap, whose rows are pairs"
            )
        self.padding_idx = self._checked_padding(padding_idx)
        self._set_table((self.num_embeddings, self.embedding_dim), 1.0, map=map, **arguments)

    def _checked_padding(self, padding_idx: int | None) -> int | None:
        if padding_idx is None:
            return None
        n = self.num_embeddings
        if n is None:
            return check_int("padding_idx", padding_idx, -(2**63), 2**63 - 1)
        return check_int("padding_idx", padding_idx, -n, n - 1) % n

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, n_parameters: int, **arguments: Any) -> Self:
        """Return a layer whose table is as near as possible to a given one.

        Parameters
        ----------
        embeddings : Tensor of shape (num_embeddings, embedding_dim)
        n_parameters : int
        **arguments
            As for the class.

        Returns
        -------
        The layer.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        Each parameter is the mean of the entries that it stands for, up to their signs; see
        `SharedArray.fit`. At a compression of c, where entries are independent, a share of about 1 / c of
        their variance is kept. So train the layer further.

        Examples
        --------
        >>> import torch
        >>> from mergesketch import CyclicMap, HashedEmbedding
        >>> table = torch.randn(100, 8)
        >>> exact = HashedEmbedding.from_pretrained(table, 800, map=CyclicMap([(100, 8)]))
        >>> torch.equal(exact.weight, table)
        True
        """
        if not isinstance(embeddings, Tensor) or embeddings.dim() != 2:
            got = f"shape {tuple(embeddings.shape)}" if isinstance(embeddings, Tensor) else repr(embeddings)
            raise ValueError(f"embeddings must be a tensor of two dimensions, got {got}")
        arguments = {"device": embeddings.device, "dtype": embeddings.dtype, **arguments}
        new = cls(*embeddings.shape, n_parameters=n_parameters, **arguments)
        new.shared.fit([new], [embeddings])
        return new

    @property
    def weight(self) -> Tensor:
        """The whole table, of shape (num_embeddings, embedding_dim); the row of `padding_idx` is 0."""
        if self.num_embeddings is None:
            raise ValueError("weight is only there if num_embeddings is not None")
        ids = torch.arange(self.num_embeddings, device=self.shared.weights.device)
        return self._rows(ids, None, self._kept(ids) if self.padding_is_zero else None)

    def _kept(self, ids: Tensor) -> Tensor | None:
        """Return factors of 0 for padding, and 1 for other rows."""
        return None if self.padding_idx is None else (ids != self.padding_idx).to(self.shared.weights.dtype)

    def _flat(self, input: Tensor) -> Tensor:
        return input.reshape(-1, 2) if self._is_of_pairs else input.reshape(-1)

    def _checked(self, input: Any) -> Tensor:
        if not isinstance(input, Tensor) or input.is_floating_point() or input.dtype == torch.bool:
            got = f"a tensor of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            raise TypeError(f"input must be a tensor of integers, see hash_ids for strings; got {got}")
        if self._is_of_pairs and (input.dim() == 0 or input.shape[-1] != 2):
            raise ValueError(f"input must be pairs, of shape (..., 2), got shape {tuple(input.shape)}")
        return input

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{super().extra_repr()}{padding}{', sparse=True' if self.sparse else ''}"


class HashedEmbedding(EmbeddingTable):
    """Look up rows of a table, as `torch.nn.Embedding` does, that share a smaller array of parameters.

    Parameters
    ----------
    num_embeddings : int or None
        The number of rows. None for a table with a row for every integer of 64 bits, such as hashes of
        strings.
    embedding_dim : int
        The number of columns.
    padding_idx : int, optional
        A row that is 0, and gives no gradient. A negative one is counted from the end.
    max_norm, norm_type, scale_grad_by_freq
        As for `torch.nn.Embedding`, in the same order. They must have their default values, and others are
        refused: rows that share parameters have no norms of their own.
    sparse : bool, default False
        True for a gradient of the parameters that is a sparse tensor, with a place and a value for each entry
        that was read. It is for arrays with many more parameters than a batch reads. On the CPU only, and not
        for `DistributedDataParallel`, which takes sparse gradients from PyTorch's own embeddings alone.
    device, dtype : optional
        As for `torch.nn.Embedding`.
    n_parameters : int, optional
        The number of parameters, if the layer has an array of its own.
    shared : SharedArray, optional
        The array that the layer shares with others.
    map : ParameterMap, optional
        Where the entries of rows lie: ``RobeMap()`` by default.
    seed : int, default 0
        The seed of the hash functions, if the layer has an array of its own. Give layers that read the same
        ids different seeds: with equal ones, rows that share parameters in one share them in the other.
    table : int, optional
        The number of the table in `shared`; the next free one by default. Layers of one table are tied.
    scale : float, optional
        The factor of the parameters. By default rows have the standard deviation 1 at first, as those of
        `torch.nn.Embedding`.

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
    A state dictionary also says where the table lies in the parameters. It is not loaded by a layer with
    another map, seed or shape, in which the parameters would mean something else.

    References
    ----------
    - Desai, Chou, Shrivastava. Random offset block embedding (ROBE) for compressed embedding tables in deep
      learning recommendation systems. MLSys 2022.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import HashedEmbedding
    >>> embedding = HashedEmbedding(1_000_000, 64, n_parameters=640_000)
    >>> embedding(torch.tensor([[1, 2, 4], [4, 3, 999_999]])).shape
    torch.Size([2, 3, 64])
    """

    def __init__(
        self,
        num_embeddings: int | None,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
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
        own: dict[str, Any] = {"n_parameters": n_parameters, "shared": shared, "seed": seed}
        own |= {"table": table, "scale": scale, "device": device, "dtype": dtype}
        flags = (padding_idx, max_norm, scale_grad_by_freq, sparse)
        self._set_up(num_embeddings, embedding_dim, *flags, map, **own)

    def forward(self, input: Tensor) -> Tensor:
        """Return rows of the table.

        Parameters
        ----------
        input : Tensor of integers, of any shape
            Row numbers; for a `PairMap` pairs of them, in a last dimension of 2.

        Returns
        -------
        Tensor of the shape of `input` and a last dimension of embedding_dim
        """
        shape = self._checked(input).shape[:-1] if self._is_of_pairs else self._checked(input).shape
        ids = self._flat(input)
        kept = self._kept(ids)
        rows = self._rows(ids, None, kept if self.padding_is_zero else None, self.sparse)
        if kept is not None and not self.padding_is_zero:
            rows = torch.where(kept[:, None] > 0, rows, rows.detach())
        return rows.reshape(*shape, self.embedding_dim)


publish("mergesketch", ["HashedEmbedding"], globals())
