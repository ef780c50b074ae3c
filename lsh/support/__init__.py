"""Plumbing that knows no data structure: backends, threads, checks, progress."""
