"""Modules of PyTorch with compressed weights."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.threads import run_tasks
from .compressed_floats import CompressedFloats
from .float_coding import CODINGS
from .float_formats import FORMATS, read_floats
from .torch_floats import CompressedTensor, can_compress

__all__ = ["compress_module", "decompress_module", "load_compressed"]

Module = TypeVar("Module", bound=nn.Module)
#: Smaller tensors stay as they are: the objects that would hold them are larger than what is saved.
_MIN_SIZE = 4096


def compress_module(
    module: Module, *, min_size: int = _MIN_SIZE, coding: str = "auto", blocks: Collection[str] = ()
) -> Module:
    """Compress the weights of a module of PyTorch in place, for inference, without any loss.

    A weight is decoded by each operation that reads it, and freed after. The outputs are those of the module
    with weights that require no gradients, bit for bit.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters of dtype bfloat16, float16, float32, float64 and float8 are compressed. Buffers stay
        as they are.
    min_size : int, default 4096
        Parameters with fewer values stay as they are, and so do those that become no smaller.
    coding : {"auto", "exponent", "joint", "raw"}, default "auto"
        That of `CompressedFloats`.
    blocks : collection of str
        Names of modules, as `torch.nn.Module.named_modules` gives them. Their weights are decoded together
        when such a module is called, and freed when it returns. This is faster for a module that uses a
        weight many times in a call, as a loop over a recurrent cell does. It takes the memory of all its
        weights.

    Returns
    -------
    torch.nn.Module
        `module`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.
    ImportError
        If PyTorch is not installed.

    Notes
    -----
    The compressed parameters are `torch.nn.Parameter` still, of the same shape and dtype, and tied ones stay
    tied. Their attribute `compressed` is a `CompressedFloats`. They have no gradient; the gradients of inputs
    and of other parameters are computed as before, so that adapters can be trained beside them.

    ``state_dict`` decodes them to plain tensors, and ``load_state_dict`` compresses those that it loads.
    Copies and pickles of the module stay compressed. A change of dtype compresses the weights again.

    Embeddings decode the rows that are looked up, where these are few. Linear layers decode the whole matrix:
    a product of parts of it would be rounded in another order.

    Threads may call the module at the same time. Each then decodes the weights, unless they are in a block.
    `torch.compile` computes compressed layers outside of its graphs. `torch.jit.trace` and `torch.export`
    would write the decoded weights into their graphs: call `decompress_module` before. Under `torch.autocast`
    on CPUs, `torch.nn.TransformerEncoderLayer` without gradients computes in the dtype of its weights.

    **Cost**: about 2 ns a value to compress, and at each use 1 ns a value to decode, on one core. Several
    cores share the work on matrices of more than 131,072 values. The largest tensor is held twice while it is
    compressed.

    References
    ----------
    Zhang, Hariri, Zhong, Chaudhary, Sui, Hu, Shrivastava. 70% size, 100% accuracy: lossless LLM compression
    for efficient GPU inference via dynamic-length float (DFloat11). NeurIPS 2025, section 2.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import compress_module
    >>> model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 64))
    >>> x = torch.randn(3, 256)
    >>> expected = model(x)
    >>> model = compress_module(model)
    >>> bool(torch.equal(model(x), expected))
    True
    >>> model[0].weight.compressed.nbytes < 0.9 * model[0].weight.nbytes
    True
    """
    _check_module(module)
    min_size = check_int("min_size", min_size, 0)
    coding = check_choice("coding", coding, CODINGS)
    kept = [_submodule(module, name) for name in _check_blocks(blocks)]

    def compress(parameter: Tensor) -> Tensor | None:
        if not can_compress(parameter) or parameter.numel() < min_size:
            return None
        new = CompressedTensor.compress(parameter, coding, trainable=parameter.requires_grad)
        return new if new.compressed.nbytes < parameter.nbytes else None

    changed_in_calls = {
        id(child.weight) for child in module.modules() if getattr(child, "max_norm", None) is not None
    }
    _replace(module, lambda p: None if id(p) in changed_in_calls else compress(p))
    for child in kept:
        if _keep_weights not in child._forward_pre_hooks.values():
            child.register_forward_pre_hook(_keep_weights, prepend=True)
            child.register_forward_hook(_release_weights, always_call=True)
    return module


def decompress_module(module: Module) -> Module:
    """Decompress the weights of a module in place, and undo what `compress_module` did.

    Parameters
    ----------
    module : torch.nn.Module
        A compressed one, or any other, which stays as it is.

    Returns
    -------
    torch.nn.Module
        `module`. Parameters require gradients again if they did so before.

    Raises
    ------
    TypeError
        If `module` is no module.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import compress_module, decompress_module
    >>> model = decompress_module(compress_module(torch.nn.Linear(256, 64)))
    >>> model.weight.requires_grad
    True
    """
    _check_module(module)
    _replace(module, lambda p: p.decompress() if isinstance(p, CompressedTensor) else None)
    for child in module.modules():
        for hooks in (child._state_dict_hooks, child._forward_pre_hooks, child._forward_hooks):
            for key, hook in list(hooks.items()):
                if hook in (_decode_state, _keep_weights, _release_weights):
                    del hooks[key]
                    child._forward_hooks_always_called.pop(key, None)
    return module


def load_compressed(
    module: Module,
    tensors: Mapping[str, CompressedFloats | NDArray[Any]],
    *,
    strict: bool = True,
    device: str | torch.device = "cpu",
) -> Module:
    """Load compressed tensors into a module of PyTorch, in place, without decoding them.

    Parameters
    ----------
    module : torch.nn.Module
        It may be on the device "meta", so that the weights are never in memory uncompressed.
    tensors : mapping from str to CompressedFloats or ndarray
        By the names of the module's ``state_dict``: a `FloatArchive`, for example. Each is read when its
        turn comes. Of the names of tied parameters one suffices.
    strict : bool, default True
        Refuse names that the other side lacks.
    device : device, default "cpu"
        Where the parameters are decoded to.

    Returns
    -------
    torch.nn.Module
        `module`. Parameters have the dtype of what is loaded, and need no gradients.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, names are missing, or a shape differs. The module is then as it was
        before.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from mergesketch import CompressedFloats, load_compressed
    >>> weight = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(256, 64, bias=False)
    >>> model = load_compressed(model, {"weight": CompressedFloats(weight)})
    >>> bool((model(torch.eye(256)).T == torch.from_numpy(weight)).all())
    True
    """
    _check_module(module)
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors must be a mapping from names, got {type(tensors).__name__}")
    target = torch.device(device)
    names: dict[int, list[str]] = {}
    places: dict[str, Tensor] = {}
    # Here tied parameters are one object, under each of their names.
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            names.setdefault(id(tensor), []).append(name)
            places[name] = tensor
    if check_flag("strict", strict):
        missing = [same[0] for same in names.values() if not any(name in tensors for name in same)]
        unknown = [name for name in tensors if name not in places]
        if missing or unknown:
            raise ValueError(
                f"tensors must have the names of the module, but lack {missing} and have {unknown}"
            )
    loaded: dict[int, Tensor] = {}
    for key, same in names.items():
        for name in [name for name in same if name in tensors][:1]:
            loaded[key] = _loaded(name, tensors[name], places[name], target)
    _replace(module, lambda p: loaded.get(id(p)))
    for child in module.modules():
        for name, buffer in list(child.named_buffers(recurse=False, remove_duplicate=False)):
            if id(buffer) in loaded:
                setattr(child, name, loaded[id(buffer)])
    return module


def _loaded(name: str, value: Any, place: Tensor, device: torch.device) -> Tensor:
    """Return what becomes the parameter or buffer of a name."""
    if value.shape != tuple(place.shape):
        raise ValueError(f"tensors[{name!r}] must have shape {tuple(place.shape)}, got {value.shape}")
    if not isinstance(value, CompressedFloats):
        form, bits = read_floats("array", value) if value.dtype.name in FORMATS else (None, np.asarray(value))
        tensor = torch.from_numpy(bits.copy())
        return (tensor if form is None else tensor.view(getattr(torch, form.name))).to(device)
    new = CompressedTensor.from_floats(value, device)
    is_small = value.size < _MIN_SIZE or value.coding == "raw"
    return new if isinstance(place, nn.Parameter) and not is_small else new.decompress()


def _check_module(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")


def _check_blocks(blocks: Any) -> list[str]:
    if isinstance(blocks, str) or not isinstance(blocks, Collection):
        raise TypeError(f"blocks must be a list of names, got {blocks!r}")
    return list(blocks)


def _submodule(module: nn.Module, name: Any) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"blocks must have names of modules in `module`, got {name!r}") from error


def _parameters_of(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters of a module alone, under each name that they have in it."""
    return list(module.named_parameters(recurse=False, remove_duplicate=False))


