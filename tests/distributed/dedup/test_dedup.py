"""Test de-duplication against brute force on real files, over ranks and threads, and on awkward input."""

from __future__ import annotations

import math
import sysconfig
import unicodedata
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import mergesketch
import numpy as np
import pytest
from mergesketch.distributed import Deduplication, DocumentSource, deduplicate, memory_per_rank
from mergesketch.distributed.dedup import exact
from mergesketch.distributed.dedup.banding import candidate_probability
from mergesketch.distributed.dedup.signatures import SignatureStore
from mergesketch.distributed.documents.batches import DocumentBatch
from mergesketch.lsh import MinHash, shingle
from naive import dedup as naive
from naive.minhash import jaccard
from ranks import Ranks, needs_mpi

STDLIB = Path(sysconfig.get_path("stdlib"))
FOLDERS = [STDLIB / name for name in ("encodings", "json", "email", "importlib", "xml", "wsgiref")]


def groups(result: Deduplication) -> list[list[int]]:
    ends = result.offsets.tolist()
    return [result.members[a:b].tolist() for a, b in pairwise(ends)]


def compared(result: Deduplication) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in [*result.pairs.tolist(), *result.copies.tolist()]}


def expanded(result: Deduplication) -> set[tuple[int, int]]:
    """Return all similar pairs of a result; copies stand for each other."""
    copies: dict[int, set[int]] = {}
    for first, other in result.copies.tolist():
        copies.setdefault(first, {first}).add(other)
    same = lambda x: copies.get(x, {x})  # noqa: E731
    pairs = {(min(a, b), max(a, b)) for group in copies.values() for a in group for b in group if a != b}
    for left, right in result.pairs.tolist():
        pairs |= {(min(a, b), max(a, b)) for a in same(left) for b in same(right)}
    return pairs


class Batches:
    """Give documents in batches of a given size."""

    def __init__(self, documents: list[bytes], size: int) -> None:
        self.documents, self.size = documents, size

    def batches(self):
        for start in range(0, len(self.documents), self.size):
            part = self.documents[start : start + self.size]
            ids = np.arange(start, start + len(part), dtype=np.uint64)
            data = np.frombuffer(b"".join(part), dtype=np.uint8)
            yield DocumentBatch(ids, data, np.cumsum([0, *map(len, part)]))


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [path.read_bytes() for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]


@pytest.fixture(scope="module")
def sets(files: list[bytes]) -> list[set[int]]:
    shingles = shingle(files)
    bounds = zip(shingles.offsets[:-1], shingles.offsets[1:], strict=True)
    return [set(shingles.tokens[a:b].tolist()) for a, b in bounds]


@pytest.fixture(scope="module")
def similar(sets: list[set[int]]) -> dict[tuple[int, int], float]:
    return naive.similar_pairs(sets, 0.5)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
@pytest.mark.slow
def test_pairs_of_real_files_against_brute_force(
    files: list[bytes], similar: dict[tuple[int, int], float], threshold: float
) -> None:
    """Verified pairs are all similar, and no more are missed than the theory of banding allows."""
    result = deduplicate(files, threshold=threshold)
    true = {pair: similarity for pair, similarity in similar.items() if similarity >= threshold}
    found = expanded(result)
    assert found <= set(true)
    chances = candidate_probability(np.array(list(true.values())), result.bands, result.rows)
    spread = math.sqrt(float((chances * (1 - chances)).sum()))
    assert len(found) >= float(chances.sum()) - 6 * spread - 1
    for pair, similarity in zip(result.pairs.tolist(), result.pair_similarity, strict=True):
        assert math.isclose(true[tuple(pair)], similarity, rel_tol=1e-6)
    roots = naive.components(found)
    for node, root in roots.items():
        (group,) = [g for g in groups(result) if node in g]
        assert group[0] == root
    assert sum(map(len, groups(result))) == result.n_duplicates + result.n_groups
    assert result.n_documents == len(files)


