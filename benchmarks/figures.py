"""Read what the pages quote from results/*.json: `FIGURES` inside sentences and `TABLES` of a page's own.

`tables.py` puts them into the pages: ``<!-- figure: NAME -->28<!-- end -->`` in a line holds a figure, and
``<!-- results: NAME -->`` to ``<!-- end -->`` on lines of their own hold a table of this file, or the whole
result file of that name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import attention_tables
import dedup_tables
import federation_tables
import feedback_tables
import float_tables
import graph_tables
import label_tables
import learned_code_tables
import learned_index_table
import negative_sampling_tables
import outlier_tables
import parameter_sharing_tables
import slide_tables
import sparse_all_reduce_tables
import sparsity_tables
import term_tables
from markdown_parts import percent, short, span, table
from measure import cell
from mergesketch import BloomFilter
from mergesketch.sketches.sets.bloom_theory import cardinality_error
from race_tables import densities, ratios
from summary import row, rows

Row = dict[str, Any]


# -- Bloom filters ----------------------------------------------------------------------------------


def bloom_filter_sizes() -> str:
    """Compute the bits a key at a million keys; nothing is measured."""
    lines = []
    rates = {"10 %": 0.1, "1 %": 0.01, "0.1 %": 1e-3, "0.01 %": 1e-4, "1e-6": 1e-6, "1e-9": 1e-9}
    for name, rate in rates.items():
        made = BloomFilter(1_000_000, rate)
        plain = -math.log2(rate) / math.log(2)
        lines.append((name, short(plain, 3), short(512 * made.n_blocks / 1e6, 3), made.n_hashes))
    return table(("error", "plain filter, bits a key", "this one", "hashes"), lines)


def bloom_filter_rates() -> str:
    return table(
        ("keys", "stated", "expected", "measured", "bits a key"),
        (
            (
                r["keys"],
                percent(r["stated"]),
                percent(r["expected"], 4),
                f"{percent(r['measured'], 4)[:-2]} ± {percent(r['standard error'], 1)}",
                short(r["bits a key"], 4),
            )
            for r in rows("bloom_filter")
            if "stated" in r
        ),
    )


def bloom_filter_speed() -> str:
    lines = []
    for keys in (1_000_000, 10_000_000, 50_000_000):
        for what in ("add", "test"):
            one, four = (row("bloom_filter", keys=keys, what=what, threads=threads) for threads in (1, 4))
            theirs = one.get("rbloom (M/s)")
            ratios = [f"{short(r['ratio'])}x" if theirs else "" for r in (one, four)]
            lines.append(
                (
                    keys,
                    what,
                    short(theirs) if theirs else "",
                    short(one["ours (M/s)"], 3),
                    ratios[0],
                    short(four["ours (M/s)"], 3),
                    ratios[1],
                )
            )
    return table(("keys", "", "rbloom", "1 thread", "", "4 threads", ""), lines)


def bloom_filter_objects() -> str:
    return table(
        ("keys are", "ours", "rbloom", "ratio"),
        (
            (r["keys are"], short(r["ours (M/s)"]), short(r["rbloom (M/s)"]), f"{short(r['ratio'])}x")
            for r in rows("bloom_filter")
            if "keys are" in r
        ),
    )


def own_cardinality_error(keys: int) -> str:
    made = BloomFilter(keys, 0.01)
    return f"{cardinality_error(keys, made.n_blocks, made.n_hashes):.0f}"


# -- Bloom signatures -------------------------------------------------------------------------------


def overlap_errors() -> str:
    names = ("Bloom", "Bloom, cut at 0", "MinHash + HLL", "MinHash, exact sizes")
    biases = ("Bloom, bias", "Bloom, cut at 0, bias")
    return table(
        ("hops", "bytes a node", "shared on average", *(f"error, {name}" for name in names), *biases),
        (
            (
                r["hops"],
                r["bits a node"] // 8,
                short(r["mean shared"]),
                *(short(r[name]) for name in names),
                *(f"{r[name]:+.3f}" for name in biases),
            )
            for r in rows("overlaps")
            if "hops" in r
        ),
    )


def overlap_weights() -> str:
    columns = ("mean Adamic-Adar", "error by signatures", "error of a constant times exact counts")
    return table(
        ("graph", "nodes", "bits", "nodes a bit", *columns),
        (
            (
                r["graph"],
                r["nodes"],
                r["bits"],
                short(r["nodes a bit"]),
                *(short(r[name]) for name in columns),
            )
            for r in rows("overlaps")
            if "graph" in r
        ),
    )


def link_scores() -> str:
    return table(
        ("features", "area under the ROC", "Hits@50"),
        (
            (r["features"], f"{r['AUC']:.3f}", f"{r['Hits@50']:.3f}")
            for r in rows("link_prediction")
            if "features" in r
        ),
    )


def link_speeds() -> str:
    return table(
        ("edges", "threads", "edges added/s", "common neighbours/s", "all features/s", "beside SciPy"),
        (
            (
                r["edges"],
                r["threads"],
                *(f"{short(r[c] / 1e6)} million" for c in ("build edges/s", "common/s", "all features/s")),
                f"{short(r['ratio'])}x",
            )
            for r in rows("link_prediction")
            if "edges" in r
        ),
    )


# -- group testing ----------------------------------------------------------------------------------


def pooled(n: int, prevalence: float, budget: float, design: str = "Bloom") -> Row:
    return row("group_testing", n=n, prevalence=prevalence, design=design, **{"tests / n": budget})


def missed(n: int, prevalence: float, budget: float, designs: Iterable[str]) -> list[str]:
    return [with_error(pooled(n, prevalence, budget, design)) for design in designs]


def with_error(r: Row) -> str:
    return f"{100 * r['missed']:.1f} ± {100 * r['standard error']:.1f}"


def group_testing_missed() -> str:
    designs = ("Bloom", "constant column", "Bernoulli", "Bloom, scomp")
    wanted = ((0.01, 0.15), (0.01, 0.2), (0.02, 0.2), (0.02, 0.3), (0.05, 0.4))
    return table(
        ("samples", "positive", "tests for 100", *designs),
        (
            (
                n,
                percent(prevalence, 1),
                round(100 * budget),
                *missed(n, prevalence, budget, designs),
            )
            for n in (96, 384, 10_000)
            for prevalence, budget in wanted
        ),
    )


def group_testing_dorfman() -> str:
    lines = []
    for prevalence in (0.005, 0.01, 0.02, 0.05):
        r = row("group_testing", n=10_000, prevalence=prevalence, design="Dorfman")
        same = pooled(10_000, prevalence, round(r["tests / n"], 3))
        small = pooled(384, prevalence, round(r["tests / n"], 3))
        lines.append(
            (
                percent(prevalence, 1),
                short(100 * r["tests / n"], 3),
                short(100 * r["missed"]),
                with_error(same),
                with_error(small),
            )
        )
    pools = "one round of Bloom pools with equally many tests"
    columns = ("positive", "tests for 100", "missed %", f"{pools}, 10,000 samples", "384 samples")
    return table(columns, lines)


def group_testing_calibration() -> str:
    return table(
        ("samples", "positive", "tests for 100", "posteriors", "of them", "they say", "true"),
        (
            (
                r["n"],
                percent(r["prevalence"], 1),
                round(100 * r["tests / n"]),
                f"{r['posteriors from']:g} to {r['to']:g}",
                r["samples"],
                f"{r['said']:.3f}",
                f"{r['true']:.3f} ± {r['error of true']:.3f}",
            )
            for r in rows("group_testing")
            if "said" in r and r["posteriors from"] >= 0.9 and r["samples"] >= 20
        ),
    )


# -- STORM ------------------------------------------------------------------------------------------


def storm_classes() -> str:
    return table(
        ("rows", "rare class", "KB", "found", "by the discriminant", "log loss", "of the discriminant"),
        (
            (
                r["data"].removeprefix("rare class, "),
                percent(r["share"]),
                r["bytes"] // 1024,
                f"{r['recall, STORM']:.3f}",
                f"{r['recall, discriminant analysis']:.3f}",
                f"{r['log loss, STORM']:.4f}",
                f"{r['log loss, discriminant analysis']:.4f}",
            )
            for r in rows("storm")
            if r.get("data", "").startswith("rare class") and r["bytes"] > 16_384
        ),
    )


def storm_accuracies() -> str:
    return table(
        ("rows", "KB", "STORM", "logistic regression", "of a sample of rows"),
        (
            (
                r["data"].removeprefix("test accuracy, "),
                r["bytes"] // 1024,
                f"{r['STORM']:.3f}",
                f"{r['logistic regression, all rows']:.3f}",
                f"{r['logistic regression, sample of rows']:.3f}",
            )
            for r in rows("storm")
            if r.get("data", "").startswith("test accuracy")
        ),
    )


# -- counting, static functions ---------------------------------------------------------------------


def counting_costs() -> str:
    notes = {
        "CountMinSketch": "5 x 27,183 counters: 0.01 % of N",
        "CountSketch": "the same table",
        "HeavyHitters": "frequency 0.001",
    }
    lines = []
    for name, settings in notes.items():
        r = row("choose", structure=name)
        asked = r.get("ns a query")
        lines.append(
            (f"`{name}`", settings, r["bytes"], short(r["ns an update"]), short(asked) if asked else "")
        )
    return table(("", "settings", "bytes", "ns an update", "ns a query"), lines)


def top_k_errors() -> str:
    """Return the rows of the longest streams."""
    found = [r for r in rows("top_k") if r.get("keys") == 10_000_000]
    columns = ("of the top 100", "right counts", "known to be right")
    lines = [
        (r["exponent"], r["sketch"], r["bytes"], *(r[c] for c in columns), percent(r["mean error"]))
        for r in found
    ]
    names = ("exponent", "sketch", "bytes", "found of the top 100", *columns[1:], "mean error of a count")
    return table(names, lines)


def vector_codes_recall() -> str:
    """Return the share of neighbours that each structure finds, with a column for each set."""
    found = [r for r in rows("vector_codes") if "recall@10" in r]
    sets = list(dict.fromkeys(r["set"] for r in found))
    lines = []
    for r in (r for r in found if r["set"] == sets[0]):
        here = [_of_set(found, r, name) for name in sets]
        lines.append((r["structure"], r["settings"], *here))
    return table(("structure", "settings", *sets), lines)


def _of_set(found: list[dict[str, Any]], like: dict[str, Any], name: str) -> str:
    # The bits of a row and the groups depend on the number of columns, but not their place in the list.
    ours = [r for r in found if r["structure"] == like["structure"] and r["set"] == like["set"]]
    there = [r for r in found if r["structure"] == like["structure"] and r["set"] == name]
    place = ours.index(like)
    if place >= len(there):
        return ""
    r = there[place]
    return f"{r['recall@10']:.3f} ({r['bytes a row']:g} bytes)"


def vector_codes_speed() -> str:
    """Return the times of the first set."""
    found = rows("vector_codes")
    columns = ("us a query", "us a query, one at a time", "us to encode a row")
    lines = [
        (r["structure"], r["settings"], *(short(r[c]) for c in columns))
        for r in found
        if r["set"] == found[0]["set"]
    ]
    return table(("structure", "settings", *columns), lines)


def vector_codes_scan() -> str:
    """Return the bytes a second of scans that are larger than caches."""
    columns = ("bytes a row", "us a query, one at a time", "GB/s")
    found = [r for r in rows("vector_codes") if "GB/s" in r]
    return table(
        ("structure", "settings", *columns),
        [(r["structure"], r["settings"], *(short(r[c]) for c in columns)) for r in found],
    )


def hashed_embedding_accuracy() -> str:
    """Return the accuracy of each embedding, with a column for each compression."""
    found = [r for r in rows("hashed_embedding") if "accuracy" in r]
    ratios = sorted({r["compression"] for r in found})
    lines = []
    for name in dict.fromkeys(r["embedding"] for r in found):
        ours = {r["compression"]: r for r in found if r["embedding"] == name}
        cells = (
            f"{ours[c]['accuracy']:.3f} ± {ours[c]['deviation of seeds']:.3f}" if c in ours else ""
            for c in ratios
        )
        lines.append((name, *cells))
    return table(("accuracy, ± deviation of seeds, at a compression of", *map(str, ratios)), lines)


def hashed_embedding_kept() -> str:
    """Return what hashed rows keep of trained embeddings, at each compression."""
    found = [r for r in rows("hashed_embedding") if "kept of the variance" in r]
    return table(tuple(found[0]), [(r["compression"], percent(r["kept of the variance"])) for r in found])


def hashed_embedding_speed() -> str:
    """Return the rows a second of bags, ours and PyTorch's."""
    found = [r for r in rows("hashed_embedding") if "pass" in r]
    return table(tuple(found[0]), [tuple(r.values()) for r in found])


