"""The summary of docs/benchmarks.md, each job beside its peer, read from results/*.json.

python benchmarks/summary.py          # prints the jobs that miss what the project set out to reach
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from measure import RESULTS, cell


class Job(NamedTuple):
    """Hold a goal and what was reached: `value`, which is to be at least or at most `target`.

    Without a `unit` the value is a ratio, ours to the peer's.
    """

    name: str
    ours: str
    peer: str
    value: float
    target: float
    at_most: bool = False
    unit: str = ""

    @property
    def reached(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target


def rows(file: str) -> list[dict[str, Any]]:
    return json.loads((RESULTS / f"{file}.json").read_text())["rows"]


def row(file: str, **wanted: Any) -> dict[str, Any]:
    """Return the first row of a file with these entries, which are given by their names."""
    return next(r for r in rows(file) if all(r.get(k) == v for k, v in wanted.items()))


def times(name: str, ours: float, peer: float, unit: str, who: str, target: float) -> Job:
    """Return the row of a rate that should be `target` times the peer's."""
    return Job(
        name, f"{cell(ours)} {unit}", f"{cell(peer)} {unit}, {who}".replace(" ,", ","), ours / peer, target
    )


def least(name: str, value: float, unit: str, target: float) -> Job:
    return Job(name, f"{cell(value)} {unit}", "", value, target, unit=unit)


def most(name: str, value: float, unit: str, target: float) -> Job:
    return Job(name, f"{cell(value)} {unit}", "", value, target, at_most=True, unit=unit)


def fastest(data: str, start: str, threads: int, recall: float) -> float:
    """Return the most queries a second of methods whose name starts so, at this recall@10 or more."""
    found = [r for r in rows("search") if r.get("set") == data and r["threads"] == threads]
    return max(r["queries/s"] for r in found if r["method"].startswith(start) and r["recall@10"] >= recall)


def texts() -> Iterator[Job]:
    peer, ours = row("dedup", what="datasketch, regex shingles"), row("dedup", what="ours, 1 thread")
    yield Job(
        "near-duplicates in 31 MB of sources, end to end, 1 thread",
        f"{cell(ours['seconds'])} s",
        f"{cell(peer['seconds'])} s, datasketch",
        ours["ratio"],
        20,
    )
    for documents, bound in ((1_000_000, 1.1), (10_000_000, 1.1)):
        found = row("dedup_memory", documents=documents)
        yield Job(
            f"memory of a rank, {documents:,} documents",
            f"{cell(found['measured MB, largest rank'])} MB",
            f"{cell(found['predicted MB a rank'])} MB, predicted",
            found["measured / predicted"],
            bound,
            at_most=True,
        )
    job = "sets/s: 100 tokens, 128 hashes"
    for threads, target in ((1, 2), (4, 3)):
        found = row("minhash", job=job, threads=threads, ours="fast-similarity (auto)")
        name = f"MinHash, 128 hashes of 100 tokens, {threads} thread{'s' * (threads > 1)}"
        yield times(name, found["value"], found["peer's value"], "sets/s", "rensa", target)
    for threads, target in ((1, 2), (4, 2.5)):
        found = row("minhash", job="sets/s: 100 strings, 128 hashes", threads=threads)
        name = f"the same from strings, {threads} thread{'s' * (threads > 1)}"
        yield times(name, found["value"], found["peer's value"], "sets/s", "rensa", target)
    found = row("minhash", job=job, threads=1, peer="datasketch bulk")
    name = "MinHash, 128 hashes of 100 tokens, 1 thread"
    yield times(name, found["value"], found["peer's value"], "sets/s", "datasketch", 100)
    found = row("svmlight", values="5 digits", threads=1)
    yield Job(
        "read svmlight text, 1 thread",
        f"{cell(found['ours MB/s'])} MB/s",
        f"{cell(found['scikit-learn MB/s'])} MB/s, scikit-learn",
        found["ours MB/s"],
        300,
        unit="MB/s",
    )


