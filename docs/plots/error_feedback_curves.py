"""Draw docs/images/error_feedback_curves.svg: test loss against the memory of errors, and against bytes."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, plain_log, save

STYLES = {"top 1 %": ("C0", "o"), "top 0.1 %": ("C1", "s"), "rank 1": ("C2", "^")}


def main():
    rows = json.loads((ROOT / "benchmarks/results/error_feedback.json").read_text())["rows"]
    rows = [r for r in rows if r["processes"] == 2 and r["rate"] == 0.1 and r["loss"] is not None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharey=True)
    dense = next(row for row in rows if row["sent"] == "all")
    left.axhline(dense["loss"], color=GREY, linestyle=":", linewidth=1.2)
    right.plot(dense["bytes a step"] / 1000, dense["loss"], "D", color=GREY, label="all gradients")
    for sent, (colour, marker) in STYLES.items():
        found = sorted(
            (row["memory"], row["loss"], row["loss ±"], row["bytes a step"] / 1000)
            for row in rows
            if row["sent"] == sent
        )
        memory, loss, error, _ = zip(*found, strict=True)
        shares = [100 * share for share in memory]
        left.errorbar(
            shares, loss, error, color=colour, marker=marker, markersize=4, linewidth=1.2, label=sent
        )
        best = [row for row in found if row[0] == 0.1]
        right.plot([row[3] for row in best], [row[1] for row in best], marker, color=colour, label=sent)
    peers = [row for row in rows if row["sent"].endswith("PyTorch") and row["memory"] == 1]
    for peer in peers:
        right.plot(peer["bytes a step"] / 1000, peer["loss"], "x", color="C3", label="rank 1, PyTorch")
    left.set_xscale("symlog", linthresh=5)
    left.set_xticks((0, 5, 10, 20, 50, 100), ("0", "5", "10", "20", "50", "100"))
    left.minorticks_off()
    left.set(xlabel="memory of errors, % of the model", ylabel="test loss")
    right.set(xlabel="kB that a process sends in a step", xscale="log")
    plain_log(right.xaxis, (1, 3))
    legend(figure, ncols=5)
    save(figure, "error_feedback_curves")


if __name__ == "__main__":
    main()