def token_selection() -> str:
    """Return the attention mass and the error of each method, with a column for each size of hash codes."""
    found = rows("token_selection")
    sizes = [r for r in found if r["method"] == "hard collisions"]
    lines = []
    for name in dict.fromkeys(r["method"] for r in found):
        cells = [""] * len(sizes)
        for r in (r for r in found if r["method"] == name):
            # Methods of other bits stand where the bits are nearest.
            place = min(range(len(sizes)), key=lambda i: abs(sizes[i]["bits a key"] - r["bits a key"]))
            cells[place] = f"{r['mass, 32 tokens']:.3f}, {r['error, 32 tokens']:.3f} ({r['bits a key']} bits)"
        lines.append((name, *cells))
    return table(("method", *(f"about {r['bits a key']} bits a key" for r in sizes)), lines)


def index_codes_of(name: str) -> list[Row]:
    return [r for r in rows("index_codes") if r["set"].startswith(name)]


def index_codes_ways() -> str:
    """Return the ways to spend the same bytes on neighbours without the rows, on two sets."""
    sets = ("clustered", "glove")
    shown = ("2 bits", "4 bits", "7 bits", "1024 bits a row")
    lines = []
    for r in index_codes_of(sets[0]):
        if r["structure"].startswith(("VectorCodes", "LSHIndex", "faiss IndexLSH")) and r[
            "settings"
        ].startswith(shown):
            line = [r["structure"], r["settings"]]
            for name in sets:
                alike = [r["structure"], r["settings"]]
                there = next(o for o in index_codes_of(name) if [o["structure"], o["settings"]] == alike)
                line += [
                    short(there["bytes a row"], 3),
                    short(there["recall@10"], 3),
                    short(there["queries/s"]),
                ]
            lines.append(line)
    columns = [f"{name}: {what}" for name in sets for what in ("bytes a row", "recall@10", "queries/s")]
    return table(("structure", "settings", *columns), lines)


