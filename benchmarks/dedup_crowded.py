"""Measure de-duplication where many documents share a band: pages of one template, and documents all alike.

Pages have 160 words of a template and 42 of their own, so unrelated ones have a similarity of 0.650. Planted
pages share 9 words more with another page, which makes 0.707. The threshold is 0.7. The expected share of the
planted pairs is the probability that two such pages share a band.
"""

import argparse
import time
from pathlib import Path

import mergesketch
import numpy as np
from measure import RESULTS, show, write
from mergesketch.distributed import deduplicate
from mergesketch.distributed.dedup.banding import candidate_probability
from mergesketch.lsh import shingle

OWN, SHARED = 42, 9


def pages(n: int, n_planted: int) -> list[str]:
    """Return pages of one template; the last `n_planted` share words with the first ones."""
    rng = np.random.default_rng(n)
    template = [f"t{i}" for i in range(160)]
    words = [[f"w{x}" for x in rng.integers(0, 10**12, OWN)] for _ in range(n - n_planted)]
    for first in range(n_planted):
        words.append(words[first][:SHARED] + [f"w{x}" for x in rng.integers(0, 10**12, OWN - SHARED)])
    return [" ".join(template + own) for own in words]


def alike(n: int) -> list[str]:
    """Return texts of 200 words, in each of which three words of one text are exchanged."""
    rng = np.random.default_rng(n)
    words = np.tile(np.array([f"w{i}" for i in range(200)], dtype=object), (n, 1))
    for row in words:
        row[rng.choice(200, 3, replace=False)] = [f"x{x}" for x in rng.integers(0, 10**12, 3)]
    return [" ".join(row) for row in words.tolist()]


def similarity(a: str, b: str) -> float:
    tokens, offsets, _ = shingle([a, b])
    left, right = set(tokens[: offsets[1]].tolist()), set(tokens[offsets[1] :].tolist())
    return len(left & right) / len(left | right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, nargs="*", default=[200, 500, 1000, 10_000])
    parser.add_argument("--alike", type=int, default=40_000)
    parser.add_argument("--copies", type=int, default=400_000)
    parser.add_argument("--json", type=Path, default=RESULTS / "dedup_crowded.json")
    options = parser.parse_args()
    deduplicate(pages(300, 10) + alike(200))
    rows = []
    for n in options.pages:
        n_planted = min(1000, n // 2)
        texts = pages(n, n_planted)
        start = time.perf_counter()
        result = deduplicate(texts)
        seconds = time.perf_counter() - start
        first = np.arange(n_planted)
        found = result.duplicate_of[n - n_planted + first] == result.duplicate_of[first]
        s = similarity(texts[0], texts[n - n_planted])
        rows.append(
            {
                "documents": f"{n:,} pages of one template",
                "n": n,
                "threads": mergesketch.get_num_threads(),
                "seconds": seconds,
                "groups": result.n_groups,
                "planted pairs found": float(found.mean()),
                "expected": float(candidate_probability(np.array([s]), result.bands, result.rows)[0]),
            }
        )
    for name, texts in (
        ("alike but not equal", alike(options.alike)),
        ("copies", ["one text of more than five words"] * options.copies),
    ):
        start = time.perf_counter()
        result = deduplicate(texts)
        rows.append(
            {
                "documents": f"{len(texts):,} {name}",
                "n": len(texts),
                "threads": mergesketch.get_num_threads(),
                "seconds": time.perf_counter() - start,
                "groups": result.n_groups,
            }
        )
    show("documents that share bands", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
