"""Calculate the time and memory for 4.3 billion rows on 20 nodes, and for 10**11 documents on 1,000 nodes.

Use this program to plan a cluster for an index of nearest neighbours or for near-duplicate detection. The
costs of a row were measured on four cores (benchmarks/results/*.json). The sizes of messages are the sizes
that the code sends. The traffic of the trees of a query, and of a shuffle, is simulated for each rank. The
model of the network has a latency for each message and a bandwidth for each node.

    python examples/scale_on_paper.py [--cores 32] [--gigabits 10] [--latency-us 50] [--disk 2]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mergesketch import CountMinSketch, HeavyHitters, LSHIndex, MinHashSketch, Race
from mergesketch.distributed import band_parameters, memory_per_rank
from mergesketch.distributed.index.aggregate import tree_rounds
from mergesketch.lsh import MinHash, SignedRandomProjection

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
#: Bytes of a key, a document's id and its place, as the shuffle of a band sends them.
RECORD = 24
#: Bytes that `Communicator.exchange` lets a rank send in one round.
ROUND = 64 << 20


class Cluster(NamedTuple):
    """Nodes, and the network between them."""

    nodes: int
    cores: int
    bytes_per_second: float
    latency: float
    disk: float

    def seconds(self, n_bytes: float, n_messages: float) -> float:
        """Return the seconds until a node has sent, or received, some bytes in some messages."""
        return n_bytes / self.bytes_per_second + n_messages * self.latency


def measured(name: str, **wanted: Any) -> dict[str, Any]:
    """Return the row of a result file that has all `wanted` values."""
    rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    raise LookupError(f"{name}.json has no row with {wanted}")


# -- traffic, rank by rank ------------------------------------------------------------------------


def allreduce(cluster: Cluster, n_bytes: int) -> float:
    """Return the seconds of merging one sketch a node.

    Each node sends 2 (p - 1) / p of the sketch, in 2 log2(p) messages.
    """
    p = cluster.nodes
    return cluster.seconds(2 * n_bytes * (p - 1) / p, 2 * math.ceil(math.log2(p)))


def query_traffic(p: int, n_queries: int, code_bytes: int, list_bytes: int) -> tuple[list[int], int]:
    """Return the bytes that the busiest rank sends in each round, and the bytes that all ranks send.

    A batch of queries is spread over the ranks. Their codes go to every rank, and the lists of candidates go
    up the trees that `DistributedIndex` uses.
    """
    share = [n_queries * (r + 1) // p - n_queries * r // p for r in range(p)]
    rounds = [code_bytes * (n_queries - min(share))]
    total = code_bytes * n_queries * (p - 1)
    for steps in zip(*(list(tree_rounds(rank, p)) for rank in range(p)), strict=True):
        sent = [list_bytes * sum(share[owner] for owner in step.sent) for step in steps]
        rounds.append(max(sent))
        total += sum(sent)
    return rounds, total


def shuffle_traffic(p: int, n: int, in_groups: float, hot: int, seed: int = 0) -> tuple[int, float]:
    """Return the records that the busiest of p ranks receives for n keys, and their ratio to the mean.

    A share `in_groups` of the keys are pairs of equal keys. One key occurs `hot` times, as the key of a much
    copied text does. All other keys are different. Equal keys go to one rank.
    """
    rng = np.random.default_rng(seed)
    pairs = int(n * in_groups) // 2
    received = rng.multinomial(n - 2 * pairs - hot, np.full(p, 1 / p))
    received += 2 * rng.multinomial(pairs, np.full(p, 1 / p))
    received[0] += hot
    return int(received.max()), float(received.max() / (n / p))


# -- the two tables -------------------------------------------------------------------------------


def index_seconds(cluster: Cluster, rows: int = 4_300_000_000, n_bytes: float = 2.3e12) -> dict[str, float]:
    """Return the seconds of each step of indexing rows of svmlight text."""
    parse = measured("svmlight", values="1", threads=4)["ours MB/s"] * 1e6 / 4
    build = measured("index", **{"ids a bucket": 256, "threads": 4})["rows/s, touched"] / 4
    return {
        "read from disk": n_bytes / cluster.nodes / cluster.disk,
        "parse svmlight text": n_bytes / cluster.nodes / (parse * cluster.cores),
        "hash and insert": rows / cluster.nodes / (build * cluster.cores),
    }


def index(cluster: Cluster, rows: int = 4_300_000_000, n_bytes: float = 2.3e12) -> list[tuple[str, ...]]:
    """Return the table of an LSH index with SLASH's settings.

    There are 16 tables of 4 hashes and 2**18 buckets, and a query asks for the 128 best rows.
    """
    share, steps = rows / cluster.nodes, index_seconds(cluster, rows, n_bytes)
    family = MinHash(16, power=4, n_buckets=2**18)
    full = measured("index", **{"ids a bucket": 256, "threads": 4})["ms a query, all buckets full"] * 4e-3
    read = f"{n_bytes / cluster.nodes / 1e9:,.0f} GB"
    table: list[tuple[str, ...]] = [
        (step, what, clock(seconds))
        for (step, seconds), what in zip(
            steps.items(), (read, read, f"{share / 1e6:,.0f} million rows"), strict=True
        )
    ]
    table.append(("total of all steps", "", clock(sum(steps.values()))))
    for capacity in (256, 1024):
        one = LSHIndex(family, capacity=capacity, wide_ids=rows > 2**32 - 2)
        kept = min(1.0, capacity / (share / 2**18))
        table.append(
            (
                f"memory, {capacity:,} ids a bucket",
                f"keeps {kept:.0%} of a bucket's {share / 2**18:,.0f}",
                f"{one.nbytes / 1e9:,.1f} GB",
            )
        )
    queries, k = 10_000, 128
    rounds, total = query_traffic(cluster.nodes, queries, 4 * 16, k * (8 + 2))
    # Every rank reads its own buckets for all queries. They have 1,024 ids here, and 256 in the measurement.
    own = queries * 4 * full / cluster.cores
    sent = sum(cluster.seconds(n, 1) for n in rounds)
    table.append(("10,000 queries: look", "1,024 ids in each of 16 buckets", clock(own)))
    table.append(
        ("10,000 queries: send", f"{sum(rounds) / 1e6:,.0f} MB in {len(rounds)} rounds", clock(sent))
    )
    table.append(
        ("a query", f"{total / queries:,.0f} bytes on the network", f"{1e3 * (own + sent) / queries:.3f} ms")
    )
    return table


SKETCHES = {
    "CountMinSketch, 5 x 27,183": CountMinSketch(5, 27_183),
    "HeavyHitters, 0.001": HeavyHitters(0.001),
    "MinHashSketch, 1,000 sets": MinHashSketch(1000, 1024),
    "Race, 1,000 x 65,536": Race(SignedRandomProjection(n_features=20, n_hashes=1000, power=16)),
}


def merging_seconds(cluster: Cluster) -> dict[str, float]:
    """Return the seconds of one all-reduce of each sketch; the sketches of a node are merged before."""
    return {name: allreduce(cluster, sketch.nbytes) for name, sketch in SKETCHES.items()}


def merging(cluster: Cluster) -> list[tuple[str, ...]]:
    """Return the table of bytes and seconds of merging."""
    return [
        (name, f"{SKETCHES[name].nbytes / 1e6:,.1f} MB", clock(seconds))
        for name, seconds in merging_seconds(cluster).items()
    ]


class Documents(NamedTuple):
    """Texts of `size` bytes; a share `alike` of them is in candidate pairs."""

    number: int = 10**11
    size: int = 3000
    alike: float = 0.1

    @property
    def words(self) -> float:
        return self.size / 6


DOCUMENTS = Documents()
#: Ranks that share a node.
RANKS = 8
BANDS = band_parameters(0.7, 128, false_negative_weight=0.98)[0]


def text_rates() -> tuple[float, float]:
    """Return the bytes of text that one core reads, and that it shingles, in a second."""
    reading = 1e6 * measured("reading", what="JSON lines, 3 kB each")["ours MB/s"]
    return reading, 1e6 * measured("hashing", what="word 5-grams, buffer, 4 threads")["ours"] / 4


def document_seconds(documents: Documents) -> float:
    """Return the core-seconds of reading, signing and sorting one document.

    They are those of a short document, which were measured, and those of the further bytes.
    """
    reading, shingling = text_rates()
    short = measured("dedup_memory", documents=10_000_000)["microseconds a document"] * 4e-6
    hashing = measured(
        "minhash", job="sets/s: 3,700 features, 128 hashes", threads=4, ours="fast-similarity (auto)"
    )["value"]
    more = documents.size - 240
    return short + more / reading + more / shingling + documents.words / 3700 * 4 / hashing


def shuffle_bytes(cluster: Cluster, documents: Documents) -> tuple[float, float, float]:
    """Return the bytes that a node sends in a shuffle, the busiest rank's, and the latter over the mean."""
    p = cluster.nodes * RANKS
    busiest, skew = shuffle_traffic(p, documents.number, documents.alike, hot=10**6)
    return max(busiest, documents.number / p) * RECORD * RANKS, busiest * RECORD, skew


