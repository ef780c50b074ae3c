"""Learning over ranks: each rank has a part of a model."""