def neighbours() -> Iterator[Job]:
    ours, peer = row("index", index="mergesketch, 4 threads"), row("index", index="rensa RMinHashLSH")
    for what, column in (("insert", "inserted/s"), ("ask", "queries/s")):
        name = f"index of set signatures, {what}, 4 threads"
        yield times(name, ours[column], peer[column], "sets/s", "rensa", 3)
    found = next(r for r in rows("index") if r.get("ids a bucket") == 256 and r["threads"] == 4)
    yield least(
        "index rows of 47 features, memory touched, 4 threads", found["rows/s, touched"], "rows/s", 4e6
    )
    yield least("the same, memory cold", found["rows/s, cold at first"], "rows/s", 1.2e6)
    yield most("a query to 4 ranks", row("distributed_index", aggregation="exact")["ms a query"], "ms", 0.1)
    for recall in (0.95, 0.99):
        peer = fastest("clustered", "FALCONN", 1, recall)
        for threads, target in ((1, 1), (4, 3)):
            ours = fastest("clustered", "search, ", threads, recall)
            name = f"search at recall {recall}, {threads} thread{'s' * (threads > 1)}"
            yield times(name, ours, peer, "queries/s", "FALCONN, 1 thread", target)
    build = {
        (r["method"], r["threads"]): r["rows/s"]
        for r in rows("search")
        if r.get("set") == "clustered" and r.get("rows/s")
    }
    ours, peer = build["search, cross-polytope, 10 tables", 1], build["FALCONN, 10 tables", 1]
    yield times("build that index, 1 thread", ours, peer, "rows/s", "FALCONN", 2)
    ours, peer = build["search, cross-polytope, 10 tables", 4], build["HNSW, built on 4 threads", 4]
    yield times("the same, 4 threads", ours, peer, "rows/s", "HNSW", 10)
    found = [r for r in rows("index_codes") if r["set"].startswith("clustered")]
    peer = next(r for r in found if r["settings"] == "1024 bits a row")
    name = "the 10 nearest without the rows, {}, in the bytes of 1,024 bits a row"
    for start, what in (("LSHIndex", "index with codes"), ("VectorCodes", "scan of codes")):
        fitting = [
            r for r in found if r["structure"].startswith(start) and r["bytes a row"] <= peer["bytes a row"]
        ]
        ours = max(r["recall@10"] for r in fitting)
        theirs = peer["recall@10"]
        yield times(name.format(what), ours, theirs, "", "faiss IndexLSH", 0.95 / theirs)


def kernels() -> Iterator[Job]:
    for d, projection, target in ((784, "gaussian", 0.91), (784, "hadamard", 4), (4096, "hadamard", 12)):
        found = next(
            r
            for r in rows("projection")
            if r.get("family") == projection and r["d"] == d and r["threads"] == 1
        )
        ours, peer = found["hash rows/s"], found["product rows/s"]
        yield times(
            f"hash {d:,} features, {projection}, 1 thread", ours, peer, "rows/s", "the bare product", target
        )
    for threads in (1, 4):
        found = row("race", job="update d=20, 200 x 4 bits, gaussian", threads=threads)
        name = f"take 20 features into a Race, {threads} thread{'s' * (threads > 1)}"
        yield times(name, found["ours rows/s"], found["product rows/s"], "rows/s", "the bare product", 0.67)
    for job in ("100 x 8 bits", "700 x 16 bits"):
        for threads in (1, 4):
            found = row("race", job=f"density n=60,000, d=784, {job}", threads=threads)
            name = f"densities of 60,000 rows, {job}, {threads} thread{'s' * (threads > 1)}"
            yield times(name, found["ours q/s"], found["exact q/s"], "queries/s", "exact", 100)
    found = row("race", job="stream of d=20, 100 x 8 bits, race", threads=1)
    ours, peer = found["ours rows/s"], found["density_sketch rows/s"]
    yield times("a stream of 20 features into a Race, 1 thread", ours, peer, "rows/s", "DataSketches", 1000)


