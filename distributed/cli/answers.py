"""Print what sketches of keys and of numbers answer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from typing import Any

import numpy as np

from ...errors import SaturationWarning, readable
from ...lsh.hashing.keys import Keys
from ...sketches import DDSketch, HeavyHitters, HyperLogLog, KLLSketch, MinHashSketch, TopK
from .messages import percent

__all__ = [
    "cardinality_error",
    "key_text",
    "print_counts",
    "print_distinct",
    "print_frequent",
    "print_quantiles",
    "print_top",
    "typed_keys",
]

#: The least and the largest magnitude that is written without an exponent.
_PLAIN = 1e-5, 1e16
#: Digits that tell any two floats apart.
_ALL_DIGITS = 17


def typed_keys(texts: Sequence[str]) -> Keys:
    """Return arguments of the command as keys; those that are not UTF-8 are the bytes that were typed."""
    keys = [text.encode(errors="surrogateescape") for text in texts]
    ends = np.cumsum([0, *map(len, keys)], dtype=np.int64)
    return Keys.of_text(np.frombuffer(b"".join(keys), dtype=np.uint8), ends)


def key_text(key: int | str | bytes) -> str:
    """Return a key as one line for any terminal."""
    if isinstance(key, bytes):
        key = key.decode(errors="backslashreplace")
    return readable(str(key))


def cardinality_error(sketch: MinHashSketch) -> float:
    """Return the standard error of the cardinality of a sketch of one set.

    The notes of `MinHashSketch` give its estimate n the variance ``n**2 / f``, where f is the number of full
    bins. That is for a number of keys which is random itself, by Poisson's law, with the variance n. A number
    of keys that is fixed has the difference of both, which is far less if most bins are empty.
    """
    minima = sketch.state.arrays["minima"]
    n, full = float(sketch.cardinality()[0]), int(np.count_nonzero(minima != np.iinfo(np.uint32).max))
    return math.sqrt(max(0.0, n * n / full - n)) if full else 0.0


def print_distinct(sketch: HyperLogLog | MinHashSketch) -> None:
    """Print the number of different keys of a sketch of one set, and how exact it is."""
    if isinstance(sketch, HyperLogLog):
        low, high = sketch.bounds(0.95)
        # The estimate may exceed the number of all keys, which the bounds never do.
        n = min(max(sketch.cardinality(), low), high)
        about = f"about {n:,.0f}; from {low:,} to {high:,} with 95 % confidence"
        print(f"different keys   {f'{low:,} (exact)' if low == high else about}")
        return
    n, error = float(sketch.cardinality()[0]), cardinality_error(sketch)
    share = f" ({percent(error / n)})" if n else ""
    shown = f"{error:,.0f}" if error >= 10 else f"{error:.1f}"
    print(f"different keys   about {n:,.0f}, with a standard error of {shown}{share}")


def print_counts(found: list[tuple[Any, int]], total: int) -> None:
    """Print the table of keys, their counts and their shares of the total."""
    if found:
        print(f"{'count':>12}  {'share':>8}  key")
    for key, count in found:
        print(f"{count:>12,}  {percent(count / total):>8}  {key_text(key)}")


def print_top(sketch: TopK, k: int) -> None:
    """Print the table of the k most frequent keys, how many are certain, and how exact the counts are."""
    found, certain, error = sketch.top(k), sketch.n_guaranteed(k), sketch.maximum_error
    print_counts(found, sketch.total)
    if found:
        n = len(found)
        among = f"certainly among the {n:,} most frequent"
        if n == 1:
            line = f"{'certainly' if certain else 'not certainly'} the most frequent one"
        elif certain == n:
            line = f"all of them are {among}"
        else:
            line = f"{certain:,} of them {'is' if certain == 1 else 'are'} {among}"
        print(f"frequent keys    {n:,}; {line}")
        names = [key for key, _ in found]
        most = int((sketch.upper_bound(names) - sketch.lower_bound(names)).max()) if error else 0
        exact = f"never too low, and at most {most:,} too high" if most else "exact"
        print(f"error            these counts are {exact}")


def print_frequent(sketch: HeavyHitters, k: int, hint: str = "") -> None:
    """Print the table of the k most frequent keys, and the hint if there are fewer and other keys."""
    found, total = sketch.top(), sketch.total
    print_counts(found[:k], total)
    if len(found) > k:
        print(f"{'':>24}... and {len(found) - k:,} more")
    print(
        f"frequent keys    {len(found):,}: all that make up more than {percent(sketch.frequency)} of the keys"
    )
    if hint and len(found) < k and sum(count for _, count in found) < total:
        print(f"                 {hint}")


def print_quantiles(sketch: DDSketch | KLLSketch, shares: Sequence[float]) -> None:
    """Print the table of quantiles with their bounds, and how exact they are."""
    if math.isnan(sketch.max):
        print("quantiles        none, because there are no numbers")
        return
    if isinstance(sketch, DDSketch):
        digits = 2 + math.ceil(-math.log10(sketch.relative_error))
        error = f"values are within {percent(sketch.relative_error)} of the true ones"
    else:
        digits = _ALL_DIGITS
        within = percent(sketch.rank_error())
        error = f"ranks are within {within}, and each true value within its bounds, with 99 % confidence"
        error = error if sketch.rank_error() else "values are exact"
    with warnings.catch_warnings():
        # The bounds tell that values are beyond those that the sketch tells apart.
        warnings.simplefilter("ignore", SaturationWarning)
        values = sketch.quantile(list(shares))
    if isinstance(sketch, DDSketch) and bool((np.abs(values) < sketch.smallest).any()):
        error += f", or differ from them by at most {sketch.smallest:g}"
    if isinstance(sketch, DDSketch) and bool((np.abs(values) > sketch.largest).any()):
        error += f"; beyond {sketch.largest:g}, only the bounds are certain"
    lows, highs = sketch.bounds(list(shares))
    print(f"{'quantile':>12}  {'value':>16}  {'at least':>16}  {'at most':>16}")
    for share, value, low, high in zip(shares, values, lows, highs, strict=True):
        # Digits are cut so that the bounds stay bounds. Numbers that are known have all of theirs.
        numbers = (value, ROUND_HALF_EVEN), (low, ROUND_FLOOR), (high, ROUND_CEILING)
        texts = [
            _rounded(number, _ALL_DIGITS if number in (sketch.min, sketch.max) else digits, rounding)
            for number, rounding in numbers
        ]
        print(f"{share:>12.12g}  " + "  ".join(f"{text:>16}" for text in texts))
    print(f"least, largest   {_rounded(sketch.min, _ALL_DIGITS)}, {_rounded(sketch.max, _ALL_DIGITS)}")
    print(f"error            {error}")


def _rounded(number: float, digits: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with some significant digits; a float of all digits is written as Python does."""
    is_plain = number == 0 or _PLAIN[0] <= abs(number) < _PLAIN[1]
    if digits >= _ALL_DIGITS:
        text = repr(float(number)).removesuffix(".0")
        return text if "e" not in text or not is_plain else f"{Context().create_decimal(text):f}"
    decimal = Context(prec=digits, rounding=rounding).create_decimal_from_float(float(number))
    return f"{decimal.normalize(Context(prec=digits)):{'f' if is_plain else 'e'}}"
