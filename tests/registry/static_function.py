"""Static functions and their builder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, FLAGS, KEYS, TEXTS, Case, built_and_looked_up
from later import Later
from mergesketch import StaticFunction, StaticFunctionBuilder
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS, SMALL_WORDS


def argument_cases() -> Iterator[Case]:
    for kind, values in (
        ("floats", COUNTS / 4),
        ("small floats", (COUNTS / 4).astype(np.float32)),
        ("integers", COUNTS - 4),
        ("unsigned", COUNTS.astype(np.uint64) + np.uint64(2**63)),
        ("flags", FLAGS),
        ("texts", np.array(TEXTS)),
        ("byte strings", np.array(TEXTS).astype("S")),
    ):
        yield Case(
            f"StaticFunction: {kind}", built_and_looked_up(StaticFunction), {"keys": KEYS, "values": values}
        )

        def saved(keys, values):
            return StaticFunction(keys, values, progress=False).to_bytes()

        yield Case(f"StaticFunction: {kind}, saved", saved, {"keys": KEYS, "values": values}, any_dtype=False)

        def built(keys: Any, values: Any) -> Any:
            builder = StaticFunctionBuilder().update(keys[:3], values[:3])
            return builder.extend([(keys[3:], values[3:])], False).build().lookup(KEYS)

        yield Case(f"StaticFunctionBuilder.update: {kind}", built, {"keys": KEYS, "values": values})
        yield Case(f"StaticFunctionBuilder.extend: {kind}", built, {"keys": KEYS, "values": values})

    def stepped(keys, values):
        return StaticFunction(keys, values, precision=0.5, progress=False)

    yield Case(
        "StaticFunction: steps",
        lambda keys, values: stepped(keys, values).lookup(KEYS),
        {"keys": KEYS, "values": COUNTS / 4},
    )

    def in_context(keys, values, context):
        function = StaticFunction(keys, values, context=context, progress=False)
        return function.lookup(keys, context=context)

    arguments = {"keys": KEYS, "values": COUNTS, "context": COUNTS % 3}
    yield Case("StaticFunction: contexts", in_context, arguments)
    known = Later(lambda: StaticFunction(KEYS, COUNTS, context=COUNTS % 3, progress=False))
    yield Case(
        "StaticFunction.lookup: contexts",
        lambda keys, context: known.lookup(keys, context=context),
        {"keys": KEYS, "context": COUNTS % 3},
    )
    function = Later(lambda: StaticFunction(KEYS, COUNTS, key_check_bits=16, progress=False))
    yield Case(
        "StaticFunction.lookup", lambda keys: function.lookup(keys, missing=-1), {"keys": KEYS}, "keys"
    )
    yield Case("StaticFunction.contains", function.contains, {"keys": KEYS}, "keys")


def stored_examples() -> dict[str, Stored]:
    digits = [f"{i % 3}" for i in range(40)]
    return {
        "StaticFunction": StaticFunction(SMALL_KEYS, SMALL_KEYS % 3),
        "StaticFunction, constant": StaticFunction(SMALL_KEYS, np.zeros(40)),
        "StaticFunction, empty": StaticFunction(SMALL_KEYS[:0], np.zeros(0)),
        "StaticFunction, paths": StaticFunction(
            SMALL_KEYS, [f"/srv/data/{i % 9}/file {i}" for i in range(40)]
        ),
        "StaticFunction, contexts": StaticFunction(SMALL_WORDS, digits, context=("prefix", 2)),
        "StaticFunction, words": StaticFunction(SMALL_WORDS, digits, key_check_bits=8),
    }
