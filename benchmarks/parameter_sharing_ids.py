"""Train the click model on a table of millions of ids, compressed up to 10,000x.

The fields have 100 to 2,000,000 ids of Zipf's law (exponent 1.05), 3,150,600 in all, so that the full table
has 50 million entries. It is not trained here. "CafeMap" finds the frequent ids in training;
"frequent ids, others hashed" knows them beforehand. All else is as in parameter_sharing_clicks.py.
"""

from parameter_sharing import compare
from parameter_sharing_clicks import Experiment
from parameter_tables import Cafe, Frequent, FrequentAndHashed, OneRow, QuotientRemainder, Rows

COMPRESSIONS, SEEDS = (100, 1000, 10_000), (1, 2, 3)


class Ids(Experiment):
    name = "parameter_sharing_ids"
    fields = (2_000_000, 1_000_000, 100_000, 50_000, 500, 100)
    tables = (Frequent, FrequentAndHashed, OneRow, QuotientRemainder, Rows, Cafe)


if __name__ == "__main__":
    compare(__doc__, Ids(), compressions=COMPRESSIONS, seeds=SEEDS)
