"""Test new documents against old ones: any days, in any order, give what one run over all gives."""

from __future__ import annotations

import json
import os
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import DocumentSignatures, MinHash
from mergesketch.distributed import Deduplication, DocumentSource, deduplicate, save_documents
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

#: Few hashes and short shingles, so that small documents are similar in many ways.
SMALL: dict[str, Any] = {"n_hashes": 16, "size": 1, "threshold": 0.4}
EMPTY = DocumentSignatures(MinHash(16, expected_set_size=500), size=1)
Name = tuple[str, int | None]


def names_of(ids: Any, source: Any, old: DocumentSignatures, name: str = "") -> list[Name]:
    """Return the names of new and of old documents."""
    found: list[Name] = []
    for document in np.asarray(ids, dtype=np.uint64).tolist():
        if document >> 63:
            found += old.name_of([document])
        else:
            found += source.name_of([document]) if hasattr(source, "name_of") else [(name, document + 1)]
    return found


def outcome(result: Deduplication, source: Any, old: DocumentSignatures) -> Any:
    """Return all groups by name with what is kept of each."""
    groups = []
    for (start, stop), kept in zip(pairwise(result.offsets.tolist()), result.kept, strict=True):
        members = names_of(result.members[start:stop], source, old)
        similarity = result.member_similarity[start:stop].tolist()
        groups.append((list(zip(members, similarity, strict=True)), names_of([kept], source, old)))
    return groups


def write_day(folder: Path, files: dict[str, list[str]]) -> None:
    for name, texts in files.items():
        (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


words = st.lists(st.sampled_from("abcdefgh"), min_size=0, max_size=5).map(" ".join)
corpora = st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=6)


@given(
    corpus=corpora,
    days=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    order=st.permutations([0, 1, 2]),
    keep=st.sampled_from(["first", "last", "longest"]),
    grouping=st.sampled_from(["connected", "star"]),
)
@settings(max_examples=60, deadline=None)
def test_any_days_in_any_order_are_one_run(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: list[list[str]],
    days: list[int],
    order: list[int],
    keep: str,
    grouping: str,
) -> None:
    tmp_path = tmp_path_factory.mktemp("days")
    files = {f"{chr(ord('z') - i)}.jsonl": texts for i, texts in enumerate(corpus)}
    write_day(tmp_path, files)
    names = [str(tmp_path / name) for name in sorted(files)]
    options = {**SMALL, "keep": keep, "grouping": grouping}
    source = DocumentSource(names)
    whole = deduplicate(source, against=EMPTY, **options)
    expected = outcome(whole, source, EMPTY)
    # The names rise in the order of the files here, so a run without a state has the same order.
    plain = deduplicate(DocumentSource(names), verify="signature", **options)
    assert (plain.n_groups, plain.n_duplicates) == (whole.n_groups, whole.n_duplicates)
    for name in ("members", "offsets", "kept", "member_similarity", "keep", "duplicate_of", "similarity"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(whole, name))

    state, parts = EMPTY, []
    for day in order:
        todays = [name for name, its in zip(names, days, strict=False) if its == day]
        if not todays:
            continue
        source, old = DocumentSource(todays), state
        result = deduplicate(source, against=old, **options)
        state = result.state
        parts.append(deduplicate(DocumentSource(todays), against=EMPTY, **options).state)
    assert state.to_bytes() == whole.state.to_bytes()
    assert outcome(result, source, old) == expected
    for merged in (EMPTY.copy().merge(parts), EMPTY.copy().merge(parts[::-1]).merge(parts[0])):
        assert merged.to_bytes() == whole.state.to_bytes()


