"""Measure what trained models lose when each query attends to its k best tokens alone, untrained for it.

"MiniLM" is all-MiniLM-L6-v2 in Hugging Face's transformers: an encoder of 6 layers, on windows of 512 tokens
of the Python language reference. The error is 1 minus the cosine of the embedding of a window with that of
exact attention. "language model" is the causal one of benchmarks/attention_models.py, of 2 layers, on windows
of 256 words of test documents; the error is its loss, in nats a word, above that of exact attention.
"SmolLM2" is SmolLM2-135M-Instruct (see smollm.py), of 30 layers, on windows of 1,024 tokens of the
reference, and its error is the loss in nats a token. It is left out if its package is missing.

"products" selects by products, "pages of p" by bounds of pages of p tokens, and "latest" the first 4 tokens
and the latest ones. "first 4" tells that a selector has the first 4 tokens, and a quarter of its tokens are
the latest ones. ± is the standard error over windows, and over the windows' differences.
"""

import warnings
from pydoc_data.topics import topics

import attention_models
import minilm
import numpy as np
import small_models
import smollm
import torch
from measure import parse, show, write
from mergesketch import register_attention, top_tokens_attention
from small_models import one_thread
from torch.nn.functional import cross_entropy, normalize

SELECTED, PAGES, WINDOWS = (16, 32, 64, 128), (4, 16), 8
#: Windows of SmolLM2 and their tokens, and numbers of tokens that are selected.
LONG, FEW = (4, 1024), (32, 64, 128, 256)


def selectors(k, n, causal):
    """Yield names of selectors and their options."""
    marked = {"sinks": 4, "window": k // 4}
    for first in (False, True) if causal else (False,):
        options = {"k": k} | (marked if first else {})
        yield "products" + ", first 4" * first, options
        for size in PAGES:
            pages = (
                -(-options.get("sinks", 0) // size)
                + (max(options.get("window", 0), 1) + size - 2) // size
                + 1
            )
            if k >= pages * size and k < n:
                yield f"pages of {size}" + ", first 4" * first, options | {"page_size": size}
    if causal:
        yield "latest", {"k": k, "sinks": 4, "window": k - 4}


def mean_of(errors):
    errors = np.array(errors)
    return {"error": errors.mean(), "error ±": errors.std(ddof=1) / np.sqrt(len(errors))}


def of_minilm():
    from transformers import AutoModel

    path = minilm.folder(minilm.PACKAGE) / "model"
    windows = minilm.MiniLM().windows("\n".join(topics.values()), WINDOWS)
    ids = torch.tensor(windows)
    register_attention("top-tokens", top_tokens_attention, k=1)
    model = AutoModel.from_pretrained(path, attn_implementation="sdpa").eval()

    def embeddings():
        with torch.no_grad():
            return torch.cat(
                [normalize(model(some).last_hidden_state.mean(1), dim=1) for some in ids.split(4)]
            )

    exact = embeddings()
    model.set_attn_implementation("top-tokens")
    for k in (*SELECTED, 256):
        for name, options in selectors(k, minilm.WINDOW, causal=False):
            register_attention("top-tokens", top_tokens_attention, **options)
            errors = 1.0 - (embeddings() * exact).sum(1)
            yield {"model": "MiniLM", "selector": name, "selected": k} | mean_of(errors.numpy())


def of_language_model():
    parts = small_models.windows(attention_models.WORDS)
    model = attention_models.trained(small_models.exact, attention_models.SEEDS[0], parts)[0]
    windows = parts[2][:: max(1, len(parts[2]) // 48)]

    def losses():
        with torch.no_grad():
            logits = model(windows[:, :-1])
        found = cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
        return found.view(len(windows), -1).mean(1).numpy()

    exact = losses()
    for k in SELECTED:
        for name, options in selectors(k, small_models.CONTEXT, causal=True):
            for block in model.blocks:
                block.mix.attend = lambda q, key, v, causal, options=options: top_tokens_attention(
                    q, key, v, is_causal=causal, **options
                )
            yield (
                {"model": "language model", "selector": name, "selected": k}
                | mean_of(losses() - exact)
                | {"loss, exact": exact.mean()}
            )


def of_smollm():
    model, windows = smollm.load(*LONG)
    register_attention("top-tokens", top_tokens_attention, k=1)

    def losses():
        found = []
        for window in windows:
            with torch.no_grad():
                logits = model(window[None, :-1], use_cache=False).logits
            found.append(cross_entropy(logits[0], window[1:]).item())
        return np.array(found)

    exact = losses()
    model.set_attn_implementation("top-tokens")
    for k in FEW:
        for name, options in selectors(k, LONG[1], causal=True):
            if name in (
                "products",
                "products, first 4",
                "pages of 4, first 4",
                "pages of 16, first 4",
                "latest",
            ):
                register_attention("top-tokens", top_tokens_attention, **options)
                yield (
                    {"model": "SmolLM2", "selector": name, "selected": k}
                    | mean_of(losses() - exact)
                    | {"loss, exact": exact.mean()}
                )


def main():
    arguments = parse(__doc__, "top_tokens_models")
    if not minilm.is_installed():
        print(f"{minilm.PACKAGE} is not installed: nothing is measured")
        return
    one_thread()
    warnings.filterwarnings("ignore", category=FutureWarning)
    rows, models = [], [of_minilm(), of_language_model()]
    if smollm.is_installed():
        models.append(of_smollm())
    for found in models:
        for row in found:
            rows.append({name: float(x) if isinstance(x, np.floating) else x for name, x in row.items()})
            print(row, flush=True)
    show("errors of models", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
