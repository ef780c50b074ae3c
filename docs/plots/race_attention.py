"""Draw docs/images/race_attention.svg, race_attention/beta.svg and race_attention/models.svg.

The first shows how a context goes into counters, and time against tokens. The second shows the error against
the number of tables for several beta, and the third the loss of small language models.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from picture import COLOURS, GREY, ROOT, WIDTH, legend, plain_log, save

#: The numbers of the colours of models.
MODELS = (7, 0, 1, 2, 4, 3)


def results(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["rows"]


def plane(axes):
    """Draw keys in the plane, cut by two lines into the buckets of one table."""
    rng = np.random.default_rng(3)
    keys = rng.standard_normal((60, 2))
    lines = np.array([[0.9, 0.45], [-0.35, 0.95]])
    codes = ((keys @ lines.T) >= 0.0) @ [1, 2]
    for code in range(4):
        some = keys[codes == code]
        axes.plot(*some.T, ".", color=f"C{code}", markersize=5)
        at = 2.3 * some.mean(axis=0) / np.linalg.norm(some.mean(axis=0))
        axes.annotate(
            f"{len(some)} keys\nsum of values", at, ha="center", va="center", fontsize=8, weight="bold"
        )
    for line in lines:
        ends = 6.0 * np.array([[-line[1], line[0]], [line[1], -line[0]]])
        axes.plot(*ends.T, color=GREY, linewidth=1)
    axes.set(xlim=(-3.3, 3.3), ylim=(-2.8, 2.8), xticks=[], yticks=[], aspect="equal")
    axes.grid(visible=False)
    axes.set_title("one table of 2 bits: 4 buckets of keys")


def times(axes):
    rows = [row for row in results("race_attention") if row["kind"] == "all tokens"]
    series = (
        ("exact", GREY, "exact"),
        ("soft", "C1", "counters, soft codes"),
        ("hard", "C0", "counters, hard"),
    )
    places = (((-6, 0), "right"), ((8, -4), "left"), ((8, -4), "left"))
    for (name, colour, label), (at, side) in zip(series, places, strict=True):
        found = [(row["tokens"], row[f"{name}, s"]) for row in rows if row[f"{name}, s"] != ""]
        axes.plot(*zip(*found, strict=True), "o-", color=colour, markersize=3)
        axes.annotate(label, found[-2], at, textcoords="offset points", color=colour, ha=side, fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds for all queries (less is better)")
    axes.set_title("attention of n queries over n tokens")


def errors(axes):
    """Draw the error of the angular kernel for each sharpness, with the slope of an unbiased estimate."""
    rows = results("race_attention_errors")
    tables = sorted({row["tables"] for row in rows})
    styles = {"soft, beta = 1": "C1", "soft, beta = 4": "C2", "soft, beta = 16": "C4", "hard": "C0"}
    for codes, colour in styles.items():
        found = {row["tables"]: row["error of the angular kernel"] for row in rows if row["codes"] == codes}
        line = "--" if codes == "hard" else "-"
        axes.plot(
            tables,
            [found[n] for n in tables],
            "o" + line,
            color=colour,
            markersize=3,
            label=codes.replace("soft, ", "soft codes, ").replace("hard", "hard codes"),
        )
    (hard,) = (row for row in rows if row["codes"] == "hard" and row["tables"] == tables[0])
    start = 0.75 * hard["error of the angular kernel"]
    axes.plot(tables, start * np.sqrt(tables[0] / np.array(tables)), ":", color=GREY, linewidth=1)
    axes.annotate(
        "slope of 1 / sqrt(L)",
        (tables[2], start * np.sqrt(tables[0] / tables[2])),
        (-4, -14),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
        ha="right",
    )
    axes.set(xscale="log", yscale="log", xlabel="tables, L", ylabel="relative error (less is better)")
    plain_log(axes.xaxis, subs=(1, 2, 4, 8))
    plain_log(axes.yaxis)
    axes.set_xticks(tables, [str(n) for n in tables])
    axes.set_title("error of the attention with the angular kernel")
    axes.legend()


def curves(axes):
    """Draw the loss of language models on validation documents against the time of training."""
    rows = results("attention_models_curves")
    for i, name in enumerate(dict.fromkeys(row["model"] for row in rows)):
        points = [row for row in rows if row["model"] == name]
        axes.errorbar(
            [point["seconds"] for point in points],
            [point["loss"] for point in points],
            [point.get("loss ±", 0.0) for point in points],
            fmt="o-",
            color=COLOURS[MODELS[i]],
            markersize=3,
            label=name,
        )
    axes.set(xlabel="seconds of training", ylabel="loss, nats a word (less is better)")
    axes.set_title("on validation documents")


def sizes(axes):
    """Draw the loss of trained models on test documents against their parameters."""
    for i, row in enumerate(results("attention_models")):
        axes.errorbar(
            row["parameters"],
            row["loss"],
            row.get("loss ±", 0.0),
            fmt="o",
            color=COLOURS[MODELS[i]],
            markersize=4,
        )
    axes.set(xscale="log", xlabel="parameters")
    plain_log(axes.xaxis)
    axes.set_title("on test documents, after training")


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    plane(left)
    times(right)
    save(figure, "race_attention")
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 3.0))
    errors(axes)
    save(figure, "race_attention/beta")
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    curves(left)
    sizes(right)
    legend(figure, ncols=3)
    save(figure, "race_attention/models")


if __name__ == "__main__":
    main()
