"""The array of parameters that layers of PyTorch share, as a module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from .table_rows import Bags
from .torch_reading import Layout, as_array

__all__ = ["SharedArray", "kept_precision", "mark_stale"]

_MOST_PARAMETERS = 1 << 40
_LARGEST = 2.0**64
#: Entries of a table that are added at a time.
_PART = 1 << 20


class SharedArray(nn.Module):  # type: ignore[misc]
    """Hold the parameters that several layers of PyTorch share.

    Parameters
    ----------
    n_parameters : int
        The number m of parameters.
    std : float, default 1.0
        The standard deviation of the normal numbers that the parameters are at first. PyTorch draws them, so
        that `torch.manual_seed` decides on them.
    seed : int, default 0
        In [0, 2**64). The seed of the hash functions of all layers.
    device, dtype : optional
        As for the modules of `torch.nn`. The dtype is float32 or float64.

    Attributes
    ----------
    weights : torch.nn.Parameter of shape (n_parameters,)
    std : float
    seed : int
    n_tables : int
        The number of tables that layers have taken so far.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Give it as `shared` to `HashedEmbedding`, `HashedEmbeddingBag` and `HashedLinear`. Each layer is a virtual
    table of its own, and registers the array as a submodule. `torch.nn.Module.parameters` yields the
    parameters once, and `state_dict` names them once for each layer, as it does all tied weights.

    Examples
    --------
    >>> from mergesketch import HashedEmbedding, SharedArray
    >>> shared = SharedArray(10_000, std=0.1)
    >>> users = HashedEmbedding(None, 32, shared=shared)
    >>> items = HashedEmbedding(None, 64, shared=shared)
    >>> users.table, items.table, shared.n_tables
    (0, 1, 2)
    """

    def __init__(
        self, n_parameters: int, std: float = 1.0, *, seed: int = 0, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        n_parameters = check_int("n_parameters", n_parameters, 1, _MOST_PARAMETERS)
        self.std = check_real("std", std, 0.0, _LARGEST)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
        self.weights = nn.Parameter(torch.empty(n_parameters, device=device, dtype=dtype))
        self.register_buffer("divisors", None, persistent=False)
        self.n_tables = 0
        #: The layers that scaled gradients are for. Their scales may come from a file.
        self._scaled: list[Any] = []
        self._used_scales: list[float] = []
        self._is_stale = False
        #: The tables that are loaded since the divisors were computed.
        self._loaded: set[int] = set()
        self.register_load_state_dict_post_hook(mark_stale)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        nn.init.normal_(self.weights, 0.0, self.std)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        with kept_precision(self, "divisors"):
            return super()._apply(fn, recurse)

    def forward(self) -> Tensor:
        """Return the parameters for a layer to read: as they are, but with scaled gradients if these are set.

        Returns
        -------
        Tensor of shape (n_parameters,), float32 or float64
            Parameters of half precision are copied to float32.
        """
        self.refresh()
        weights: Tensor = self.weights
        if self.divisors is not None:
            weights = _Scaled.apply(weights, self.divisors)
        return weights if weights.dtype in (torch.float32, torch.float64) else weights.float()

    def scale_gradients(self, layers: Iterable[Any]) -> None:
        """Divide the gradient of each parameter by the sum of the squared scales of its entries.

        Parameters
        ----------
        layers : iterable of layers
            All that share this array, with a known number of rows.

        Raises
        ------
        ValueError
            If a layer has another array, or any number of rows.

        Notes
        -----
        A step of gradient descent then moves an entry of a table by the mean of what the entries that share
        its parameter ask for, and not by their sum. With the sum, the same learning rate diverges the sooner,
        the more entries share a parameter. Parameters that stand for no entry are divided by 1.

        References
        ----------
        - Desai, Shrivastava. In defense of parameter sharing for model-compression. ICLR 2024.
        """
        layers = list(layers)
        self._layouts(layers)
        self._scaled = layers
        self._set_divisors()

    def fit(self, layers: Iterable[Any], tables: Iterable[Tensor]) -> None:
        """Set the parameters so that the tables of layers are as near as possible to given ones.

        Parameters
        ----------
        layers : iterable of layers
            All that share this array, with a known number of rows.
        tables : iterable of Tensor of shape (n_rows, n_columns)
            The table that each layer should have.

        Raises
        ------
        ValueError
            If a layer has another array, any number of rows or a scale of 0, or its table has another shape,
            NaN or infinity. Nothing changes then.

        Notes
        -----
        Each parameter becomes the mean of the entries that it stands for, each divided by the scale of its
        layer. This minimises the sum of the squared errors of all layers, each divided by the square of its
        scale, for maps that place each entry once, which all but `MultiHashMap` and the sum of
        `QuotientRemainderMap` do. Parameters that stand for no entry stay as they are.
        """
        layers = list(layers)
        layouts, tables = self._layouts(layers), list(tables)
        if not all(isinstance(table, Tensor) for table in tables):
            raise TypeError(f"tables must be tensors, got {', '.join(type(t).__name__ for t in tables)}")
        given = [table.detach().cpu() for table in tables]
        if len(given) != len(layouts):
            raise ValueError(f"tables must have one for each of {len(layouts)} layers, got {len(given)}")
        if not all(layer.scale.item() for layer in layers):
            raise ValueError("layers must have scales that are not 0")
        dtype = str(self.weights.dtype).removeprefix("torch.")
        for layout, table in zip(layouts, given, strict=True):
            if tuple(table.shape) != (layout.n_rows, layout.n_columns):
                raise ValueError(
                    f"tables must have the shape of the layer, {(layout.n_rows, layout.n_columns)}, got "
                    f"{tuple(table.shape)}"
                )
            if not bool(table.isfinite().all()):
                raise ValueError("tables must be finite, got NaN or infinity")
        m = self.weights.shape[0]
        total, loads = np.zeros(m, dtype), self._loads(layers, [1.0] * len(layers))
        bags = Bags(read_only(np.empty(0, np.int64)), read_only(np.empty(0, dtype)))
        for layer, layout, table in zip(layers, layouts, given, strict=True):
            scale, array = layer.scale.item(), as_array(table.to(self.weights.dtype))
            for start, stop in cut_range(0, len(array), max(1, _PART // layout.n_columns)):
                words = layout.map.numbered_words(start, stop, layout.of(m))
                part = read_only(array[start:stop])
                layout.map.scatter_into(words, bags, part, layout.of(m), 1.0 / scale, total)
        used = loads != 0
        values = self.weights.detach().cpu().numpy().copy()
        values[used] = total[used] / loads[used]
        with torch.no_grad():
            self.weights.copy_(torch.from_numpy(values))

    def extra_repr(self) -> str:
        scaled = "" if self.divisors is None else ", scaled gradients"
        return f"{self.weights.shape[0]}, std={self.std:g}, seed={self.seed}{scaled}"

    def _layouts(self, layers: Iterable[Any]) -> list[Layout]:
        found = []
        for layer in layers:
            if getattr(layer, "shared", None) is not self:
                raise ValueError(f"layers must share this array, got {layer!r}")
            if layer.layout.n_rows is None:
                raise ValueError(f"layers must have a known number of rows, got {layer!r}")
            found.append(layer.layout)
        return found

    def _loads(self, layers: Iterable[Any], scales: Iterable[float]) -> Any:
        """Return the sum of the squared coefficients of each parameter, for given scales of the layers."""
        m = self.weights.shape[0]
        loads = np.zeros(m)
        for layer, scale in zip(layers, scales, strict=True):
            layout: Layout = layer.layout
            assert layout.n_rows is not None
            for start, stop in cut_range(0, layout.n_rows, max(1, _PART // layout.n_columns)):
                words = layout.map.numbered_words(start, stop, layout.of(m))
                layout.map.add_loads(words, layout.of(m), scale, loads)
        return loads

    def refresh(self) -> None:
        """Compute the divisors anew if scales or places have changed."""
        if self._is_stale:
            self._set_divisors()

    def note_loaded(self, table: int) -> None:
        """Note that a layer is loaded, and compute the divisors anew when all layers are.

        Otherwise the next forward pass does, which `torch.compile` cannot keep whole.
        """
        self._loaded.add(table)
        if self._is_stale and self._scales() == self._used_scales:
            self._is_stale = False
        elif self._is_stale and self._loaded >= {layer.table for layer in self._scaled}:
            self._set_divisors()

    def _scales(self) -> list[float]:
        return [layer.scale.item() for layer in self._scaled]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _set_divisors(self) -> None:
        self._used_scales = self._scales()
        loads = self._loads(self._scaled, self._used_scales)
        loads[loads == 0] = 1
        dtype = torch.float64 if self.weights.dtype == torch.float64 else torch.float32
        divisors = torch.from_numpy(loads).to(self.weights.device, dtype)
        self.divisors = None if bool((divisors == 1).all()) else divisors
        self._is_stale = False
        self._loaded = set()


def mark_stale(array: SharedArray, _: Any = None) -> None:
    """Note that the scales of layers may have changed, so that divisors are computed anew."""
    array._is_stale = bool(array._scaled)


@contextmanager
def kept_precision(module: nn.Module, name: str) -> Iterator[None]:
    """Keep the dtype of a buffer when a module is converted: half precision has neither 70,000 nor 1e-8."""
    before: Tensor | None = getattr(module, name)
    yield
    after = getattr(module, name)
    if before is not None and after.dtype != before.dtype:
        setattr(module, name, before.to(after.device))


class _Scaled(torch.autograd.Function):  # type: ignore[misc]
    """The parameters as they are, with a gradient that is divided."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, divisors: Tensor) -> Tensor:
        ctx.save_for_backward(divisors)
        return weights.view_as(weights)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (divisors,) = ctx.saved_tensors
        if gradient.is_sparse:
            places = gradient._indices()
            values = gradient._values() / divisors[places[0]]
            shape = gradient.shape
            return torch.sparse_coo_tensor(places, values, shape, check_invariants=False), None
        return (gradient / divisors).to(gradient.dtype), None


publish("mergesketch", ["SharedArray"], globals())
