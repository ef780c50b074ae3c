"""Error feedback of little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, Case
from mergesketch.distributed import SketchedErrorFeedback
from mergesketch.sketches.core.stored import Stored


def argument_cases() -> Iterator[Case]:
    def two_steps(gradient):
        feedback = SketchedErrorFeedback(len(KEYS), compression=0.2, memory=0.5)
        return feedback.step(gradient), feedback.step(gradient)

    yield Case("distributed.SketchedErrorFeedback.step", two_steps, {"gradient": KEYS})


def stored_examples() -> dict[str, Stored]:
    stepped = SketchedErrorFeedback(30, compression=0.1, memory=0.2)
    stepped.step(np.arange(30))
    return {
        "SketchedErrorFeedback": stepped,
        "SketchedErrorFeedback, no step": SketchedErrorFeedback(8, beta=0.5, compressor="random_block"),
    }
