"""The LSH index over ranks."""
