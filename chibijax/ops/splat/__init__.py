"""Gaussian splatting: exact, differentiable, native on CPUs and NVIDIA GPUs.

`rasterize(gaussians, camera)` is all there is to call. `reference.py` defines
it in plain JAX for every platform; `ffi.py` holds the native kernels.
"""

from chibijax.ops.splat.rasterize import rasterize
from chibijax.ops.splat.scene import Camera, Gaussians, Options, Rendering

__all__ = ["Camera", "Gaussians", "Options", "Rendering", "rasterize"]
