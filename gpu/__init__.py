"""CUDA kernels under the names of `mergesketch.lsh.cpu`; this version ships none yet."""
