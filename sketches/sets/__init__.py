"""Filters and signatures of sets: membership, and how similar two sets are."""
