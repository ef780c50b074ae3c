"""Densities from counts in grids, and synthetic rows."""
