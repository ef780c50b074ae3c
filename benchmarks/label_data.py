"""Data with many labels: which packages a package of Debian depends on, and generated rows of any size.

Everybody reads the same rows here, so that results of different benchmarks can be compared.
"""

import re
from typing import NamedTuple

import numpy as np
from debian import dependency_names, records
from scipy import sparse

__all__ = ["LabelData", "debian_labels", "generated_labels"]

#: A label belongs to at least as many packages, and a word to at least as many packages of the training set.
LEAST_PACKAGES, LEAST_WORDS = 5, 2
#: One package in ten is held out.
HELD_OUT = 0.1


class LabelData(NamedTuple):
    """Rows with labels, those to learn from and those to test with.

    Rows are float32 CSR matrices, each row of length 1. Labels are CSR matrices with a one for each label.
    """

    X: sparse.csr_matrix
    Y: sparse.csr_matrix
    X_test: sparse.csr_matrix
    Y_test: sparse.csr_matrix


def debian_labels(seed=0):
    """Return packages and the names they depend on, or None where apt has no lists.

    A row has the words of a package's name, section and one-line description, weighted by TF-IDF. Its labels
    are the names in Depends and Pre-Depends that at least five packages have there. Packages without labels
    are left out.
    """
    found = records("Package", "Section", "Description", "Depends", "Pre-Depends")
    if found is None:
        return None
    words, labels = [], []
    for fields in {r["Package"]: r for r in found}.values():
        words.append(
            [f"name:{w}" for w in re.findall("[a-z]+|[0-9]+", fields["Package"])]
            + [f"section:{fields.get('Section', '')}"]
            + re.findall("[a-z0-9+#]+", fields.get("Description", "").lower())
        )
        labels.append(dependency_names(fields))
    counts: dict[str, int] = {}
    for names in labels:
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    kept = {n: i for i, n in enumerate(n for n, c in counts.items() if c >= LEAST_PACKAGES)}
    labels = [sorted(kept[n] for n in names if n in kept) for names in labels]
    rows = np.flatnonzero([len(found) > 0 for found in labels])
    rows = np.random.default_rng(seed).permutation(rows)
    n_test = int(HELD_OUT * len(rows))
    train, test = rows[n_test:], rows[:n_test]

    seen: dict[str, int] = {}
    for i in train:
        for word in set(words[i]):
            seen[word] = seen.get(word, 0) + 1
    numbers = {w: i for i, w in enumerate(w for w, c in seen.items() if c >= LEAST_WORDS)}
    idf = np.log(len(train) / np.array([seen[w] for w in numbers]))

    def features(chosen):
        lists = [[numbers[w] for w in words[i] if w in numbers] for i in chosen]
        X = _matrix(lists, len(numbers))
        X.data = (1.0 + np.log(X.data)) * idf[X.indices]
        return _unit_rows(X)

    def targets(chosen):
        return _matrix([labels[i] for i in chosen], len(kept))

    return LabelData(features(train), targets(train), features(test), targets(test))


def generated_labels(n_labels, n_rows, *, n_features=50_000, n_test=5_000, seed=0):
    """Return rows of labels whose frequencies follow Zipf's law.

    A label has 20 features of its own, drawn at random. A row has one to three labels, half of the features
    of each, and 10 features of noise. The exponent of Zipf's law is 0.8, so that most labels are rare.
    """
    rng = np.random.default_rng(seed)
    weights = (1.0 + np.arange(n_labels)) ** -0.8
    prototypes = rng.integers(0, n_features, (n_labels, 20))
    n = n_rows + n_test
    counts = rng.integers(1, 4, n)
    label_rows = np.repeat(np.arange(n), counts)
    drawn = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(len(label_rows)))
    drawn = np.minimum(drawn, n_labels - 1)
    Y = sparse.csr_matrix((np.ones(len(drawn), np.float32), (label_rows, drawn)), (n, n_labels))
    Y.data[:] = 1.0
    chosen = rng.random((len(drawn), 20)) < 0.5
    own = prototypes[drawn][chosen]
    noise = rng.integers(0, n_features, (n, 10))
    at = np.concatenate([np.repeat(label_rows, chosen.sum(1)), np.repeat(np.arange(n), 10)])
    X = sparse.csr_matrix(
        (np.ones(len(at), np.float32), (at, np.concatenate([own, noise.ravel()]))), (n, n_features)
    )
    X.sum_duplicates()
    X = _unit_rows(X)
    return LabelData(X[:n_rows], Y[:n_rows], X[n_rows:], Y[n_rows:])


def _matrix(lists, n_columns):
    """Return how often each number is in each list, as a matrix with a row for each list."""
    sizes = [len(numbers) for numbers in lists]
    at = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.array([number for numbers in lists for number in numbers], np.int64)
    X = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, at), (len(lists), n_columns))
    X.sum_duplicates()
    return X


def _unit_rows(X):
    lengths = np.sqrt(np.asarray(X.multiply(X).sum(1)).ravel())
    X = sparse.csr_matrix(X, dtype=np.float32)
    X.data /= np.repeat(np.maximum(lengths, 1e-12), np.diff(X.indptr)).astype(np.float32)
    return X
