"""The hash families, one file each, and the modules that several of them share."""
