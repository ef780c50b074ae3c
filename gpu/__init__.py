"""CUDA kernels (`*.cu`, `*.cuh`), and CuPy launchers with the names and arguments of the Numba kernels.

``gpu/x.py`` is the twin of ``kernels/x.py`` of `mergesketch.lsh` or `mergesketch.sketches`, and
`mergesketch.lsh.support.backend` finds it by that name. A launcher does what the docstring of its twin says.
Nothing here is imported before a CuPy array arrives or a sketch moves to the GPU.
"""