def test_verification(files: list[bytes], sets: list[set[int]]) -> None:
    """Estimates err as MinHash does; without verification every candidate is accepted."""
    exact = deduplicate(files, verify="exact")
    estimated = deduplicate(files, verify="signature")
    for pair, similarity in zip(estimated.pairs.tolist(), estimated.pair_similarity, strict=True):
        true = jaccard(sets[pair[0]], sets[pair[1]])
        assert similarity >= 0.7
        assert abs(similarity - true) < 6 * 0.5 / math.sqrt(128)
    unverified = deduplicate(files, verify="none")
    assert np.isnan(unverified.pair_similarity).all()
    assert (unverified.bands, unverified.rows) == (14, 9)
    assert (exact.bands, exact.rows) == (estimated.bands, estimated.rows)
    assert np.array_equal(exact.copies, estimated.copies)


def edited(n_words: int, n_edits: int, n_pairs: int) -> list[str]:
    """Return random texts, each followed by a copy with some words exchanged."""
    rng, texts = np.random.default_rng(0), []
    for i in range(n_pairs):
        words = [f"w{x}" for x in rng.integers(0, 10**9, n_words)]
        texts.append(" ".join(words))
        for place in rng.choice(n_words, n_edits, replace=False):
            words[place] = f"other{i}"
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize(
    ("threshold", "n_hashes", "n_words", "n_edits"),
    [(1.0, 128, 1000, 1), (0.99, 64, 600, 1), (0.7, 4, 60, 3)],
)
def test_equal_signatures_do_not_make_copies(
    threshold: float, n_hashes: int, n_words: int, n_edits: int
) -> None:
    """Texts that differ too much may have equal signatures, but they are never joined."""
    texts = edited(n_words, n_edits, 200)
    shingles = shingle(texts)
    family = MinHash(n_hashes, expected_set_size=500)
    signatures = family.signatures((shingles.tokens, shingles.offsets))
    sets = [set(shingles.tokens[a:b].tolist()) for a, b in pairwise(shingles.offsets.tolist())]
    below = [i for i in range(0, 400, 2) if jaccard(sets[i], sets[i + 1]) < threshold]
    assert any((signatures[i] == signatures[i + 1]).all() for i in below)
    result = deduplicate(texts, threshold=threshold, n_hashes=n_hashes)
    for a, b in expanded(result):
        assert jaccard(sets[a], sets[b]) >= threshold
    assert not len(result.copies)
    # In another order the same shingles are still copies.
    copied = deduplicate(["a b c d e. a b c d e. x", "q a b c d e", "a b c d e. a b c d e. x"], size=1)
    assert copied.copies.tolist() == [[0, 2]]