def keys() -> Iterator[Job]:
    name = "bytes of a static function over the entropy, "
    million = {r["job"]: r for r in rows("static_functions") if r.get("keys") == 1_000_000 and "file B" in r}
    for job, target in (
        ("geometric, H=0.5", 20),
        ("geometric, H=2", 4),
        ("geometric, H=8", 4),
        ("Zipf of 40,000, H=8", 8),
    ):
        found = million[job]
        theirs = f"{found['CaramelDB, not this run %']} %, CaramelDB (published)"
        value = found["over the entropy %"]
        yield Job(name + job, f"{cell(value)} %", theirs, value, target, at_most=True, unit="%")
    two = million["geometric, H=2"]
    yield most("its heap over its file, a million keys", two["heap over file %"], "%", 2)
    yield least("build it, 1 thread", two["build, million keys/s, 1 thread"], "million keys/s", 3)
    yield least("build it, 4 threads", two["build, million keys/s, 4 threads"], "million keys/s", 8)
    yield most("look up, 1 thread", two["lookup ns, 1 thread"], "ns", 20)
    yield most(
        "look up a row of 10 columns",
        million["table of 10 columns, H=2 each"]["lookup ns, 1 thread"],
        "ns",
        100,
    )
    for what in ("add", "test"):
        for threads, target in ((1, 3), (4, 10)):
            found = row("bloom_filter", keys=1_000_000, what=what, threads=threads)
            name = f"Bloom filter, {what} integers, {threads} thread{'s' * (threads > 1)}"
            yield times(name, found["ours (M/s)"], found["rbloom (M/s)"], "million/s", "rbloom", target)
    found = row("bloom_filter", **{"keys are": "list of str"})
    yield times(
        "the same, add a list of str", found["ours (M/s)"], found["rbloom (M/s)"], "million/s", "rbloom", 1
    )
    counts = [r for r in rows("distinct") if r.get("keys are") == "integers"]
    found = {r["sketch"]: 1e3 / r["ns a key"] for r in counts}
    theirs = max(rate for name, rate in found.items() if name.startswith("HLL"))
    name = "distinct count, add integers, 1 thread"
    yield times(name, found["HyperLogLog"], theirs, "million/s", "DataSketches HLL", 10)


def rest() -> Iterator[Job]:
    ours, peer = row("private", way="mergesketch, 1 thread"), row("private", way="OpenDP integer Laplace")
    ratio = peer["ns_a_counter"] / ours["ns_a_counter"]
    theirs = f"{cell(peer['ns_a_counter'])} ns, OpenDP"
    yield Job("exact noise for a counter, 1 thread", f"{cell(ours['ns_a_counter'])} ns", theirs, ratio, 10)
    for found in rows("merge_over_ranks"):
        if found["dtype"] == "int32":
            name = f"merge {found['MiB']:g} MiB over 4 ranks, time beside an all-reduce"
            theirs = f"{cell(1e3 * found['in_place_s'])} ms, MPICH"
            ours = f"{cell(1e3 * found['merge_s'])} ms"
            yield Job(name, ours, theirs, found["merge_s"] / found["in_place_s"], 1.2, at_most=True)


def floats() -> Iterator[Job]:
    for what in ("encode", "decode"):
        for dtype in ("bfloat16", "float32"):
            found, peer = (
                row("compressed_floats", coder=c, **{"rates of": dtype}) for c in ("ours", "zipnn")
            )
            ours, theirs = (f"{cell(r[f'{what} MB/s'])} MB/s" for r in (found, peer))
            name, ratio = f"{what} weights in {dtype}, 1 thread", peer[f"ours {what}s, times as fast"]
            yield Job(name, ours, f"{theirs}, ZipNN", ratio, 1.5)
    found = row("compressed_floats", columns=1024, **{"row of": "bfloat16"})
    yield most("decode a row of 1,024 columns in bfloat16", found["us"], "µs", 5)
    for dtype in ("bfloat16", "float16", "float32", "float8_e4m3fn"):
        found = row("compressed_floats", model="MiniLM", dtype=dtype)
        size, peer_size = found["ours"], found["zipnn"]
        name = f"size of MiniLM in {dtype}, of the plain bytes"
        ours, theirs = (f"{100 * share:.1f} %" for share in (size, peer_size))
        yield Job(name, ours, f"{theirs}, ZipNN", size / peer_size, 1, at_most=True)


