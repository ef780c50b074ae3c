"""Keys and texts to 64-bit hashes."""
