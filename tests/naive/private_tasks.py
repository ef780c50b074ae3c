"""Classification from noisy counters."""

from __future__ import annotations

import math

import numpy as np


def private_class_scores(codes, counts, noise_std):
    """Return log-likelihoods of classes by naive Bayes over the noisy counters of every repetition."""
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
