"""Operators of PyTorch that read rows of virtual tables from a tensor, and add gradients to one.

They are custom operators, so that `torch.compile` keeps them whole. The kernels are those of
`SharedParameters`: by Numba on the memory of a tensor of the CPU, and by CuPy on that of a CUDA device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...lsh.support.backend import read_only
from .parameter_map import ParameterMap, Table, map_from_config
from .places import entry_places
from .table_rows import Bags, TableRows

__all__ = ["Layout", "as_array", "bag_of", "gather", "gather_sparse", "write_layout"]


class Layout(NamedTuple):
    """All that says how rows are read, except the parameters and their factor.

    Attributes
    ----------
    map : ParameterMap
    n_columns : int
    seed : int
    table : int
    n_rows : int or None
        The number of rows of the table, or None if any number is one.
    """

    map: ParameterMap
    n_columns: int
    seed: int
    table: int
    n_rows: int | None

    def of(self, n_parameters: int) -> Table:
        """Return the table, of an array of so many parameters."""
        return Table(n_parameters, self.n_columns, self.seed, self.table)

    def checked_rows(self, ids: Any, n_parameters: int) -> TableRows:
        """Read row numbers, and raise IndexError for those that do not exist, as PyTorch does."""
        if self.n_rows is not None and ids.size:
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= self.n_rows:
                raise IndexError(
                    f"input must be row numbers from 0 to {self.n_rows - 1}, got {low if low < 0 else high}"
                )
        return self.map.checked_rows(ids, self.of(n_parameters), "input")


def write_layout(layout: Layout) -> str:
    """Return a layout as text, which operators take: the inverse of `read_layout`."""
    return json.dumps(layout._replace(map=layout.map.config())._asdict(), sort_keys=True)  # type: ignore[arg-type]


@lru_cache(maxsize=1 << 12)
def read_layout(text: str) -> Layout:
    """Return the layout that `write_layout` has written."""
    fields = json.loads(text)
    return Layout(**{**fields, "map": map_from_config(fields["map"])})


def as_array(tensor: Tensor) -> Any:
    """Return the memory of a tensor as an array of NumPy or CuPy, without a copy."""
    tensor = tensor.detach().contiguous()
    if tensor.device.type == "cpu":
        return tensor.numpy()
    import cupy

    return cupy.from_dlpack(tensor)


@contextmanager
def _arrays(*tensors: Tensor) -> Iterator[list[Any]]:
    """Give the memory of tensors as arrays; kernels run on the device and the stream that PyTorch uses."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        yield [as_array(tensor) for tensor in tensors]
        return
    import cupy

    device = next(tensor.device for tensor in tensors if tensor.device.type != "cpu")
    stream = torch.cuda.current_stream(device)
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream.cuda_stream, device.index):
        yield [as_array(tensor) for tensor in tensors]


def _check_offsets(n: int, offsets: Any) -> None:
    rises = bool((offsets[1:] >= offsets[:-1]).all())
    if not (rises and int(offsets[0]) == 0 and int(offsets[-1]) <= n):
        raise ValueError(
            f"offsets must begin with 0, and rise to at most the number of row numbers, {n}, got {offsets}"
        )


def _checked_bags(n: int, offsets: Any, factors: Any) -> Bags:
    """Refuse bags that would lie outside of n rows."""
    if offsets.size:
        _check_offsets(n, offsets)
    if factors.size not in (0, n):
        raise ValueError(f"per_sample_weights must have {n} numbers, one for each row, got {factors.size}")
    return Bags(read_only(offsets), read_only(factors))


@torch.library.custom_op("mergesketch::gather", mutates_args=())  # type: ignore[untyped-decorator]
def gather(
    weights: Tensor, ids: Tensor, offsets: Tensor, factors: Tensor, scale: Tensor, layout: str
) -> Tensor:
    """Return sums of rows of a virtual table.

    Parameters
    ----------
    weights : Tensor of shape (n_parameters,), float32 or float64
    ids : Tensor of integers of shape (n,), or what else the map takes as n rows
    offsets : Tensor of int64 of shape (n_bags + 1,), or of size 0
        Bag b has the rows from ``offsets[b]`` to ``offsets[b + 1]``, and rows behind the last offset lie in
        no bag. If it is empty, each row is a bag.
    factors : Tensor of the dtype of `weights`, of shape (n,), or of size 0
        The factor of each row, 1 if it is empty.
    scale : Tensor of shape ()
        The factor of all rows.
    layout : str
        As `write_layout` returns it.

    Returns
    -------
    Tensor of shape (n_bags, n_columns)
    """
    what, n_bags = read_layout(layout), _number_of_bags(ids, offsets)
    out = weights.new_empty((n_bags, what.n_columns))
    with _arrays(weights, ids, offsets, factors, out) as (array, rows, ends, each, target):
        table = what.of(array.size)
        words = what.checked_rows(rows, array.size).words
        bags = _checked_bags(len(words), ends, each)
        what.map.gather_into(read_only(array), words, bags, table, scale.item(), target)
    return out


@torch.library.custom_op("mergesketch::scatter", mutates_args=())  # type: ignore[untyped-decorator]
def scatter(
    gradients: Tensor,
    ids: Tensor,
    offsets: Tensor,
    factors: Tensor,
    scale: Tensor,
    layout: str,
    n_parameters: int,
) -> Tensor:
    """Return the gradient of the parameters, of shape (n_parameters,): the transpose of `gather`."""
    what, out = read_layout(layout), gradients.new_zeros(n_parameters)
    with _arrays(gradients, ids, offsets, factors, out) as (array, rows, ends, each, target):
        table = what.of(n_parameters)
        words = what.checked_rows(rows, n_parameters).words
        bags = _checked_bags(len(words), ends, each)
        what.map.scatter_into(words, bags, read_only(array), table, scale.item(), target)
    return out


