"""MinHash beside rensa's R-MinHash and datasketch: sets a second, and error at equal size.

Each thread count runs in a process of its own, for rensa reads RAYON_NUM_THREADS once. Ours and the
peer take turns on the same input, and each is given its best time, so that neither gains from a
machine that others use too.
"""

import itertools
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
from measure import parse, show, write

N_HASHES = 128
SEED = 42


def ragged(rng, n, low, high, *, top=2**64):
    """Flat token hashes of n sets of low to high - 1 tokens, and offsets."""
    offsets = np.zeros(n + 1, np.int64)
    offsets[1:] = np.cumsum(rng.integers(low, high, n))
    return rng.integers(0, top, int(offsets[-1]), dtype=np.uint64), offsets


def in_turn(functions, repeats=7):
    """Best seconds of each function, called in turn after one call that is not counted."""
    best = [math.inf] * len(functions)
    for turn in range(repeats + 1):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if turn:
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def rensa_flat(tokens, offsets, n_hashes=N_HASHES):
    from rensa import RMinHash

    return RMinHash.digest_matrix_from_flat_token_hashes(tokens, offsets.astype(np.uint64), n_hashes, SEED)


def datasketch_bulk(tokens, offsets):
    from datasketch import MinHash

    sets = [tokens[a:b] for a, b in itertools.pairwise(offsets)]
    return MinHash.bulk([[token.tobytes() for token in s] for s in sets], num_perm=N_HASHES)


def row(job, threads, ours, value, peer, peer_value, ratio):
    return {
        "job": job,
        "threads": threads,
        "ours": ours,
        "value": value,
        "peer": peer,
        "peer's value": peer_value,
        "ratio": ratio,
    }


