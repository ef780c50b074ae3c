"""Compare our parser of svmlight text with scikit-learn's, on generated files.

The bound is reading the text from the page cache, and about a nanosecond a byte for parsing.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import mergesketch
import numpy as np
from measure import parse, seconds, show, write
from mergesketch.distributed import iter_svmlight
from sklearn.datasets import load_svmlight_file

N_ROWS, N_FEATURES = 100_000, 47


#: Values of binary features, values as people write them, and values as Python prints any float.
VALUES = {
    "1": lambda values: ["1"] * len(values),
    "5 digits": lambda values: [f"{value:.5f}" for value in values],
    "17 digits": lambda values: [f"{value:.17g}" for value in values],
}


def generate(path: Path, write_values: Callable[[list[float]], list[str]]) -> int:
    """Return rows of rising feature numbers up to a million or two, as SLASH's data sets have them."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for i in range(N_ROWS):
            features = np.cumsum(rng.integers(1, 40_000, N_FEATURES)).tolist()
            values = write_values(rng.random(N_FEATURES).tolist())
            pairs = " ".join(f"{f}:{v}" for f, v in zip(features, values, strict=True))
            file.write(f"{i % 2} {pairs}\n")
    return path.stat().st_size


def main() -> None:
    options = parse(__doc__, "svmlight")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for values, write_values in VALUES.items():
            path = Path(folder) / "rows.svm"
            size = generate(path, write_values)
            peer = seconds(lambda path=path: load_svmlight_file(str(path)), repeats=1, warmups=0)
            for threads in (1, 4):
                mergesketch.set_num_threads(threads)
                ours = seconds(lambda path=path: [None for _ in iter_svmlight(path)], repeats=5)
                rows.append(
                    {
                        "values": values,
                        "threads": threads,
                        "MB": size / 1e6,
                        "ours MB/s": size / 1e6 / ours,
                        "scikit-learn MB/s": size / 1e6 / peer,
                        "ratio": peer / ours,
                    }
                )
    show("svmlight text", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