def index_codes_recall() -> str:
    """Return the best recall of an index with codes in the bytes of an IndexLSH of 1,024 bits."""
    return percent(
        max(
            r["recall@10"]
            for r in index_codes_of("clustered")
            if r["structure"].startswith("LSHIndex") and r["bytes a row"] <= 128
        )
    )


def top_k_batches() -> str:
    columns = ("TopK, ns a key", "HeavyHitters, ns a key")
    found = [r for r in rows("top_k") if "keys a batch" in r]
    lines = [(r["keys a batch"], *(short(r[c]) for c in columns)) for r in found]
    return table(("keys a batch", *columns), lines)


def static_functions_drawn() -> str:
    return table(
        (
            "values",
            "keys",
            "entropy, bytes",
            "file, bytes",
            "over the entropy",
            "build, million keys/s, 1 and 4 threads",
            "look-up, ns a key, 1 and 4 threads",
            "dict, ns",
        ),
        (
            (
                r["job"],
                r["keys"],
                round(r["entropy B"]),
                r["file B"],
                f"{short(r['over the entropy %'])} %",
                both_threads(r, "build, million keys/s"),
                both_threads(r, "lookup ns"),
                round(r["dict ns"]),
            )
            for r in drawn()
        ),
    )


def static_functions_real() -> str:
    columns = {
        "static function": "ours B",
        "with 16 check bits": "ours, 16 check bits B",
        "gzip -9, keys and values": "gzip of keys and values B",
        "zstd -19": "zstd of keys and values B",
        "sorted arrays": "sorted arrays B",
        "runs": "runs B",
        "marisa-trie": "marisa-trie B",
        "dict": "dict B",
    }
    return table(
        ("table", "keys", "entropy", *columns),
        (
            (r["job"], r["keys"], round(r["entropy B"]), *(r.get(c, "") for c in columns.values()))
            for r in real()
        ),
    )