def _replace(module: nn.Module, new: Callable[[Tensor], Tensor | None]) -> None:
    """Replace those parameters for which `new` returns a tensor, each under all names that it has.

    The old ones are freed one by one, if nothing else holds them.
    """
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for child in module.modules():
        for name, parameter in _parameters_of(child):
            places.setdefault(id(parameter), []).append((child, name))
    for same in places.values():
        child, name = same[0]
        old = child.get_parameter(name)
        tensor = new(old)
        if tensor is None:
            continue
        trainable = isinstance(old, CompressedTensor) and old._trainable and tensor.is_floating_point()
        is_compressed = isinstance(tensor, CompressedTensor)
        parameter = nn.Parameter(tensor, requires_grad=trainable and not is_compressed)
        for child, name in same:
            # Recurrent modules keep their weights in a list too, which this brings up to date.
            setattr(child, name, parameter)
            if is_compressed and _decode_state not in child._state_dict_hooks.values():
                child.register_state_dict_post_hook(_decode_state)


# -- hooks, which are functions of this module, so that modules with them can be pickled --------------------


def _decode_state(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Put plain tensors into a state_dict, one for all tied parameters.

    Those that a caller has asked for as parameters, with ``keep_vars=True``, stay parameters.
    """
    for name, _ in _parameters_of(module):
        value = state.get(prefix + name)
        if not isinstance(value, CompressedTensor) or isinstance(value, nn.Parameter):
            continue
        storage = value._storage
        tied, found = storage.in_state or ("", lambda: None)
        tensor = found()
        if tensor is None or state.get(tied) is not tensor:
            tensor = value.decompress()
            storage.in_state = prefix + name, weakref.ref(tensor)
        state[prefix + name] = tensor


class _Calls(threading.local):
    """The calls of blocks that a thread is in, with the weights that each keeps decoded."""

    def __init__(self) -> None:
        self.stack: list[tuple[nn.Module, list[Any]]] = []


_calls = _Calls()


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _keep_weights(module: nn.Module, _inputs: Any) -> None:
    weights = [p._storage for p in module.parameters() if isinstance(p, CompressedTensor)]
    _calls.stack.append((module, weights))
    for storage in weights:
        storage.keep()
    run_tasks(lambda i: weights[i].fill(), len(weights))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _release_weights(module: nn.Module, _inputs: Any, _outputs: Any) -> None:
    # The call may have ended before the weights were decoded.
    if _calls.stack and _calls.stack[-1][0] is module:
        for storage in _calls.stack.pop()[1]:
            storage.release()
