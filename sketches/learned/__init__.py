"""Models that learn over hashed labels, rows and neurons."""
