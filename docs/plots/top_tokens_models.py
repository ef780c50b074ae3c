"""Draw docs/images/top_tokens_models.svg from results/top_tokens_models.json: errors by selected tokens."""

import sys

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, save

sys.path.insert(0, str(ROOT / "benchmarks"))

from sparsity_tables import errors_of_models

#: The selectors that are drawn, with their colours and lines.
DRAWN = {
    "products": ("C2", "-"),
    "products, first 4": ("C2", "--"),
    "pages of 4": ("C0", "-"),
    "pages of 4, first 4": ("C0", "--"),
    "pages of 16": ("C1", "-"),
    "pages of 16, first 4": ("C1", "--"),
    "latest": (GREY, ":"),
}
#: The models, with their titles and what their errors are.
MODELS = {
    "MiniLM": ("MiniLM, 512 tokens", "1 - cosine of embeddings"),
    "SmolLM2": ("SmolLM2, 1,024 tokens", "added loss, nats a token"),
    "language model": ("language model, 256 tokens", "added loss, nats a word"),
}


def main():
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.9))
    for axes, (model, (title, label)) in zip(panels, MODELS.items(), strict=True):
        found = errors_of_models(model)
        for selector in (name for name in DRAWN if name in found):
            (colour, line), by_k = DRAWN[selector], found[selector]
            errors, bars = ([r[what] for r in by_k.values()] for what in ("error", "error ±"))
            style = {"color": colour, "linestyle": line, "linewidth": 1.3, "marker": ".", "markersize": 4}
            axes.errorbar(list(by_k), errors, bars, label=selector, elinewidth=0.8, **style)
        ticks = sorted({k for by_k in found.values() for k in by_k})
        axes.set(title=title, xlabel="selected tokens", ylabel=label, xscale="log", ylim=(0.0, None))
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.xaxis.set_tick_params(which="minor", bottom=False, labelbottom=False)
    legend(figure, ncols=3)
    save(figure, "top_tokens_models")


if __name__ == "__main__":
    main()
