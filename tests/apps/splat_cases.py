"""Scenes that the tests of splat files write."""

import numpy as np

from chibijax.ops.splat import Gaussians

COUNT = 20


def scene(degree: int = 3, count: int = COUNT, seed: int = 0) -> Gaussians:
  rng = np.random.default_rng(seed)
  return Gaussians(
    means=rng.normal(size=(count, 3)).astype(np.float32),
    quats=rng.normal(size=(count, 4)).astype(np.float32),
    scales=rng.uniform(0.01, 0.2, (count, 3)).astype(np.float32),
    opacities=rng.uniform(0.02, 0.98, count).astype(np.float32),
    sh=(0.3 * rng.normal(size=(count, (degree + 1) ** 2, 3))).astype(
      np.float32
    ),
  )


def unit(quats: np.ndarray) -> np.ndarray:
  return quats / np.linalg.norm(quats, axis=-1, keepdims=True)
