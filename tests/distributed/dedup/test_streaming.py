"""Test that documents seen before are those of one pass in order, over any number of ranks."""

from __future__ import annotations

from pathlib import Path

import mergesketch
import numpy as np
import pytest
from mergesketch import StreamingDeduplicator
from mergesketch.distributed import Communicator
from mergesketch.distributed.dedup.streaming import stream_duplicates
from mergesketch.distributed.documents.batches import DocumentBatch
from ranks import Ranks, needs_mpi

ALONE = Communicator(None)


class Batches:
    """Give documents in batches of five, with ids that leave gaps."""

    def __init__(self, documents: list[bytes]) -> None:
        self.documents = documents

    def batches(self):
        for start in range(0, len(self.documents), 5):
            part = self.documents[start : start + 5]
            ids = np.arange(start, start + len(part), dtype=np.uint64) * np.uint64(10)
            data = np.frombuffer(b"".join(part), dtype=np.uint8)
            yield DocumentBatch(ids, data, np.cumsum([0, *map(len, part)]))


def corpus(seed: int, n: int = 120) -> list[bytes]:
    rng = np.random.default_rng(seed)
    documents = [" ".join(map(str, words)).encode() for words in rng.integers(0, 999, (n, 40)).tolist()]
    for i in rng.integers(0, n, n // 2).tolist():
        documents.append(documents[i] + b" end")
    documents += [b"", b"?", b"\xff\xff"]
    return [documents[i] for i in rng.permutation(len(documents)).tolist()]


def test_one_rank_answers_as_the_sketch() -> None:
    documents = corpus(0)
    expected = StreamingDeduplicator(0.7, 500)
    is_new = expected.admit(documents)
    seen = StreamingDeduplicator(0.7, 500)
    found = stream_duplicates(Batches(documents), seen, ALONE)
    assert found.ids.tolist() == (10 * np.flatnonzero(~is_new)).tolist()
    assert (found.n_documents, found.n_duplicates, found.n_empty) == (183, len(found.ids), 1)
    assert found.invalid.tolist() == [10 * documents.index(b"\xff\xff")]
    np.testing.assert_array_equal(seen.state["filters"].array, expected.state["filters"].array)
    assert seen.n_updates == 183
    # Tomorrow's documents are compared with today's.
    again = stream_duplicates(Batches(documents[::-1]), seen, ALONE)
    assert again.n_duplicates == 182 and seen.n_updates == 366


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3, 4])
def test_ranks_answer_as_one(ranks: Ranks, tmp_path: Path, n_ranks: int) -> None:
    """Chunks go to ranks in any order; the answers and the saved state are those of one rank."""
    for i in range(9):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.txt").write_bytes(b" ".join(corpus(i % 4, 30)[:12]))
    lines = [b'{"text": "%s"}\n' % text for text in corpus(1) if text.strip() and b"\xff" not in text]
    (tmp_path / "in" / "a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "in" / "z.jsonl").write_bytes(b"".join(lines[::-2]))
    code = """
        import sys
        from mergesketch import StreamingDeduplicator
        from mergesketch.distributed import DocumentSource, communicator
        from mergesketch.distributed.dedup.streaming import gather_filters, stream_duplicates

        comm = communicator()
        seen = StreamingDeduplicator(0.7, 500, 0.01, seed=4)
        for _ in range(2):
            source = DocumentSource(sys.argv[1], comm=comm, chunk_bytes=3000, batch_bytes=2000)
            found = stream_duplicates(source, seen, comm)
            summary = source.finish()
            print(found.ids.tolist(), found.n_documents, found.n_duplicates, found.n_empty)
        gather_filters(seen, comm)
        if comm.rank == 0:
            seen.save(sys.argv[2])
    """
    saved = str(tmp_path / "seen.sketch")
    ran = ranks.run(n_ranks, code, str(tmp_path / "in"), saved)
    assert ran.returncode == 0, ran.stderr
    many = mergesketch.load(saved)
    expected = ranks.run(1, code, str(tmp_path / "in"), saved)
    assert expected.returncode == 0, expected.stderr
    assert ran.stdout[0] == expected.stdout[0]
    n_found = [(line.count(",") + 1, *line.split("] ")[1].split()) for line in ran.stdout[0].splitlines()]
    assert [int(n) for _, _, n, _ in n_found] == [n for n, *_ in n_found] and n_found[0][0] > 60
    assert mergesketch.load(saved) == many and many.n_updates == 2 * int(n_found[0][1])
