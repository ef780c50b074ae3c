"""RACE attention, and attention to few tokens, in the models of Hugging Face's transformers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["register_attention"]

#: The first version whose masks are made as `_key_mask` expects.
_VERSION = (5, 4)
#: The module of the base class of models, which looks up attentions for all of them.
_BASE = "transformers.modeling_utils"
#: Parts of names in which transformers sees attentions of its own, or of its hub.
_TAKEN = ("flash", "flex_attention", "/", "|")
#: Arguments of attention that models pass, and that this attention cannot follow.
_REFUSED = (
    *("position_bias", "softcap", "s_aux", "sliding_window", "indices"),
    *("cu_seq_lens_q", "cu_seq_lens_k"),
)


def register_attention(
    name: str = "race", attention: Callable[..., Any] | None = None, **options: Any
) -> None:
    """Register an attention with Hugging Face's transformers, as an implementation that models can use.

    Afterwards ``AutoModel.from_config(config, attn_implementation=name)`` returns a model in which
    `race_attention` or `top_tokens_attention` takes the place of the softmax attention, if the model uses
    registered attentions. Registering a name again replaces it.

    Parameters
    ----------
    name : str, default "race"
        The name of the implementation.
    attention : function, default `race_attention`
        `race_attention` or `top_tokens_attention`.
    **options
        The options of that function: `n_hashes`, `power`, `beta` and `seed` of `race_attention`, or `k`,
        `sinks`, `window` and `page_size` of `top_tokens_attention`.

    Raises
    ------
    ImportError
        If transformers is missing, or older than version 5.4.
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or if `name` is that of an implementation
        of transformers, or has "flash", "flex_attention", "/" or "|" in it.

    Notes
    -----
    Causal models, grouped heads, padding and caches that grow with the tokens work. `top_tokens_attention`
    takes the weights of trained models as they are. With `race_attention`, train or fine-tune the model:
    weights of the softmax attention do not fit it. Models raise ValueError in
    their forward pass if they use dropout of attention weights, sliding windows, packed sequences, caches of
    fixed size, biases of positions, or tokens that they select themselves.

    A mask of shape (batch, heads, queries, keys), which you or the model's own code made, counts alone, as in
    the attention "sdpa": no causal mask is added to it. `top_tokens_attention` without pages takes any. With
    `race_attention` or pages, masks that are not booleans raise TypeError, and those that differ between
    queries raise ValueError.

    Some models compute attention in their own code, and never call a registered one. Those that ask for a
    causal mask, such as Bloom and XGLM, raise ValueError in their forward pass if they are made with
    ``attn_implementation=name``. Their ``set_attn_implementation(name)`` only logs a warning, and they go on
    with softmax. Others, such as DebertaV2, MPNet, BigBird and XLNet, use softmax without an error: a
    registered attention cannot see that it is left out.

    Packed sequences are refused if the model gets ``cu_seq_lens_q``. Those that only ``position_ids`` show
    are noticed with ``use_cache=False`` alone.

    The cache of a model still has the keys and values of all tokens, and each call reads all keys. To answer
    from counters alone, add the keys and values to a `RaceAttention`.

    Examples
    --------
    >>> import mergesketch
    >>> mergesketch.register_attention("race", n_hashes=16)  # doctest: +SKIP
    >>> mergesketch.register_attention(  # doctest: +SKIP
    ...     "top-tokens", mergesketch.top_tokens_attention, k=256, sinks=4, window=64
    ... )
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a string that is not empty, got {name!r}")
    attend, checked = _attend_and_options(attention, options)
    attentions, masks = _interfaces()
    taken = attentions().get(name)
    if name == "eager" or (taken is not None and not getattr(taken, "is_ours", False)):
        raise ValueError(f"name must not be that of an attention of transformers, got {name!r}")
    for part in _TAKEN:
        if part in name:
            raise ValueError(f"name must not have {part!r} in it, for transformers, got {name!r}")

    def attend_in_model(
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        dropout: float = 0.0,
        scaling: float | None = None,
        is_causal: bool | None = None,
        **others: Any,
    ) -> tuple[Any, None]:
        for refused in _REFUSED:
            if others.get(refused) is not None:
                given = others[refused]
                shown = f"a tensor of {tuple(given.shape)}" if hasattr(given, "shape") else repr(given)
                raise ValueError(f"{refused} must be None for the attention {name!r}, got {shown}")
        if hasattr(module, "prepare_dynamic_mask"):
            # Doge adds numbers to the mask, which is then not known to be causal.
            raise ValueError(f"{type(module).__name__} changes its mask, and cannot use {name!r}")
        if dropout != 0.0:
            raise ValueError(
                f"dropout of attention weights must be 0 in the configuration for {name!r}, got {dropout}"
            )
        if attention_mask is None:
            causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
            causal = bool(causal) and query.shape[2] > 1
        else:
            # A mask counts alone, as in transformers' own attentions, unless it is one of `_key_mask`.
            causal = str(attention_mask.dtype) == "torch.int8"
            attention_mask = attention_mask == 0 if causal else attention_mask
        output = attend(checked, query, key, value, attention_mask, 0.0, causal, scaling, True)
        return output.transpose(1, 2).contiguous(), None

    attend_in_model.is_ours = True  # type: ignore[attr-defined]
    attentions.register(name, attend_in_model)
    masks.register(name, _key_mask)


