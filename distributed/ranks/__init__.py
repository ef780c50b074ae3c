"""Ranks: how they talk, merge, start and end."""
