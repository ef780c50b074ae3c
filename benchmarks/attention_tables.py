"""Make the tables of attention_models.py and attention_classifiers.py; see figures.py."""

from __future__ import annotations

from markdown_parts import table
from summary import rows

__all__ = ["TABLES"]


def models() -> str:
    return table(
        ("model", "parameters", "loss, nats a word", "training, s"),
        (
            (r["model"], r["parameters"], f"{r['loss']:.3f} ± {r['loss ±']:.3f}", f"{r['training, s']:.1f}")
            for r in rows("attention_models")
        ),
    )


def classifiers() -> str:
    return table(
        ("attention", "accuracy", "training, s"),
        (
            (r["attention"], f"{r['accuracy']:.3f} ± {r['accuracy ±']:.3f}", f"{r['training, s']:.1f}")
            for r in rows("attention_classifiers")
        ),
    )


TABLES = {"attention_models": models, "attention_classifiers": classifiers}
