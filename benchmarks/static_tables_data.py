"""Tables for the benchmark of static functions: drawn to a given entropy, and real ones.

Every table comes with keys in their order, so that what compresses neighbours (gzip, zstd, runs, sorted
arrays) has it as easy as it can be.
"""

from __future__ import annotations

import gzip
import sysconfig
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Table",
    "code_points",
    "entropy_bytes",
    "genome",
    "geometric",
    "ngrams",
    "patches",
    "reads",
    "zipf",
]

#: A genome that is not shipped (NCBI GCF_000005845.2): where it is absent its tables are left out.
ECOLI = Path("shared") / "data" / "ecoli_k12.fna.gz"
LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


@dataclass
class Table:
    """Keys and values, in the order of the keys.

    Attributes
    ----------
    name : str
    keys : uint64 array, or Arrow array of strings
    values : array of shape (n,) or (n, columns)
        Of the narrowest unsigned dtype that holds them.
    raw_keys : bytes
        The keys as a compressor gets them: differences of neighbours, or lines of text.
    text_keys : callable, optional
        The keys as strings, where a trie is at home with them.
    """

    name: str
    keys: Any
    values: NDArray[Any]
    raw_keys: bytes
    text_keys: Callable[[], list[str]] | None = field(default=None, repr=False)

    @property
    def n(self) -> int:
        return len(self.keys)


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Values in the narrowest unsigned dtype."""
    return values.astype(np.min_scalar_type(int(values.max())))


def entropy_bytes(values: NDArray[Any]) -> float:
    """Empirical entropy of the columns' values, each column by itself, times their number, in bytes."""
    total = 0.0
    for column in values.reshape(len(values), -1).T:
        counts = np.unique(column, return_counts=True)[1]
        total -= float((counts * np.log2(counts / len(column))).sum())
    return total / 8


# -- drawn to an entropy ------------------------------------------------------------------------------


def _bisect(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a falling function is `target`."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > target else (low, middle)
    return low


def geometric(n: int, entropy: float, seed: int = 0) -> NDArray[np.uint32]:
    """Geometric values 0, 1, ... of so many bits of entropy."""

    def bits(p: float) -> float:
        return float(-p * np.log2(p) - (1 - p) * np.log2(1 - p)) / p

    p = _bisect(bits, entropy, 1e-6, 1 - 1e-9)
    return (np.random.default_rng([seed, 1]).geometric(p, n) - 1).astype(np.uint32)


def zipf(n: int, n_symbols: int, entropy: float, seed: int = 0) -> NDArray[np.uint32]:
    """Values of which the k-th most frequent has probability ~ k**-s; numbered without regard to it."""
    ranks = np.arange(1, n_symbols + 1, dtype=float)

    def weights(s: float) -> NDArray[np.float64]:
        w = ranks**-s
        return w / w.sum()

    def bits(s: float) -> float:
        w = weights(s)
        return float(-(w @ np.log2(w)))

    rng = np.random.default_rng([seed, 2])
    cumulative = np.cumsum(weights(_bisect(bits, entropy, 0.0, 4.0)))
    drawn = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return rng.permutation(n_symbols).astype(np.uint32)[np.minimum(drawn, n_symbols - 1)]


# -- real: characters ---------------------------------------------------------------------------------


def code_points() -> Table:
    """Return the general category ("Lu", "Zs", ...) of every code point, as numbers of the 30 names."""
    names = np.array([unicodedata.category(chr(point)) for point in range(0x110000)], dtype="S2")
    keys = np.arange(0x110000, dtype=np.uint64)
    return Table(
        "Unicode category by code point",
        keys,
        narrow(np.unique(names, return_inverse=True)[1]),
        np.diff(keys, prepend=keys[:1]).tobytes(),
    )


# -- real: text ---------------------------------------------------------------------------------------


def _source_words() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All words of the standard library's sources, a space after each; their starts and ends."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    text = np.frombuffer(b"\n".join(path.read_bytes() for path in files) + b"\n", dtype=np.uint8)
    is_word = np.zeros(256, dtype=bool)
    is_word[[c for c in range(128) if chr(c).isalnum() or chr(c) == "_"]] = True
    inside = is_word[text]
    kept = inside.copy()
    kept[1:] |= inside[:-1]  # the byte that ends a word becomes its space
    text = np.where(inside, text, ord(" ")).astype(np.uint8)[kept]
    text = text[int(text[0] == ord(" ")) :]
    ends = np.flatnonzero(text == ord(" "))
    return text, np.concatenate([[0], ends[:-1] + 1]), ends


def _cut(text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Any:
    """Return the pieces ``text[start:end]`` as an Arrow array."""
    import pyarrow as pa

    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text[places])]
    return pa.Array.from_buffers(pa.large_string(), len(starts), buffers)


