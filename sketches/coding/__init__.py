"""Values in few bits: prefix codes, Elias-Fano sequences, codebooks."""
