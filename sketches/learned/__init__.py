"""Models and optimisers whose costly sums or searches go through hash tables."""
