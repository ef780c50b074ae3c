"""The parts of all sketches: the monoid, stored structures, the file format, atomic files."""
