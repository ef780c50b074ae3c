"""LSHIndex at SLASH's settings, and beside the MinHash indexes of rensa and datasketch.

SLASH's settings are rows of 47 features, 16 tables of 2^18 buckets, 4 hashes a table and the top 128 of
queries in batches of 10,000. "Cold" starts from memory that the process has not touched, so the system
still has to hand out and clear its pages ("at first": the first time, when a virtual machine may have to
ask its host for them); "touched" starts from memory that it has.

The second table holds 100,000 sets of about 100 tokens, half of them near-duplicates (Jaccard similarity
0.8 to 1) of the others, under 128 hash functions in 16 bands: sets are hashed, indexed and then every
near-duplicate is asked for. Recall is the share whose original is found. Ours and the peers take turns.
"""

import itertools
import os
import time

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import LSHIndex
from mergesketch.lsh import MinHash

FEATURES, ROWS, BATCH, TOP = 47, 1_000_000, 100_000, 128
SETS, N_HASHES, BANDS, SEED = 100_000, 128, 16, 42


def clock(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def rows_of_features(seed):
    """Make a batch of rows of 47 features each."""
    tokens = np.random.default_rng(seed).integers(0, 1_000_000, BATCH * FEATURES).astype(np.int32)
    return tokens, np.arange(BATCH + 1) * FEATURES


def add_all(index, batches):
    for batch in batches:
        index.add(batch)


def at_slash_settings(family, batches, capacity):
    """Least seconds to add all batches, cold and touched, and to hash them; the first cold ones."""
    queries = batches[0][0][: 10_000 * FEATURES], batches[0][1][:10_001]
    took = []
    for _ in range(4):
        index = LSHIndex(family, capacity=capacity)
        cold = clock(lambda: add_all(index, batches))[0]  # noqa: B023
        for array in index._arrays.values():
            array[...] = 0
        touched = clock(lambda: add_all(index, batches))[0]  # noqa: B023
        hashed = clock(lambda: [family.hash(batch) for batch in batches])[0]
        took.append((cold, touched, hashed, clock(lambda: index.query(queries, TOP))[0]))  # noqa: B023
    cold, touched, hashed, asked = (min(times) for times in zip(*took, strict=True))
    overflow = index.overflow
    # The slowest queries there can be: every bucket full, hardly an id in two of them.
    rng = np.random.default_rng(9)
    for table in index._arrays["slots"]:
        table[...] = rng.integers(1, 2**32, table.shape, dtype=np.uint32)
    index._arrays["seen"][...] = capacity
    full = min(clock(lambda: index.query(queries, TOP))[0] for _ in range(3))
    return {
        "ids a bucket": capacity,
        "threads": mergesketch.get_num_threads(),
        "rows/s, cold at first": ROWS / took[0][0],
        "rows/s, cold": ROWS / cold,
        "rows/s, touched": ROWS / touched,
        "hashing alone, rows/s": ROWS / hashed,
        "ms a query": 1e3 * asked / 10_000,
        "ms a query, all buckets full": 1e3 * full / 10_000,
        "memory, MB": index.nbytes / 1e6,
        "overflow": overflow,
    }


def slash():
    """Rows a second from tokens to index, and queries, at SLASH's settings."""
    family = MinHash(16, power=4, n_buckets=2**18, expected_set_size=FEATURES)
    batches = [rows_of_features(seed) for seed in range(ROWS // BATCH)]
    LSHIndex(family, capacity=2).add(batches[0]).query(batches[0], TOP)  # compiles
    rows = []
    for capacity, threads in itertools.product((64, 256), (1, 4)):
        mergesketch.set_num_threads(threads)
        rows.append(at_slash_settings(family, batches, capacity))
    return rows


def resident():
    """Bytes of memory that this process has at present."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def near_duplicates():
    """Flat tokens and offsets: sets, then for each one a copy with some tokens replaced."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(80, 121, SETS // 2)
    sets = [rng.integers(0, 2**63, size, dtype=np.uint64) for size in sizes]
    copies = []
    for tokens in sets:
        copy = tokens.copy()
        # Replacing r of s tokens leaves a similarity of (s - r) / (s + r): at least 0.8 up to s / 9.
        replaced = int(rng.integers(0, copy.size // 9 + 1))
        copy[:replaced] = rng.integers(0, 2**63, replaced, dtype=np.uint64)
        copies.append(copy)
    offsets = np.concatenate([[0], np.cumsum(np.tile(sizes, 2))])
    return np.concatenate(sets + copies), offsets.astype(np.int64)


def ours(tokens, offsets, threads):
    """Seconds to hash, insert and query; recall; bytes."""
    mergesketch.set_num_threads(threads)
    family = MinHash(BANDS, power=N_HASHES // BANDS, n_buckets=2**18, seed=SEED)
    hashing, codes = clock(lambda: family.hash((tokens, offsets)))
    index = LSHIndex(family, capacity=8)
    # What `add` does after hashing, apart from it.
    inserting, _ = clock(lambda: index.add_codes(codes, np.arange(len(codes), dtype=np.uint32)))
    half = len(codes) // 2
    asking, found = clock(lambda: index.query_codes(codes[half:], 20))
    recall = (found.ids == np.arange(half)[:, None]).any(axis=1).mean()
    return hashing, inserting, asking, float(recall), index.nbytes


def by_rensa(tokens, offsets):
    from rensa import RMinHash, RMinHashLSH

    flat = offsets.astype(np.uint64)
    hashing, matrix = clock(
        lambda: RMinHash.digest_matrix_from_flat_token_hashes(tokens, flat, N_HASHES, SEED)
    )
    before = resident()
    lsh = RMinHashLSH(0.8, N_HASHES, BANDS)
    inserting, _ = clock(lambda: lsh.insert_matrix(matrix))
    taken = resident() - before
    # Queries take objects, which only hash words: the same sets again as words, index and all.
    words = [[str(t) for t in tokens[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    objects = RMinHash.from_token_sets(words, N_HASHES, SEED)
    lsh = RMinHashLSH(0.8, N_HASHES, BANDS)
    lsh.insert_many(objects)
    half = SETS // 2
    asking, found = clock(lambda: lsh.query_all(objects[half:]))
    recall = sum(i in candidates for i, candidates in enumerate(found)) / half
    return hashing, inserting, asking, recall, taken


def by_datasketch(tokens, offsets):
    from datasketch import MinHash as Theirs
    from datasketch import MinHashLSH

    sets = [[t.tobytes() for t in tokens[a:b]] for a, b in itertools.pairwise(offsets)]
    hashing, objects = clock(lambda: Theirs.bulk(sets, num_perm=N_HASHES))
    lsh = MinHashLSH(num_perm=N_HASHES, params=(BANDS, N_HASHES // BANDS))

    def insert():
        with lsh.insertion_session() as session:
            for number, minhash in enumerate(objects):
                session.insert(number, minhash)

    inserting, _ = clock(insert)
    half = SETS // 2
    asking, found = clock(lambda: [lsh.query(minhash) for minhash in objects[half:]])
    recall = sum(i in candidates for i, candidates in enumerate(found)) / half
    return hashing, inserting, asking, recall, float("nan")


def beside_peers():
    tokens, offsets = near_duplicates()
    ours(tokens[: offsets[1000]], offsets[:1001], 1)  # compiles
    runs = {
        "mergesketch, 1 thread": (3, lambda: ours(tokens, offsets, 1)),
        "mergesketch, 4 threads": (3, lambda: ours(tokens, offsets, 4)),
        "rensa RMinHashLSH": (3, lambda: by_rensa(tokens, offsets)),
        "datasketch MinHashLSH": (1, lambda: by_datasketch(tokens, offsets)),
    }
    best = {}
    for turn in range(3):
        for name, (times, run) in runs.items():
            if turn < times:
                result = run()
                kept = best.get(name, result)
                least = [min(a, b) for a, b in zip(kept[:3], result[:3], strict=True)]
                best[name] = (*least, result[3], max(kept[4], result[4]))
    four = best["mergesketch, 4 threads"]
    return [
        {
            "index": name,
            "sets hashed/s": SETS / hashing,
            "inserted/s": SETS / inserting,
            "queries/s": SETS / 2 / asking,
            "recall": recall,
            "memory, MB": size / 1e6 if size == size else None,
            "ours on 4, insert": inserting / four[1],
            "ours on 4, query": asking / four[2],
        }
        for name, (hashing, inserting, asking, recall, size) in best.items()
    ]


def main():
    options = parse(__doc__, "index")
    before = mergesketch.get_num_threads()
    peers = beside_peers()
    show("100,000 sets, half of them near-duplicates of the others", peers)
    at_scale = slash()
    show("SLASH's settings", at_scale)
    mergesketch.set_num_threads(before)
    write(options.json, [*peers, *at_scale])


if __name__ == "__main__":
    main()
