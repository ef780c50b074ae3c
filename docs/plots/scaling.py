"""Draw docs/images/scaling.svg, what a row costs among more of them, from committed results."""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, plain_log, save


def main():
    made = json.loads((ROOT / "benchmarks/results/scaling.json").read_text())["rows"]
    grown = [row for row in made if "structure" in row]
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    for name in dict.fromkeys(row["structure"] for row in grown):
        ours = [row for row in grown if row["structure"] == name]
        axes.loglog([row["rows"] for row in ours], [row["ns a row"] for row in ours], "o-", label=name)
    plain_log(axes.xaxis, subs=(1,))
    plain_log(axes.yaxis, subs=(1,))
    axes.set(xlabel="rows", ylabel="ns a row", title="Taking rows in, one thread")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(figure, "scaling")


if __name__ == "__main__":
    main()
