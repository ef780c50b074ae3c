"""RACE attention, and attention to few tokens, in the models of Hugging Face's transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["register_attention"]

#: The first version whose masks are made as `_key_mask` expects.
_VERSION = (5, 4)
#: The module of the base class of models, which looks up attentions for all of them.
_BASE = "transformers.modeling_utils"
#: Arguments of attention that models pass, and that this attention cannot follow.
_REFUSED = ("position_bias", "softcap", "s_aux", "sliding_window", "cu_seq_lens_q", "cu_seq_lens_k")


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
        of transformers.

    Notes
    -----
    Causal models, grouped heads, padding and caches that grow with the tokens work. `top_tokens_attention`
    takes the weights of trained models as they are. With `race_attention`, train or fine-tune the model:
    weights of the softmax attention do not fit it. Models raise ValueError in
    their forward pass if they use dropout of attention weights, sliding windows, packed sequences, caches of
    fixed size, or biases of positions.

    Some models compute attention in their own code, and never call a registered one. Those that ask for a
    causal mask, such as Bloom and XGLM, raise ValueError in their forward pass. Others, such as DebertaV2,
    MPNet, BigBird and XLNet, use softmax without an error: a registered attention cannot see that it is
    left out.

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
    from . import torch_race_attention, torch_top_tokens

    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a string that is not empty, got {name!r}")
    if attention is None or attention is torch_race_attention.race_attention:
        attend: Callable[..., Any] = torch_race_attention.attend
        checked: Any = torch_race_attention.check_options(**options)
    elif attention is torch_top_tokens.top_tokens_attention:
        attend, checked = torch_top_tokens.attend, torch_top_tokens.check_options(**options)
    else:
        raise TypeError(f"attention must be race_attention or top_tokens_attention, got {attention!r}")
    attentions, masks = _interfaces()
    taken = attentions().get(name)
    if name == "eager" or (taken is not None and not getattr(taken, "is_ours", False)):
        raise ValueError(f"name must not be that of an attention of transformers, got {name!r}")

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
                raise ValueError(
                    f"{refused} must be None for the attention {name!r}, got {others[refused]!r}"
                )
        if dropout != 0.0:
            raise ValueError(
                f"dropout of attention weights must be 0 in the configuration for {name!r}, got {dropout}"
            )
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        output = attend(checked, query, key, value, attention_mask, 0.0, bool(causal), scaling, True)
        return output.transpose(1, 2).contiguous(), None

    attend_in_model.is_ours = True  # type: ignore[attr-defined]
    attentions.register(name, attend_in_model)
    masks.register(name, _key_mask)


def _key_mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    mask_function: Any = None,
    attention_mask: Any = None,
    config: Any = None,
    **_: Any,
) -> Any:
    """Return the mask of keys of a model, or None if no key is left out."""
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    _check_model(config)
    if mask_function not in (None, causal_mask_function, bidirectional_mask_function):
        raise ValueError("this attention has no sliding windows, packed sequences or other patterns of masks")
    if mask_function is causal_mask_function and int(q_offset) + q_length != kv_length:
        raise ValueError(
            f"this attention needs a cache that grows with the tokens, got one of {kv_length} places for "
            f"{int(q_offset) + q_length} tokens"
        )
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask[:, None, None, -kv_length:]


def _check_model(config: Any) -> None:
    """Raise if a model of this configuration may compute attention in its own code.

    Such a model would read the mask of keys as its whole mask, and see the tokens to come.
    """
    from transformers import PreTrainedModel

    waiting, found = [PreTrainedModel], False
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind.config_class is type(config):
            found = True
            if not _uses_registered_attentions(kind):
                raise ValueError(
                    f"{kind.__name__} computes attention in its own code, and cannot use a registered one"
                )
    if not found:
        raise ValueError(f"no model is known of a configuration of type {type(config).__name__}")


def _uses_registered_attentions(kind: Any) -> bool:
    """Tell if a class of models says that its attention can be replaced, and its code looks it up."""
    modules = [sys.modules.get(base.__module__) for base in kind.__mro__ if base.__module__ != _BASE]
    looks_up = any(hasattr(module, "ALL_ATTENTION_FUNCTIONS") for module in modules)
    return looks_up and (kind._supports_sdpa or kind._supports_attention_backend)


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