def static_text() -> str:
    columns = {
        "raw": "raw B",
        "gzip -9 of all": "gzip B",
        "marisa-trie": "marisa-trie B",
        "version 0.2": "version 0.2 B",
        "static function": "ours B",
        "of it the numbers": "ours, numbers only B",
    }
    times = {"static function, ns": "ours ns", "marisa-trie, ns": "marisa-trie ns", "build, us": "build us"}
    return table(
        ("strings", "number", *(f"{name}, bytes" for name in columns), *times),
        (
            (
                r["data"],
                r["texts"],
                *(r.get(c, "") for c in columns.values()),
                *(short(r[c]) if c in r else "" for c in times.values()),
            )
            for r in strings()
        ),
    )


def strings() -> list[Row]:
    return [r for r in rows("static_text") if "texts" in r]


def both_threads(r: Row, what: str) -> str:
    return f"{short(r[f'{what}, 1 thread'])}, {short(r[f'{what}, 4 threads'])}"


def drawn() -> list[Row]:
    return [r for r in rows("static_functions") if "file B" in r]


def real() -> list[Row]:
    return [r for r in rows("static_functions") if "ours B" in r]


def million(job: str) -> Row:
    return row("static_functions", job=job, keys=1_000_000)


def two_bits() -> Row:
    return million("geometric, H=2")


