"""LearnedPartition among the indexes that `learned_index` compares."""

import functools
import time

import mergesketch
import numpy as np
from learned_index import N_BUCKETS, SEED, Fitted, Method
from scipy import sparse

__all__ = ["methods"]

#: Numbers of choices of an item, and of repetitions with the least counts of candidates.
CHOICES, SHAPES = (2, 4), ((4, 1), (4, 2), (4, 3))
PROBES = [1, 2, 4, 8, 16, 32, 64]


def methods(data):
    """Yield partitions of some repetitions, and the counts that candidates must have."""
    mergesketch.LearnedPartition(2, 2, n_repetitions=1, n_choices=1).fit_neighbors(np.eye(2)).candidates(
        np.eye(2)
    )
    for n_choices in CHOICES:
        # Counts do not change what is learned.
        fit = functools.cache(functools.partial(fitted, data, n_choices))
        for n_repetitions, least in SHAPES:
            settings = f"{n_repetitions} x {N_BUCKETS} buckets, K = {n_choices}, in {least} or more"

            def method(d, fit=fit, n_repetitions=n_repetitions, least=least):
                return answers(d, *fit(n_repetitions), least)

            yield Method("LearnedPartition", settings, method)


def fitted(data, n_choices, n_repetitions):
    """Return a partition that has learned a set, and the processor time of the fit."""
    start = time.process_time()
    index = mergesketch.LearnedPartition(
        data.Q.shape[1], N_BUCKETS, n_repetitions=n_repetitions, n_choices=n_choices, seed=SEED
    )
    if data.Y is None:
        index.fit_neighbors(data.items, metric="inner_product")
    else:
        index.fit(data.X, data.Y)
    return index, time.process_time() - start


def answers(data, index, seconds, least):
    def candidates(n_probes):
        found = index.candidates(data.Q, n_probes=n_probes, min_count=least)
        ones = np.ones(len(found.ids), np.float32)
        return sparse.csr_matrix((ones, found.ids, found.offsets), data.truth.shape)

    return Fitted(index.loads, index.nbytes, PROBES, candidates, seconds)
