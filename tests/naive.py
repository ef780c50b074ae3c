"""Slow, obviously right references that the fast code is compared with, one section a structure."""

from __future__ import annotations

import collections
import functools
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from mergesketch import LSHIndex
from mergesketch.lsh.support.random import random_uint64

# -- counting keys --------------------------------------------------------------------------------


def table_row(key: int, words: list[int], n_buckets: int) -> tuple[int, int]:
    """Bucket and sign of a 64-bit key in the row with the words (a, b, c), in Python's own integers."""
    a, b, c = words
    low, high = key % 2**32, key // 2**32
    h = ((a + low) * (b + high) + c) % 2**64 // 2**32
    return h * n_buckets // 2**32, 1 if h % 2 == 1 else -1


def count_table(
    words: list[list[int]], n_buckets: int, keys: list[int], weights: list[int], *, signed: bool
) -> list[list[int]]:
    """Count-Min's (or, signed, Count-Sketch's) table."""
    table = [[0] * n_buckets for _ in words]
    for key, weight in zip(keys, weights, strict=True):
        for row, w in zip(table, words, strict=True):
            bucket, sign = table_row(key, w, n_buckets)
            row[bucket] += weight * sign if signed else weight
    return table


def conservative_table(
    words: list[list[int]], n_buckets: int, keys: list[int], weights: list[int]
) -> list[list[int]]:
    """Count-Min's table under conservative update."""
    table = [[0] * n_buckets for _ in words]
    for key, weight in zip(keys, weights, strict=True):
        buckets = [table_row(key, w, n_buckets)[0] for w in words]
        wanted = min(row[bucket] for row, bucket in zip(table, buckets, strict=True)) + weight
        for row, bucket in zip(table, buckets, strict=True):
            row[bucket] = max(row[bucket], wanted)
    return table


def table_estimates(words: list[list[int]], table: list[list[int]], key: int, *, signed: bool) -> list[int]:
    """What each row tells of the key's count."""
    found = [table_row(key, w, len(row)) for row, w in zip(table, words, strict=True)]
    return [row[at] * (sign if signed else 1) for row, (at, sign) in zip(table, found, strict=True)]


# -- RACE -----------------------------------------------------------------------------------------


def misra_gries(counts: Sequence[dict[int, int]], n_places: int) -> dict[int, int]:
    """The summary of several summaries: their sum, less the largest count that has no place.

    Agarwal et al. 2012: what is taken off any key, in all of a tree of such sums, is at most
    ``(total - what is left) / (n_places + 1)``.
    """
    total: dict[int, int] = {}
    for part in counts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    largest = sorted(total.values(), reverse=True)
    cut = largest[n_places] if len(largest) > n_places else 0
    return {key: count - cut for key, count in total.items() if count > cut}


def race_counts(codes: list[list[int]], weights: list[int], n_hashes: int, n_buckets: int) -> list[list[int]]:
    counts = [[0] * n_buckets for _ in range(n_hashes)]
    for row, weight in zip(codes, weights, strict=True):
        for r, code in enumerate(row):
            counts[r][code] += weight
    return counts


