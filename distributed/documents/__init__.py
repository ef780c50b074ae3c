"""Read documents from files or from memory, and share them among the ranks."""
