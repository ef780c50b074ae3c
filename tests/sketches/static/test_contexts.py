"""Test contexts of static functions: answers against a dict, bytes against the conditional entropy, files."""

from __future__ import annotations

import unicodedata

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StaticFunction, StaticTable
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.static.contexts import choose_classes

KEYS = np.arange(40_000)


def entropy_bytes(values) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


CONTEXTS = st.integers(-(2**63), 2**64 - 1) | st.integers(0, 3)
ENTRIES = st.dictionaries(st.integers(-50, 2**40), st.tuples(CONTEXTS, st.integers(0, 5)), max_size=50)


@given(ENTRIES, st.sampled_from([0, 7]))
@settings(deadline=None)
def test_any_small_map(entries, check_bits):
    # Contexts are integers modulo 2**64; -1 and 2**64 - 1 do not fit one array.
    keys, pairs = list(entries), list(entries.values())
    contexts = np.array([context % 2**64 for context, _ in pairs], dtype=np.uint64)
    values = np.array([value for _, value in pairs], dtype=np.int64)
    function = StaticFunction(keys, values, context=contexts, key_check_bits=check_bits, progress=False)
    copies = [function, StaticFunction.from_bytes(function.to_bytes())]
    for copy in copies:
        found = copy.lookup(keys, context=contexts)
        assert not np.ma.is_masked(found) and found.tolist() == values.tolist()
        for key, context, value in zip(keys, contexts, values.tolist(), strict=True):
            assert copy.lookup(key, context=context) == value
            assert copy.lookup([key], context=[context]).tolist() == [value]
    assert copies[0] == copies[1]


@pytest.mark.parametrize("rule", ["length", ("prefix", 1), ("prefix", 3), ("prefix", 8)])
@pytest.mark.parametrize("container", [list, np.array, lambda keys: np.array(keys).astype("S")])
def test_contexts_of_the_keys_themselves(rule, container):
    rng = np.random.default_rng(0)
    words = [f"{'abc'[i % 3]}{'x' * (i % 5)}-{i}" for i in range(3000)]
    keys = [*words, "", "a", "ab\0c"[:2]]
    values = [f"value {len(key) % 4} {key[:1]}" if rng.random() < 0.9 else "other" for key in keys]
    function = StaticFunction(container(keys), values, context=rule, key_check_bits=20, progress=False)
    assert function.lookup(container(keys)).tolist() == values
    for form in (function, StaticFunction.from_bytes(function.to_bytes())):
        assert form["ax-1"] == form.lookup("ax-1") if "ax-1" in keys else True
        assert form[keys[7]] == form.lookup(keys[7]) == form.lookup(keys[7].encode()) == values[7]
        assert form.lookup(["absent"], missing="?").tolist() == ["?"]
        with pytest.raises(KeyError):
            form["absent"]


def test_values_take_their_conditional_entropy():
    """Four contexts with other distributions: within 4 % of H(value | context), and 700 bytes a context."""
    rng = np.random.default_rng(1)
    n = 200_000
    contexts = rng.integers(0, 4, n)
    values = np.where(contexts < 2, rng.geometric(0.5, n) + 100 * contexts, rng.integers(0, 16, n) * contexts)
    conditional = sum(entropy_bytes(values[contexts == context]) for context in range(4))
    plain = StaticFunction(np.arange(n), values, progress=False)
    function = StaticFunction(np.arange(n), values, context=contexts * 1000 - 7, progress=False)
    assert (function.lookup(np.arange(n), context=contexts * 1000 - 7) == values).all()
    assert conditional < function.nbytes < 1.04 * conditional + 4 * 700
    assert function.nbytes < entropy_bytes(values) < plain.nbytes


@pytest.mark.slow
def test_unicode_categories_by_block():
    """A real table of 1.1 million keys takes a quarter of its zero-order entropy."""
    points = np.arange(0x110000)
    values = np.array([unicodedata.category(chr(i)) for i in points.tolist()])
    function = StaticFunction(points, values, context=points >> 8, progress=False)
    assert (function.lookup(points, context=points >> 8) == values).all()
    assert function.nbytes < entropy_bytes(values) / 4


def test_contexts_that_say_nothing_form_one_class():
    rng = np.random.default_rng(2)
    values = rng.geometric(0.3, 20_000)
    plain = StaticFunction(np.arange(20_000), values, progress=False)
    function = StaticFunction(np.arange(20_000), values, context=rng.integers(0, 50, 20_000), progress=False)
    # A byte for each context, and their Elias-Fano sequence.
    assert function.nbytes <= plain.nbytes + 50 + 40