def ngrams(longest: int = 3) -> Table:
    """How often every sequence of 1 to `longest` words stands in the standard library's sources."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text, starts, ends = _source_words()
    words = _cut(text, starts, ends).dictionary_encode().indices.to_numpy().astype(np.uint64)
    bits = np.uint64(max(1, int(words.max()).bit_length()))
    pieces, counts = [], []
    numbers = np.zeros_like(words)
    for length in range(1, longest + 1):
        last = len(words) - length + 1
        numbers = (numbers[:last] << bits) | words[length - 1 :]
        _, first, count = np.unique(numbers, return_index=True, return_counts=True)
        pieces.append(_cut(text, starts[first], ends[first + length - 1]))
        counts.append(count)
    keys = pa.concat_arrays(pieces)
    order = pc.sort_indices(keys).to_numpy()
    keys = keys.take(pa.array(order))
    return Table(
        "n-gram counts of Python sources",
        keys,
        narrow(np.concatenate(counts)[order]),
        "\n".join(keys.to_pylist()).encode(),
        keys.to_pylist,
    )


# -- real: images -------------------------------------------------------------------------------------


def patches(side: int = 8, n_codes: int = 256) -> Table:
    """Product-quantised patches of two photographs: a code for each of their rows of pixels.

    Grey values, less the patch's mean; one k-means of `n_codes` centroids for each of the `side` rows.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.datasets import load_sample_images

    cut = [
        np.lib.stride_tricks.sliding_window_view(image.mean(axis=2), (side, side)).reshape(-1, side * side)
        for image in load_sample_images().images
    ]
    X = np.concatenate(cut).astype(np.float32)
    X -= X.mean(axis=1, keepdims=True)
    sample = X[np.random.default_rng(0).choice(len(X), 40_000, replace=False)]
    codes = np.empty((len(X), side), dtype=np.uint8)
    for row in range(side):
        part = slice(row * side, (row + 1) * side)
        model = MiniBatchKMeans(n_codes, batch_size=4096, max_iter=20, n_init=1, random_state=row)
        codes[:, row] = model.fit(sample[:, part]).predict(np.ascontiguousarray(X[:, part]))
    keys = np.arange(len(X), dtype=np.uint64)
    raw = np.diff(keys, prepend=keys[:1]).tobytes()
    return Table(f"image patches, {side} codes a row", keys, codes, raw)


# -- real: sequences ----------------------------------------------------------------------------------


def _count_kmers(name: str, bases: NDArray[np.uint8], k: int) -> Table:
    """How often each k-mer stands in the rows of `bases` (0 to 3), with its reverse complement."""
    last = bases.shape[1] - k + 1
    forward = np.zeros((len(bases), last), dtype=np.uint64)
    backward = np.zeros_like(forward)
    for i in range(k):
        letters = bases[:, i : i + last].astype(np.uint64)
        forward = (forward << np.uint64(2)) | letters
        backward |= (np.uint64(3) - letters) << np.uint64(2 * i)
    keys, counts = np.unique(np.minimum(forward, backward), return_counts=True)

    def letters_of() -> list[str]:
        shifts = np.arange(2 * k - 2, -1, -2, dtype=np.uint64)
        out = np.empty((len(keys), k), dtype=np.uint8)
        for i, shift in enumerate(shifts):
            out[:, i] = LETTERS[((keys >> shift) & np.uint64(3)).astype(np.intp)]
        return out.view(f"S{k}").reshape(-1).astype(f"U{k}").tolist()

    raw = np.diff(keys, prepend=keys[:1]).tobytes()
    return Table(f"{k}-mer counts of {name}", keys, narrow(counts), raw, letters_of)


def _sequence(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make a genome of n random bases, with diverged copies over two fifths of it, and tandems."""
    bases = rng.integers(0, 4, n, dtype=np.uint8)
    covered = 0
    while covered < 0.4 * n:
        unit = rng.integers(0, 4, int(rng.integers(300, 6000)), dtype=np.uint8)
        for _ in range(int(rng.pareto(1.0) * 3) + 2):
            if covered >= 0.4 * n:
                break
            copy = unit.copy()
            changed = rng.random(len(copy)) < rng.uniform(0, 0.15)
            copy[changed] = rng.integers(0, 4, int(changed.sum()), dtype=np.uint8)
            place = int(rng.integers(0, n - len(copy)))
            bases[place : place + len(copy)] = copy
            covered += len(copy)
    for _ in range(n // 20_000):
        unit = rng.integers(0, 4, int(rng.integers(2, 7)), dtype=np.uint8)
        length = int(rng.integers(20, 400))
        place = int(rng.integers(0, n - length))
        bases[place : place + length] = np.resize(unit, length)
    return bases


def reads(k: int = 21, n_bases: int = 600_000, coverage: int = 20, seed: int = 0) -> Table:
    """Count k-mers in reads of 100 bases with 0.2 % errors, of a generated genome with repeats."""
    rng = np.random.default_rng([seed, 3])
    sequence = _sequence(n_bases, rng)
    starts = rng.integers(0, n_bases - 100, n_bases * coverage // 100)
    read = sequence[starts[:, None] + np.arange(100)]
    wrong = rng.random(read.shape) < 0.002
    read[wrong] = (read[wrong] + rng.integers(1, 4, int(wrong.sum()), dtype=np.uint8)) & 3
    return _count_kmers("generated reads", read, k)


def genome(k: int) -> Table | None:
    """Count k-mers of the genome of E. coli; return None if the file is absent."""
    found = next((f / ECOLI for f in Path(__file__).resolve().parents if (f / ECOLI).exists()), None)
    if found is None:
        return None
    lines = gzip.decompress(found.read_bytes()).split(b"\n")
    text = np.frombuffer(b"".join(line for line in lines if not line.startswith(b">")), dtype=np.uint8)
    number = np.full(256, 4, dtype=np.uint8)
    number[LETTERS] = np.arange(4)
    bases = number[text]
    return _count_kmers("E. coli", bases[bases < 4][None], k)
