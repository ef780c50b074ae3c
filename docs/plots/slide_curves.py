"""Draw docs/images/slide_curves.svg: precision against processor seconds of training."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, save

#: Methods, and how they are drawn.
STYLES = {
    "full softmax, PyTorch": ("C1", "s-"),
    "lsh": ("C0", "o-"),
    "frequency": ("C2", "^-"),
    "uniform": (GREY, "x:"),
}


def main():
    rows = json.loads((ROOT / "benchmarks/results/slide.json").read_text())["rows"]
    found = [row for row in rows if row["what"] == "curve"]
    names = list(dict.fromkeys(row["data"] for row in found))
    figure, axes = plt.subplots(1, len(names), figsize=(WIDTH, 3.3), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        for method, (colour, style) in STYLES.items():
            for row in found:
                if row["data"] == name and row["method"] == method:
                    x, y = zip(*row["points"], strict=True)
                    ax.plot(x, y, style, color=colour, label=method, markersize=4, linewidth=1.2)
        ax.set(title=name, xlabel="processor seconds of training", ylabel="precision at 1", xscale="log")
    legend(figure, ncols=4)
    save(figure, "slide_curves")


if __name__ == "__main__":
    main()
