"""The kernels of projections, in one module because their twin is one: codes, margins, hashed projections."""

from .packing import mix_codes
from .projection_codes import project_signs_csr, project_signs_dense, project_steps_csr, project_steps_dense
from .projection_hashed import hashed_products, hashed_signs
from .projection_margins import sign_margins_csr, sign_margins_dense, step_margins_csr, step_margins_dense

__all__ = [
    "hashed_products",
    "hashed_signs",
    "mix_codes",
    "project_signs_csr",
    "project_signs_dense",
    "project_steps_csr",
    "project_steps_dense",
    "sign_margins_csr",
    "sign_margins_dense",
    "step_margins_csr",
    "step_margins_dense",
]
