"""Read what callers hand in: arrays, rows, sets, weights, strings and columns, checked once."""
