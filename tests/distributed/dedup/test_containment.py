"""Test that documents are found which a larger document contains."""

import email
import json
import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import DocumentSource, deduplicate
from mergesketch.distributed.__main__ import main
from mergesketch.lsh import shingle
from naive.dedup import contained, stars
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi


def words(start: int, stop: int) -> str:
    return " ".join(f"w{i}" for i in range(start, stop))


def test_a_quoted_article_is_removed_in_favour_of_the_larger_text() -> None:
    article, other = words(0, 100), words(5000, 5100)
    book = f"{words(1000, 2000)} {article} {words(2000, 3000)}"
    result = deduplicate([article, other, book], measure="containment", threshold=0.9)
    assert result.keep.tolist() == [False, True, True] and result.duplicate_of.tolist() == [2, 1, 2]
    assert result.similarity.tolist() == [1, 1, 1] and result.pairs.tolist() == [[0, 2]]
    assert (result.bands, result.rows) == (128, 1)
    assert deduplicate([article, other, book], threshold=0.5).keep.all()


def test_what_is_contained_in_a_removed_document_alone_stays() -> None:
    # The second document has 80 % of the first, and the third has 80 % of the second but little of the first.
    texts = [words(0, 104), words(20, 224), words(60, 364), words(20, 224)]
    result = deduplicate(texts, measure="containment", threshold=0.75, n_hashes=512)
    sets = [set(range(100)), set(range(20, 220)), set(range(60, 360)), set(range(20, 220))]
    assert contained(sets[0], sets[1]) == 0.8 == contained(sets[1], sets[2])
    assert result.duplicate_of.tolist() == [0, 2, 2, 2]
    np.testing.assert_allclose(result.similarity, [1, 0.8, 1, 0.8], rtol=1e-6)
    assert result.is_copy.tolist() == [False] * 4


def test_the_first_of_equal_documents_is_kept() -> None:
    result = deduplicate([words(0, 50), words(0, 50), words(0, 49)], measure="containment")
    assert result.duplicate_of.tolist() == [0, 0, 0] and result.is_copy.tolist() == [False, True, False]


spans = st.tuples(st.integers(0, 60), st.integers(5, 60))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(spans, min_size=1, max_size=3), min_size=1, max_size=12), st.sampled_from([0.5, 0.8, 1])
)
def test_stars_are_those_of_all_pairs(documents, threshold) -> None:
    """Small sets have so many values in common that no pair is missed."""
    texts = [" ".join(words(a, a + n) for a, n in spans) for spans in documents]
    sets = []
    for text in texts:
        split = text.split()
        sets.append({" ".join(split[i : i + 5]) for i in range(len(split) - 4)})
    order = sorted(range(len(sets)), key=lambda i: (-len(sets[i]), i))
    expected = stars(order, lambda i, j: contained(sets[i], sets[j]) >= threshold)
    result = deduplicate(texts, measure="containment", threshold=threshold, n_hashes=1024)
    assert result.duplicate_of.tolist() == [expected[i] for i in range(len(sets))]
    for i, head in expected.items():
        assert result.similarity[i] == np.float32(contained(sets[i], sets[head]))


def test_a_text_that_hundreds_of_unrelated_documents_quote() -> None:
    quote = words(0, 60)
    texts = [f"{words(1000 * i, 1000 * i + 150)} {quote}" for i in range(1, 201)]
    texts.insert(100, quote)
    result = deduplicate(texts, measure="containment", threshold=0.8)
    assert np.flatnonzero(~result.keep).tolist() == [100]
    # All of them have the same number of shingles.
    assert result.duplicate_of[100] == 0 and result.similarity[100] == 1
    every = deduplicate(texts, measure="containment", threshold=0.8, pairs="all")
    assert every.pairs.tolist() == [sorted((100, i)) for i in range(201) if i != 100]


