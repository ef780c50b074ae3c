"""Read which package of Debian depends on which, from the lists that ``apt-get update`` leaves behind."""

import re
import subprocess
from pathlib import Path

import numpy as np

__all__ = ["NEEDED", "dependencies"]

LISTS = Path("/var/lib/apt/lists")
NEEDED = "Debian's lists of packages are not here: they come with apt-get update on a Debian system"


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
    files = sorted(p for p in LISTS.glob("*_main_binary-*_Packages*") if p.stat().st_size)
    if not files:
        return None
    text = subprocess.run(
        ["/usr/lib/apt/apt-helper", "cat-file", str(files[0])], check=True, capture_output=True
    ).stdout.decode()
    packages, labels, pairs = {}, {}, {}
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Depends|Pre-Depends): (.*)$", block, flags=re.MULTILINE))
        if "Package" not in fields:
            continue
        package = packages.setdefault(fields["Package"], len(packages))
        for part in re.split(r"[,|]", f"{fields.get('Depends', '')},{fields.get('Pre-Depends', '')}"):
            # "libc6:any (>= 2.34)" is the name alone.
            if name := part.split("(")[0].split(":")[0].strip():
                pairs[package, labels.setdefault(name, len(labels))] = None
    return np.array(list(pairs), np.int64), list(packages), list(labels)
