"""Group testing: Bloom pools beside random designs and Dorfman's two rounds, over prevalence and tests.

All at 1 % errors both ways. For every setting: the area under the ROC of the posteriors, and the positive
samples that are missed where 0.5 % of the negative ones are called positive, over all rounds, with the
standard error that the rounds' differences give. How sure the posteriors are beside how often they are right
is measured in rounds that converged, near the fewest tests that will do and with more. A random design has
as many places as the Bloom pools: each sample in k random pools ("constant column"), or in each pool with
one probability ("Bernoulli"). Dorfman tests pools of the best size, and everybody in a positive
one again: the tests that takes are one of the budgets of the others.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from measure import parse, show, write
from mergesketch import BloomPooling
from scipy import sparse

ERRORS = {"false_positive_rate": 0.01, "false_negative_rate": 0.01}
SIZES = {96: 400, 384: 160, 10_000: 5}
PREVALENCES = (0.005, 0.01, 0.02, 0.05)
BUDGETS = (0.1, 0.15, 0.2, 0.3, 0.4)
FALSE_ALARMS = 0.005
#: Bounds of the posteriors whose truth is counted together.
SURE = (0.5, 0.9, 0.99, 1.0)


def dorfman_cost(prevalence: float) -> tuple[float, int]:
    """Return the tests a sample of the best pool size, at these error rates, and that size."""
    sizes = np.arange(2, 101)
    clean = (1 - prevalence) ** sizes
    positive = clean * ERRORS["false_positive_rate"] + (1 - clean) * (1 - ERRORS["false_negative_rate"])
    cost = 1 / sizes + positive
    return float(cost.min()), int(sizes[np.argmin(cost)])


def dorfman(truth: np.ndarray, size: int, rng: np.random.Generator) -> tuple[float, float]:
    """Missed positives and false alarms of two rounds with errors in both."""

    def read(positive: np.ndarray) -> np.ndarray:
        chance = rng.random(positive.size)
        return positive ^ (chance < np.where(positive, *reversed(list(ERRORS.values()))))

    pools = np.array_split(rng.permutation(truth.size), -(-truth.size // size))
    seen = read(np.array([truth[pool].any() for pool in pools]))
    again = np.concatenate([np.empty(0, int), *(pool for pool, yes in zip(pools, seen, strict=True) if yes)])
    called = np.zeros(truth.size, dtype=bool)
    called[again] = read(truth[again])
    return float((truth & ~called).sum()), float((called & ~truth).sum())


def random_design(pooling: BloomPooling, kind: str, rng: np.random.Generator) -> BloomPooling:
    """Put the same samples and tests into a random design with equally many places."""
    n, tests, k = pooling.n_samples, pooling.n_tests, pooling.pools_per_sample
    if kind == "Bernoulli":
        rows, columns = np.nonzero(rng.random((tests, n)) < k / tests)
    else:
        chosen = np.sort(rng.integers(0, tests, (n, k)), axis=1)
        while (twice := (np.diff(chosen, axis=1) == 0).any(axis=1)).any():
            chosen[twice] = np.sort(rng.integers(0, tests, (int(twice.sum()), k)), axis=1)
        rows = chosen.ravel()
        columns = np.repeat(np.arange(n), k)
    pooling.__dict__["design"] = sparse.csr_array(
        (np.ones(rows.size, dtype=np.bool_), (rows, columns)), shape=(tests, n)
    )
    return pooling


def scores(n: int, tests: int, prevalence: float, design: str, method: str, rounds: int) -> dict[str, float]:
    """AUC, missed share at FALSE_ALARMS and its error, share of rounds that converged."""
    rng = np.random.default_rng(1)
    positive, negative, converged = [], [], 0
    for seed in range(rounds):
        pooling = BloomPooling(n, tests, prevalence=prevalence, seed=seed, **ERRORS)
        if design != "Bloom":
            random_design(pooling, design, rng)
        truth = rng.random(n) < prevalence
        decoded = pooling.decode(pooling.outcomes(truth, seed=seed), method)
        positive.append(decoded.posterior[truth])
        negative.append(decoded.posterior[~truth])
        converged += decoded.converged
    yes, no = np.concatenate(positive), np.sort(np.concatenate(negative))
    below, upto = np.searchsorted(no, yes), np.searchsorted(no, yes, side="right")
    threshold = no[int((1 - FALSE_ALARMS) * no.size)]
    missed = float((yes <= threshold).mean())
    # Rounds are independent, samples of a round are not: the error of a ratio of two sums over rounds.
    spread = [(round_ <= threshold).sum() - missed * round_.size for round_ in positive]
    return {
        "AUC": float((below + upto).mean() / 2 / no.size),
        "missed": missed,
        "standard error": float(np.sqrt(np.square(spread).sum()) / yes.size),
        "converged": converged / rounds,
    }


def calibration(n: int, tests: int, prevalence: float, rounds: int) -> list[dict[str, float]]:
    """Posteriors of converged rounds in ranges: what they say on average, and how many are positive."""
    rng = np.random.default_rng(3)
    told, true, of_round = [], [], []
    for seed in range(rounds):
        pooling = BloomPooling(n, tests, prevalence=prevalence, seed=seed, **ERRORS)
        truth = rng.random(n) < prevalence
        decoded = pooling.decode(pooling.outcomes(truth, seed=seed))
        if decoded.converged:
            sure = decoded.posterior >= SURE[0]
            told.append(decoded.posterior[sure])
            true.append(truth[sure])
            of_round.append(np.full(int(sure.sum()), seed))
    posterior, positive, number = (np.concatenate(part) for part in (told, true, of_round))
    rows = []
    for low, high in pairwise(SURE):
        inside = (posterior >= low) & ((posterior < high) | (high == 1.0))
        if not inside.any():
            continue
        share = positive[inside].mean()
        spread = np.bincount(number[inside], positive[inside] - share, minlength=rounds)
        rows.append(
            {
                "n": n, "prevalence": prevalence, "tests / n": tests / n, "posteriors from": low, "to": high,
                "samples": int(inside.sum()), "said": float(posterior[inside].mean()),
                "true": float(share), "error of true": float(np.sqrt(np.square(spread).sum()) / inside.sum()),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    path = parse(__doc__.split("\n")[0], "group_testing").json
    rows = []
    for n, rounds in SIZES.items():
        for prevalence in PREVALENCES:
            cost, size = dorfman_cost(prevalence)
            rng = np.random.default_rng(2)
            draws = [rng.random(n) < prevalence for _ in range(rounds * 4)]
            missed, alarms = np.sum([dorfman(truth, size, rng) for truth in draws], axis=0)
            found = {
                "missed": missed / max(1, np.sum(draws)),
                "false alarms": alarms / (~np.array(draws)).sum(),
            }
            rows.append({"n": n, "prevalence": prevalence, "tests / n": cost, "design": "Dorfman", **found})
            for budget in sorted({*BUDGETS, round(cost, 3)}):
                for design, method in (
                    ("Bloom", "belief_propagation"), ("constant column", "belief_propagation"),
                    ("Bernoulli", "belief_propagation"), ("Bloom", "scomp"),
                ):  # fmt: skip
                    result = scores(n, max(2, round(budget * n)), prevalence, design, method, rounds)
                    name = design if method == "belief_propagation" else f"{design}, {method}"
                    rows.append(
                        {"n": n, "prevalence": prevalence, "tests / n": budget, "design": name, **result}
                    )
    keys = (
        "n", "prevalence", "tests / n", "design", "AUC", "missed", "standard error", "false alarms",
        "converged",
    )  # fmt: skip
    show("Group testing, 1 % errors both ways", [{key: row.get(key, "") for key in keys} for row in rows])
    sure = [
        row
        for n, rounds in SIZES.items()
        for prevalence, budgets in ((0.01, (0.1, 0.15, 0.2)), (0.02, (0.2, 0.3)))
        for budget in budgets
        for row in calibration(n, round(budget * n), prevalence, rounds)
    ]
    show("How often posteriors are right", sure)
    write(path, [*rows, *sure])


if __name__ == "__main__":
    main()
