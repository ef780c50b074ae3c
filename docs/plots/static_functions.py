"""Draw docs/images/static_functions.svg from benchmarks/results/static_functions.json."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, save

SHOWN = {
    "ours B": ("static function", "C0", "o"),
    "ours, 16 check bits B": ("with 16 check bits", "C0", "s"),
    "values alone B": ("array of the values alone", "C7", "|"),
    "gzip of keys and values B": ("gzip, no look-up", "C1", "v"),
    "zstd of keys and values B": ("zstd, no look-up", "C2", "^"),
    "runs B": ("sorted runs", "C5", "x"),
    "sorted arrays B": ("sorted arrays", "C3", "D"),
    "marisa-trie B": ("marisa-trie", "C4", "P"),
    "DAWG B": ("DAWG", "C6", "X"),
    "dict B": ("dict", "C8", "*"),
}


def main():
    rows = json.loads((ROOT / "benchmarks/results/static_functions.json").read_text())["rows"]
    figure, (left, right) = plt.subplots(2, 1, figsize=(WIDTH, 6), height_ratios=(2, 3))
    drawn = [r for r in rows if "over the entropy %" in r and r["keys"] == 1_000_000]
    names = [
        r["job"].replace("geometric, ", "").replace("table of 10 columns, H=2 each", "10 columns, H=2")
        for r in drawn
    ]
    places = range(len(drawn))
    left.barh(
        [p - 0.2 for p in places], [r["over the entropy %"] for r in drawn], 0.4, label="here, the whole file"
    )
    peers = [
        (p + 0.2, r["CaramelDB, not this run %"])
        for p, r in zip(places, drawn, strict=True)
        if r.get("CaramelDB, not this run %")
    ]
    left.barh(*zip(*peers, strict=True), 0.4, color="C7", label="CaramelDB (published)")
    left.set_yticks(list(places), names)
    left.invert_yaxis()
    left.set_xlabel("bytes over the entropy, %")
    left.set_title("Drawn values, a million keys")
    left.legend(loc="center right", bbox_to_anchor=(1, 0.45))
    real = [r for r in rows if "dict B" in r]
    for column, (label, color, marker) in SHOWN.items():
        points = [(r[column] / r["entropy B"], i) for i, r in enumerate(real) if r.get(column)]
        hollow = {"markerfacecolor": "none"} if "check bits" in column else {}
        right.plot(*zip(*points, strict=True), marker, color=color, label=label, markersize=7, **hollow)
    right.axvline(1, color=GREY, linewidth=1)
    right.set_xscale("log")
    right.set_yticks(range(len(real)), [r["job"] for r in real])
    right.invert_yaxis()
    right.set_ylim(len(real) - 0.4, -0.6)
    right.set_xlabel("bytes / entropy of the values")
    right.set_title("Real tables")
    right.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.3, -0.18))
    for axis in (left, right):
        axis.grid(visible=False, axis="y")
    save(figure, "static_functions")


if __name__ == "__main__":
    main()
