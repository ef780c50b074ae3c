"""Attention from counters and from few tokens."""
