"""Values in few bits: prefix codes, Elias-Fano sequences and codebooks.

`value_counts` counts values, `codebook_choice` chooses which of them get words, `prefix_code` computes the
lengths of the words, and `elias_fano` stores the values. A `codebook` is the result, which encodes and
decodes.
"""