def growth() -> Iterator[Job]:
    grown = {(r["structure"], r["rows"]): r for r in rows("scaling") if "structure" in r}
    for structure in (
        "CountMinSketch, 5 x 27,183",
        "BloomFilter of 10^8 keys",
        "Race, 100 x 256, 20 features",
    ):
        late, early = grown[structure, 10**8]["ns a row"], grown[structure, 10**6]["ns a row"]
        name = f"a row among 10^8 beside one among 10^6, {structure}"
        yield Job(name, f"{cell(late)} ns", f"{cell(early)} ns, ours", late / early, 1.1, at_most=True)
    ranks = [r for r in rows("scaling") if "ranks" in r]
    for what, rate in (("indexing", "indexed, rows/s"), ("Race", "Race.update and merge, rows/s")):
        most_ranks, one = ranks[-1], ranks[0]
        yield Job(
            f"weak scaling of {what}, 1 to {most_ranks['ranks']} ranks",
            f"{cell(most_ranks[rate])} rows/s",
            f"{cell(one[rate])} rows/s, one rank",
            100 * most_ranks[f"efficiency of {what}"],
            85,
            unit="%",
        )
    found = ranks[-1]
    yield Job(
        "memory of a rank with an index",
        f"{cell(found['measured MB, largest rank'])} MB",
        f"{cell(found['predicted MB a rank'])} MB, predicted",
        found["measured MB, largest rank"] / found["predicted MB a rank"],
        1.1,
        at_most=True,
    )


def machines(files: Iterable[str]) -> str:
    """When and where these files were measured, and the versions of all packages."""
    found = [json.loads((RESULTS / f"{file}.json").read_text())["machine"] for file in files]
    versions = {name: number for machine in found for name, number in machine["versions"].items()}
    versions["rbloom"] = row("bloom_filter")["rbloom version"]
    dates = sorted({machine["date"] for machine in found})
    places = sorted({f"{m['cores']} cores ({m['cpu']}), Python {m['python']}" for m in found})
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"Measured {' to '.join(dates[:: max(len(dates) - 1, 1)])} on {'; '.join(places)}; {named}."


PARTS: dict[str, Callable[[], Iterator[Job]]] = {
    "Text and sets": texts,
    "Neighbours": neighbours,
    "Rows": kernels,
    "Keys": keys,
    "Floats": floats,
    "Growth": growth,
    "The rest": rest,
}


def summary() -> str:
    """Return a folded table for each part as Markdown, and the machine."""
    lines: list[str] = []
    for title, part in PARTS.items():
        jobs = list(part())
        lines += [f"<details>\n<summary>{title}: {len(jobs)} measurements</summary>", ""]
        lines += [f"| {title} | ours | peer | ratio |", "|" + " --- |" * 4]
        for job in jobs:
            ratio = "" if job.unit else cell(float(f"{job.value:.3g}"))
            lines.append(f"| {job.name} | {job.ours.strip()} | {job.peer} | {ratio} |")
        lines += ["", "</details>", ""]
    files = ("bloom_filter", "dedup", "index", "merge_over_ranks", "minhash", "private", "projection", "race")
    more = (
        "compressed_floats",
        "dedup_memory",
        "distinct",
        "distributed_index",
        "index_codes",
        "scaling",
        "search",
        "static_functions",
        "svmlight",
    )
    lines.append(machines([*files, *more]))
    return "\n".join(lines) + "\n"


def main() -> None:
    jobs = [job for part in PARTS.values() for job in part()]
    missed = [job for job in jobs if not job.reached]
    print(f"{len(jobs) - len(missed)} of {len(jobs)} reached; missed:")
    for job in missed:
        bound = f"at {'most' if job.at_most else 'least'} {job.target:,.10g}"
        print(f"  {job.name}: {job.value:.3g}, {bound} {job.unit}".rstrip())


if __name__ == "__main__":
    main()
