"""Draw docs/images/throughput.svg, speed beside peers and growth with the data, from committed results."""

import json

import matplotlib.pyplot as plt
from picture import ROOT, save

#: Label, file, what the row says of itself, and the column of the ratio, on one thread each.
JOBS = [
    ("shingle English text, re and xxhash", "hashing", {"what": "word 5-grams, buffer, 1 thread"}, "ratio"),
    ("hash integers, xxhash", "hashing", {"what": "uint64 array"}, "ratio"),
    ("hash short strings, xxhash", "hashing", {"what": "buffer, 3-20 bytes"}, "ratio"),
    ("hash a list of str, xxhash", "hashing", {"what": "list of str"}, "ratio"),
    (
        "MinHash of 100 tokens, rensa",
        "minhash",
        {"job": "sets/s: 100 tokens, 128 hashes", "ours": "permutations", "peer": "rensa R-MinHash"},
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    ratios = [ratio(*job[1:]) for job in JOBS]
    left.barh(range(len(JOBS)), ratios, color=["C0" if r >= 1 else "C1" for r in ratios], height=0.7)
    for place, value in enumerate(ratios):
        left.text(value * 1.1, place, f"{value:.3g}", va="center", fontsize=8)
    left.set_yticks(range(len(JOBS)), [job[0] for job in JOBS], fontsize=8)
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlim(0.15, 3000)
    left.axvline(1, color="C7", linewidth=1)
    left.set_title("times as fast as the peer, one thread", fontsize=9)
    made = rows("dedup_memory")
    documents = [row["documents"] for row in made]
    right.loglog(documents, [row["microseconds a document"] for row in made], "o-", label="µs a document")
    right.loglog(
        documents,
        [1e3 * row["measured MB, largest rank"] / row["documents"] for row in made],
        "s-",
        label="kB a document, largest rank",
    )
    right.loglog(
        documents,
        [1e3 * row["foretold MB a rank"] / row["documents"] for row in made],
        "--",
        color="C7",
        label="kB foretold",
    )
    right.set_ylim(0.1, 10)
    right.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    right.set_yticks([], minor=True)
    right.set_xlabel("documents", fontsize=9)
    right.set_title("near-duplicates on 4 ranks", fontsize=9)
    right.legend(frameon=False, fontsize=8)
    right.grid(alpha=0.3)
    save(figure, "throughput")


if __name__ == "__main__":
    main()