def _attend_and_options(attention: Any, options: dict[str, Any]) -> tuple[Callable[..., Any], Any]:
    """Return the function that computes an attention, and its options once they are checked."""
    from . import torch_race_attention, torch_top_tokens

    if attention is None or attention is torch_race_attention.race_attention:
        home: Any = torch_race_attention
    elif attention is torch_top_tokens.top_tokens_attention:
        home = torch_top_tokens
    else:
        raise TypeError(f"attention must be race_attention or top_tokens_attention, got {attention!r}")
    try:
        inspect.signature(home.check_options).bind(**options)
    except TypeError as error:
        of = "race_attention" if home is torch_race_attention else "top_tokens_attention"
        raise TypeError(f"options must be those of {of}: {error}") from None
    return home.attend, home.check_options(**options)


def _key_mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: int = 0,
    mask_function: Any = None,
    attention_mask: Any = None,
    config: Any = None,
    **_: Any,
) -> Any:
    """Return the mask of keys of a model, or None if no key is left out.

    It has booleans, False for keys to leave out. For causal models it has bytes, 0 for keys that later
    queries see, and -128 for keys to leave out. This dtype tells that the causal mask is still to be added.
    It stays with the mask where a model moves it or cuts it.
    """
    import torch
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    _check_running_model(config)
    if mask_function not in (None, causal_mask_function, bidirectional_mask_function):
        raise ValueError("this attention has no sliding windows, packed sequences or other patterns of masks")
    is_causal = mask_function is not bidirectional_mask_function
    if is_causal and int(q_offset) + q_length != kv_length:
        raise ValueError(
            f"this attention needs a cache that grows with the tokens, got one of {kv_length} places for "
            f"{int(q_offset) + q_length} tokens"
        )
    if attention_mask is not None:
        mask = attention_mask[:, kv_offset : kv_offset + kv_length]
        # Keys that the mask lacks are left out, as by transformers.
        mask = torch.nn.functional.pad(mask, (0, kv_length - mask.shape[-1]))
        if not bool(mask.all()):
            mask = mask[:, None, None, :]
            return (~mask).to(torch.int8) * -128 if is_causal else mask
    return None


def _check_running_model(config: Any) -> None:
    """Raise if the model that asks for its mask may compute attention in its own code.

    Such a model would read the mask of keys as its whole mask, and see the tokens to come.
    """
    import torch

    if torch.compiler.is_compiling():
        # The stack is that of the compiler. The code next to the configuration stands for the model.
        homes = [base.__module__.replace("configuration_", "modeling_") for base in type(config).__mro__]
        homes = [home for home in homes if ".modeling_" in home and home != _BASE]
        code = [sys.modules[home] for home in homes if home in sys.modules]
        if code and not any(hasattr(module, "ALL_ATTENTION_FUNCTIONS") for module in code):
            raise ValueError(
                f"the model of {type(config).__name__} computes attention in its own code, and cannot use a "
                "registered one"
            )
        return
    asks = supports = None
    for running in _running_modules():
        asks = type(running) if asks is None else asks
        supports = getattr(running, "_supports_sdpa", None)
        if supports is not None:
            supports = supports or running._supports_attention_backend
            break
    if asks is None:
        raise ValueError("this attention needs a model that asks for its mask, and found none")
    homes = [base.__module__ for base in asks.__mro__ if base.__module__ != _BASE]
    looks_up = any(hasattr(sys.modules.get(home), "ALL_ATTENTION_FUNCTIONS") for home in homes)
    if not looks_up:
        raise ValueError(
            f"{asks.__name__} computes attention in its own code, and cannot use a registered one"
        )
    if supports is False:
        raise ValueError(
            f"{asks.__name__} does not say that it can use registered attentions, by _supports_sdpa or "
            "_supports_attention_backend"
        )


def _running_modules() -> Iterator[Any]:
    """Yield the modules of PyTorch whose methods are running, the innermost first."""
    import torch

    frame: Any = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if isinstance(first, torch.nn.Module):
            yield first
        frame = frame.f_back


def _interfaces() -> tuple[Any, Any]:
    """Return the classes of transformers with which attentions and masks are registered."""
    from ...lsh.support.install import how_to_install

    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ImportError(
            f"register_attention needs transformers: {how_to_install('transformers')}", name="transformers"
        ) from error
    if tuple(int(part) for part in transformers.__version__.split(".")[:2]) < _VERSION:
        raise ImportError(
            f"register_attention needs transformers {_VERSION[0]}.{_VERSION[1]} or later, "
            f"got {transformers.__version__}",
            name="transformers",
        )
    return transformers.AttentionInterface, transformers.AttentionMaskInterface
