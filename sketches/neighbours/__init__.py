"""Structures that find the rows near a query."""
