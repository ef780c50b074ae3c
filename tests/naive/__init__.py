"""Slow and plain references that the fast code is compared with, one module a structure."""
