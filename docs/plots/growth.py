"""Draw docs/images/growth.svg, what a document costs among more of them, from committed results."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, plain_log, save


def main():
    made = json.loads((ROOT / "benchmarks/results/dedup_memory.json").read_text())["rows"]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8))
    documents = [row["documents"] for row in made]
    axes.loglog(documents, [row["microseconds a document"] for row in made], "o-", label="µs a document")
    axes.loglog(
        documents,
        [1e3 * row["measured MB, largest rank"] / row["documents"] for row in made],
        "s-",
        label="kB a document, largest rank",
    )
    axes.loglog(
        documents,
        [1e3 * row["predicted MB a rank"] / row["documents"] for row in made],
        "--",
        color=GREY,
        label="kB predicted",
    )
    axes.set_ylim(0.1, 10)
    plain_log(axes.yaxis)
    plain_log(axes.xaxis, subs=(1,))
    axes.set(xlabel="documents", ylabel="µs or kB", title="Near-duplicates on 4 ranks")
    axes.legend(loc="upper right")
    save(figure, "growth")


if __name__ == "__main__":
    main()