def hashed(what: str) -> float:
    """Nanoseconds a key."""
    return 1e3 / float(row("hashing", what=what)["ours"])


def search_build(method: str, threads: int) -> float:
    """Return the rows a second that enter an index of the clustered vectors."""
    return float(row("search", set="clustered", method=method, threads=threads)["rows/s"])


def density(bits: str, threads: int) -> float:
    return float(row("race", job=f"density n=60,000, d=784, {bits}", threads=threads)["ours q/s"])


# -- the recipe for an index ------------------------------------------------------------------------


def recipe() -> Row:
    """Return the row of the README's recipe, with a limit of memory below the bytes of the rows."""
    return row("index_recipe", **{"min_cosine": 0.8, "memory limit, MB": 100.0})


def index_recipe() -> str:
    return table(
        (
            *("min_cosine", "memory", "tables", "probes", "capacity", "recall@10", "dropped"),
            *("µs a query", "times as fast as exact"),
        ),
        (
            (
                r["min_cosine"],
                f"{short(r['memory, MB'], 3)} MB" + ("" if r["memory limit, MB"] is None else ", limited"),
                r["tables"],
                r["probes"],
                r["capacity"],
                short(r["recall@10"]),
                percent(r["overflow"]),
                short(r["query us"]),
                short(r["times as fast as exact"]),
            )
            for r in rows("index_recipe")
            if "min_cosine" in r
        ),
    )


# -- GPUs -------------------------------------------------------------------------------------------


def gpu_rates() -> str:
    """Read the rates of the kernels on a GPU."""
    copy, *jobs = rows("gpu")
    lines = [
        (
            r["job"],
            r["items"],
            short(r["items/s"] / 1e6, 3),
            percent(r["% of a copy's bandwidth"] / 100),
            short(r["times all CPU cores"]),
        )
        for r in jobs
    ]
    head = ("job", "items in a call", "million items/s", "share of the bandwidth", "times 16 CPU cores")
    made = table(head, lines)
    fold = f"<details>\n<summary>All {len(jobs)} measurements on an {copy['device']}</summary>\n"
    return f"\n{fold}{made}\n</details>\n"


# -- streaming de-duplication -------------------------------------------------------------------------


def streamed() -> Row:
    return next(r for r in rows("streaming_deduplicator") if "documents" in r)


def streaming_removals() -> str:
    r = streamed()
    lines = [
        ("documents", f"{r['documents']:,}, {short(r['MB'], 3)} MB"),
        ("removed by exact grouping", r["removed by exact grouping"]),
        ("of these removed here", percent(r["of these found"], 3)),
        ("removed here only", f"{percent(r['false removals'])} of the documents"),
        ("memory", f"{short(r['bytes a document'])} bytes a document"),
        ("time on one thread, with shingling", f"{short(r['us a document'])} µs a document"),
    ]
    return table(("what", "measured"), lines)


def streaming_keys() -> str:
    columns = "keys in", "bytes a document", "ns a document"
    found = [r for r in rows("streaming_deduplicator") if "keys in" in r]
    return table(columns, ([r[columns[0]], *(short(r[c]) for c in columns[1:])] for r in found))


# -- distinct counts --------------------------------------------------------------------------------


