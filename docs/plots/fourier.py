"""Draw docs/images/fourier.svg and fourier/release.svg from benchmarks/results/fourier.json.

Run it as ``python docs/plots/fourier.py``.
"""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, legend, plain_log, save

STYLES = {
    "FourierSketch, hadamard": ("C0", "o"),
    "FourierSketch, orthogonal": ("C4", "^"),
    "FourierSketch, independent": ("C9", "v"),
    "sample of rows": ("C1", "s"),
    "near + sample": ("C2", "D"),
}


def densities(rows):
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 5.6), sharey="row")
    for line, name in zip(grid, ("50 generated clusters", "MNIST"), strict=True):
        here = [r for r in rows if r.get("rows") == name and r.get("mean density") == 0.1 and "method" in r]
        for ax, (key, label) in zip(
            line, (("bytes", "bytes"), ("us a query", "microseconds a query")), strict=True
        ):
            for method, (colour, marker) in STYLES.items():
                points = [r for r in here if r["method"] == method]
                if key == "bytes" and method == "near + sample":
                    continue  # it keeps all rows
                ax.loglog(
                    [r[key] for r in points],
                    [r["median relative error"] for r in points],
                    marker + "-",
                    color=colour,
                    markersize=4,
                    label=method,
                )
            ax.set(title=f"{name}, {here[0]['features']} features", xlabel=label)
            plain_log(ax.xaxis, subs=(1,))
        plain_log(line[0].yaxis)
        line[0].set_ylabel("median relative error")
    legend(figure, ncols=3)
    save(figure, "fourier")


def releases(rows):
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.9))
    for ax, name in zip(axes, ("50 generated clusters", "MNIST"), strict=False):
        here = [r for r in rows if r.get("release of") == name]
        for method, style in (("FourierSketch", "C0o-"), ("Race", "C1s-")):
            ax.plot(
                [r["epsilon"] for r in here], [r[method] for r in here], style, markersize=4, label=method
            )
        ax.set(title=name, ylim=(0, None), ylabel="median relative error" if ax is axes[0] else "")
    for ax, name in zip(axes[2:], ("digits", "generated"), strict=True):
        here = [r for r in rows if r.get("classification of") == name]
        for method, style in (("FourierSketch", "C0o-"), ("private_classifier", "C1s-")):
            label = "Race" if method == "private_classifier" else method
            ax.plot([r["epsilon"] for r in here], [r[method] for r in here], style, markersize=4, label=label)
        ax.set(title=f"classes of {name}", ylim=(0, 1), ylabel="accuracy" if ax is axes[2] else "")
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.set_xlabel("epsilon")
    legend(figure, ncols=2)
    save(figure, "fourier/release")


def main():
    rows = json.loads((ROOT / "benchmarks/results/fourier.json").read_text())["rows"]
    densities(rows)
    releases(rows)


if __name__ == "__main__":
    main()
