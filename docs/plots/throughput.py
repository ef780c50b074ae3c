"""Draw docs/images/throughput.svg, speed beside peers, from committed results."""

import json

import matplotlib.pyplot as plt
import numpy as np
from picture import GREY, NARROW, ROOT, plain_log, save

#: Label, file, what the row says of itself, and the column of the ratio, on one thread each.
JOBS = [
    (
        "shingle English text, beside re and xxhash",
        "hashing",
        {"what": "word 5-grams, buffer, 1 thread"},
        "ratio",
    ),
    ("hash integers, beside xxhash", "hashing", {"what": "uint64 array"}, "ratio"),
    ("hash short strings, beside xxhash", "hashing", {"what": "buffer, 3-20 bytes"}, "ratio"),
    ("hash a list of str, beside xxhash", "hashing", {"what": "list of str"}, "ratio"),
    (
        "MinHash of 100 tokens, beside rensa",
        "minhash",
        {"job": "sets/s: 100 tokens, 128 hashes", "ours": "fast-similarity (auto)"},
        "ratio",
    ),
    (
        "MinHash of 3,700 tokens, beside rensa",
        "minhash",
        {"job": "sets/s: 3,700 features, 128 hashes", "ours": "fast-similarity (auto)"},
        "ratio",
    ),
    (
        "MinHash of 100 tokens, beside datasketch",
        "minhash",
        {"job": "sets/s: 100 tokens, 128 hashes", "peer": "datasketch bulk"},
        "ratio",
    ),
    ("near-duplicates, beside datasketch", "dedup", {"what": "ours, 1 thread"}, "ratio"),
    ("read svmlight, beside scikit-learn", "svmlight", {"values": "5 digits", "threads": 1}, "ratio"),
    (
        "Bloom filter, add, beside rbloom",
        "bloom_filter",
        {"keys": 1_000_000, "what": "add", "threads": 1},
        "ratio",
    ),
    (
        "Bloom filter, test, beside rbloom",
        "bloom_filter",
        {"keys": 1_000_000, "what": "test", "threads": 1},
        "ratio",
    ),
    ("Bloom filter, add a list of str, beside rbloom", "bloom_filter", {"keys are": "list of str"}, "ratio"),
    (
        "densities of 60,000 rows, beside exact sums",
        "race",
        {"job": "density n=60,000, d=784, 100 x 8 bits", "threads": 1},
        "ratio",
    ),
    ("common neighbours, beside SciPy", "link_prediction", {"edges": 10_000_000, "threads": 1}, "ratio"),
]


def rows(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]


def ratio(name, wanted, column):
    return next(row[column] for row in rows(name) if all(row.get(k) == v for k, v in wanted.items()))


def main():
    figure, axes = plt.subplots(figsize=(NARROW, 6.2))
    ratios = [ratio(*job[1:]) for job in JOBS]
    lengths = [r - 1 for r in ratios]
    axes.barh(
        range(len(JOBS)), lengths, left=1, color=["C0" if r >= 1 else "C1" for r in ratios], height=0.45
    )
    for place, (job, value) in enumerate(zip(JOBS, ratios, strict=True)):
        axes.text(max(value, 1) * 1.1, place, f"{value:.3g}", va="center", fontsize=8)
        axes.text(0.16, place - 0.42, job[0], va="center", fontsize=8)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(JOBS) - 0.5, -0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.15, 2000)
    places = np.arange(len(JOBS))
    axes.vlines(np.ones(len(JOBS)), places - 0.25, places + 0.25, color=GREY, linewidth=1)
    axes.set_xlabel("times as fast as the peer, one thread")
    plain_log(axes.xaxis, subs=(1,))
    save(figure, "throughput")


if __name__ == "__main__":
    main()
