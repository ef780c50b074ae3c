"""svmlight text to rows: ours beside scikit-learn's parser, on a generated file of binary features.

The floor is the text's bytes from the page cache, and about a nanosecond a byte to parse them.
"""

import tempfile
from pathlib import Path

import mergesketch
import numpy as np
from measure import parse, seconds, show, write
from mergesketch.distributed import iter_svmlight
from sklearn.datasets import load_svmlight_file

N_ROWS, N_FEATURES = 200_000, 47


def generate(path: Path, value: str) -> int:
    """Rows of rising feature numbers up to a million or two, as SLASH's data sets have them."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for _ in range(N_ROWS // 1000):
            features = np.cumsum(rng.integers(1, 40_000, (1000, N_FEATURES)), axis=1)
            file.writelines(
                f"{i % 2} " + " ".join(f"{f}:{value}" for f in row) + "\n"
                for i, row in enumerate(features.tolist())
            )
    return path.stat().st_size


def main() -> None:
    options = parse(__doc__, "svmlight")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for value in ("1", "0.12345"):
            path = Path(folder) / "rows.svm"
            size = generate(path, value)
            peer = seconds(lambda path=path: load_svmlight_file(str(path)), repeats=1, warmups=0)
            for threads in (1, 4):
                mergesketch.set_num_threads(threads)
                ours = seconds(lambda path=path: [None for _ in iter_svmlight(path)], repeats=5)
                rows.append(
                    {
                        "values": value,
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
