"""Sums over rows from counters that hash codes point to, private ones too."""
