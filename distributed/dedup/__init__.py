"""Find groups of near-duplicate documents over ranks."""
