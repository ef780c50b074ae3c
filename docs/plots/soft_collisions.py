"""Draw docs/images/soft_collisions.svg: probabilities of a table's codes, and scores against the angle."""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import SoftCollisions
from mergesketch.lsh import SignedRandomProjection
from picture import GREY, WIDTH, legend, save


def main():
    figure, (table, scores) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    # A table of three bits: the products of a query with three vectors, whose signs make the hard code.
    products, width, tau = np.array([0.9, -0.15, 0.5]), 32, 0.3
    chance = 0.5 + 0.5 * np.tanh(np.tanh(products) / (np.sqrt(width) * tau))
    codes = np.arange(8)
    bits = codes[:, None] >> np.arange(3) & 1
    soft = np.where(bits == 1, chance, 1.0 - chance).prod(axis=1)
    hard = np.where((bits == (products > 0)).all(axis=1), 1.0, 0.0)
    names = ["".join("+" if bit else "-" for bit in row) for row in bits]
    table.bar(codes - 0.2, hard, 0.4, color=GREY, label="hard collisions")
    table.bar(codes + 0.2, soft, 0.4, color="C0", label="soft collisions")
    table.set_xticks(codes, names)
    table.set(title="one table of 3 bits", xlabel="code of a key", ylabel="what the key gets", ylim=(0, 1.05))
    table.grid(axis="x", visible=False)
    rng = np.random.default_rng(0)
    angles = rng.uniform(0.0, np.pi, 300)
    query = np.zeros(width)
    query[0] = 8.0
    rest = rng.standard_normal((300, width))
    rest[:, 0] = 0.0
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    keys = np.cos(angles)[:, None] * query / 8.0 + np.sin(angles)[:, None] * rest
    family = SignedRandomProjection(width, 60, power=8, seed=1)
    for tau, colour in ((1e-8, GREY), (0.3, "C0")):
        found = SoftCollisions(family, tau).update(keys).scores(query[None])[0]
        scores.plot(np.degrees(angles), found / found.max(), ".", color=colour, markersize=4)
    scores.set(title="60 tables of 8 bits", xlabel="angle of key and query, degrees")
    scores.set(ylabel="score, relative to the largest")
    legend(figure, ncols=2)
    save(figure, "soft_collisions")


if __name__ == "__main__":
    main()
