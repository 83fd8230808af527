"""Differentiable array functions: no modules, no state, no parameters.

Every function takes and returns `jax.Array`s, works under `jit`, `grad`,
`vmap` and sharding, and depends on nothing else of this package. Images are
NHWC and kernels HWIO unless a function says otherwise.
"""
