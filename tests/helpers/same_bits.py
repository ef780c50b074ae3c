"""Compare the bits of states, saved bytes and results between processors.

``make processors`` runs it. It computes them on this processor, and again with the plainest instructions
of its kind (Numba's ``generic``; kernels are compiled anew into their own folder, which takes minutes).
It prints what differs, and ends with 1 if anything does that should not.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import mergesketch as ms
import numpy as np
from forged_uses import REFUSALS, uses
from mergesketch import lsh
from mergesketch.sketches.core.stored import Stored
from registry import stored_examples

#: Methods whose results are random.
_RANDOM = ("release", "sample")
#: Margins in float32 order the buckets that are probed. Processors with fused multiplications round them
#: otherwise than the plainest one, so near ties may be ordered otherwise there.
_NEAR_TIES = ("probes of srp", "probes of pstable", "probes of cauchy", "probes of inner product")
_X = np.random.default_rng(1).standard_normal((400, 20))


def _digest(value: Any) -> str:
    if isinstance(value, Stored):
        return hashlib.md5(value.to_bytes()).hexdigest()
    if isinstance(value, dict):
        return _digest([value[name] for name in sorted(value)])
    if isinstance(value, (list, tuple)):
        return hashlib.md5("".join(map(_digest, value)).encode()).hexdigest()
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return hashlib.md5(repr(value).encode()).hexdigest()
    return hashlib.md5(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()


def _family_results() -> Iterator[tuple[str, Callable[[], Any]]]:
    few = {"n_buckets": 4096, "seed": 1}
    families: dict[str, tuple[lsh.HashFamily, Any]] = {
        "srp": (lsh.SignedRandomProjection(20, 16, power=8, seed=1), _X),
        "hadamard": (lsh.SignedRandomProjection(20, 16, power=8, projection="hadamard", seed=1), _X),
        "sparse": (lsh.SignedRandomProjection(20, 16, power=8, projection="sparse", seed=1), _X),
        "pstable": (lsh.PStable(20, 16, width=3.0, power=4, **few), _X),
        "cauchy": (lsh.PStable(20, 16, p=1, width=3.0, power=4, **few), _X),
        "cross-polytope": (lsh.CrossPolytope(20, 16, power=2, **few), _X),
        "inner product": (lsh.InnerProduct(20, 16, max_norm=99.0, power=8, seed=1), _X),
        "bits": (lsh.BitSampling(20, 16, power=8, seed=1), _X > 0),
        "winners": (lsh.WinnerTakeAll(20, 16, group_size=4, power=3, seed=1), _X),
        "minhash": (lsh.MinHash(16, power=2, **few), [np.flatnonzero(row > 0) for row in _X]),
    }
    for name, (family, X) in families.items():
        yield f"codes of {name}", lambda family=family, X=X: family.hash(X)
        yield f"probes of {name}", lambda family=family, X=X: family.probe(X, 20)
        yield f"kernel of {name}", lambda family=family, X=X: family.kernel(X[:50], X[50:99])
        yield (
            f"sums of {name}",
            lambda family=family, X=X: ms.Race(family).update(X).query(X, return_std=True),
        )
        if X is _X:
            yield f"codes of {name}, float32", lambda family=family: family.hash(_X.astype(np.float32))


def _results() -> Iterator[tuple[str, Callable[[], Any]]]:
    yield from _family_results()
    for name, sketch in stored_examples().items():
        if name.startswith("Private"):
            continue  # noise
        yield f"{name}: bytes", sketch.to_bytes
        for use, call in uses(sketch):
            if use not in _RANDOM:
                yield f"{name}: {use}", call


def digests() -> dict[str, str]:
    """Return a digest of every result, or the error that it ends with."""
    told = {}
    for name, call in _results():
        try:
            told[name] = _digest(call())
        except REFUSALS as error:
            told[name] = repr(error)
    return told


def _of_processor(**environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, __file__, "--digests"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


def main() -> int:
    if sys.argv[1:] == ["--digests"]:
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        print(json.dumps(digests()))
        return 0
    here = _of_processor()
    with tempfile.TemporaryDirectory() as cache:
        plain = _of_processor(NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=cache)
    differing = [name for name in here if here[name] != plain.get(name)]
    wrong = [name for name in differing if name not in _NEAR_TIES]
    for name in differing:
        print(f"{name} differ" + ("" if name in wrong else ", as near ties may"))
    print(f"{len(here):,} results, {len(differing)} differ, {len(wrong)} of them that should not")
    return int(bool(wrong) or here.keys() != plain.keys())


if __name__ == "__main__":
    sys.exit(main())
