"""Models and indexes that learn, with hash tables in the place of large layers."""
