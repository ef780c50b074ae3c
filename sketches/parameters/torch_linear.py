"""HashedLinear: the linear layer of PyTorch, with weights from an array that is smaller."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.public import publish
from .parameter_map import ParameterMap
from .tile_map import TileMap
from .torch_array import SharedArray
from .torch_table import HashedTable

__all__ = ["HashedLinear"]


class HashedLinear(HashedTable):
    """Apply a linear map, as `torch.nn.Linear` does, whose weights share a smaller array of parameters.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
        The bias is a parameter of its own, which is not shared.
    device, dtype : optional
        As for `torch.nn.Linear`.
    n_parameters : int, optional
        The number of parameters, if the layer has an array of its own.
    shared : SharedArray, optional
        The array that the layer shares with others.
    map : ParameterMap, optional
        Where the entries of the weights lie: ``TileMap()`` by default.
    seed : int, default 0
        The seed of the hash functions, if the layer has an array of its own.
    table : int, optional
        The number of the table in `shared`; the next free one by default. Layers of one table are tied.
    scale : float, optional
        The factor of the parameters. By default it gives the weights the standard deviation that
        `torch.nn.Linear` has at first, ``1 / sqrt(3 in_features)``.

    Attributes
    ----------
    weight : Tensor of shape (out_features, in_features)
        Computed from the parameters whenever it is asked for.
    bias : torch.nn.Parameter of shape (out_features,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    In training the weights are in memory from the forward until the backward pass. What stays small is the
    array, its gradient, the state of the optimizer, and what is saved or sent. With
    ``torch.utils.checkpoint.checkpoint(layer, input, use_reentrant=False)`` the weights are computed once
    more in the backward pass, and only those of one layer are in memory at a time.

    References
    ----------
    - Desai, Zhou, Shrivastava. Hardware-aware compression with random operation access specific tile (ROAST)
      hashing. ICML 2023.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import HashedLinear
    >>> layer = HashedLinear(300, 200, n_parameters=6000)
    >>> layer(torch.ones(8, 300)).shape
    torch.Size([8, 200])
    >>> sum(parameter.numel() for parameter in layer.parameters())
    6200
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
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
        self.in_features = check_int("in_features", in_features, 1, 1 << 20)
        self.out_features = check_int("out_features", out_features, 1, 1 << 40)
        map = TileMap() if map is None else map
        shape, std = (self.out_features, self.in_features), 1.0 / math.sqrt(3.0 * self.in_features)
        self._set_table(shape, std, n_parameters, shared, map, seed, table, scale, device, dtype)
        if check_flag("bias", bias):
            weights = self.shared.weights
            self.bias = nn.Parameter(torch.empty(out_features, device=weights.device, dtype=weights.dtype))
            self._reset_bias()
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Draw the parameters of the array and the bias anew, and set the scale to what it was at first."""
        super().reset_parameters()
        if self.bias is not None:
            self._reset_bias()

    def _reset_bias(self) -> None:
        largest = 1.0 / math.sqrt(self.in_features)
        nn.init.uniform_(self.bias, -largest, largest)

    @property
    def weight(self) -> Tensor:
        """The weights, of shape (out_features, in_features), through which gradients reach the parameters."""
        return self._rows(torch.arange(self.out_features, device=self.shared.weights.device), None, None)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``.

        Parameters
        ----------
        input : Tensor of shape (..., in_features)

        Returns
        -------
        Tensor of shape (..., out_features)
        """
        return functional.linear(input, self.weight, self.bias)


publish("mergesketch", __all__, globals())