def test_alike_contexts_share_a_class():
    ids = np.repeat(np.arange(60, dtype=np.uint64), 500)
    chosen = choose_classes(ids, ids % np.uint64(3), 1)
    assert chosen.values.tolist() == list(range(60))
    assert chosen.classes.tolist() == [0, 1, 2] * 20
    assert chosen.classes_of(np.array([59, 4, 10**6], dtype=np.uint64)).tolist() == [2, 1, 2]
    # More kinds of contexts than there may be classes.
    ids = np.repeat(np.arange(300, dtype=np.uint64), 100)
    assert choose_classes(ids, ids, 1).classes.max() < 64


def test_order_and_repeats_do_not_matter():
    rng = np.random.default_rng(3)
    keys, contexts = np.arange(5000), np.arange(5000) % 7
    values = contexts * 10 + rng.geometric(0.5, 5000)
    function = StaticFunction(keys, values, context=contexts, progress=False)
    order = np.concatenate([rng.permutation(5000), np.arange(100)])
    given_arrays = [array[order] for array in (keys, values, contexts)]
    copies = [array.copy() for array in given_arrays]
    again = StaticFunction(given_arrays[0], given_arrays[1], context=given_arrays[2], progress=False)
    assert again.to_bytes() == function.to_bytes()
    for array, copy in zip(given_arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("keys", "context", "error", "message"),
    [
        ([1, 2], [1], ValueError, "context must have one integer for each of 2 keys, got 1"),
        ([1, 2], [[1, 2]], TypeError, "context"),
        ([1, 2], np.ones((1, 2), int), ValueError, "context"),
        ([1, 2], [0.5, 1.0], TypeError, "context"),
        ([1, 2], ["a", "b"], TypeError, "context must be integers, got strings or bytes"),
        ([1, 2], "size", ValueError, 'context must be an array, "length" or'),
        ([1, 2], "length", TypeError, "keys must be strings"),
        ([1, 2], ("prefix", 2), TypeError, "keys must be strings"),
        (["a", "b"], ("prefix", 0), ValueError, r"context\[1\]"),
        (["a", "b"], ("prefix", 9), ValueError, r"context\[1\]"),
        (["a", "b"], ("prefix",), ValueError, r'context must be \("prefix", n\)'),
        ([1, 1], [0, 1], ValueError, "keys must have one context each, got 1 with two"),
    ],
)
def test_bad_contexts_are_refused(keys, context, error, message):
    with pytest.raises(error, match=message):
        StaticFunction(keys, [5, 5], context=context, progress=False)


def test_too_many_contexts():
    with pytest.raises(ValueError, match="at most 65536 distinct values, got 65537"):
        StaticFunction(np.arange(65_537), np.zeros(65_537), context=np.arange(65_537), progress=False)


def test_a_lookup_needs_the_contexts_of_construction():
    function = StaticFunction([1, 2], [3, 4], context=[0, 1], progress=False)
    for call in (lambda: function.lookup([1]), lambda: function.lookup(1), lambda: function[1]):
        with pytest.raises(ValueError, match="context must be an integer for each key"):
            call()
    with pytest.raises(ValueError, match="one integer for each of 1 keys, got 2"):
        function.lookup([1], context=[0, 1])
    # A context that no key had gives some value.
    assert function.lookup([1], context=[99]).shape == (1,)
    for other in (StaticFunction([1], [2]), StaticFunction(["a"], [2], context="length")):
        with pytest.raises(ValueError, match="context must be None"):
            other.lookup([1] if other.key_kind == "int" else ["a"], context=[0])
    empty = StaticFunction([], [], context=[], progress=False)
    assert empty.lookup([5], context=[1]).shape == (1,)
    with pytest.raises(NotImplementedError, match="contexts"):
        function.to("gpu")


def test_files_with_other_contexts(tmp_path):
    function = StaticFunction(KEYS, KEYS % 7 * 3, context=KEYS % 7, progress=False)
    assert len(function._columns) == 7
    function.save(tmp_path / "contexts")
    served = mergesketch.load(tmp_path / "contexts", mmap=True)
    assert served == function
    config, arrays = function.config(), dict(function._arrays)

    def refused(message, *, cls=StaticFunction, changes=None, **others):
        forged = cls._rebuilt({**config, **(changes or {})}, {**arrays, **others})
        with pytest.raises(SketchFormatError, match=message):
            cls.from_bytes(forged.to_bytes())

    refused("context_classes must be in", context_classes=np.full(7, 7, np.uint8))
    refused("contexts", context_classes=np.zeros(3, np.uint8))
    refused("contexts|words", contexts=np.zeros_like(arrays["contexts"]))
    data = function.to_bytes()
    for old, new in ((b"given", b"giver"), (b'n_bytes\\": 0', b'n_bytes\\": 3')):
        assert old in data
        with pytest.raises(SketchFormatError):
            StaticFunction.from_bytes(data.replace(old, new))
    with pytest.raises((SketchFormatError, ValueError, KeyError)):
        StaticTable.from_bytes(data)
