"""Filters and noise on square planes, kept on one thread.

Conventions: planes are float32 [H, W]; lengths are in pixels.
"""

import functools

import numpy as np
from jaxtyping import Float32

# OpenBLAS keeps a product of at most 2^18 multiplications on one thread.
_ONE_THREAD = 1 << 18


def product(
  a: Float32[np.ndarray, "m k"], b: Float32[np.ndarray, "k n"]
) -> Float32[np.ndarray, "m n"]:
  """a @ b in tiles so small that the BLAS library starts no threads for them.

  At the sizes of the artist's planes the threads cost a hundred times what the
  product does, and a data loader keeps every core busy anyway.
  """
  (m, k), n = a.shape, b.shape[1]
  if m * k * n <= _ONE_THREAD:
    return a @ b
  rows = max(16, _ONE_THREAD // (k * n))
  columns = max(16, _ONE_THREAD // (k * rows))
  out = np.empty((m, n), np.float32)
  for i in range(0, m, rows):
    for j in range(0, n, columns):
      tile = out[i : i + rows, j : j + columns]
      np.matmul(a[i : i + rows], b[:, j : j + columns], out=tile)
  return out


@functools.lru_cache(maxsize=32)
def _gaussian_weights(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
  """Weights from pixels to nodes [nodes, size] and back [size, nodes].

  Each row is normalised. Two Gaussians of variance sigma^2 / 2 make one of
  variance sigma^2; nodes 0.8 sigma apart sample the first one well enough:
  of white noise, the hardest case, 1e-4 of the range is lost, near the border
  1e-2.
  """
  x = np.arange(size)
  nodes = np.linspace(0, size - 1, int(np.ceil((size - 1) / (0.8 * sigma))) + 1)
  w = np.exp(-(((nodes[:, None] - x) / sigma) ** 2))
  down = w / w.sum(1, keepdims=True)
  up = w.T / w.T.sum(1, keepdims=True)
  return down.astype(np.float32), up.astype(np.float32)


@functools.lru_cache(maxsize=32)
def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
  """[size, size] Gaussian weights, each row normalised."""
  x = np.arange(size, dtype=np.float32)
  w = np.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2)
  return (w / w.sum(1, keepdims=True)).astype(np.float32)


def gaussian_blur(
  x: Float32[np.ndarray, "h h"], sigma: float
) -> Float32[np.ndarray, "h h"]:
  """Gaussian blur of a square plane; sigma in pixels, edges renormalised.

  Dense weights, matrix products along each axis: at a few hundred pixels this
  is faster than any sliding window in NumPy. Wide Gaussians go through coarse
  nodes.
  """
  if sigma < 0.3:
    return x
  size, sigma = x.shape[0], round(float(sigma), 2)
  if sigma < 2.5:
    w = _gaussian_matrix(size, sigma)
    return product(product(w, x), w.T)
  down, up = _gaussian_weights(size, sigma)
  coarse = product(product(down, x), down.T)
  return product(product(up, coarse), up.T)


@functools.lru_cache(maxsize=8)
def noise_table(seed: int, length: int = 1024) -> Float32[np.ndarray, "n"]:
  """A periodic table of smooth 1D noise, zero mean, unit deviation."""
  rng = np.random.default_rng([seed, length])
  x = rng.standard_normal(length)
  x = 0.25 * np.roll(x, 1) + 0.5 * x + 0.25 * np.roll(x, -1)
  x = (x - x.mean()) / x.std()
  return x.astype(np.float32)


def strand_noise(
  s: Float32[np.ndarray, "h w"], frequency: float, seed: int
) -> Float32[np.ndarray, "h w"]:
  """1D noise across strands: `s` is the coordinate across the hair's flow."""
  table = noise_table(seed)
  x = s * np.float32(frequency)
  low = np.floor(x)
  t = x - low
  index = low.astype(np.intp) & (len(table) - 1)
  a = table.take(index)
  # The table is periodic: "wrap" continues it.
  t *= table.take(index + 1, mode="wrap") - a
  t += a
  return t


def value_noise(
  rng: np.random.Generator, cells: int, size: int, channels: int = 1
) -> Float32[np.ndarray, "c h w"]:
  """Smooth 2D noise [channels, size, size]: random cells, cubic weights."""
  grid = rng.standard_normal((channels, cells + 3, cells + 3)).astype(
    np.float32
  )
  weights = _cubic_weights(cells, size)
  return np.stack([product(product(weights, x), weights.T) for x in grid])


@functools.lru_cache(maxsize=64)
def _cubic_weights(cells: int, size: int) -> np.ndarray:
  """B-spline weights [size, cells + 3] from a grid to pixel centres."""
  x = (np.arange(size) + 0.5) / size * cells
  i = np.minimum(x.astype(int), cells - 1)
  t = x - i
  weights = np.zeros((size, cells + 3), np.float32)
  rows = np.arange(size)
  weights[rows, i] = (1 - t) ** 3 / 6
  weights[rows, i + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
  weights[rows, i + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
  weights[rows, i + 3] = t**3 / 6
  return weights
