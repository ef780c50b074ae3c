"""Slow, obviously right references that the fast code is compared with, one module a structure."""
