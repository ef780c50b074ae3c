"""Small arrays of parameters that stand for many large tables."""
