"""Tables of PyTorch whose important rows get parameters of their own, with what an optimiser keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .cafe_map import CafeMap, with_frequent
from .shared_parameters import SharedParameters
from .torch_reading import Layout, as_array, read_layout

__all__ = ["adapted_layout", "with_saved_rows"]


@torch.no_grad()  # type: ignore[untyped-decorator]
def adapted_layout(
    weights: Tensor,
    layout: Layout,
    importance: Iterable[tuple[Any, float]],
    margin: float,
    optimizer: torch.optim.Optimizer | None,
) -> Layout:
    """Return the layout whose most important rows have parameters of their own, and move the parameters.

    Parameters
    ----------
    weights : Tensor of shape (n_parameters,)
        Moved in place.
    layout : Layout
    importance, margin
        As for `SharedParameters.adapt`.
    optimizer : torch.optim.Optimizer, optional
        What it keeps of each parameter moves, too.

    Returns
    -------
    Layout
    """
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")

    def parameters(values: Tensor) -> SharedParameters:
        return SharedParameters.from_weights(as_array(values), layout.map, seed=layout.seed, copy=False)

    new = parameters(weights).adapt(importance, margin=margin)
    map = new.map
    assert isinstance(map, CafeMap)
    state = {} if optimizer is None else optimizer.state.get(weights, {})
    for values in state.values():
        if isinstance(values, Tensor) and values.shape == weights.shape:
            moved = _tensor(parameters(values)._moved_to(map), values)
            # Means of squares have no signs, unlike the parameters at their old and new places.
            values.copy_(moved.abs() if bool((values >= 0).all()) else moved)
    weights.copy_(_tensor(new, weights))
    # Each layout is used only until the next one replaces it, and may be large.
    read_layout.cache_clear()
    return layout._replace(map=map)


def _tensor(parameters: SharedParameters, like: Tensor) -> Tensor:
    return torch.as_tensor(parameters._arrays["weights"], device=like.device)


def with_saved_rows(layout: Layout, saved: Any) -> Layout:
    """Return the layout with the frequent rows of a saved one, if it differs in nothing else."""
    if not (isinstance(layout.map, CafeMap) and isinstance(saved, dict)):
        return layout
    ours, rows = json.loads(json.dumps(layout.map.config())), saved.get("frequent")
    if not isinstance(rows, list) or {**saved, "frequent": ()} != {**ours, "frequent": ()}:
        return layout
    return layout._replace(map=with_frequent(layout.map, rows))
