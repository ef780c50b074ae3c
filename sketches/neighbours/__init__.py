"""The index, and what finds the rows that are near a query."""