def hyperloglog_errors() -> str:
    found = {(r["sketch"], r["keys"]): r for r in rows("distinct") if "keys" in r}
    peers = ("HLL_4, 8,192 registers", "HLL_8, 4,096 registers", "CPC, 8,192 rows")
    lines = []
    for ours in (r for (name, _), r in found.items() if name == "HyperLogLog"):
        bias = f"{100 * ours['bias']:.2f} ± {100 * ours['standard error of the bias']:.2f} %"
        line = [ours["keys"], bias, percent(ours["RMS error"]), percent(ours["theory"])]
        for peer in peers:
            pair = [found.get((f"{peer}, {how}", ours["keys"])) for how in ("one stream", "merged")]
            line.append(" / ".join(percent(r["RMS error"]) for r in pair if r))
        lines.append(line)
    sizes = [
        max(r["bytes"] for (name, _), r in found.items() if name.startswith(peer))
        for peer in ("HyperL", *peers)
    ]
    columns = [f"{name}, {size:,} bytes" for name, size in zip(("error", *peers), sizes, strict=True)]
    return table(("keys", "bias", columns[0], "theory", *columns[1:]), lines)


def hyperloglog_sizes() -> str:
    columns = ("registers, a byte each", "bytes of a file", "error for a million keys", "theory")
    found = [r for r in rows("distinct") if "registers" in r]
    return table(
        columns,
        (
            [r["registers"], r["file bytes"], percent(r["RMS error"], 3), percent(r["theory"], 3)]
            for r in found
        ),
    )


