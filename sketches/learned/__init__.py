"""Indexes and classifiers whose hash functions or buckets are learned."""
