"""Immutable maps: static functions, tables and filters."""
