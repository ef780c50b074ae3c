"""Models that learn with hash tables: only the part of a network that a row selects is computed."""