def race_sums(
    counts: list[list[int]], query_codes: list[list[int]], chance: float, groups: int | None
) -> list[float]:
    """Debiased kernel sums: the mean over repetitions, or the median of the means of groups."""
    total = sum(counts[0])
    sums = []
    for row in query_codes:
        each = [(counts[r][code] - total * chance) / (1 - chance) for r, code in enumerate(row)]
        if groups is None:
            sums.append(sum(each) / len(each))
        else:
            edges = [g * len(each) // groups for g in range(groups + 1)]
            means = [sum(each[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
            sums.append(statistics.median(means))
    return sums


# -- minhash: the least of a set's tokens under random orders --------------------------------------

_EMPTY = 2**32 - 1


def _mix13(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def _affine(h: int, a: int, b: int) -> int:
    return (a * (h % 2**32) + ((h >> 32) ^ b)) % 2**32


def minhash_permutations(tokens: Iterable[int], key: int, a: list[int], b: list[int]) -> list[int]:
    """One signature: value k is the least of the tokens under the order of hash function k."""
    words = [_mix13(token % 2**64 ^ key) for token in tokens]
    if not words:
        return [_EMPTY] * len(a)
    return [min(_EMPTY - 1, *(_affine(h, *ab) for h in words)) for ab in zip(a, b, strict=True)]


def minhash_one_permutation(
    tokens: Iterable[int], key: int, multiplier: int, walk_key: int, rank_key: int, m: int
) -> list[int]:
    """One signature: every bin the least of its tokens, empty bins copied from a random full one."""
    bins: dict[int, int] = {}
    for token in tokens:
        h = _mix13(token % 2**64 ^ key)
        k = (h * multiplier % 2**64 >> 32) * m >> 32
        bins[k] = min(bins.get(k, _EMPTY), h % 2**32 >> 1)
    if not bins:
        return [_EMPTY] * m
    signature = []
    for k in range(m):
        walk = [(_mix13(walk_key ^ k << 32 ^ t) >> 32) * m >> 32 for t in range(1 + math.isqrt(m))]
        rest = sorted(bins, key=lambda full: _mix13(rank_key ^ k << 32 ^ full))
        donor = next(d for d in [k, *walk, *rest] if d in bins)
        signature.append(bins[donor])
    return signature


def minhash_fast_similarity(
    tokens: Iterable[int],
    key: int,
    multipliers: list[int],
    a: list[int],
    b: list[int],
    bins: Iterable[int] | None = None,
) -> list[int]:
    """One signature: each bin keeps its first token by (round, value); the last round hits every bin.

    With `bins` the values of those only.
    """
    words = [_mix13(token % 2**64 ^ key) for token in tokens]
    m, rounds = len(a), len(multipliers)
    if not words:
        return [_EMPTY] * m
    signature = []
    for k in range(m) if bins is None else bins:
        order = []
        for h in words:
            for r, multiplier in enumerate(multipliers):
                if (h * multiplier % 2**64 >> 32) * m >> 32 == k:
                    value = h % 2**32 if r == 0 else _EMPTY - h % 2**32
                    order.append((r, value >> (r + 1), 31 - r))
            order.append((rounds, _affine(h, a[k], b[k]) >> rounds, 32 - rounds))
        r, value, bits = min(order)
        signature.append(min((2**r - 1) * 2 ** (32 - r) + value, _EMPTY - 1))
        assert value < 2**bits
    return signature


def concatenate(values: list[int], key: int, n_buckets: int) -> int:
    """The code of one hash function from its `power` values."""
    z = key
    for value in values:
        z = _mix13(z ^ value)
    return (z >> 32) * n_buckets >> 32


def jaccard(x: Iterable[int], y: Iterable[int]) -> float:
    x, y = set(x), set(y)
    return len(x & y) / len(x | y) if x | y else 1.0


# ---- Text: words, normalisation and shingles, with Python's own Unicode database and the xxhash package


def lower_one_to_one(character: str) -> str:
    """Simple lower-casing: Python's, but for the one character whose own is longer."""
    lower = character.lower()
    return lower if len(lower) == 1 else "i"


def stands_alone(character: str) -> bool:
    """Characters of scripts written without spaces, told by their names."""
    import unicodedata

    name = unicodedata.name(character, "")
    script = name.startswith(
        ("CJK UNIFIED", "CJK COMPATIBILITY IDEO", "HIRAGANA", "HENTAI", "THAI ", "LAO ", "KHMER ", "MYANMAR ")
    )
    return character in "々〻〇\U00016fe3" or (script and unicodedata.category(character)[0] == "L")


def words(text: str) -> list[str]:
    """Words in the order of the text, lower-cased."""
    import unicodedata

    found: list[str] = []
    state = "separator"
    for character in text:
        category = unicodedata.category(character)
        if category[0] not in "LNM" and category != "Pc":
            state = "separator"
            continue
        lower = lower_one_to_one(character)
        if stands_alone(character):
            found.append(lower)
            state = "alone"
        elif state == "word" or (state == "alone" and category[0] == "M"):
            found[-1] += lower
        else:
            found.append(lower)
            state = "word"
    return found


def shingles(document: bytes, unit: str, size: int, seed: int) -> tuple[int, list[int]]:
    """Status of a document (0 fine, 1 empty, 2 not UTF-8) and the hashes of its shingles."""
    import xxhash

    try:
        found = words(document.decode("utf-8"))
    except UnicodeDecodeError:
        return 2, []
    if not found:
        return 1, []
    if unit == "word":
        texts = [" ".join(found[i : i + size]) for i in range(max(1, len(found) - size + 1))]
    else:
        text = " ".join(found)
        texts = [text[i : i + size] for i in range(max(1, len(text) - size + 1))]
    return 0, [xxhash.xxh3_64_intdigest(text.encode("utf-8"), seed) for text in texts]


# -- projections ----------------------------------------------------------------------------------


def exact_product(vector: list[float], row: list[float]) -> Fraction:
    """The dot product without any rounding."""
    return sum((Fraction(w) * Fraction(x) for w, x in zip(vector, row, strict=True)), Fraction(0))


def sign_codes(
    vectors: list[list[float]], X: list[list[float]], n_hashes: int, power: int
) -> list[list[int]]:
    """Bit k of code h: whether vector k n_hashes + h has a product of at least 0 with the row."""
    return [
        [
            sum(1 << k for k in range(power) if exact_product(vectors[k * n_hashes + h], row) >= 0)
            for h in range(n_hashes)
        ]
        for row in X
    ]


def step_codes(
    vectors: list[list[float]],
    offsets: list[float],
    width: float,
    keys: list[int],
    n_buckets: int,
    X: list[list[float]],
    power: int,
) -> list[list[int]]:
    """p-stable codes: steps of exact products, mixed and reduced."""
    codes = []
    for row in X:
        words = list(keys)
        for place, (vector, offset) in enumerate(zip(vectors, offsets, strict=True)):
            step = math.floor((float(exact_product(vector, row)) + offset) / width)
            h = place % len(keys)
            words[h] = _mix13(words[h] ^ (step % 2**64))
        codes.append([(word >> 32) * n_buckets >> 32 for word in words])
    return codes


def hadamard_products(masks: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Every row times H D3 H D2 H D1 of every block, by dense matrices; a set bit of `masks` is a -1."""
    bits = masks[:, :, None] >> np.arange(16, dtype=np.uint16) & 1
    signs = (1 - 2 * bits.astype(int)).reshape(len(masks), 3, -1)
    size = signs.shape[2]
    H = np.array([[(-1.0) ** bin(i & j).count("1") for j in range(size)] for i in range(size)])
    padded = np.zeros((len(X), size))
    padded[:, : X.shape[1]] = X
    products = []
    for first, second, third in signs.astype(float):
        products.append((((padded * first) @ H * second) @ H * third) @ H)
    return np.concatenate(products, axis=1) / size**1.5


def rounded_hadamard_products(masks: np.ndarray, row: np.ndarray) -> np.ndarray:
    """`hadamard_products` of one float32 row in float32, level after level in the order of their spans."""
    products = []
    for rounds in masks.reshape(len(masks), 3, -1):
        block = np.zeros(16 * rounds.shape[1], dtype=np.float32)
        block[: row.size] = row
        for words in rounds:
            flips = (words[:, None] >> np.arange(16, dtype=np.uint16) & 1).reshape(-1) == 1
            block[flips] *= -1
            span = 1
            while span < block.size:
                pairs = block.reshape(-1, 2, span)
                a, b = pairs[:, 0].copy(), pairs[:, 1].copy()
                pairs[:, 0], pairs[:, 1] = a + b, a - b
                span *= 2
        products.append(block)
    return np.concatenate(products)


def hashed_products(key: int, quantiles: list[float], X: list[list[float]], n_values: int) -> np.ndarray:
    """Products of rows and vectors whose entries are hashed from the numbers of feature and vector."""
    n_words = -(-n_values // 5)
    products = np.zeros((len(X), 5 * n_words))
    for i, row in enumerate(X):
        for feature, x in enumerate(row):
            for g in range(n_words):
                word = _mix13((_mix13(feature ^ key) + g * 0x9E3779B97F4A7C15) % 2**64)
                for e in range(5):
                    products[i, e * n_words + g] += x * quantiles[word >> 12 * e & 4095]
    return products[:, :n_values]


# -- svmlight text --------------------------------------------------------------------------------


def svmlight_rows(text: str) -> list[tuple[float, list[tuple[int, float]]]]:
    """Labels and (index, value) entries of every row."""
    rows = []
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        if words:
            entries = [word.split(":") for word in words[1:] if not word.startswith("qid:")]
            rows.append((float(words[0]), [(int(index), float(value)) for index, value in entries]))
    return rows


# -- index of buckets -----------------------------------------------------------------------------

Buckets = dict[tuple[int, int], list[int]]


def index_buckets(codes: list[list[int]], ids: list[int]) -> Buckets:
    """All ids of every bucket, by table and code."""
    buckets: Buckets = {}
    for row, number in zip(codes, ids, strict=True):
        for place in enumerate(row):
            buckets.setdefault(place, []).append(number)
    return buckets


def index_kept(buckets: Buckets, keys: list[int], capacity: int) -> Buckets:
    """The ids of least priority of every bucket, by falling priority."""
    return {
        (table, code): sorted(ids, key=lambda i: _mix13((i + 1) ^ keys[table]))[:capacity][::-1]
        for (table, code), ids in buckets.items()
    }


def kept_by(index: LSHIndex, codes: np.ndarray, ids: list[int]) -> Buckets:
    """Return what `index` must keep of rows of these codes."""
    keys = random_uint64(index.seed, "LSHIndex priorities", index.family.n_hashes).tolist()
    return index_kept(index_buckets(codes.tolist(), ids), keys, index.capacity)


def index_query(kept: Buckets, codes: list[int], k: int) -> tuple[list[int], list[int]]:
    """The k ids that stand most often in a query's buckets, and how often, padded."""
    counts: dict[int, int] = {}
    for place in enumerate(codes):
        for number in kept.get(place, []):
            counts[number] = counts.get(number, 0) + 1
    best = sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:k]
    best += [(-1, 0)] * (k - len(best))
    return [number for number, _ in best], [count for _, count in best]


# -- distributed index ----------------------------------------------------------------------------


def top_by_collisions(
    codes: np.ndarray, ids: np.ndarray, query_codes: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows that share most codes with each query, by comparing every row with every query."""
    out_ids = np.full((len(query_codes), k), -1, dtype=np.int64)
    out_counts = np.zeros((len(query_codes), k), dtype=np.int32)
    for i, query in enumerate(query_codes):
        counts = (codes == query).sum(axis=1) if len(codes) else np.zeros(0, dtype=int)
        best = sorted((-int(c), int(row)) for c, row in zip(counts, ids, strict=True) if c)[:k]
        for j, (count, row) in enumerate(best):
            out_ids[i, j], out_counts[i, j] = row, -count
    return out_ids, out_counts


def vote(cells: dict, place: tuple, candidate: int, votes: int) -> None:
    """Let a cell of (id, votes) take in votes for an id: equal ones add, of others the larger survives."""
    held, count = cells.get(place, (0, 0))
    if held == candidate:
        cells[place] = (held, count + votes)
    elif count > votes or (count == votes and held <= candidate):
        cells[place] = (held, count - votes)
    else:
        cells[place] = (candidate, votes - count)


# -- de-duplication -------------------------------------------------------------------------------


def bucket_pairs(keys: list[int], limit: int, near: int) -> set[tuple[int, int]]:
    """Places of equal keys that are paired: all, or in buckets above `limit` the near ones and the first."""
    pairs = set()
    for key in set(keys):
        places = [i for i, k in enumerate(keys) if k == key]
        for m, right in enumerate(places):
            for n, left in enumerate(places[:m]):
                if len(places) <= limit or m - n <= near or n == 0:
                    pairs.add((left, right))
    return pairs


def components(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The least node of the component of every node with an edge, the least nodes left out."""
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    roots: dict[int, int] = {}
    for node in sorted(neighbours):
        if node not in roots:
            waiting = [node]
            while waiting:
                other = waiting.pop()
                if other not in roots:
                    roots[other] = node
                    waiting.extend(neighbours[other])
    return {node: root for node, root in roots.items() if node != root}


def similar_pairs(sets: list[set[int]], threshold: float) -> dict[tuple[int, int], float]:
    """Pairs of non-empty sets of at least that Jaccard similarity."""
    return {
        (i, j): similarity
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and (similarity := jaccard(sets[i], sets[j])) >= threshold
    }


# -- inner products -------------------------------------------------------------------------------


def on_sphere(row: list[float], bound: float | None, *, query: bool) -> list[float]:
    """A row with two coordinates more: what is missing to length `bound`, and 0."""
    square = sum((Fraction(x) ** 2 for x in row), Fraction(0))
    missing = 0.0
    if bound is not None and square < Fraction(bound) ** 2:
        missing = math.sqrt(1 - square / Fraction(bound) ** 2) * bound
    return [*row, 0.0, missing] if query else [*row, missing, 0.0]


def angle_between(x: list[float], y: list[float]) -> float:
    """Of two rows; that of a row of zeros to any other is a right one."""
    length = math.hypot(*x) * math.hypot(*y)
    if length == 0.0:
        return math.pi / 2
    cosine = sum(a * b for a, b in zip(x, y, strict=True)) / length
    return math.acos(min(1.0, max(-1.0, cosine)))


# -- bit sampling ---------------------------------------------------------------------------------


def sampled_code(row: list[bool], places: list[int], key: int | None, n_buckets: int) -> int:
    """The sampled bits of a row, the first lowest; with a key, their 32-bit words mixed to one code."""
    bits = sum(row[place] << k for k, place in enumerate(places))
    if key is None:
        return bits
    return concatenate([bits >> 32 * w & _EMPTY for w in range(-(-len(places) // 32))], key, n_buckets)


def probed_rows(row: list[bool], places: list[int]) -> list[list[bool]]:
    """The row with every set of its sampled bits flipped, by their number and then in order of sampling."""
    distinct = list(dict.fromkeys(places))
    return [
        [bit != (place in flipped) for place, bit in enumerate(row)]
        for size in range(len(distinct) + 1)
        for flipped in itertools.combinations(distinct, size)
    ]


# -- winner-take-all ------------------------------------------------------------------------------


def winner(row: list[float], group: Iterable[int]) -> int | None:
    """Place in the group of the first of its largest numbers, zeros being absent."""
    present = [(-row[feature], place) for place, feature in enumerate(group) if row[feature] != 0]
    return min(present)[1] if present else None


def winner_codes(
    row: list[float],
    permutations: list[list[int]],
    power: int,
    group_size: int,
    donor_keys: list[list[int]],
    keys: list[int] | None,
    n_hashes: int,
    n_buckets: int,
) -> list[int]:
    """Codes of a row: its winners' places as digits or, with keys, its winning features mixed."""
    d, rounds = len(row), len(permutations) // power
    codes = []
    for h in range(n_hashes):
        places, features = [], []
        for part in range(power):
            number = part * rounds + h // (d // group_size)
            order = permutations[number]
            bins = [order[i : i + group_size] for i in range(0, d, group_size)]
            full = [b for b, group in enumerate(bins) if winner(row, group) is not None]
            if not full:
                places.append(0)
                features.append(d)
                continue
            own = h % (d // group_size)
            walk, rank = donor_keys[0][number], donor_keys[1][number]
            attempts = 1 + math.isqrt(len(bins)) // 4
            tried = [(_mix13(walk ^ own << 32 ^ t) >> 32) * len(bins) >> 32 for t in range(attempts)]
            ranked = sorted(full, key=lambda b: (_mix13(rank ^ own << 32 ^ b) >> 31, b))
            donor = next(b for b in [own, *tried, *ranked] if b in full)
            place = winner(row, bins[donor])
            assert place is not None
            features.append(bins[donor][place])
            if donor != own:
                place += (_mix13(walk ^ own << 32 ^ donor ^ 1 << 63) >> 32) * group_size >> 32
            places.append(place % group_size)
        if keys is None:
            codes.append(sum(place * group_size ** (power - 1 - k) for k, place in enumerate(places)))
        else:
            codes.append(concatenate(features, keys[h], n_buckets))
    return codes


def winner_agreement(x: list[float], y: list[float], group_size: int, *, by_place: bool) -> float:
    """Share of groups, in all their orders, with one winner in x and y, of those not empty in both.

    A group counts by 1 over the groups that are not empty on average, of as many as features make, if it is
    one of them.
    """
    agree = either = Fraction(0)
    d = len(x)
    union = {f for f in range(d) if x[f] or y[f]}
    for group in itertools.permutations(range(d), group_size):
        a, b = winner(x, group), winner(y, group)
        if a is None and b is None:
            continue
        held = len(union.intersection(group))
        others = list(itertools.combinations(range(d - group_size), group_size))
        left = set(range(len(union) - held))
        empty = sum(left.isdisjoint(other) for other in others)
        touched = Fraction(len(others) - empty, len(others)) if others else Fraction(bool(left))
        weight = 1 / (1 + Fraction(d - group_size, group_size) * touched)
        either += weight
        if a is not None and b is not None:
            agree += weight * (a == b)
        elif by_place:
            agree += weight * Fraction(1, group_size)
    return float(agree / either) if either else 1.0


# -- multi-probe querying ---------------------------------------------------------------------------


def probed_bits(products: list[float]) -> list[tuple[float, int]]:
    """Every code of sign bits with the summed squares of the products whose bits it has otherwise."""
    code = sum(1 << k for k, product in enumerate(products) if product >= 0)
    return sorted(
        (sum(sorted(product**2 for k, product in enumerate(products) if flips >> k & 1)), code ^ flips)
        for flips in range(1 << len(products))
    )


def probed_steps(values: list[float]) -> list[tuple[float, tuple[int, ...]]]:
    """Every cell next to that of `values` with the summed squares of the distances to its borders."""
    cell = [math.floor(value) for value in values]
    return sorted(
        (
            sum(
                sorted(
                    (v - c if move < 0 else c + 1 - v) ** 2
                    for v, c, move in zip(values, cell, moves, strict=True)
                    if move
                )
            ),
            tuple(c + move for c, move in zip(cell, moves, strict=True)),
        )
        for moves in itertools.product((-1, 0, 1), repeat=len(values))
    )


# -- search ---------------------------------------------------------------------------------------


def index_search(
    kept: Buckets, codes: list[list[int]], n_candidates: int | None, distances: list[float], k: int
) -> tuple[list[int], list[float]]:
    """The k nearest of the ids that stand most often in a query's buckets, padded.

    ``codes[t]`` are the probes of table t, ``distances[i]`` how far the row of id i is.
    """
    n_probes = len(codes[0])
    buckets = [
        (table, codes[table][p])
        for p in range(n_probes)
        for table in range(len(codes))
        if codes[table][p] not in codes[table][:p]
    ]
    counts: dict[int, int] = {}
    first: dict[int, int] = {}
    for order, place in enumerate(buckets):
        for number in kept.get(place, []):
            counts[number] = counts.get(number, 0) + 1
            first.setdefault(number, order)
    found = sorted(counts, key=lambda i: (-min(counts[i], len(codes)), first[i], i))[:n_candidates]
    nearest = sorted((distances[i], i) for i in found)[:k]
    nearest += [(np.inf, -1)] * (k - len(nearest))
    return [i for _, i in nearest], [d for d, _ in nearest]


def step_code(steps: list[int], key: int, n_buckets: int) -> int:
    """Steps mixed into one word and reduced."""
    word = key
    for step in steps:
        word = _mix13(word ^ (step % 2**64))
    return (word >> 32) * n_buckets >> 32


def least_sets(scores: list[float], groups: list[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Every set of changes, at most one of each group, by its summed score."""
    n = len(scores)
    sets = [tuple(c for c in range(n) if bits >> c & 1) for bits in range(1 << n)]
    return sorted(
        (sum(scores[c] for c in members), members)
        for members in sets
        if len({groups[c] for c in members}) == len(members)
    )


# -- cross-polytope hashes ------------------------------------------------------------------------


def scattered(row: np.ndarray, key: int, size: int) -> np.ndarray:
    """A float32 row whose features are added up, with random signs, at hashed places."""
    out = np.zeros(size, dtype=np.float32)
    for feature, entry in enumerate(row):
        word = _mix13(feature ^ key)
        out[word * size >> 64] += -entry if word & 1 else entry
    return out


def cross_polytope_values(rotated: np.ndarray, n_values: int, dimension: int) -> list[list[int]]:
    """Elementary hashes of rows that are rotated already: the nearest of the signed axes."""
    out = []
    for row in rotated.reshape(len(rotated), -1, dimension)[:, :n_values].tolist():
        values = []
        for coordinates in row:
            place = max(range(dimension), key=lambda j: (abs(coordinates[j]), -j))
            values.append(2 * place + (coordinates[place] < 0))
        out.append(values)
    return out


def cross_polytope_cells(coordinates: list[list[float]]) -> list[tuple[float, tuple[int, ...]]]:
    """Every cell of a hash of several elementary ones and its cost, the likeliest first."""
    ways = []
    for values in coordinates:
        largest = max(abs(v) for v in values)
        ways.append([((largest - abs(v)) ** 2, 2 * j + (v < 0)) for j, v in enumerate(values)])
    cells = [
        (sum(cost for cost, _ in cell), tuple(digit for _, digit in cell))
        for cell in itertools.product(*ways)
    ]
    return sorted(cells)


# -- streamed MinHash -----------------------------------------------------------------------------


def shared_bins(minima: list[list[int]], i: int, j: int) -> tuple[int, int]:
    """Of the bins full in set i or j, how many hold the same value, and how many there are."""
    pairs = [(a, b) for a, b in zip(minima[i], minima[j], strict=True) if min(a, b) != 0xFFFFFFFF]
    return sum(a == b for a, b in pairs), len(pairs)


# -- private tasks ----------------------------------------------------------------------------------


def discrete_laplace(words: Iterable[int], numerator: int, denominator: int) -> int:
    """One number of noise from a stream of 64-bit words (Canonne, Kamath and Steinke 2020, algorithm 2)."""
    words = iter(words)

    def uniform(n: int) -> int:
        return next(word for word in words if word < 2**64 // n * n) % n

    def coin(a: int, b: int) -> bool:
        k = 1
        while uniform(b * k) < a:
            k += 1
        return k % 2 == 1

    while True:
        offset = uniform(numerator)
        if not coin(offset, numerator):
            continue
        turns = 0
        while coin(1, 1):
            turns += 1
        size = (offset + turns * numerator) // denominator
        negative = uniform(2) == 1
        if not (negative and size == 0):
            return -size if negative else size


def private_class_scores(codes, counts, noise_std):
    """Log-likelihoods of classes by naive Bayes over the noisy counters of every repetition."""
    repetitions, buckets, classes = counts.shape
    totals = [max(1.0, sum(int(c) for c in counts[:, :, y].flat) / repetitions) for y in range(classes)]
    smoothing = 1.0 + noise_std
    scores = np.zeros((len(codes), classes))
    for i, row in enumerate(codes):
        for y in range(classes):
            scores[i, y] = math.log(totals[y] / sum(totals))
            for r, code in enumerate(row):
                counter = max(0, int(counts[r, code, y])) + smoothing
                scores[i, y] += math.log(counter / (totals[y] + buckets * smoothing))
    return scores


# -- weighted MinHash -----------------------------------------------------------------------------


def weighted_minhash(key: int, keys: list[int], row: dict[int, float]) -> list[int]:
    """Consistent weighted sampling of one row (Ioffe 2010, section 3), a weight at a time."""
    step, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    values = []
    for hash_key in keys:
        least = None
        for number, w in row.items():
            feature = _mix13(number ^ key)
            one = _mix13(feature ^ hash_key)
            two = _mix13(((feature ^ hash_key) + step) & mask)
            # Of each word 24 bits, 24 bits and 16 bits.
            r, c = (
                -math.log(((x >> 40) + 0.5) / 2**24 * (((x >> 16 & 0xFFFFFF) + 0.5) / 2**24))
                for x in (one, two)
            )
            beta = ((one & 0xFFFF) * 2**16 + (two & 0xFFFF) + 0.5) / 2**32
            t = math.floor(math.log(w) / r + beta)
            y = r * (t - beta)
            candidate = (math.log(c) - y - r, feature, t)
            least = candidate if least is None or candidate[0] < least[0] else least
        if least is None:
            values.append(0xFFFFFFFF)
        else:
            word = _mix13((least[1] + least[2] * step) & mask)
            values.append(min(_mix13(word ^ hash_key) >> 32, 0xFFFFFFFE))
    return values


def weighted_jaccard(x: dict[int, float], y: dict[int, float]) -> Fraction:
    """The sum of the lesser weights over that of the greater."""
    lesser = sum((min(Fraction(x.get(f, 0)), Fraction(y.get(f, 0))) for f in {*x, *y}), Fraction(0))
    greater = sum((max(Fraction(x.get(f, 0)), Fraction(y.get(f, 0))) for f in {*x, *y}), Fraction(0))
    return lesser / greater if greater else Fraction(1)


# -- STORM ----------------------------------------------------------------------------------------


def sign_products(Z: np.ndarray, frames: np.ndarray) -> list[list[int]]:
    """For each frame and pair of its directions: the sum over rows of the product of two signs."""
    lengths = np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1.0)
    unit = Z / lengths
    full = np.column_stack([unit, np.sqrt(np.maximum(1.0 - (unit**2).sum(axis=1), 0.0))])
    counts = []
    for frame in frames:
        signs = np.where(full @ frame.T >= 0, 1, -1)
        pairs = itertools.combinations(range(len(frame)), 2)
        counts.append([int((signs[:, i] * signs[:, j]).sum()) for i, j in pairs])
    return counts


# -- densities from grids -------------------------------------------------------------------------


def grid_counts(
    X: np.ndarray, weights: np.ndarray, frames: list[np.ndarray], shifts: np.ndarray, widths: np.ndarray
) -> list[dict[tuple[int, ...], int]]:
    """For each grid, how much weight lies in each cell; frames[r] is a rotation."""
    grids: list[dict[tuple[int, ...], int]] = []
    for frame, shift in zip(frames, shifts, strict=True):
        counts: dict[tuple[int, ...], int] = {}
        for x, weight in zip(X, weights.tolist(), strict=True):
            cell = tuple(int(c) for c in np.floor(frame @ x / widths + shift))
            counts[cell] = counts.get(cell, 0) + weight
        grids.append(counts)
    return grids


def triangular_density(Q: np.ndarray, X: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Kernel density under the product of triangles."""
    u = np.abs(Q[:, None, :] - X[None, :, :]) / widths
    return (np.maximum(0.0, 1.0 - u) / widths).prod(axis=2).mean(axis=1)


# -- prefix codes ---------------------------------------------------------------------------------


def least_code_cost(counts: list[int], limit: int) -> int:
    """Least sum of counts times word lengths of a prefix code within `limit`, over all shapes of its tree."""
    ordered = sorted(counts, reverse=True)

    @functools.cache
    def rest(placed: int, free: int, depth: int) -> float:
        """Least cost of the symbols from `placed` on, with `free` nodes at this depth."""
        if placed == len(ordered):
            return 0
        if depth > limit or free == 0:
            return math.inf
        return min(
            depth * sum(ordered[placed : placed + here])
            + rest(placed + here, min(2 * (free - here), len(ordered)), depth + 1)
            for here in range(min(free, len(ordered) - placed) + 1)
        )

    return int(rest(0, 1, 0))


def canonical_words(lengths: list[int]) -> list[str]:
    """Words of the canonical code, as strings of 0 and 1."""
    words = [""] * len(lengths)
    position = Fraction(0)
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        length = lengths[index]
        words[index] = f"{int(position * 2**length):0{length}b}" if length else ""
        position += Fraction(1, 2**length)
    return words


def elias_fano_values(
    words: list[int], n: int, low_bits: int, high_at: int, samples_at: int
) -> tuple[list[int], list[int]]:
    """All values of an Elias-Fano sequence and the places of their high bits."""
    lows = sum(word << (64 * i) for i, word in enumerate(words[:high_at]))
    highs = sum(word << (64 * i) for i, word in enumerate(words[high_at:samples_at]))
    places = [place for place in range(64 * (samples_at - high_at)) if highs >> place & 1]
    values = [
        ((place - i) << low_bits) | (lows >> (i * low_bits) & ((1 << low_bits) - 1))
        for i, place in enumerate(places[:n])
    ]
    return values, places


# -- Bloom filters --------------------------------------------------------------------------------


def bloom_places(h: int, n_blocks: int, n_hashes: int) -> list[tuple[int, int]]:
    """The (block, bit) pairs of a key with the 64-bit hash `h`."""
    places: list[tuple[int, int]] = []
    block, word = h * n_blocks // 2**64, h
    while len(places) < n_hashes:
        word = word * 0x9E3779B97F4A7C15 % 2**64
        word ^= word >> 32
        fields = [word >> shift & 511 for shift in range(55, 0, -9)]
        places += [(block, field) for field in fields]
    return places[:n_hashes]


def bloom_blocks(places: Iterable[tuple[int, int]], n_blocks: int) -> list[list[int]]:
    """The blocks of a filter with these bits set, eight words each."""
    blocks = [[0] * 8 for _ in range(n_blocks)]
    for block, bit in places:
        blocks[block][bit // 64] |= 1 << bit % 64
    return blocks


def bloom_error(n_keys: int, n_hashes: int, n_bits: int) -> Fraction:
    """Chance that one block of `n_bits` passes an absent key, by every way to set its bits."""
    chances = {0: Fraction(1)}
    for _ in range(n_keys * n_hashes):
        stepped: dict[int, Fraction] = {}
        for n_set, chance in chances.items():
            stepped[n_set] = stepped.get(n_set, Fraction(0)) + chance * Fraction(n_set, n_bits)
            stepped[n_set + 1] = stepped.get(n_set + 1, Fraction(0)) + chance * Fraction(
                n_bits - n_set, n_bits
            )
        chances = stepped
    return sum(
        (chance * Fraction(n_set, n_bits) ** n_hashes for n_set, chance in chances.items()), Fraction(0)
    )


# -- rows that are multisets ----------------------------------------------------------------------


def column_entropies(rows: Any) -> float:
    """The sum of the columns' empirical entropies, in bits a row."""
    total = 0.0
    for column in zip(*rows, strict=True):
        counts = collections.Counter(column)
        total -= sum(c / len(column) * math.log2(c / len(column)) for c in counts.values())
    return total


def by_frequency(rows: Any) -> list[list[Any]]:
    """Each row in falling order of its values' counts in all rows, ties by value."""
    counts = collections.Counter(value for row in rows for value in row)
    return [sorted(row, key=lambda value: (-counts[value], value)) for row in rows]


def cover_columns(rows: Any) -> list[list[Any]]:
    """Column after column, the value that most rows without one have (ties: the least) goes to them."""
    left = [list(row) for row in rows]
    done: list[list[Any]] = [[] for _ in rows]
    for _ in range(len(left[0]) if left else 0):
        waiting = set(range(len(left)))
        while waiting:
            counts = collections.Counter(value for i in waiting for value in set(left[i]))
            best = min(counts, key=lambda value: (-counts[value], value))
            for i in [i for i in waiting if best in left[i]]:
                left[i].remove(best)
                done[i].append(best)
                waiting.remove(i)
    return done


# -- group testing --------------------------------------------------------------------------------


def pool_posterior(
    pools: Any, outcomes: Any, prevalence: Any, false_positive_rate: float, false_negative_rate: float
) -> list[float]:
    """Each sample's exact probability of being positive: the sum over all sets of positive samples."""
    n = len(prevalence)
    positive, every = [0.0] * n, 0.0
    for truth in itertools.product((False, True), repeat=n):
        weight = math.prod(q if x else 1 - q for x, q in zip(truth, prevalence, strict=True))
        for pool, outcome in zip(pools, outcomes, strict=True):
            chance = 1 - false_negative_rate if any(truth[i] for i in pool) else false_positive_rate
            weight *= chance if outcome else 1 - chance
        every += weight
        for i in range(n):
            positive[i] += weight * truth[i]
    return [p / every for p in positive]


def comp(pools: Any, outcomes: Any, n: int) -> set[int]:
    """Samples of no negative pool."""
    cleared = {int(i) for pool, outcome in zip(pools, outcomes, strict=True) if not outcome for i in pool}
    return set(range(n)) - cleared


def definite(pools: Any, outcomes: Any, n: int) -> set[int]:
    """Samples that are the only candidate of some positive pool."""
    left = comp(pools, outcomes, n)
    lonely = (left & {int(i) for i in pool} for pool, outcome in zip(pools, outcomes, strict=True) if outcome)
    return {next(iter(candidates)) for candidates in lonely if len(candidates) == 1}


# -- signatures of neighbourhoods -----------------------------------------------------------------


def neighbourhoods(n_nodes: int, edges: Any, n_hops: int, directed: bool) -> list[set[int]]:
    """The nodes within n_hops edges of each node: those one hop away, and what their sets hold in turn."""
    near: list[set[int]] = [set() for _ in range(n_nodes)]
    for u, v in edges:
        if u != v:
            near[u].add(v)
            if not directed:
                near[v].add(u)
    sets = [set(neighbours) for neighbours in near]
    for _ in range(n_hops - 1):
        sets = [sets[u].union(*(sets[v] for v in near[u])) for u in range(n_nodes)]
    return sets


# -- ribbons --------------------------------------------------------------------------------------


def ribbon_window(key: int) -> int:
    """A key's 128 coefficients, the lowest of them 1."""
    low = _mix13(key ^ 0x9E3779B97F4A7C15) | 1
    return low | _mix13((key + 0xC2B2AE3D27D4EB4F) & (2**64 - 1)) << 64


def ribbon_parts(sizes: Any, width: int, longest: int, words: Any) -> list[list[int]]:
    """The solutions of a ribbon's three parts: of each column, all slots as the bits of one integer."""
    parts, first = [], 0
    for slots in (256 * sizes[0], 256 * sizes[1], sizes[2]):
        n_blocks = -(-(slots + 127 + longest - 1) // 64) if slots else 0
        block = words[first : first + n_blocks * width]
        parts.append([sum(int(w) << 64 * i for i, w in enumerate(block[c::width])) for c in range(width)])
        first += n_blocks * width
    assert first == len(words)
    return parts


def read_ribbon(
    sizes: Any, thresholds: Any, parts: list[list[int]], key: int, place: int, length: int | None
) -> int:
    """What a key reads: a bit of each column, or of one column `length` bits one after the other."""
    window, first_bucket = ribbon_window(key), 0
    for part in range(3):
        n_slots = sizes[2] if part == 2 else 256 * sizes[part]
        start = (place >> 32) * n_slots >> 32
        if part == 2:
            break
        if n_slots and start % 256 >= (0, 38, 89, 256)[thresholds[first_bucket + start // 256]]:
            break
        place, first_bucket = _mix13(place ^ 0x165667B19E3779F9), first_bucket + sizes[part]
    columns, bits = parts[part], 0
    if length is None:
        return sum(((column >> start & window).bit_count() & 1) << c for c, column in enumerate(columns))
    for j in range(length):
        bits = bits << 1 | (columns[0] >> start + j & window).bit_count() & 1
    return bits


def is_consistent(rows: list[int], sides: list[int]) -> bool:
    """Whether a dense system over GF(2) has a solution: `rows` are the coefficients as bits of integers."""
    pivots: dict[int, tuple[int, int]] = {}
    for row, side in zip(rows, sides, strict=True):
        while row:
            top = row.bit_length()
            if top not in pivots:
                pivots[top] = row, side
                break
            row, side = row ^ pivots[top][0], side ^ pivots[top][1]
        if not row and side:
            return False
    return True
