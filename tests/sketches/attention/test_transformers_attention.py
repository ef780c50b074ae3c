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


def other(name: str, config: Any = None, attention: str = "eager") -> Any:
    """Return a small model of this class with random weights that are large enough to see differences."""
    transformers = pytest.importorskip("transformers", minversion="5.4")
    register_attention("all", top_tokens_attention, k=1000)
    register_attention("race", n_hashes=8, power=3)
    register_attention("top-tokens", top_tokens_attention, k=5)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config") if config is None else config
    config = config(vocab_size=50, initializer_range=0.2, **sizes)
    config._attn_implementation = attention
    return getattr(transformers, f"{name}Model")(config).eval()


def with_both(model: Any, own: str = "sdpa", **given: Any) -> tuple[Any, Any]:
    """Return outputs of an attention of transformers, and of the one that selects all tokens."""
    with torch.no_grad():
        model.set_attn_implementation(own)
        expected = model(IDS, **given)[0]
        model.set_attn_implementation("all")
        return expected, model(IDS, **given)[0]


def test_a_mask_that_the_model_gives_counts_alone() -> None:
    # Its attention does not say whether it is causal, and its masks have one row for all queries.
    encoder = other("LayoutLM")
    padding = torch.ones(2, 20, dtype=torch.bool)
    padding[0, 15:] = False
    for mask in (None, padding):
        expected, found = with_both(encoder, "eager", attention_mask=mask)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    prefix = torch.ones(20, 20, dtype=torch.bool).tril()
    prefix[:5, :5] = True
    floats = torch.zeros(20, 20).masked_fill(~prefix, torch.finfo(torch.float32).min)
    decoder = other("Llama")
    causal = with_both(decoder)[1]
    for mask in (prefix.expand(2, 1, 20, 20), floats.expand(2, 1, 20, 20), padding[:, None, None]):
        expected, found = with_both(decoder, attention_mask=mask)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert (found - causal).abs().max() > 0.1
    decoder.set_attn_implementation("race")
    with pytest.raises(TypeError, match="attn_mask must be a tensor of booleans, False for keys to leave"):
        decoder(IDS, attention_mask=floats.expand(2, 1, 20, 20))


@pytest.mark.parametrize("attention", ["all", "race", "top-tokens"])
def test_masks_longer_and_shorter_than_the_keys(attention: str) -> None:
    model = other("Llama", attention=attention)
    from transformers import DynamicCache

    mask = torch.ones(2, 20, dtype=torch.long)
    mask[0, :4] = 0
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        first = model(IDS[:, :6], attention_mask=mask, past_key_values=cache).last_hidden_state
        second = model(IDS[:, 6:], attention_mask=mask, past_key_values=cache).last_hidden_state
        whole = model(IDS, attention_mask=mask).last_hidden_state
    parts = torch.cat([first, second], 1)
    torch.testing.assert_close(parts[mask.bool()], whole[mask.bool()], rtol=1e-4, atol=1e-5)
    if attention == "all":
        # The keys that a mask lacks are left out, of the last queries of a cache, too.
        short = torch.ones(2, 15, dtype=torch.long)
        expected, found = with_both(model, attention_mask=short, past_key_values=None)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_other_models_of_a_configuration_do_not_count() -> None:
    transformers = pytest.importorskip("transformers", minversion="5.4")
    model = other("Llama", attention="all")

    class Reward(transformers.PreTrainedModel):  # type: ignore[name-defined, misc]
        config_class = transformers.LlamaConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model = transformers.LlamaModel(config)

        def forward(self, ids: Any) -> Any:
            return self.model(ids)[0]

    class OwnAttention(Reward):
        def forward(self, ids: Any) -> Any:
            from transformers.masking_utils import create_causal_mask

            rows = self.model.embed_tokens(ids)
            return create_causal_mask(
                config=self.config, inputs_embeds=rows, attention_mask=None, past_key_values=None
            )

    class MyConfig(transformers.LlamaConfig):  # type: ignore[name-defined, misc]
        model_type = "mine"

    with torch.no_grad():
        expected = model(IDS)[0]
        wrapper = Reward(model.config)
        wrapper.model.load_state_dict(model.state_dict())
        torch.testing.assert_close(wrapper.eval()(IDS), expected)
        with pytest.raises(ValueError, match="OwnAttention computes attention in its own code"):
            OwnAttention(model.config)(IDS)

    class Undeclared(transformers.LlamaModel):  # type: ignore[name-defined, misc]
        _supports_sdpa = _supports_attention_backend = False

    with pytest.raises(ValueError, match="Undeclared does not say that it can use registered attentions"):
        Undeclared(model.config)(IDS)
    expected, found = with_both(other("Llama", MyConfig))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_models_are_compiled_or_refused_then() -> None:
    model = tiny("llama", "top-tokens-None")
    with torch.no_grad():
        found = torch.compile(model, backend="eager")(IDS).logits
        torch.testing.assert_close(found, model(IDS).logits)
        transformers = pytest.importorskip("transformers")
        sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
        config = transformers.BloomConfig(**sizes)
        bloom = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="top-tokens-None"
        ).eval()
        with pytest.raises(ValueError, match=r"Bloom\w* computes attention in its own code"):
            torch.compile(bloom, backend="eager")(IDS)


@pytest.mark.parametrize("name", ["my_flash_race", "flex_attention2", "owner/race", "paged|race"])
def test_names_that_transformers_reads_otherwise_are_refused(name: str) -> None:
    pytest.importorskip("transformers", minversion="5.4")
    with pytest.raises(ValueError, match=r"name must not have '.*' in it, for transformers"):
        register_attention(name)


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
    with pytest.raises(TypeError, match=r"options must be those of top_tokens_attention: missing .* 'k'"):
        register_attention("other", top_tokens_attention)
    from transformers import AttentionInterface, DogeConfig, DogeModel

    attend = AttentionInterface()["race"]
    x = torch.zeros(2, 4, 20, 8)
    with pytest.raises(ValueError, match=r"position_bias must be None .* a tensor of \(1, 4, 20, 20\)$"):
        attend(model.model.layers[0].self_attn, x, x, x, None, position_bias=torch.zeros(1, 4, 20, 20))
    with pytest.raises(ValueError, match="indices must be None"):
        attend(model.model.layers[0].self_attn, x, x, x, None, indices=torch.zeros(2, 20, 3))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    doge = DogeConfig(vocab_size=50, **sizes)
    doge._attn_implementation = "race"
    with pytest.raises(ValueError, match="DogeAttention changes its mask"):
        DogeModel(doge).eval()(IDS)
