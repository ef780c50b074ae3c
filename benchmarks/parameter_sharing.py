"""Train one model over tables of few parameters, for the benchmarks parameter_sharing_*.py.

An experiment says how a model is trained over tables; here the tables and learning rates are chosen, seeds
are run, and rows of results are made. The learning rate of each table and compression is the best of a few,
by the log loss or hit rate of a seed that is not reported.
"""

import json

import numpy as np
import torch
from measure import parse, show, write
from mergesketch import set_num_threads
from parameter_tables import TABLES

__all__ = ["COMPRESSIONS", "compare", "summarised", "with_best_rate"]

COMPRESSIONS, SEEDS, TUNING = (1, 10, 100, 1000, 4), (1, 2, 3, 4), 0


def summarised(found):
    """Return the means and standard errors of measurements that have the same names."""
    row = {}
    for what in found[0]:
        values = np.array([float(one[what]) for one in found])
        row[what] = float(values.mean())
        if len(values) > 1:
            row[f"{what} ±"] = float(values.std(ddof=1) / np.sqrt(len(values)))
    return row


def with_best_rate(run, rates, metric, seeds):
    """Return the row of the best learning rate: the mean over the seeds, with its standard error.

    ``run(rate, seed)`` returns the measurements by name. With the best rate, the metric is the largest for a
    seed that is not reported; or the smallest, if its name ends with "loss".
    """
    sign = -1.0 if metric.endswith("loss") else 1.0
    best = rates[0]
    if len(rates) > 1:
        tried = {rate: sign * run(rate, TUNING)[metric] for rate in rates}
        best = max(tried, key=tried.get)
    return {"rate": best} | summarised([run(best, seed) for seed in seeds])


def compare(description, experiment, compressions=COMPRESSIONS, seeds=SEEDS):
    """Measure an experiment with every table that exists at a compression, and write the rows.

    An experiment has `name`, `sizes` (the ids of each table), `d`, `std`, `rates`, `metric`, and
    ``run(tables, rate, seed)``, which returns measurements by their names. It may name its `tables`.
    """
    arguments = parse(description, experiment.name, missing="measure only what the file of results lacks")
    torch.set_num_threads(1)
    set_num_threads(1)
    kept = {}
    if arguments.missing and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
        kept = {(row["table"], row["compression"]): row for row in rows}
    first, results = list(experiment.first_rows()), {}
    for compression in compressions:
        for kind in getattr(experiment, "tables", TABLES):
            budgets = [n * experiment.d // compression for n in experiment.sizes]
            if not kind.fits(experiment.sizes, experiment.d, budgets):
                continue
            if (kind.name, compression) in kept:
                results[kind.name, compression] = kept[kind.name, compression]
                continue
            parameters = set()

            def run(rate, seed, kind=kind, budgets=budgets, parameters=parameters):
                generator = torch.Generator().manual_seed(seed)
                tables = kind.several(experiment.sizes, experiment.d, budgets, experiment.std, generator)
                made = {id(p): p.numel() for table in tables for p in table.parameters()}
                parameters.add(sum(made.values()))
                return experiment.run(tables, rate, seed)

            row = {"table": kind.name, "compression": compression}
            found = with_best_rate(run, experiment.rates, experiment.metric, seeds)
            (row["parameters"],) = parameters
            results[kind.name, compression] = row | found
            print(row | found, flush=True)
            write(arguments.json, first + in_order(results))
    show(experiment.name, first + in_order(results))
    write(arguments.json, first + in_order(results))


def in_order(results):
    """Return rows by their table and compression."""
    names = [kind.name for kind in TABLES]
    return [results[key] for key in sorted(results, key=lambda key: (names.index(key[0]), key[1]))]
