"""Structures that test if a key is in a set, and estimate how similar sets are."""
