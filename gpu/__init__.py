"""CUDA kernels (`*.cu`, `*.cuh`) and their CuPy launchers, under the names of `mergesketch.lsh.cpu`.

Nothing here is imported before a CuPy array arrives or a sketch is moved to the GPU.
"""
