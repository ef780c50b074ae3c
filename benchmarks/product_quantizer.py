"""Measure ProductQuantizer: errors of a transformer's keys and values, and the speed of scores, beside faiss.

The keys and values are those of the fourth layer of all-MiniLM-L6-v2 on the help topics that Python ships,
with 384 channels a token (`minilm.py`; they are left out if the package of the weights is not installed).
Codebooks are fitted to 14 windows of 512 tokens, and errors are those of 4 other windows, as a share of their
variance. The speed is that of scoring 200,000 rows of 128 channels on one thread, in processor time. faiss
finds the 10 best rows, and ours writes all scores.
"""

import time
from functools import partial

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import ProductQuantizer

FITTED, OTHERS, LAYERS = 14, 4, (3,)
#: Coupled channels and bits of a code, by bits a channel.
SHAPES = {1: [(1, 1), (2, 2), (4, 4), (8, 8)], 2: [(1, 2), (2, 4), (4, 8)]}
ROWS, FEATURES, QUERIES = 200_000, 128, 32


def keys_and_values():
    """Yield the name, the rows for the fit and the other rows; nothing if the weights are not installed."""
    from pydoc_data.topics import topics

    import minilm

    if not minilm.is_installed():
        return
    model = minilm.MiniLM()
    windows = model.windows(" ".join(topics[name] for name in sorted(topics)), FITTED + OTHERS)
    layers = [list(model.attention(window)) for window in windows]
    for layer in LAYERS:
        for part, name in ((1, "keys"), (2, "values")):
            rows = [found[layer][part].swapaxes(0, 1).reshape(minilm.WINDOW, -1) for found in layers]
            yield f"{name}, layer {layer + 1}", np.concatenate(rows[:FITTED]), np.concatenate(rows[FITTED:])


def share(X, decoded):
    return float(((decoded - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum())


def rotated(fitted, X, bits):
    """Rotate rows less their mean at random, and round each coordinate to the levels of Lloyd and Max."""
    levels = {1: [0.7978846], 2: [0.4527800, 1.5104176]}[bits]
    levels = np.array([-level for level in levels[::-1]] + levels)
    d, center = X.shape[1], fitted.mean(axis=0)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    turned = (X - center) @ rotation
    scale = np.sqrt((turned**2).mean(axis=1, keepdims=True))
    nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, turned / scale)
    return (levels[nearest] * scale) @ rotation.T + center


def by_faiss(fitted, X, c, bits):
    import faiss

    quantizer = faiss.ProductQuantizer(X.shape[1], X.shape[1] // c, bits)
    quantizer.train(fitted)
    return quantizer.decode(quantizer.compute_codes(X))


def by_sklearn(fitted, X, c, bits):
    from sklearn.cluster import KMeans

    decoded = np.empty_like(X)
    for first in range(0, X.shape[1], c):
        part = slice(first, first + c)
        means = KMeans(2**bits, n_init=1, max_iter=25, random_state=0).fit(fitted[:, part])
        decoded[:, part] = means.cluster_centers_[means.predict(X[:, part])]
    return decoded


def errors():
    for name, fitted, X in keys_and_values():
        for bits, shapes in SHAPES.items():
            row = {"rows": name, "bits a channel": bits}
            row["rotation, Lloyd-Max"] = share(X, rotated(fitted, X, bits))
            for c, code_bits in shapes:
                quantizer = ProductQuantizer(X.shape[1], X.shape[1] // c, 2**code_bits).fit(fitted)
                row[f"ours, c = {c}"] = share(X, quantizer.decode(quantizer.encode(X)))
            c, code_bits = shapes[-1]
            row["faiss PQ, widest c"] = share(X, by_faiss(fitted, X, c, code_bits))
            row["k-means of scikit-learn, widest c"] = share(X, by_sklearn(fitted, X, c, code_bits))
            yield row


def best_time(functions, repeats=5):
    """Return the least processor seconds of each function, run in turn."""
    best = {}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            best[name] = min(best.get(name, np.inf), time.process_time() - start)
    return best


def speeds():
    import faiss

    faiss.omp_set_num_threads(1)
    mergesketch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
    Q = rng.standard_normal((QUERIES, FEATURES)).astype(np.float32)
    for n_groups, n_codes in ((64, 16), (16, 256)):
        quantizer = ProductQuantizer(FEATURES, n_groups, n_codes, n_iterations=4, n_restarts=1).fit(X[:2000])
        codes = quantizer.encode(X)
        bits = n_codes.bit_length() - 1
        kind = faiss.IndexPQFastScan if bits == 4 else faiss.IndexPQ
        index = kind(FEATURES, n_groups, bits, faiss.METRIC_INNER_PRODUCT)
        index.train(X[:2000])
        index.add(X)
        for n in (1, QUERIES):
            q = Q[:n]
            found = best_time(
                {
                    "ours, bytes": partial(quantizer.scores, q, codes),
                    "ours, floats": partial(quantizer.scores, q, codes, tables="floats"),
                    "faiss": partial(index.search, q, 10),
                }
            )
            row = {"bytes a row": codes.shape[1], "codes a group": n_codes, "queries": n}
            row.update({f"{name}, ns a row": 1e9 * t / (n * ROWS) for name, t in found.items()})
            yield row


def main():
    arguments = parse(__doc__ or "", "product_quantizer")
    fast = list(speeds())
    show("speed of scores", fast)
    rows = []
    for row in errors():
        rows.append(row)
        # Fits take minutes, so what is known is kept.
        write(arguments.json, rows + fast)
    show("errors as a share of the variance", rows)
    write(arguments.json, rows + fast)


if __name__ == "__main__":
    main()
