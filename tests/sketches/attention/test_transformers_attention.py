"""RACE attention and attention to few tokens in models of transformers: tiny ones with random weights."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mergesketch import race_attention, register_attention, top_tokens_attention  # noqa: E402


def test_a_missing_or_old_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ImportError, match=r"register_attention needs transformers: pip install .*transformers"
    ):
        register_attention()
    old = ModuleType("transformers")
    old.__version__ = "4.57.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", old)
    for version in ("4.57.1", "5.0.0", "5.3.0"):
        old.__version__ = version  # type: ignore[attr-defined]
        with pytest.raises(ImportError, match=rf"needs transformers 5\.4 or later, got {version}"):
            register_attention()


@pytest.mark.parametrize("name", ["Bloom", "XGLM", "GPTNeoXJapanese"])
def test_models_that_would_see_the_tokens_to_come_are_refused(name: str) -> None:
    transformers = pytest.importorskip("transformers", minversion="5.4")
    register_attention("race", n_hashes=8, power=3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    if name == "XGLM":
        sizes = {"d_model": 32, "ffn_dim": 32, "num_layers": 1, "attention_heads": 4}
    config = getattr(transformers, f"{name}Config")(vocab_size=50, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="race").eval()
    with pytest.raises(ValueError, match=rf"{name}\w* computes attention in its own code"):
        model(IDS)


def tiny(name: str, attention: str = "race") -> Any:
    """Return a causal model with RACE attention, or attention to few tokens."""
    transformers = pytest.importorskip("transformers", minversion="5.4")
    register_attention("race", n_hashes=8, power=3, seed=7)
    for page_size in (None, 2):
        register_attention(
            f"top-tokens-{page_size}", top_tokens_attention, k=8, window=2, page_size=page_size
        )
    torch.manual_seed(0)
    if name == "gpt2":
        sizes = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0}
        config = transformers.GPT2Config(vocab_size=50, bos_token_id=0, eos_token_id=0, **sizes)
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        kind = transformers.LlamaConfig if name == "llama" else transformers.MistralConfig
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        config = kind(vocab_size=50, **sizes, **heads)
        if name == "mistral":
            config.sliding_window = 8
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


IDS = torch.arange(40).reshape(2, 20)


@pytest.mark.parametrize("attention", ["race", "top-tokens-None", "top-tokens-2"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_parts_and_padding_give_what_the_whole_gives(name: str, attention: str) -> None:
    model = tiny(name, attention)
    with torch.no_grad():
        whole = model(IDS).logits
        first = model(IDS[:, :12], use_cache=True)
        second = model(IDS[:, 12:19], past_key_values=first.past_key_values, use_cache=True)
        last = model(IDS[:, 19:], past_key_values=second.past_key_values)
        parts = torch.cat([part.logits for part in (first, second, last)], 1)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
        mask = torch.ones(2, 20, dtype=torch.long)
        mask[0, :4] = 0  # whole pages, so that pages begin with the same tokens
        places = (mask.cumsum(1) - 1).clamp(min=0)
        padded = model(IDS, attention_mask=mask, position_ids=places).logits
        torch.testing.assert_close(padded[0, 4:], model(IDS[:1, 4:]).logits[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(padded[1], whole[1], rtol=1e-4, atol=1e-5)
        model.set_attn_implementation("sdpa")
        assert (model(IDS).logits - whole).abs().max() > 1e-3
    assert whole.shape == (2, 20, 50) and whole.isfinite().all()


def test_the_attention_of_a_layer_is_the_function_and_has_gradients() -> None:
    model = tiny("llama")
    attention, found = model.model.layers[0].self_attn, []
    from transformers import AttentionInterface

    registered = AttentionInterface()["race"]

    def watched(module: Any, *given: Any, **options: Any) -> Any:
        found.append((given, registered(module, *given, **options)[0]))
        return found[-1][1], None

    watched.is_ours = True  # type: ignore[attr-defined]
    AttentionInterface.register("race", watched)
    try:
        model(IDS, labels=IDS).loss.backward()
    finally:
        register_attention("race")
    (query, key, value, mask), output = found[0]
    assert mask is None and query.shape == (2, 4, 20, 8) and key.shape == value.shape == (2, 2, 20, 8)
    options = {"enable_gqa": True, "n_hashes": 8, "power": 3, "seed": 7}
    expected = race_attention(query, key, value, is_causal=True, scale=attention.scaling, **options)
    torch.testing.assert_close(output, expected.transpose(1, 2))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_few_tokens_in_a_trained_model() -> None:
    model = tiny("llama")
    model.set_attn_implementation("sdpa")
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
    losses = {}
    with torch.no_grad():
        exact = model(IDS).logits
        for k in (4, 12, 20):
            register_attention("top-tokens", top_tokens_attention, k=k, sinks=1, window=2)
            model.set_attn_implementation("top-tokens")
            output = model(IDS, labels=IDS)
            losses[k] = (output.logits - exact).abs().max().item()
    # With as many tokens as there are, it is the model's own attention.
    assert losses[20] < 1e-5 < losses[12] < losses[4]
    model(IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_it_cannot_follow_is_refused() -> None:
    model = tiny("llama")
    with pytest.raises(ValueError, match="needs a cache that grows with the tokens, got one of 24 places"):
        model.generate(IDS, max_new_tokens=5, cache_implementation="static", pad_token_id=0)
    with pytest.raises(ValueError, match="attn_mask must have shape"):
        model(IDS, attention_mask=torch.ones(2, 1, 20, 20, dtype=torch.bool))
    with pytest.raises(ValueError, match="cu_seq_lens_q must be None"):
        model(IDS[:1], cu_seq_lens_q=torch.tensor([0, 8, 20]))
    model.config.attention_dropout = 0.1
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(ValueError, match="dropout of attention weights must be 0"):
        model.train()(IDS)
    with pytest.raises(ValueError, match="no sliding windows"):
        tiny("mistral")(IDS)
    with pytest.raises(ValueError, match="name must not be that of an attention of transformers, got 'sdpa'"):
        register_attention("sdpa")
    with pytest.raises(TypeError, match="name must be a string"):
        register_attention("")
    with pytest.raises(ValueError, match="beta must be"):
        register_attention("other", beta=-1.0)
    with pytest.raises(
        TypeError, match="attention must be race_attention or top_tokens_attention, got 'top'"
    ):
        register_attention("other", "top", k=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'beta'"):
        register_attention("other", top_tokens_attention, k=3, beta=1.0)
    with pytest.raises(ValueError, match="k must be"):
        register_attention("other", top_tokens_attention, k=0)
