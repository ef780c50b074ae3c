"""Sketches that count keys, and find the most frequent ones."""