def test_exact_similarities_come_in_bounded_rounds(
    files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = deduplicate(files)
    taken = []
    take = exact._Sets.take
    monkeypatch.setattr(exact._Sets, "take", lambda *a: taken.append(take(*a)) or taken[-1])
    for limit in (1, 5000, 10**9):
        monkeypatch.setattr(exact, "ROUND_SHINGLES", limit)
        taken.clear()
        result = deduplicate(files)
        assert np.array_equal(result.pairs, expected.pairs)
        assert np.array_equal(result.pair_similarity, expected.pair_similarity)
        # A round stops after the pair that fills it.
        longest = max(int(sizes.max()) for _, sizes in taken)
        assert max(len(tokens) for tokens, _ in taken) <= limit + 2 * longest
        # Pairs are compared, and then documents with those that are kept; each takes the own sets and others.
        assert (len(taken) == 4) == (limit == 10**9)


def test_results_do_not_depend_on_threads_or_batches(files: list[bytes]) -> None:
    expected = deduplicate(files)
    assert expected.n_groups > 5
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            for size in (1, 7, 1000):
                result = deduplicate(Batches(files, size))
                assert groups(result) == groups(expected)
                assert compared(result) == compared(expected)
    finally:
        mergesketch.set_num_threads(before)


RANKS = """
import sysconfig
from itertools import pairwise
from pathlib import Path
import numpy as np
from mergesketch.distributed import DocumentSource, communicator, deduplicate
from mergesketch.distributed.dedup import exact
from mergesketch.errors import DistributedError

comm = communicator()
folders = sys.argv[1:]
for verify in ("exact", "signature", "none"):
    source = DocumentSource(folders, include=["*.py"], batch_bytes=100_000)
    result = deduplicate(source, verify=verify)
    def told(result):
        alike = [(*pair, s.hex()) for pair, s in zip(result.pairs.tolist(), result.pair_similarity.tolist())]
        return sorted(line for part in comm.allgather(alike) for line in part)
    pairs = told(result)
    if verify == "exact":
        # Rounds are so short that ranks have different numbers of them.
        usual, exact.ROUND_SHINGLES = exact.ROUND_SHINGLES, 3000
        assert told(deduplicate(source, verify=verify)) == pairs
        exact.ROUND_SHINGLES = usual
    copies = [p for part in comm.allgather(result.copies.tolist()) for p in part]
    if comm.rank == 0:
        print(result.members.tolist(), result.offsets.tolist(), pairs, sorted(copies))
    else:
        assert result.members.size == 0
    print(result.n_documents, result.n_groups, result.n_duplicates, result.n_empty, result.n_invalid)

# Lists are numbered over ranks; a rank may have none, and one may have only what cannot be shingled.
text = "one two three four five six seven"
mine = [[text, " "], [], [b"\\xff", (text + " eight").encode()], [text.upper()]][comm.rank]
result = deduplicate(mine, threshold=0.6)
if comm.rank == 0:
    print(result.members.tolist(), file=sys.stderr)

def fails(function):
    try:
        function()
    except (DistributedError, TypeError, ValueError) as error:
        assert comm.size == 1 or isinstance(error, DistributedError), repr(error)
        return True

if comm.size > 1:
    assert fails(lambda: deduplicate(mine, seed=comm.rank))
    assert fails(lambda: deduplicate(mine if comm.rank else 3))

    class Breaks:
        def batches(self):
            if comm.rank == comm.size - 1:
                raise OSError("the disk is gone")
            return iter(())
    assert fails(lambda: deduplicate(Breaks()))
    assert fails(lambda: deduplicate(Breaks() if comm.rank else mine))

    # Work between two collective calls that fails on one rank alone.
    from mergesketch.distributed.dedup import banding, candidates, components, crowded, grouping, signatures

    def boom(*arguments, **keywords):
        raise MemoryError("no room")

    words = np.random.default_rng(0).integers(0, 50, (50, 40))
    texts = [" ".join(f"w{x}" for x in row) for row in words]
    texts += [text + " more" for text in texts]
    # Pages of one template, which are not similar enough.
    template = " ".join(f"t{i}" for i in range(30))
    texts += [" ".join([template, *(f"own{x}" for x in row)]) for row in np.arange(480).reshape(60, 8)]
    banding.BUCKET_LIMIT = crowded.BUCKET_LIMIT = 2
    for place, name, verify in (
        (signatures.SignatureStore, "band_keys", "exact"),
        (signatures.SignatureStore, "take", "signature"),
        (banding, "backend_of", "exact"),
        (exact, "overlaps", "exact"),
        (exact, "_read_sets", "exact"),
        (components, "_large_star", "exact"),
        (candidates, "_join_pairs", "exact"),
        (components, "_look_up", "exact"),
        (grouping, "_first_rows", "exact"),
        (crowded, "_join", "exact"),
    ):
        before = getattr(place, name)
        if comm.rank == 1:
            setattr(place, name, boom)
        assert fails(lambda: deduplicate(texts, verify=verify)), name
        setattr(place, name, before)
    assert not fails(lambda: deduplicate(texts))
"""


@pytest.mark.slow
@needs_mpi
def test_any_number_of_ranks_finds_the_same(ranks: Ranks) -> None:
    folders = [str(folder) for folder in FOLDERS]
    told = set()
    for n_ranks in (1, 2, 3, 4):
        ran = ranks.run(n_ranks, RANKS, *folders)
        assert ran.returncode == 0, ran.stderr
        lines = ran.stdout[0].splitlines()
        told.add(ran.stdout[0])
        assert len(lines) == 6
        for other in ran.stdout[1:]:
            assert other.splitlines() == lines[1::2]
        expected = {1: "[]", 2: "[]", 3: "[0, 3]", 4: "[0, 3, 4]"}[n_ranks]
        assert expected in ran.stderr
    assert len(told) == 1


def test_many_copies_of_one_text() -> None:
    """Copies meet once, not in every band, and cost time in proportion to their number."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(500)]
    texts = [" ".join(rng.choice(words, 60)) for _ in range(50)]
    documents = [texts[i % 50] if i % 2 else texts[0] for i in range(10_000)]
    result = deduplicate(documents)
    assert result.n_groups == len(set(documents))
    for group in groups(result):
        assert len({documents[i] for i in group}) == 1
    assert len(result.members) == 10_000
    assert len(result.pairs) == 0 and len(result.copies) == 10_000 - result.n_groups


def test_empty_documents_are_in_no_group() -> None:
    text = "a b c d e f g"
    result = deduplicate(["", " \n\0", text, "", b"\xff\xfe".decode("latin1"), text.upper()])
    assert groups(result) == [[2, 5]]
    assert result.empty.tolist() == [0, 1, 3]
    nothing = deduplicate([])
    assert (nothing.n_documents, nothing.n_groups, groups(nothing)) == (0, 0, [])


def test_bad_bytes_separate_words_and_equal_bytes_are_copies() -> None:
    text = " ".join(f"w{i}" for i in range(40)).encode()
    koi8 = "мороз и солнце".encode("koi8-r")
    documents = [text, text.replace(b" w20 ", b" w20\xff"), koi8, "день чудесный".encode("koi8-r"), koi8]
    for verify in ("exact", "signature", "none"):
        result = deduplicate(documents, verify=verify)
        assert groups(result) == [[0, 1], [2, 4]]
        assert result.invalid.tolist() == [1, 2, 3, 4]
        assert (result.n_documents, result.n_invalid, result.n_empty) == (5, 4, 0)
    # A lone surrogate in a str does the same.
    surrogate = deduplicate([text.decode(), text.decode().replace(" w20 ", " w20\ud800")])
    assert groups(surrogate) == [[0, 1]] and surrogate.n_invalid == 1


def test_normal_forms_and_units() -> None:
    text = " ".join(f"prénom{i}" for i in range(30))
    documents = [text, unicodedata.normalize("NFD", text)]
    assert groups(deduplicate(documents)) == [[0, 1]]
    assert groups(deduplicate(documents, normalize="none")) == []
    wide = [
        text.replace("prénom", "prenom"),
        text.replace("prénom", "".join(chr(ord(c) + 0xFEE0) for c in "prenom")),
    ]
    assert groups(deduplicate(wide)) == []
    assert groups(deduplicate(wide, normalize="nfkc")) == [[0, 1]]
    code = ["if a == b: return c", "if a != b: return c", "if a  ==  b:\n    return c"]
    assert groups(deduplicate(code, size=2)) == [[0, 1, 2]]
    assert groups(deduplicate(code, unit="symbol", size=2)) == [[0, 2]]
    with pytest.raises(ValueError, match="normalize must be one of 'none', 'nfc', 'nfkc', got 'nfd'"):
        deduplicate(code, normalize="nfd")


def test_texts_of_symbols_alone_are_found() -> None:
    assert groups(deduplicate(["🎉🎉 ❤️", "🎉 🎉❤️", "🎉🎉🎉", "...", "!!!", "..."])) == [[0, 1], [3, 5]]


def test_short_documents_hash_as_a_whole() -> None:
    assert groups(deduplicate(["Yes, sir!", "no", "yes sir", "yes"])) == [[0, 2]]


def test_inputs_of_every_kind(tmp_path: Path) -> None:
    texts = [
        "eins zwei drei vier fünf sechs",
        "something else altogether, quite",
        "Eins zwei drei vier fünf sechs!",
    ]
    assert groups(deduplicate(texts)) == [[0, 2]]
    assert groups(deduplicate([text.encode() for text in texts])) == [[0, 2]]
    pa = pytest.importorskip("pyarrow")
    assert groups(deduplicate(pa.array(texts))) == [[0, 2]]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text)
    source = DocumentSource(tmp_path)
    result = deduplicate(source)
    assert [Path(path).name for path, _ in source.name_of(result.members)] == ["0.txt", "2.txt"]


def test_characters_and_seeds() -> None:
    texts = ["abcdefghij", "abcdefghix", "qqqqqqqq"]
    assert groups(deduplicate(texts, unit="character", size=3, threshold=0.7)) == [[0, 1]]
    for seed in range(3):
        assert groups(deduplicate(texts, unit="character", size=3, threshold=0.7, seed=seed)) == [[0, 1]]


def test_a_source_that_changes_between_readings_is_noticed() -> None:
    class Changes(Batches):
        def batches(self):
            yield from super().batches()
            self.documents = self.documents[:1]

    # They are similar but not equal, so that they must be read again.
    base = "one two three four five six seven eight nine ten eleven twelve"
    with pytest.raises((RuntimeError, ValueError), match="second time"):
        deduplicate(Changes([base.encode(), f"{base} more".encode()], 10), threshold=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0"),
        ({"threshold": 1.1}, "threshold must be a number in"),
        ({"n_hashes": 0}, "n_hashes must be an integer of at least 1, got 0"),
        ({"unit": "line"}, "unit must be one of 'word', 'character', 'symbol', got 'line'"),
        ({"size": 0}, "size must be an integer of at least 1, got 0"),
        ({"verify": "maybe"}, "verify must be one of 'exact', 'signature', 'none', got 'maybe'"),
        ({"seed": -1}, "seed must be"),
        ({"documents": 3}, "documents must be"),
        ({"documents": ["a", b"b"]}, "documents"),
        ({"comm": "world"}, "comm must be an mpi4py intracommunicator"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        deduplicate(**{"documents": ["a b c"], **arguments})


def test_the_store_keeps_what_it_is_given() -> None:
    rng = np.random.default_rng(0)
    store = SignatureStore(3)
    store.BLOCK = 4
    kept = rng.integers(0, 2**32, (23, 3), dtype=np.uint32)
    done = 0
    for n in (0, 1, 3, 9, 0, 10):
        ids = np.arange(done, done + n, dtype=np.uint64)
        store.append(ids, ids * np.uint64(3), kept[done : done + n])
        done += n
    assert len(store) == 23 and store.ids().tolist() == list(range(23))
    rows = rng.integers(0, 23, 50)
    np.testing.assert_array_equal(store.take(rows), kept[rows])
    assert store.keys().tolist() == list(range(0, 69, 3))
    keys = store.band_keys(1, 3, 5, np.arange(23))
    for i in range(23):
        for j in range(23):
            assert (keys[i] == keys[j]) == bool((kept[i, 1:] == kept[j, 1:]).all())


def test_memory_is_predicted() -> None:
    assert memory_per_rank(0) < memory_per_rank(10**6) < memory_per_rank(10**6, n_hashes=256)
    assert memory_per_rank(10**7, 4) == memory_per_rank(2_500_000, 1)


@pytest.mark.parametrize(
    ("ids", "scores", "error", "message"),
    [
        (np.array([0, 1]), None, TypeError, r"ids of dtype uint64, got int64"),
        (np.array([0.0, 1.0]), None, TypeError, r"ids of dtype uint64, got float64"),
        ([0, 1], None, TypeError, r"ids of dtype uint64, got list"),
        (np.arange(3, dtype=np.uint64), None, ValueError, r"ids of shape \(2,\).*got shape \(3,\)"),
        (np.arange(2, dtype=np.uint64), np.ones(1), ValueError, r"scores of shape \(2,\).*got shape \(1,\)"),
    ],
)
def test_batches_whose_columns_do_not_fit_are_refused(ids, scores, error, message):
    """Signed ids became floats, and one score was that of all documents."""
    data = np.frombuffer(b"one two one two", dtype=np.uint8)
    batch = DocumentBatch(ids, data, np.array([0, 7, 15]), scores)
    source = SimpleNamespace(batches=lambda: [batch])
    with pytest.raises(error, match=message):
        deduplicate(source, keep="first" if scores is None else "best")