def hyperloglog_speed() -> str:
    return table(
        ("keys are", "sketch", "ns a key", "times ours"),
        (
            (r["keys are"], r["sketch"], short(r["ns a key"]), short(r["ratio"]))
            for r in rows("distinct")
            if "ratio" in r
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "hashed_embedding_accuracy": hashed_embedding_accuracy,
    "hashed_embedding_kept": hashed_embedding_kept,
    "hashed_embedding_speed": hashed_embedding_speed,
    "hyperloglog_errors": hyperloglog_errors,
    "hyperloglog_sizes": hyperloglog_sizes,
    "hyperloglog_speed": hyperloglog_speed,
    "containment": dedup_tables.containment,
    "dedup_files": dedup_tables.files,
    "dedup_processes": dedup_tables.processes,
    "dedup_published": dedup_tables.published,
    "dedup_large_runs": dedup_tables.large,
    "token_selection_pivot": token_selection,
    "negative_sampling_costs": negative_sampling_tables.costs,
    "negative_sampling_gradients": negative_sampling_tables.gradients,
    "negative_sampling_training": negative_sampling_tables.training,
    "streaming_removals": streaming_removals,
    "streaming_keys": streaming_keys,
    "index_recipe": index_recipe,
    "learned_index_recall": learned_index_table.recall,
    "learned_index_loads": learned_index_table.loads,
    **attention_tables.TABLES,
    **federation_tables.TABLES,
    **feedback_tables.TABLES,
    **term_tables.TABLES,
    **label_tables.TABLES,
    **sparsity_tables.TABLES,
    **sparse_all_reduce_tables.TABLES,
    "parameter_sharing_clicks": parameter_sharing_tables.clicks,
    "parameter_sharing_debian": parameter_sharing_tables.debian,
    "parameter_sharing_dense": parameter_sharing_tables.dense,
    "parameter_sharing_divergences": parameter_sharing_tables.divergences,
    "parameter_sharing_words": parameter_sharing_tables.words,
    "slide_curves": slide_tables.curves,
    "slide_models": slide_tables.models,
    "parameter_sharing_ids": parameter_sharing_tables.ids,
    "outlier_areas": outlier_tables.areas,
    "outlier_times": outlier_tables.times,
    "race_ratios": ratios,
    "race_densities": densities,
    "bloom_filter_sizes": bloom_filter_sizes,
    "bloom_filter_rates": bloom_filter_rates,
    "bloom_filter_speed": bloom_filter_speed,
    "bloom_filter_objects": bloom_filter_objects,
    "overlap_errors": overlap_errors,
    "overlap_weights": overlap_weights,
    "link_scores": link_scores,
    "link_speeds": link_speeds,
    "group_testing_missed": group_testing_missed,
    "group_testing_dorfman": group_testing_dorfman,
    "group_testing_calibration": group_testing_calibration,
    "storm_accuracies": storm_accuracies,
    "storm_classes": storm_classes,
    "counting_costs": counting_costs,
    "top_k_batches": top_k_batches,
    "neighbour_graph_alone": graph_tables.alone,
    "neighbour_graph_hops": graph_tables.hops,
    "neighbour_graph_lists": graph_tables.lists,
    "neighbour_graph_search": graph_tables.search,
    "neighbour_graph_structured": graph_tables.structured,
    "vector_codes_recall": vector_codes_recall,
    "vector_codes_scan": vector_codes_scan,
    "vector_codes_speed": vector_codes_speed,
    "index_codes_ways": index_codes_ways,
    "top_k_errors": top_k_errors,
    "static_functions_drawn": static_functions_drawn,
    "static_functions_real": static_functions_real,
    "static_text": static_text,
    "gpu_rates": gpu_rates,
    **float_tables.TABLES,
    **learned_code_tables.TABLES,
}

FIGURES: dict[str, Callable[[], str]] = {
    **float_tables.FIGURES,
    **sparsity_tables.FIGURES,
    "index_codes_recall": index_codes_recall,
    "neighbour_graph_ratio": graph_tables.ratio,
    "hyperloglog_ns": lambda: short(
        row("distinct", sketch="HyperLogLog", **{"keys are": "integers"})["ns a key"]
    ),
    "hyperloglog_times": lambda: span(
        (
            r["ratio"]
            for r in rows("distinct")
            if r.get("keys are") == "integers" and r["sketch"].startswith(("HLL", "CPC"))
        ),
        2,
    ),
    "outlier_mean": lambda: short(row("outliers", data="mean")["AceDetector"], 3),
    "outlier_mean_forest": lambda: short(row("outliers", data="mean")["isolation forest"], 3),
    "outlier_wine": lambda: short(row("outliers", data="wine, 8 of class 2")["AceDetector"]),
    "containment_documents": lambda: dedup_tables.containment_figure("documents"),
    "containment_cost": lambda: short(
        row("dedup_containment", hashes=128)["times the CPU seconds of Jaccard"]
    ),
    "dedup_jsonl_rate": lambda: dedup_tables.rate("jsonl"),
    "dedup_parquet_rate": lambda: dedup_tables.rate("parquet"),
    "dedup_large_documents": lambda: cell(round(dedup_tables.large_figure("documents"))),
    "dedup_large_mb": lambda: f"{dedup_tables.large_figure('MB'):.0f}",
    "dedup_large_predicted": lambda: f"{dedup_tables.large_figure('predicted MB'):.0f}",
    "dedup_large_shingles": lambda: f"{dedup_tables.large_figure('most for shingles, MB'):.0f}",
    "dedup_large_sample": lambda: cell(round(dedup_tables.large_figure("similar pairs of the sample"))),
    "streaming_sampled": lambda: cell(streamed()["documents in the sample"]),
    "streaming_bound": lambda: short(streamed()["bound in the sample"]),
    "streaming_false": lambda: cell(streamed()["false in the sample"]),
    "gpu_copy": lambda: short(rows("gpu")[0]["GB/s"], 2),
    "gpu_over_cpu": lambda: span(r["times all CPU cores"] for r in rows("gpu")[1:]),
    "dedup_command_speed": lambda: short(row("dedup_command", what="mergesketch dedup")["times as fast"]),
    "dedup_first_speed": lambda: short(
        row("dedup_command", what="mergesketch dedup, first run")["times as fast"]
    ),
    "state_bytes": lambda: short(rows("dedup_state")[0]["bytes a document on disk"], 3),
    "state_new": lambda: f"{rows('dedup_state')[1]['new documents']:,}",
    "state_old": lambda: f"{rows('dedup_state')[1]['old documents']:,}",
    "state_seconds": lambda: short(rows("dedup_state")[1]["seconds"], 2),
    "dedup_speed": lambda: short(row("dedup", what="ours, 1 thread")["ratio"]),
    "recipe_recall": lambda: percent(recipe()["recall@10"]),
    "recipe_overflow": lambda: percent(recipe()["overflow"], 1),
    "recipe_mb": lambda: short(recipe()["memory, MB"]),
    "recipe_speed": lambda: short(recipe()["times as fast as exact"]),
    "recipe_tenth": lambda: percent(
        row("index_recipe", what="data")["queries whose tenth has a cosine of 0.8"]
    ),
    "bloom_cardinality_error_1e4": lambda: own_cardinality_error(10_000),
    "bloom_cardinality_error_1e6": lambda: own_cardinality_error(1_000_000),
    "bloom_single_us": lambda: short(
        1 / row("bloom_filter", **{"keys are": "one str at a time"})["ours (M/s)"]
    ),
    "bloom_single_peer_us": lambda: short(
        1 / row("bloom_filter", **{"keys are": "one str at a time"})["rbloom (M/s)"], 1
    ),
    "minhash_stream_ns": lambda: short(
        row("scaling", structure="MinHashSketch, 1,024 bins", rows=100_000_000)["ns a row"]
    ),
    "hash_strings_ns": lambda: span(
        (hashed(f"buffer, {length} bytes") for length in ("1-16", "3-20", "20-60")), 1
    ),
    "hash_list_ns": lambda: short(hashed("list of str")),
    "top_k_ns": lambda: span(r["ns a key"] for r in rows("top_k") if r.get("sketch") == "TopK"),
    "top_k_peer_ns": lambda: span(
        r["ns a key"] for r in rows("top_k") if "DataSketches" in r.get("sketch", "")
    ),
    "static_dict_bytes": lambda: span((r["dict B"] / r["keys"] for r in real()), 2),
    "static_text_us": lambda: span((r["ours ns"] / 1e3 for r in strings()), 2),
    "static_text_paths_share": lambda: percent(strings()[0]["ours B"] / strings()[0]["raw B"]),
    "static_context_bytes": lambda: cell(rows("static_text")[-1]["ours B"]),
    "static_context_plain": lambda: cell(rows("static_text")[-1]["without contexts B"]),
    "static_context_entropy": lambda: cell(round(rows("static_text")[-1]["entropy B"])),
    "static_half_bit_kb": lambda: short(million("geometric, H=0.5")["file B"] / 1e3),
    "static_entropy_bytes": lambda: cell(round(two_bits()["entropy B"])),
    "static_file_bytes": lambda: cell(two_bits()["file B"]),
    "static_over_bytes": lambda: cell(two_bits()["file B"] - round(two_bits()["entropy B"])),
    "static_single_us": lambda: short(two_bits()["single us"]),
    "static_lookup_ns": lambda: span(r["lookup ns, 1 thread"] for r in drawn() if "columns" not in r["job"]),
    "static_load_ms": lambda: span((r["load ms"] for r in drawn()), 1),
    "static_heap_kb": lambda: short(two_bits()["heap over file %"] * two_bits()["file B"] / 1e5, 1),
    "static_peak_kb": lambda: short(two_bits()["peak heap over file %"] * two_bits()["file B"] / 1e5, 1),
    "static_build_us": lambda: span(
        (1 / r["build, million keys/s, 1 thread"] for r in drawn() if "columns" not in r["job"]), 1
    ),
    "static_least_entropy_bits": lambda: short(min(8 * r["entropy B"] / r["keys"] for r in real()), 1),
    "static_least_entropy_over": lambda: percent(max(r["ours B"] / r["entropy B"] - 1 for r in real())),
    "ribbon_over": lambda: span(
        (r["over log2(1/rate) %"] for r in rows("static_functions") if "error rate" in r), 1
    ),
    "race_under_bound": lambda: span(
        r["bound"] / r["std"] for r in rows("characterise") if r["sketch"] == "Race"
    ),
    "race_700_over_100": lambda: short(density("100 x 8 bits", 1) / density("700 x 16 bits", 1)),
    "merge_small_ms": lambda: short(
        1e3
        * (
            row("merge_over_ranks", MiB=0.0625)["merge_s"] - row("merge_over_ranks", MiB=0.0625)["in_place_s"]
        ),
        1,
    ),
    "static_heap_over": lambda: percent(two_bits()["heap over file %"] / 100, 1),
    "hnsw_build_times": lambda: short(
        search_build("search, cross-polytope, 10 tables", 1) / search_build("HNSW, built on 4 threads", 4)
    ),
    "ngram_dict_bytes": lambda: short(
        next(r["dict B"] / r["keys"] for r in real() if r["job"] == "n-gram counts of Python sources"), 3
    ),
    "static_heap_over_ten": lambda: percent(
        row("static_functions", job="geometric, H=2", keys=10_000_000)["heap over file %"] / 100, 1
    ),
}
