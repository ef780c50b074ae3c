"""The kernels for arrays in main memory, under the names that every backend shares."""
