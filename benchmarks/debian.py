"""Read which package of Debian depends on which, from the lists that ``apt-get update`` leaves behind."""

import re
import subprocess
from pathlib import Path

import numpy as np

__all__ = ["NEEDED", "dependencies", "dependency_names", "records"]

LISTS = Path("/var/lib/apt/lists")
NEEDED = "Debian's lists of packages are not here: they come with apt-get update on a Debian system"


def records(*names):
    """Return the fields of each package that have these names, as dicts, or None where apt has no lists."""
    files = [p for p in LISTS.glob("*_main_binary-*_Packages*") if p.stat().st_size]
    if not files:
        return None
    # The archive has more packages than its updates.
    largest = max(files, key=lambda p: p.stat().st_size)
    text = subprocess.run(
        ["/usr/lib/apt/apt-helper", "cat-file", str(largest)], check=True, capture_output=True
    ).stdout.decode()
    wanted = re.compile(f"^({'|'.join(names)}): (.*)$", flags=re.MULTILINE)
    found = [dict(wanted.findall(block)) for block in text.split("\n\n")]
    return [fields for fields in found if "Package" in fields]


def dependency_names(fields):
    """Return the names in Depends and Pre-Depends, each once. Alternatives ("a | b") all count."""
    parts = re.split(r"[,|]", f"{fields.get('Depends', '')},{fields.get('Pre-Depends', '')}")
    # "libc6:any (>= 2.34)" is the name alone.
    names = (part.split("(")[0].split(":")[0].strip() for part in parts)
    return list(dict.fromkeys(name for name in names if name))


def dependencies():
    """Return pairs of a package and what it depends on, or None where apt has no lists.

    Returns
    -------
    pairs : int64 array (n, 2)
        Each pair once: the number of a package, and that of a label it depends on. A label is the name of a
        package or of something that several packages provide. Alternatives ("a | b") all count.
    packages, labels : list of str
        Their names, in the order in which they appear.
    """
    found = records("Package", "Depends", "Pre-Depends")
    if found is None:
        return None
    packages, labels, pairs = {}, {}, {}
    for fields in found:
        package = packages.setdefault(fields["Package"], len(packages))
        for name in dependency_names(fields):
            pairs[package, labels.setdefault(name, len(labels))] = None
    return np.array(list(pairs), np.int64), list(packages), list(labels)
