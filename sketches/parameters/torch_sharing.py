"""share_parameters: replace the large weights of any model of PyTorch by tables of one shared array."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.public import publish
from .cyclic_map import CyclicMap
from .parameter_map import ParameterMap, Table
from .torch_array import SharedArray
from .torch_embedding import HashedEmbedding
from .torch_embedding_bag import HashedEmbeddingBag
from .torch_linear import HashedLinear
from .torch_table import entry_deviation

__all__ = ["share_parameters"]

M = TypeVar("M", bound=nn.Module)

#: Classes that are replaced. Others, which derive from them, may use their weights in ways of their own. The
#: second linear one is that of `torch.nn.MultiheadAttention`, and does the same as the first.
_LINEAR = (nn.Linear, NonDynamicallyQuantizableLinear)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_MOST_COMPRESSION = 2.0**40
_LARGEST = 2.0**64


def share_parameters(
    model: M,
    compression: float,
    *,
    exclude: Callable[[str, nn.Module], bool] | None = None,
    embedding_map: ParameterMap | None = None,
    linear_map: ParameterMap | None = None,
    keep_values: bool = False,
    scale_gradients: bool = True,
    seed: int = 0,
) -> M:
    """Return a copy of a model whose embeddings and linear layers share one smaller array of parameters.

    Parameters
    ----------
    model : torch.nn.Module
        It stays as it is.
    compression : float
        The number of weights that are replaced, over the number of parameters of the array; at least 1.
    exclude : callable, optional
        ``exclude(name, module)`` returns True for modules whose weights shall not be replaced.
    embedding_map, linear_map : ParameterMap, optional
        The maps of embeddings and of linear layers, such as ``RobeMap()`` and ``TileMap()``. By default both
        have the `CyclicMap` of all tables, which uses all parameters equally.
    keep_values : bool, default False
        True to begin with the parameters that are nearest to the weights of the model: see
        `SharedArray.fit`. False to draw them, with the standard deviation that each weight has in the model.
    scale_gradients : bool, default True
        True to divide gradients by how much each parameter is used: see `SharedArray.scale_gradients`.
    seed : int, default 0
        The seed of the hash functions. PyTorch draws the parameters.

    Returns
    -------
    The copy. Its `HashedEmbedding`, `HashedEmbeddingBag` and `HashedLinear` layers have one `SharedArray`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, no module is left to replace, a module
        has options that shared parameters cannot have, or the weights are of several dtypes or devices.

    Notes
    -----
    The weight matrix of a layer becomes a virtual table times a scale, the standard deviation of the matrix
    over that of the array (ROAST's global sharing). Weights that are tied stay tied. Biases, and the weights
    of modules of other classes, stay as they are, and so do weights that such a module is tied to, modules
    with hooks and modules with parametrizations. Weights that are frozen stay, too, unless all are: then the
    parameters are frozen.

    A matrix of zeros gets the standard deviation of the array, because it cannot learn with a scale of 0.

    With the default maps and a compression of 1, nothing is shared. The copy then has the values of the
    model and scales of 1, and computes the same numbers as the model, bit for bit, also in training.

    A row of `padding_idx` is 0 in the copy if it is 0 in the model, and the weight is not tied. Otherwise it
    has the values of its parameters. It gives no gradient in either case.

    References
    ----------
    - Desai, Zhou, Shrivastava. Hardware-aware compression with random operation access specific tile (ROAST)
      hashing. ICML 2023.
    - Desai, Shrivastava. In defense of parameter sharing for model-compression. ICLR 2024.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import share_parameters
    >>> model = torch.nn.Sequential(torch.nn.Embedding(1000, 64), torch.nn.Linear(64, 64))
    >>> small = share_parameters(model, compression=100)
    >>> sum(parameter.numel() for parameter in small.parameters())  # 680 that are shared, and the bias
    745
    >>> small(torch.tensor([1, 2])).shape
    torch.Size([2, 64])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    compression = check_real("compression", compression, 1.0, _MOST_COMPRESSION, closed=True)
    keep_values, seed = check_flag("keep_values", keep_values), check_int("seed", seed, 0, 2**64 - 1)
    scale_gradients = check_flag("scale_gradients", scale_gradients)
    for argument, map in (("embedding_map", embedding_map), ("linear_map", linear_map)):
        if not isinstance(map, ParameterMap | None):
            raise TypeError(f"{argument} must be a ParameterMap or None, got {type(map).__name__}")
    if exclude is not None and not callable(exclude):
        raise TypeError(f"exclude must be a function of a name and a module, got {type(exclude).__name__}")
    modules = _replaceable(model, exclude)
    weights = list({id(module.weight): module.weight for module in modules.values()}.values())
    _check(modules, weights)
    n_entries = sum(weight.numel() for weight in weights)
    n_parameters = math.ceil(n_entries / compression)
    nothing_shared = n_parameters == n_entries and embedding_map is None and linear_map is None
    std = math.sqrt(sum(float(w.detach().double().square().sum()) for w in weights) / n_entries)
    if not std < _LARGEST:
        raise ValueError(
            f"the weights of the model must be finite, with a root mean square below 2**64, got {std:g}"
        )
    shared = SharedArray(
        n_parameters, std or 1.0, seed=seed, device=weights[0].device, dtype=weights[0].dtype
    )
    shared.weights.requires_grad_(weights[0].requires_grad)
    cyclic = CyclicMap([tuple(weight.shape) for weight in weights])
    numbers = {id(weight): number for number, weight in enumerate(weights)}
    made: dict[int, Any] = {}
    for module in modules.values():
        number = numbers[id(module.weight)]
        chosen = (embedding_map if isinstance(module, _EMBEDDINGS) else linear_map) or cyclic
        scale = 1.0 if nothing_shared else _scale(module.weight, shared, chosen, number)
        new = _replacement(module, shared, chosen, number, scale, made)
        is_tied = sum(other.weight is module.weight for other in modules.values()) > 1
        if isinstance(new, HashedEmbedding) and (is_tied or _has_padding(module)):
            new.padding_is_zero = False
        made[id(module)] = new
    layers = [
        next(made[id(m)] for m in modules.values() if m.weight is weight) for weight in weights
    ]  # one for each table
    if keep_values or nothing_shared:
        shared.fit(layers, weights)
    if scale_gradients:
        shared.scale_gradients(layers)
    # What is replaced counts as copied already, so that copies refer to what replaces it.
    copied: M = copy.deepcopy(model, made)
    return copied


def _replaceable(model: nn.Module, exclude: Callable[[str, nn.Module], bool] | None) -> dict[str, Any]:
    """Return the modules to replace, by their names."""
    found: dict[str, Any] = {}
    others: set[int] = set()
    for name, module in model.named_modules():
        is_kind = type(module) in (*_LINEAR, *_EMBEDDINGS) and not _has_hooks(module)
        is_kind = is_kind and module.weight.numel() > 0
        if is_kind and not (exclude is not None and exclude(name, module)):
            found[name] = module
        else:
            others |= {id(parameter) for parameter in module.parameters(recurse=False)}
    found = {name: module for name, module in found.items() if id(module.weight) not in others}
    # Weights that are frozen stay as they are, unless the whole model is.
    trains = any(module.weight.requires_grad for module in found.values())
    return {name: module for name, module in found.items() if module.weight.requires_grad == trains}


def _has_hooks(module: nn.Module) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in names)


