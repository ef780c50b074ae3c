"""Draw docs/images/importance_cache.svg: which tokens are kept as others arrive, and the attention kept."""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import ImportanceCache
from picture import GREY, ROOT, WIDTH, save

N, D, BUDGET = 140, 16, 32
#: Tokens that many queries look at, and the last one of these queries.
LOOKED_AT = ((20, 140), (38, 80), (61, 110), (84, 140))
LINES = {
    "best of each query": (GREY, "--"),
    "ImportanceCache": ("C0", "-"),
    "H2O": ("C1", "-"),
    "sinks and window": ("C2", "-"),
    "Scissorhands": ("C4", "-"),
    "random": (GREY, ":"),
}


def kept(axes):
    """Draw a line for each token: from its arrival to the step that drops it."""
    rng = np.random.default_rng(0)
    K, Q = rng.standard_normal((2, N, D)) * 0.3
    for i, (token, last) in enumerate(LOOKED_AT):
        K[token, i] = 6.0
        Q[token:last, i] += 3.0
    cache = ImportanceCache(D, 1, BUDGET, sinks=3, window=8, drop=1, history=10)
    ends = np.zeros(N)
    for step in range(N):
        part = slice(step, step + 1)
        cache.causal(Q[part], K[part], np.zeros((1, 1)))
        ends[cache.positions] = step + 1
    # A token that was dropped never comes back, so that its life is a line.
    axes.vlines(np.arange(N), np.arange(N), ends, color="C0", linewidth=1.5)
    for token, _ in LOOKED_AT:
        axes.vlines(token, token, ends[token], color="C1", linewidth=1.5)
    stops = [(token, last) for token, last in LOOKED_AT if last < N]
    axes.plot([], [], color="C1", label="queries look at it")
    axes.plot(*zip(*stops, strict=True), "o", color="C1", markersize=5, label="the last one does")
    axes.legend(loc="upper right")
    axes.set(xlabel="position of a token", ylabel="tokens so far", xlim=(-2, N), ylim=(N, -2))
    axes.set_title(f"what a budget of {BUDGET} keeps")


def masses(axes):
    rows = json.loads((ROOT / "benchmarks/results/importance_cache.json").read_text())["rows"]
    rows = {row["method"]: row for row in rows if row["model"] == "MiniLM"}
    columns = [column for column in rows["ImportanceCache"] if column.startswith("mass")]
    shares = [int(column.split("/")[1]) for column in columns]
    for name, (colour, style) in LINES.items():
        axes.plot(shares, [rows[name][c] for c in columns], style, color=colour, label=name, marker=".")
    axes.set_xscale("log", base=2)
    axes.set_xticks(shares, [f"1/{share}" for share in shares])
    axes.set(
        xlabel="share of the tokens that is kept",
        ylabel="share of the attention",
        ylim=(0, 1.25),
        yticks=np.linspace(0, 1, 6),
    )
    axes.set_title("attention that is kept (more is better)")
    axes.legend(loc="upper right", ncols=2, fontsize=7)


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
    kept(left)
    masses(right)
    save(figure, "importance_cache")


if __name__ == "__main__":
    main()