def deduplication_seconds(cluster: Cluster, documents: Documents = DOCUMENTS) -> dict[str, float]:
    """Return the seconds of each step of de-duplication."""
    reading, shingling = text_rates()
    share, p = documents.number / cluster.nodes, cluster.nodes * RANKS
    disk = share * documents.size / cluster.disk
    # Several ranks share a node's network. All ranks wait for the busiest one, with the node's bandwidth. In
    # each round a rank exchanges a message with every other rank.
    node_bytes, busiest, _ = shuffle_bytes(cluster, documents)
    exchange = cluster.seconds(node_bytes, math.ceil(busiest / ROUND) * (p - 1))
    # All files are read and parsed again, because documents cannot be found in them otherwise.
    again = share * documents.size * (1 / reading + documents.alike / shingling) / cluster.cores
    edges = share * documents.alike
    return {
        "read from disk": disk,
        "parse, sign, sort keys": share * document_seconds(documents) / cluster.cores,
        "shuffle": (BANDS + 1) * exchange,
        "read again, verify": disk + again + cluster.seconds(edges * documents.words * 8, p),
        "group": 6 * cluster.seconds(2 * 16 * edges, 2 * p),
        "gather groups": cluster.seconds(documents.number * documents.alike * 16, p),
    }


def deduplication(cluster: Cluster, documents: Documents = DOCUMENTS) -> list[tuple[str, ...]]:
    """Return the table of seconds and bytes of de-duplication."""
    share, p = documents.number / cluster.nodes, cluster.nodes * RANKS
    node_bytes, _, skew = shuffle_bytes(cluster, documents)
    fetched = share * documents.alike * documents.words * 8
    steps = deduplication_seconds(cluster, documents)
    names = (
        ("read from disk", f"{share * documents.size / 1e9:,.0f} GB a node"),
        ("parse, sign, sort keys", f"{1e6 * document_seconds(documents):.1f} core-µs a document"),
        (
            f"{BANDS + 1} shuffles: copies, {BANDS} bands",
            f"{(BANDS + 1) * node_bytes / 1e9:,.0f} GB a node, busiest rank {skew:.3f} of the mean",
        ),
        (f"read again, verify {documents.alike:.0%}", f"{fetched / 1e9:,.0f} GB of shingles a node"),
        ("group: 6 rounds of stars", f"{6 * 2 * 16 * share * documents.alike / 1e9:,.1f} GB a node"),
        ("gather groups", f"{documents.number * documents.alike * 16 / 1e9:,.0f} GB on rank 0"),
    )
    table: list[tuple[str, ...]] = [
        (*name, clock(seconds)) for name, seconds in zip(names, steps.values(), strict=True)
    ]
    table.append(("total of all steps", "", clock(sum(steps.values()))))
    signatures = memory_per_rank(documents.number, p) * RANKS
    table.append(
        ("memory: signatures, a band", "predicted by memory_per_rank", f"{signatures / 1e9:,.0f} GB a node")
    )
    table.append(("memory: shingles to verify", "8 bytes a shingle", f"{fetched / 1e9:,.0f} GB a node"))
    return table


