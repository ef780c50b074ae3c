"""Indexes that learn from examples which items belong to a query."""