def test_the_share_of_found_pairs_is_that_of_the_formula() -> None:
    """Each of 400 articles lies in a text of its own that is 40 times as long."""
    texts = []
    for i in range(400):
        texts += [words(10**6 * i, 10**6 * i + 54), words(10**6 * i + 10, 10**6 * i + 2014)]
    result = deduplicate(texts, measure="containment", threshold=0.7)
    sizes, common = (50, 2000), 40
    jaccard = common / (sum(sizes) - common)
    probability = 1 - (1 - jaccard) ** 128
    found = result.n_duplicates / 400
    assert 0.9 < probability < 0.96
    assert abs(found - probability) < 4 * np.sqrt(probability * (1 - probability) / 400)
    assert (result.duplicate_of[~result.keep] == np.flatnonzero(~result.keep) + 1).all()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"measure": "cosine"}, "measure must be one of 'jaccard', 'containment', got 'cosine'"),
        ({"verify": "signature"}, "got 'signature', 'first' and None"),
        ({"verify": "none"}, "got 'none', 'first' and None"),
        ({"keep": "last"}, "got 'exact', 'last' and None"),
        ({"keep": [1.0]}, "got 'exact', 'scores' and None"),
    ],
)
def test_what_does_not_go_together(options, problem) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        deduplicate(["a text"], **{"measure": "containment", **options})


def test_the_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/article.txt").write_text(words(0, 100))
    Path("in/book.txt").write_text(words(1000, 1500) + " " + words(0, 100))
    options = ["--measure", "containment", "--threshold", "0.9"]
    assert main(["dedup", "in", *options, "--clean", "out"]) == 0
    printed = capsys.readouterr().out
    assert "groups           1, whose kept document contains 0.9 or more of each other one\n" in printed
    assert [path.name for path in Path("out").glob("*.txt")] == ["book.txt"]
    (line,) = Path("out/removed.jsonl").read_text().splitlines()
    assert json.loads(line)["kept"]["path"] == "in/book.txt"
    assert main(["dedup", "in", *options, "--memory", "bloom"]) == 2
    assert "--measure" in capsys.readouterr().err


RANKS = """
import numpy as np
from mergesketch.distributed import DocumentSource, communicator, deduplicate

comm = communicator()
source = DocumentSource(sys.argv[1], comm=comm, chunk_bytes=3000, batch_bytes=10_000)
result = deduplicate(source, measure="containment", threshold=0.6, comm=comm)
columns = result.ids, result.duplicate_of, result.similarity
parts = [np.concatenate(column) for column in zip(*comm.allgather(columns))]
order = np.argsort(parts[0])
print([column[order].tolist() for column in parts])
"""


@needs_mpi
def test_any_number_of_ranks_finds_the_same(ranks: Ranks, tmp_path) -> None:
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(150):
        start, n = int(rng.integers(0, 3000)), int(rng.choice([20, 60, 200, 900]))
        texts.append(words(start, start + n))
    quote = words(9000, 9060)
    texts += [quote, *(f"{words(10_000 + 500 * i, 10_000 + 500 * i + 90)} {quote}" for i in range(100))]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    printed = set()
    for n_ranks in NUMBERS_OF_RANKS:
        ran = ranks.run(n_ranks, RANKS, str(path))
        assert ran.returncode == 0, ran.stderr
        printed.update(ran.stdout)
    assert len(printed) == 1
    ids, kept, similarity = json.loads(printed.pop())
    removed = [i for i, k, _ in zip(ids, kept, similarity, strict=True) if i != k]
    assert len(removed) > 100 and min(similarity) >= 0.6
    # Nothing that is kept contains another kept document, apart from pairs that are no candidates.
    assert set(kept) <= set(ids) and not set(removed) & set(kept)


def test_all_pairs_of_real_files() -> None:
    """Files of two packages, whose pairs are compared with all pairs."""
    folders = [Path(json.__file__).parent, Path(email.__file__).parent]
    source = DocumentSource(folders, include=["*.py"])
    result = deduplicate(source, measure="containment", threshold=0.04, n_hashes=1024, pairs="all")
    (batch,) = source.batches()
    shingles = shingle((batch.data, batch.offsets))
    bounds = pairwise(shingles.offsets.tolist())
    sets = {
        i: set(shingles.tokens[a:b].tolist()) for i, (a, b) in zip(batch.ids.tolist(), bounds, strict=True)
    }
    sets = {i: tokens for i, tokens in sets.items() if tokens}
    expected = {(i, j): contained(sets[i], sets[j]) for i, j in combinations(sets, 2)}
    expected = {pair: share for pair, share in expected.items() if share >= 0.04}
    found = dict(zip(map(tuple, result.pairs.tolist()), result.pair_similarity.tolist(), strict=True))
    assert len(expected) > 5 and len(found) >= 0.9 * len(expected)
    assert found == {pair: float(np.float32(expected[pair])) for pair in found}
