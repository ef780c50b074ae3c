"""Draw docs/images/compressed_floats.svg from benchmarks/results/compressed_floats.json.

Run it as ``python docs/plots/compressed_floats.py``.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from picture import GREY, ROOT, WIDTH, plain_log, save
from scipy import stats

BIAS, MODEL = 127, "MiniLM"
CURVES = (("normal", stats.norm, "C1"), ("Laplace", stats.laplace, "C2"))


def rows():
    return json.loads((ROOT / "benchmarks/results/compressed_floats.json").read_text())["rows"]


def exponents(ax):
    row = next(r for r in rows() if r.get("exponents of") == MODEL)
    shares = np.array(row["shares of the largest tensor"])
    used = np.flatnonzero(shares > 1e-4)
    x = np.arange(used[0], used[-1] + 1)
    ax.bar(x - BIAS, 100 * shares[x], color=GREY, alpha=0.6, label=f"vectors of {MODEL}")
    # The scale is the one whose share of the commonest exponent agrees best, among all scales.
    for name, distribution, colour in CURVES:
        scales = 2.0 ** np.linspace(-10, 4, 1401)
        fits = [2 * np.diff(distribution.cdf(2.0 ** (np.arange(x[0], x[-1] + 2) - BIAS) / s)) for s in scales]
        best = min(fits, key=lambda fit: np.abs(fit - shares[x]).sum())
        ax.plot(x - BIAS, 100 * best, ".-", color=colour, linewidth=1, label=f"{name} values")
    ax.set(title="exponents of trained weights", xlabel="exponent: values of about 2 to this power")
    ax.set(ylabel="% of the values")
    ax.legend(loc="upper left")


def sizes(ax):
    found = rows()
    size = next(r for r in found if r.get("model") == MODEL and r["dtype"] == "bfloat16")
    for row in found:
        if row.get("rates of") != "bfloat16":
            continue
        point = 100 * size[row["coder"]], row["decode MB/s"]
        ax.semilogy(*point, "o", color="C0" if row["coder"] == "ours" else "C1", markersize=5)
        ax.annotate(row["coder"], point, (4, 4), textcoords="offset points", fontsize=8)
    bound = 100 * size["bound, joint"]
    ax.axvline(bound, color=GREY, linestyle=":")
    ax.annotate("bound", (bound, 45), (-4, 0), textcoords="offset points", fontsize=8, ha="right")
    ax.set(title=f"{MODEL} in bfloat16, one thread", xlabel="size in % of the plain bytes")
    plain_log(ax.yaxis)
    ax.set(ylabel="decoded, MB of floats a second", xlim=(63, 83), ylim=(40, 4000))


def main():
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.1))
    exponents(axes[0])
    sizes(axes[1])
    save(figure, "compressed_floats")


if __name__ == "__main__":
    main()