def _number_of_bags(ids: Tensor, offsets: Tensor) -> int:
    return offsets.shape[0] - 1 if offsets.shape[0] else ids.shape[0]


@torch.library.register_fake("mergesketch::gather")  # type: ignore[untyped-decorator]
def _(weights: Tensor, ids: Tensor, offsets: Tensor, factors: Tensor, scale: Tensor, layout: str) -> Tensor:  # noqa: ARG001
    return weights.new_empty((_number_of_bags(ids, offsets), read_layout(layout).n_columns))


@torch.library.register_fake("mergesketch::scatter")  # type: ignore[untyped-decorator]
def _(gradients: Tensor, *others: Any) -> Tensor:
    return gradients.new_empty(others[-1])


def _keep_gather(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    weights, ids, offsets, factors, scale, ctx.layout = inputs
    ctx.n_parameters = weights.shape[0]
    # The gradient of the weights does not depend on them.
    ctx.save_for_backward(weights if factors.requires_grad else None, ids, offsets, factors, scale)


def _of_gather(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    weights, ids, offsets, factors, scale = ctx.saved_tensors
    of_weights = of_factors = None
    if ctx.needs_input_grad[0]:
        of_weights = scatter(gradient, ids, offsets, factors, scale, ctx.layout, ctx.n_parameters)
    if ctx.needs_input_grad[3]:
        of_factors = _of_factors(weights, ids, offsets, gradient, scale, ctx.layout)
    return of_weights, None, None, of_factors, None, None


def _keep_scatter(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    gradients, ids, offsets, factors, scale, ctx.layout, _ = inputs
    ctx.save_for_backward(gradients if factors.requires_grad else None, ids, offsets, factors, scale)


def _of_scatter(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    gradients, ids, offsets, factors, scale = ctx.saved_tensors
    of_gradients = of_factors = None
    if ctx.needs_input_grad[0]:
        of_gradients = gather(gradient, ids, offsets, factors, scale, ctx.layout)
    if ctx.needs_input_grad[3]:
        of_factors = _of_factors(gradient, ids, offsets, gradients, scale, ctx.layout)
    return of_gradients, None, None, of_factors, None, None, None


def _of_factors(
    weights: Tensor, ids: Tensor, offsets: Tensor, of_bags: Tensor, scale: Tensor, layout: str
) -> Tensor:
    """Return the product of each row with the gradient of its bag."""
    rows = gather(weights, ids, offsets.new_empty(0), weights.new_empty(0), scale, layout)
    return (rows * _of_rows(of_bags, ids.shape[0], offsets)).sum(dim=1)


@torch.library.custom_op("mergesketch::bag_of", mutates_args=())  # type: ignore[untyped-decorator]
def bag_of(n: int, offsets: Tensor) -> Tensor:
    """Return the number of the bag of each row, and the number of bags for rows behind the last bag."""
    _check_offsets(n, offsets)
    return torch.bucketize(torch.arange(n, device=offsets.device), offsets[1:].contiguous(), right=True)


@torch.library.register_fake("mergesketch::bag_of")  # type: ignore[untyped-decorator]
def _(n: int, offsets: Tensor) -> Tensor:
    return offsets.new_empty(n)


def _of_rows(of_bags: Tensor, n: int, offsets: Tensor) -> Tensor:
    """Return for each row the gradient of its bag, and 0 for rows behind the last bag."""
    if offsets.shape[0] == 0:
        return of_bags
    return torch.cat([of_bags, of_bags.new_zeros(1, of_bags.shape[1])])[bag_of(n, offsets)]


torch.library.register_autograd("mergesketch::gather", _of_gather, setup_context=_keep_gather)
torch.library.register_autograd("mergesketch::scatter", _of_scatter, setup_context=_keep_scatter)


class _SparseGather(torch.autograd.Function):  # type: ignore[misc]
    """`gather`, with a gradient of the parameters that has an entry for each place that was read."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *inputs: Any) -> Tensor:
        ctx.n_parameters, ctx.layout = weights.shape[0], inputs[4]
        ctx.save_for_backward(*inputs[:4])
        found: Tensor = gather(weights.detach(), *inputs)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        ids, offsets, factors, scale = ctx.saved_tensors
        what, m = read_layout(ctx.layout), ctx.n_parameters
        with _arrays(ids) as (rows,):
            words = what.checked_rows(rows, m).words
            dtype = str(gradient.dtype).removeprefix("torch.")
            places, coefficients = map(torch.from_numpy, entry_places(what.map, words, what.of(m), dtype))
        each = _of_rows(gradient, len(words), offsets)
        if factors.shape[0]:
            each = each * factors[:, None]
        values = coefficients.mul_(each[:, None, :]).mul_(scale).reshape(-1)
        found = torch.sparse_coo_tensor(places.reshape(1, -1), values, (m,), check_invariants=False)
        return found, None, None, None, None, None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def gather_sparse(
    weights: Tensor, ids: Tensor, offsets: Tensor, factors: Tensor, scale: Tensor, layout: str
) -> Tensor:
    """Return what `gather` returns, with a sparse gradient of the parameters, and none of the factors."""
    found: Tensor = _SparseGather.apply(weights, ids, offsets, factors, scale, layout)
    return found
