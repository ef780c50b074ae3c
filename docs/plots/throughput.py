"""Draw docs/images/throughput.svg, speed beside peers, from committed results."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, plain_log, save

#: Label, file, what the row says of itself, and the column of the ratio, on one thread each.
JOBS = [
    ("shingle English text, re and xxhash", "hashing", {"what": "word 5-grams, buffer, 1 thread"}, "ratio"),
    ("hash integers, xxhash", "hashing", {"what": "uint64 array"}, "ratio"),
    ("hash short strings, xxhash", "hashing", {"what": "buffer, 3-20 bytes"}, "ratio"),
    ("hash a list of str, xxhash", "hashing", {"what": "list of str"}, "ratio"),
    (
        "MinHash of 100 tokens, rensa",
        "minhash",
        {"job": "sets/s: 100 tokens, 128 hashes", "ours": "fast-similarity (auto)"},
        "ratio",
    ),
    (
        "MinHash of 3,700 tokens, rensa",
        "minhash",
        {"job": "sets/s: 3,700 features, 128 hashes", "ours": "fast-similarity (auto)"},
        "ratio",
    ),
    (
        "MinHash of 100 tokens, datasketch",
        "minhash",
        {"job": "sets/s: 100 tokens, 128 hashes", "peer": "datasketch bulk"},
        "ratio",
    ),
    ("near-duplicates, datasketch", "dedup", {"what": "ours, 1 thread"}, "ratio"),
    ("read svmlight, scikit-learn", "svmlight", {"values": "5 digits", "threads": 1}, "ratio"),
    ("Bloom filter, add, rbloom", "bloom_filter", {"keys": 1_000_000, "what": "add", "threads": 1}, "ratio"),
    (
        "Bloom filter, test, rbloom",
        "bloom_filter",
        {"keys": 1_000_000, "what": "test", "threads": 1},
        "ratio",
    ),
    ("Bloom filter, add a list of str, rbloom", "bloom_filter", {"keys are": "list of str"}, "ratio"),
    (
        "densities of 60,000 rows, exact",
        "race",
        {"job": "density n=60,000, d=784, 100 x 8 bits", "threads": 1},
        "ratio",
    ),
    ("common neighbours, SciPy", "link_prediction", {"edges": 10_000_000, "threads": 1}, "ratio"),
]


def rows(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]


def ratio(name, wanted, column):
    return next(row[column] for row in rows(name) if all(row.get(k) == v for k, v in wanted.items()))


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    ratios = [ratio(*job[1:]) for job in JOBS]
    lengths = [r - 1 for r in ratios]
    axes.barh(range(len(JOBS)), lengths, left=1, color=["C0" if r >= 1 else "C1" for r in ratios], height=0.7)
    for place, value in enumerate(ratios):
        axes.text(max(value, 1) * 1.1, place, f"{value:.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(JOBS)), [job[0] for job in JOBS])
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(0.15, 3000)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_xlabel("times as fast as the peer, one thread")
    plain_log(axes.xaxis, subs=(1,))
    save(figure, "throughput")


if __name__ == "__main__":
    main()