def clock(seconds: float) -> str:
    """Return a time in a unit that suits it."""
    if seconds < 1:
        return f"{1e3 * seconds:.1f} ms"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def show(title: str, rows: list[tuple[str, ...]]) -> None:
    print(f"\n{title}")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cores", type=int, default=32, help="cores of a node (default: 32)")
    parser.add_argument(
        "--gigabits", type=float, default=10.0, help="bandwidth of a node's network in Gb/s (default: 10)"
    )
    parser.add_argument(
        "--latency-us", type=float, default=50.0, help="latency of a message in microseconds (default: 50)"
    )
    parser.add_argument("--disk", type=float, default=2.0, help="speed of a node's disk in GB/s (default: 2)")
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if not value > 0:
            parser.error(f"argument --{name.replace('_', '-')}: must be above 0, got {value}")

    def cluster(nodes: int) -> Cluster:
        return Cluster(
            nodes, options.cores, options.gigabits * 1e9 / 8, options.latency_us * 1e-6, options.disk * 1e9
        )

    each = f"nodes of {options.cores} cores, {options.gigabits:g} Gb/s, {options.latency_us:g} µs a message, "
    each += f"disks of {options.disk:g} GB/s"
    print(each)
    show("4.3 billion rows of 47 features (2.3 TB) indexed on 20 nodes", index(cluster(20)))
    show("Sketches of any number of rows, merged over 20 nodes", merging(cluster(20)))
    show("The same over 1,000 nodes", merging(cluster(1000)))
    show("10^11 documents of 3 kB (300 TB) de-duplicated on 1,000 nodes", deduplication(cluster(1000)))


if __name__ == "__main__":
    main()