@given(
    old=st.lists(words, min_size=1, max_size=12),
    new=st.lists(words, min_size=1, max_size=12),
    keep=st.sampled_from(["first", "last", "longest"]),
    grouping=st.sampled_from(["connected", "star"]),
    name=st.sampled_from(["a", "z"]),
)
@settings(max_examples=80, deadline=None)
def test_old_documents_that_are_not_kept_any_more_are_named(
    old: list[str], new: list[str], keep: str, grouping: str, name: str
) -> None:
    options = {**SMALL, "keep": keep, "grouping": grouping}
    before = deduplicate(old, against=EMPTY, name="m", **options)
    after = deduplicate(new, against=before.state, name=name, **options)
    whole = deduplicate([], against=after.state, name="none", **options)
    kept_now = set(range(len(after.state))) - {
        int(m) & (2**63 - 1) for m in set(whole.members.tolist()) - set(whole.kept.tolist())
    }
    names = after.state.name_of(sorted(kept_now))
    row = {record: i for i, (_, record) in enumerate(before.state.name_of(range(len(before.state))))}
    was = {int(i) + 1 for i in before.ids[before.keep] if int(i) + 1 in row}
    now = {record for path, record in names if path == "m"}
    compared = after.compared
    assert {record for _, record in before.state.name_of(compared.replaced)} == was - now
    assert {record for _, record in before.state.name_of(compared.restored)} == now - was
    assert grouping == "star" or not len(compared.restored)
    # What is kept instead is kept.
    by = names_of(compared.replaced_by, None, before.state, name)
    assert set(by) <= set(names)
    removed = after.duplicate_of[~after.keep]
    assert compared.n_duplicates_of_old == int((removed >> np.uint64(63)).sum())
    assert compared.n_duplicates_of_new == len(removed) - compared.n_duplicates_of_old
    assert compared.n_old == len(row) and compared.n_read_again == 0


def test_documents_of_old_and_new_by_hand() -> None:
    poem = "tyger tyger burning bright in the forests of the night what immortal hand or eye"
    other = "the ferry leaves at nine from the old harbour and comes back at noon every day"
    monday = deduplicate([poem, other, poem], against=DocumentSignatures(), name="2024-05-01")
    assert monday.keep.tolist() == [True, True, False] and monday.compared.n_old == 0
    state = monday.state
    tuesday = deduplicate(
        ["new text of its own here", other.upper(), poem + "!"], against=state, name="2024-05-02"
    )
    assert tuesday.keep.tolist() == [True, False, False]
    assert [int(i) for i in tuesday.duplicate_of] == [0, 2**63 + 1, 2**63]
    assert tuesday.is_copy.tolist() == [False, True, True] and tuesday.similarity.tolist() == [1.0, 1.0, 1.0]
    assert tuesday.compared[:4] == (3, 0, 2, 0) and not len(tuesday.compared.replaced)
    assert (tuesday.n_documents, tuesday.n_groups, tuesday.n_duplicates) == (6, 2, 3)
    assert state.name_of(tuesday.duplicate_of[1:]) == [("2024-05-01", 2), ("2024-05-01", 1)]
    # A name that sorts before the old ones is preferred, and the old document is named.
    earlier = deduplicate([poem], against=state, name="2024-04-30")
    assert earlier.keep.tolist() == [True]
    assert state.name_of(earlier.compared.replaced) == [("2024-05-01", 1)]
    assert earlier.compared.replaced_by.tolist() == [0]
    assert earlier.compared.replaced_similarity.tolist() == [1.0]
    # A new document that connects two old ones: the later of these is not kept any more.
    left, right = "a b c d e f g h", "e f g h i j k l"
    old = deduplicate([left, right], against=EMPTY, name="old", **{**SMALL, "threshold": 0.5})
    assert old.keep.all()
    bridge = deduplicate(["c d e f g h i j"], against=old.state, name="z", **{**SMALL, "threshold": 0.5})
    assert bridge.n_groups == 1 and bridge.keep.tolist() == [False]
    assert bridge.compared.replaced.tolist() == [2**63 + 1]
    assert bridge.compared.replaced_by.tolist() == [2**63]


def test_documents_that_are_read_again() -> None:
    texts = ["one two three", "four five six", "one two three"]
    first = deduplicate(texts, against=EMPTY, name="a", **SMALL)
    again = deduplicate(texts, against=first.state, name="a", **SMALL)
    assert again.compared[:4] == (3, 3, 0, 0) and again.n_documents == 3
    assert again.keep.tolist() == first.keep.tolist() and again.state == first.state
    assert again.duplicate_of.tolist() == first.duplicate_of.tolist()
    with pytest.raises(IncompatibleSketchError, match="a:2 was read before with another text"):
        deduplicate(["one two three", "seven"], against=first.state, name="a", **SMALL)