def speed(threads):
    """Measure sets a second from token hashes, by size of set, scheme and number of hashes."""
    from mergesketch.lsh import MinHash

    rows = []
    for job, n, low, high, n_hashes in [
        ("100 tokens", 100_000, 80, 121, 128),
        ("11 features", 400_000, 11, 12, 64),
        ("47 features", 200_000, 47, 48, 64),
        ("3,700 features", 2_000, 3700, 3701, 128),
        ("3,700 features", 2_000, 3700, 3701, 512),
    ]:
        tokens, offsets = ragged(np.random.default_rng(0), n, low, high)
        auto = MinHash(n_hashes, expected_set_size=(low + high) // 2).scheme
        for scheme in ("permutations", "one-permutation", "fast-similarity"):
            family = MinHash(n_hashes, scheme=scheme, seed=SEED)
            mine, peer = in_turn(
                [
                    lambda f=family, t=tokens, o=offsets: f.signatures((t, o)),
                    lambda t=tokens, o=offsets, m=n_hashes: rensa_flat(t, o, m),
                ]
            )
            ours = f"{scheme} (auto)" if scheme == auto else scheme
            job_name = f"sets/s: {job}, {n_hashes} hashes"
            rows.append(row(job_name, threads, ours, n / mine, "rensa R-MinHash", n / peer, peer / mine))
    few = ragged(np.random.default_rng(1), 500, 80, 121)
    many = ragged(np.random.default_rng(1), 100_000, 80, 121)
    family = MinHash(N_HASHES, seed=SEED)
    mine = in_turn([lambda: family.signatures(many)])[0] / 100_000
    peer = in_turn([lambda: datasketch_bulk(*few)], repeats=3)[0] / 500
    name = "sets/s: 100 tokens, 128 hashes"
    rows.append(
        row(name, threads, f"{family.scheme} (auto)", 1 / mine, "datasketch bulk", 1 / peer, peer / mine)
    )
    return rows


def sparse_matrix(threads):
    """Rows of a SciPy matrix (int32 columns): the settings of the distributed index, 47 features."""
    import scipy.sparse
    from mergesketch.lsh import MinHash

    n = 200_000
    tokens, offsets = ragged(np.random.default_rng(2), n, 47, 48, top=2**20)
    matrix = scipy.sparse.csr_matrix(
        (np.ones(tokens.size, np.float32), tokens.astype(np.int32), offsets), shape=(n, 2**20)
    )
    rows = []
    for arguments in ({"n_hashes": 64}, {"n_hashes": 16, "power": 4, "n_buckets": 2**18}):
        family = MinHash(**arguments, expected_set_size=47, seed=SEED)
        mine, peer = in_turn([lambda f=family: f.hash(matrix), lambda: rensa_flat(tokens, offsets, 64)])
        job = f"sets/s: CSR of 47 features, {arguments['n_hashes']} codes of {family.power}"
        ours = f"{family.scheme} (auto)"
        rows.append(row(job, threads, ours, n / mine, "rensa R-MinHash, 64", n / peer, peer / mine))
    return rows


def from_strings(threads):
    """From text tokens: ours from one Arrow array, rensa from lists of str, as each takes them."""
    import pyarrow as pa
    from mergesketch.lsh import MinHash, hash_keys
    from rensa import RMinHash

    n = 20_000
    numbers, offsets = ragged(np.random.default_rng(3), n, 80, 121, top=50_000)
    words = [f"{number:x}ing the {number % 97}" for number in range(50_000)]
    strings = [words[i] for i in numbers.tolist()]
    column = pa.array(strings)
    sets = [strings[a:b] for a, b in itertools.pairwise(offsets)]
    family = MinHash(N_HASHES, seed=SEED)
    mine, peer = in_turn(
        [
            lambda: family.signatures((hash_keys(column), offsets)),
            lambda: RMinHash.digest_matrix_from_token_sets(sets, N_HASHES, SEED),
        ]
    )
    job = "sets/s: 100 strings, 128 hashes"
    ours = f"{family.scheme} (auto), Arrow"
    return [row(job, threads, ours, n / mine, "rensa R-MinHash, lists", n / peer, peer / mine)]


def pairs(n, size, similarity):
    """Make n pairs of sets of random tokens with one Jaccard similarity, and return it exactly."""
    common = round(2 * size * similarity / (1 + similarity))
    width = 2 * size - common
    tokens = np.random.default_rng(size + common).integers(0, 2**64, (n, width), dtype=np.uint64)
    offsets = np.arange(0, n * size + 1, size)
    sets = [np.ascontiguousarray(t).reshape(-1) for t in (tokens[:, :size], tokens[:, -size:])]
    return [(t, offsets) for t in sets], common / width


def error():
    """Root mean square error of the estimated similarity, 128 values."""
    from mergesketch.lsh import MinHash

    rows = []
    for size, similarity, n in [
        (100, 0.3, 20_000),
        (100, 0.7, 20_000),
        (100, 0.9, 20_000),
        (1000, 0.7, 4000),
    ]:
        (A, B), J = pairs(n, size, similarity)
        matrices = [np.array(rensa_flat(*sets).to_rows()) for sets in (A, B)]
        few = 2000
        sketches = [datasketch_bulk(t[: few * size], o[: few + 1]) for t, o in (A, B)]
        peers = {
            "rensa R-MinHash": (matrices[0] == matrices[1]).mean(axis=1),
            "datasketch bulk": np.array([a.jaccard(b) for a, b in zip(*sketches, strict=True)]),
        }
        for scheme in ("permutations", "one-permutation", "fast-similarity"):
            family = MinHash(N_HASHES, scheme=scheme, seed=SEED)
            estimate = family.estimate_jaccard(family.signatures(A), family.signatures(B))
            mine = math.sqrt(np.mean((estimate - J) ** 2))
            for name, values in peers.items():
                theirs = math.sqrt(np.mean((values - J) ** 2))
                job = f"root mean square error: {size:,} tokens, Jaccard {J:.2f}"
                rows.append(row(job, "", scheme, mine, name, theirs, theirs / mine))
    return rows


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--worker":
        threads = int(sys.argv[2])
        print(json.dumps(speed(threads) + sparse_matrix(threads) + from_strings(threads)))
        return
    arguments = parse(__doc__, "minhash")
    rows = []
    for threads in (1, 4):
        environment = {"RAYON_NUM_THREADS": str(threads), "MERGESKETCH_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--worker", str(threads)]
        done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
        rows += json.loads(done.stdout)
    show("MinHash: ratio above 1 means ours is faster", rows)
    errors = error()
    show("MinHash: ratio above 1 means ours errs less", errors)
    write(arguments.json, rows + errors)


if __name__ == "__main__":
    main()
