"""Groups of near-duplicate documents over ranks."""