def test_scores_and_sizes_of_old_documents_count() -> None:
    unscored = deduplicate(["a b c d", "x y"], against=EMPTY, name="old", **SMALL).state
    with pytest.raises(ValueError, match="because the old documents in against have no scores"):
        deduplicate(["a b c d!"], against=unscored, name="z", keep=[2.0], **SMALL)
    old = deduplicate(["a b c d", "x y"], against=EMPTY, name="old", keep=[3.0, np.nan], **SMALL).state
    best = deduplicate(["a b c d!", "x, y"], against=old, name="z", keep=[2.0, 0.0], **SMALL)
    assert best.keep.tolist() == [False, True]
    longest = deduplicate(["a b c d!", "x y"], against=old, name="z", keep="longest", **SMALL)
    assert longest.keep.tolist() == [True, False]
    assert old.name_of(longest.compared.replaced) == [("old", 1)]


def test_what_is_refused(tmp_path: Path) -> None:
    state = deduplicate(["one two"], against=EMPTY, name="a", **SMALL).state
    with pytest.raises(
        ValueError, match=r'verify must be "signature" or "none" with against, got "exact".*8 bytes'
    ):
        deduplicate(["x"], against=state, name="b", verify="exact", **SMALL)
    for change, named in (
        ({"seed": 1}, "family.seed: 1 here, 0 there"),
        ({"n_hashes": 8}, "family.n_hashes: 8 here, 16 there"),
        ({"size": 2}, "size: 2 here, 1 there"),
        ({"unit": "symbol"}, "unit: 'symbol' here, 'word' there"),
        ({"normalize": "none"}, "normalize: 'none' here, 'nfc' there"),
    ):
        with pytest.raises(IncompatibleSketchError, match=named):
            deduplicate(["x"], against=state, name="b", **{**SMALL, **change})
    with pytest.raises(TypeError, match="against must be a DocumentSignatures or a path, got int"):
        deduplicate(["x"], against=3, name="b", **SMALL)
    with pytest.raises(ValueError, match="name must be given with against"):
        deduplicate(["x"], against=state, **SMALL)
    with pytest.raises(ValueError, match="name must be left out"):
        deduplicate(["x"], name="b", **SMALL)
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        deduplicate(["x"], against=state, name=3, **SMALL)
    path = tmp_path / "a.state"
    state.save(path)
    assert deduplicate(["two, one"], against=path, name="b", **SMALL).keep.tolist() == [False]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SketchFormatError, match=r"a\.state: the arrays' checksum does not match"):
        deduplicate(["x"], against=path, name="b", **SMALL)
    mergesketch.CountMinSketch(2, 8).save(path)
    with pytest.raises(SketchFormatError, match="expected a DocumentSignatures, got a CountMinSketch"):
        deduplicate(["x"], against=path, name="b", **SMALL)
    with pytest.raises(TypeError, match="state must be a DocumentSignatures"):
        save_documents("x", path)


