"""Draw docs/images/hyperloglog.svg from benchmarks/results/distinct.json: errors against numbers of keys."""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, legend, save

STYLES = {
    "HyperLogLog": "o-",
    "HLL_4, 8,192 registers, merged": "s--",
    "HLL_8, 4,096 registers, merged": "^--",
    "CPC, 8,192 rows, merged": "d--",
}


def main():
    rows = json.loads((ROOT / "benchmarks/results/distinct.json").read_text())["rows"]
    rows = [row for row in rows if row.get("sketch") in STYLES and "keys" in row]
    figure, (errors, biases) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for name, style in STYLES.items():
        here = sorted((row for row in rows if row["sketch"] == name), key=lambda row: row["keys"])
        keys, label = [row["keys"] for row in here], name.removesuffix(", merged")
        errors.plot(keys, [100 * row["RMS error"] for row in here], style, label=label, markersize=4)
        if name == "HyperLogLog":
            errors.plot(
                keys, [100 * row["theory"] for row in here], ":", color="C6", label="theory", zorder=3
            )
            biases.errorbar(
                keys,
                [100 * row["bias"] for row in here],
                [200 * row["standard error of the bias"] for row in here],
                fmt="o",
                color="C0",
                markersize=4,
            )
    biases.axhline(0, color="C7", linewidth=0.8)
    errors.set(title="RMS error, % of the keys", xlabel="different keys", xscale="log", ylim=(0, None))
    biases.set(title="bias of HyperLogLog, % (± 2 standard errors)", xlabel="different keys", xscale="log")
    biases.set_ylim(-0.5, 0.5)
    legend(figure, ncols=3)
    save(figure, "hyperloglog")


if __name__ == "__main__":
    main()
