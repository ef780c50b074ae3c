"""Draw docs/images/throughput.svg, speed beside peers and growth with the data, from committed results."""

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
    figure, (left, right) = plt.subplots(2, 1, figsize=(WIDTH, 6.4), height_ratios=(3, 2))
    ratios = [ratio(*job[1:]) for job in JOBS]
    lengths = [r - 1 for r in ratios]
    left.barh(range(len(JOBS)), lengths, left=1, color=["C0" if r >= 1 else "C1" for r in ratios], height=0.7)
    for place, value in enumerate(ratios):
        left.text(max(value, 1) * 1.1, place, f"{value:.3g}", va="center", fontsize=8)
    left.set_yticks(range(len(JOBS)), [job[0] for job in JOBS])
    left.grid(visible=False, axis="y")
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlim(0.15, 3000)
    left.axvline(1, color=GREY, linewidth=1)
    left.set_xlabel("times as fast as the peer, one thread")
    plain_log(left.xaxis, subs=(1,))
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
        color=GREY,
        label="kB foretold",
    )
    right.set_ylim(0.1, 10)
    plain_log(right.yaxis)
    plain_log(right.xaxis, subs=(1,))
    right.set(xlabel="documents", ylabel="µs or kB", title="near-duplicates on 4 ranks")
    right.legend(loc="upper right")
    save(figure, "throughput")


if __name__ == "__main__":
    main()