def _check(modules: dict[str, Any], weights: list[Tensor]) -> None:
    if not modules:
        raise ValueError("model must have an embedding or a linear layer that is not excluded, got none")
    kinds = {(weight.device, weight.dtype) for weight in weights}
    if len(kinds) > 1 or weights[0].dtype not in (torch.float32, torch.float64):
        raise ValueError(
            "the weights of the model must lie on one device, and be all float32 or all float64, got "
            + ", ".join(sorted(f"{dtype} on {device}" for device, dtype in kinds))
        )
    for name, module in modules.items():
        if getattr(module, "max_norm", None) is not None or getattr(module, "scale_grad_by_freq", False):
            raise ValueError(
                f"{name} has max_norm or scale_grad_by_freq, which shared parameters cannot have: exclude it"
            )


def _has_padding(module: Any) -> bool:
    """Check for a row of padding that is not 0."""
    return module.padding_idx is not None and bool(module.weight[module.padding_idx].any())


def _scale(weight: Tensor, shared: SharedArray, map: ParameterMap, number: int) -> float:
    """Return the factor that gives a table the deviation of a weight."""
    own = float(weight.detach().double().square().mean().sqrt()) or shared.std
    table = Table(shared.weights.shape[0], weight.shape[1], shared.seed, number)
    return own / shared.std / entry_deviation(map, table)


def _replacement(
    module: Any, shared: SharedArray, map: ParameterMap, number: int, scale: float, copied: dict[int, Any]
) -> nn.Module:
    """Return the layer that replaces a module; `copied` has what is copied already, such as tied biases."""
    own: dict[str, Any] = {"shared": shared, "map": map, "table": number, "scale": scale}
    new: Any
    if isinstance(module, nn.Linear):
        new = HashedLinear(module.in_features, module.out_features, bias=False, **own)
        new.bias = copy.deepcopy(module.bias, copied)
    else:
        n, d = module.num_embeddings, module.embedding_dim
        own |= {"padding_idx": module.padding_idx, "sparse": module.sparse}
        if isinstance(module, nn.EmbeddingBag):
            own |= {"include_last_offset": module.include_last_offset, "mode": module.mode}
            new = HashedEmbeddingBag(n, d, **own)
        else:
            new = HashedEmbedding(n, d, **own)
    return new.train(module.training)


publish("mergesketch", __all__, globals())
