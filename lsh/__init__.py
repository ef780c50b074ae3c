"""Locality-sensitive hash families, and the hash functions of keys and texts."""

from typing import TYPE_CHECKING

from .support.late_names import import_when_used

#: The module of each public name, which is imported when the name is first used.
_LAZY = {
    "BBitMinHash": ".families.bbit_minhash",
    "BitSampling": ".families.bit_sampling",
    "CrossPolytope": ".families.cross_polytope",
    "HashFamily": ".family",
    "InnerProduct": ".families.inner_product",
    "LearnedProjection": ".families.learned_projection",
    "MinHash": ".families.minhash",
    "PStable": ".families.pstable",
    "Shingles": ".hashing.text",
    "SignedRandomProjection": ".families.srp",
    "WeightedMinHash": ".families.weighted_minhash",
    "WinnerTakeAll": ".families.winner_take_all",
    "family_from_config": ".family",
    "hash_keys": ".hashing.keys",
    "shingle": ".hashing.text",
}

if TYPE_CHECKING:
    from .families.bbit_minhash import BBitMinHash as BBitMinHash
    from .families.bit_sampling import BitSampling as BitSampling
    from .families.cross_polytope import CrossPolytope as CrossPolytope
    from .families.inner_product import InnerProduct as InnerProduct
    from .families.learned_projection import LearnedProjection as LearnedProjection
    from .families.minhash import MinHash as MinHash
    from .families.pstable import PStable as PStable
    from .families.srp import SignedRandomProjection as SignedRandomProjection
    from .families.weighted_minhash import WeightedMinHash as WeightedMinHash
    from .families.winner_take_all import WinnerTakeAll as WinnerTakeAll
    from .family import HashFamily as HashFamily
    from .family import family_from_config as family_from_config
    from .hashing.keys import hash_keys as hash_keys
    from .hashing.text import Shingles as Shingles
    from .hashing.text import shingle as shingle
else:
    __getattr__ = import_when_used(globals(), _LAZY, in_files=True)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "BBitMinHash",
    "BitSampling",
    "CrossPolytope",
    "HashFamily",
    "InnerProduct",
    "LearnedProjection",
    "MinHash",
    "PStable",
    "Shingles",
    "SignedRandomProjection",
    "WeightedMinHash",
    "WinnerTakeAll",
    "family_from_config",
    "hash_keys",
    "shingle",
]