def test_sources_of_the_standard_library_by_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path(os.__file__).parent
    monkeypatch.chdir(tmp_path)
    for name in ("asyncio", "json", "email", "logging", "unittest", "importlib"):
        shutil.copytree(top / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        # Another version of each second file.
        for i, path in enumerate(sorted((tmp_path / name).rglob("*.py"))):
            if i % 2:
                path.with_suffix(".old.py").write_text(path.read_text().replace("self", "this", 3))
    options: dict[str, Any] = {"threshold": 0.6}
    folders = sorted(path.name for path in tmp_path.iterdir())
    whole_source = DocumentSource(folders)
    whole = deduplicate(whole_source, against=DocumentSignatures(), **options)
    assert whole.n_groups > 50
    expected = outcome(whole, whole_source, DocumentSignatures())
    for order in (folders, folders[::-1], folders[3:] + folders[:3]):
        state: Any = DocumentSignatures()
        for folder in order:
            source, old = DocumentSource(folder), state
            result = deduplicate(source, against=old, **options)
            state = result.state
        assert outcome(result, source, old) == expected
        assert state.to_bytes() == whole.state.to_bytes()


RANKS = """
import sys, json
import numpy as np
from mergesketch import DocumentSignatures, MinHash
from mergesketch.distributed import DocumentSource, communicator, deduplicate, save_documents
comm = communicator()
options = dict(n_hashes=16, size=1, threshold=0.6, keep="longest", grouping=sys.argv[3])
empty = DocumentSignatures(MinHash(16, expected_set_size=500), size=1)
first = deduplicate(DocumentSource(json.loads(sys.argv[1]), chunk_bytes=1000), against=empty, **options)
save_documents(first.state, "first.state")
comm.barrier()
source = DocumentSource(json.loads(sys.argv[2]), chunk_bytes=1000)
result = deduplicate(source, against="first.state", **options)
same = result
if sys.argv[3] == "star":  # in the slow test
    again = DocumentSource(json.loads(sys.argv[2]), chunk_bytes=1000)
    same = deduplicate(again, against=first.state, **options)
save_documents(result.state, "second.state")
save_documents(same.state, "third.state")
source.finish()
def listed(x):
    return [int(i) if i >> 63 else list(source.name_of([i])[0]) for i in x.tolist()]
every = comm.gather([
    (source.name_of([i])[0], bool(k), listed(d[None])[0], float(s), bool(c))
    for i, k, d, s, c in zip(
        result.ids.tolist(), result.keep, result.duplicate_of, result.similarity, result.is_copy
    )
])
pairs = comm.gather([sorted(map(str, listed(p))) for p in result.pairs])
if comm.rank == 0:
    c = result.compared
    print(json.dumps([
        sorted(sum(every, [])), listed(result.members), result.offsets.tolist(), listed(result.kept),
        result.member_similarity.tolist(), list(c[:4]), listed(c.replaced), listed(c.replaced_by),
        c.replaced_similarity.tolist(), listed(c.restored), result.n_documents, result.n_duplicates,
    ]))
    assert same.members.tolist() == result.members.tolist()
"""


@needs_mpi
@pytest.mark.parametrize("grouping", ["connected", pytest.param("star", marks=pytest.mark.slow)])
def test_ranks_give_the_same_result_and_the_same_file(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouping: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(list("abcdefghijklmnop"), rng.integers(1, 7))) for _ in range(300)]
    write_day(
        tmp_path,
        {"m.jsonl": texts[:60], "n.jsonl": texts[60:130], "a.jsonl": texts[130:230], "z.jsonl": texts[230:]},
    )
    found, files = [], []
    for n in NUMBERS_OF_RANKS:
        ran = ranks.run(n, RANKS, '["m.jsonl", "z.jsonl"]', '["a.jsonl", "m.jsonl", "n.jsonl"]', grouping)
        assert ran.returncode == 0, ran.stderr
        found.append(ran.stdout[0])
        files.append([Path(f"{name}.state").read_bytes() for name in ("first", "second", "third")])
    assert all(one == found[0] for one in found)
    assert all(one == files[0] for one in files) and files[0][1] == files[0][2]
    state = DocumentSignatures.from_bytes(files[0][1])
    assert len(state) == 300 and state.n_paths == 4
    assert sys.getsizeof(files[0][1]) < 300 * (4 * 16 + 32) + 2000


@needs_mpi
def test_errors_of_one_rank_reach_all(ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = """
    from mergesketch import DocumentSignatures
    from mergesketch.distributed import communicator, deduplicate, save_documents
    from mergesketch.errors import MergesketchError
    comm = communicator()
    state = deduplicate([f"{comm.rank} a", "b"], against=DocumentSignatures(), name="x").state
    def error(call):
        try:
            call()
        except (MergesketchError, OSError) as error:
            return type(error).__name__
    print(error(lambda: deduplicate([f"{comm.rank} c", "b"], against=state, name="x")))
    print(error(lambda: save_documents(state, "no/such/folder")))
    whole = deduplicate(["b"], against=DocumentSignatures(), name=f"x").state
    """
    ran = ranks.run(2, code)
    assert ran.returncode == 0, ran.stderr
    lines = [out.split() for out in ran.stdout]
    assert {line[0] for line in lines} <= {"DistributedError", "IncompatibleSketchError"}
    assert all(line[1] in ("DistributedError", "FileNotFoundError") for line in lines)
