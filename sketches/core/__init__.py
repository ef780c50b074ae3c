"""What all sketches are made of: the monoid, stored structures, the file format, atomic files."""
