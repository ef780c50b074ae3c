"""Kernels of group testing: belief propagation between samples and their pools, in logarithms.

An edge joins a sample to a pool. ``beta`` of an edge is the pool's evidence on the sample: the logarithm of
the probability of its outcome if the sample is negative, over that if it is positive. ``alpha`` is the
sample's answer: the logarithm of the probability that it is negative, by all evidence except this pool's.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["propagate_beliefs"]


@helper
def _log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0.0 else x - math.log1p(math.exp(x))


@kernel
def propagate_beliefs(
    indptr, samples, outcomes, prior, evidence_positive, evidence_negative,
    bound, damping, tolerance, max_iterations, beta, total,
):  # fmt: skip
    """Pass messages along the edges ``samples[indptr[t]:indptr[t + 1]]`` of each pool t until they converge.

    `prior` is minus the logit of each sample's prevalence, `evidence_*` the gamma of either outcome. Messages
    stay within +-bound. `beta` (edges, zeros at first) and `total` (samples: the sums of beta) are the
    result. Return the number of rounds, negative if the messages did not converge.
    """
    n_pools = indptr.size - 1
    alpha = np.empty(samples.size)
    for round_ in range(1, max_iterations + 1):
        for edge in range(samples.size):
            i = samples[edge]
            alpha[edge] = _log_sigmoid(total[i] - beta[edge] + prior[i])
        change = 0.0
        for t in range(n_pools):
            first, last = indptr[t], indptr[t + 1]
            healthy = 0.0
            for edge in range(first, last):
                healthy += alpha[edge]
            for edge in range(first, last):
                if outcomes[t]:
                    x = min(healthy - alpha[edge], 0.0) + evidence_positive
                    # This is log(1 - e**x), x <= 0, without loss of digits at either end.
                    new = math.log(-math.expm1(x)) if x < 0.0 else -bound
                else:
                    x = min(healthy - alpha[edge], 0.0) + evidence_negative
                    new = x + math.log1p(math.exp(-x)) if x > 0.0 else math.log1p(math.exp(x))
                new = min(max(new, -bound), bound)
                new = damping * beta[edge] + (1.0 - damping) * new
                change = max(change, abs(new - beta[edge]))
                beta[edge] = new
        total[:] = 0.0
        for edge in range(samples.size):
            total[samples[edge]] += beta[edge]
        if change < tolerance:
            return round_
    return -max_iterations
