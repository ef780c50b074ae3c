"""Draw docs/images/hashed_embedding.svg: the accuracy of a classifier against the size of its embedding."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, save

MARKS = {"HashedEmbeddingBag": "o-", "four rows modulo": "d:", "rows modulo": "s--", "fewer columns": "^"}


def main():
    found = json.loads((ROOT / "benchmarks" / "results" / "hashed_embedding.json").read_text())["rows"]
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    full = next(r for r in found if r.get("embedding") == "full table")
    axes.axhline(full["accuracy"], color=GREY, linewidth=0.9, label="full table")
    for name, mark in MARKS.items():
        rows = [r for r in found if r.get("embedding") == name]
        axes.errorbar(
            [r["parameters"] for r in rows],
            [r["accuracy"] for r in rows],
            [r["deviation of seeds"] for r in rows],
            fmt=mark,
            markersize=5,
            label=name,
        )
    axes.set(xscale="log", xlabel="parameters of the embedding", ylabel="accuracy")
    legend(figure, ncols=4)
    save(figure, "hashed_embedding")


if __name__ == "__main__":
    main()
