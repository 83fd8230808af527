"""Perceptual distance over sets: of pairs, and between outputs (diversity).

The distance itself is `models.features.PerceptualDistance`, whose `name` says
whether it may be called LPIPS.
"""

import jax
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray, UInt8

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate
from chibijax.models.features import PerceptualDistance


def distances(
  x: UInt8[np.ndarray, "n h w 3"],
  y: UInt8[np.ndarray, "n h w 3"],
  distance: PerceptualDistance,
  *,
  batch: int = 16,
) -> Float32[np.ndarray, " n"]:
  """The distance of each pair, at the pictures' own size.

  Args:
    x: pictures.
    y: their counterparts.
    distance: what measures.
    batch: pairs at a time; the last batch is filled up, so one compilation.

  Returns:
    One value a pair.

  Raises:
    ValueError: if the shapes differ or there are none.
  """
  if x.shape != y.shape or not len(x):
    raise ValueError(f"Pictures of {x.shape} and {y.shape} are no pairs.")
  found = []
  for start in range(0, len(x), batch):
    a, b = (v[start : start + batch] for v in (x, y))
    missing = min(batch, len(x)) - len(a)
    fill = ((0, missing), (0, 0), (0, 0), (0, 0))
    values = _distance(distance, np.pad(a, fill), np.pad(b, fill))
    found.append(np.asarray(values)[: len(a)])
  return np.concatenate(found)


def paired(
  x: UInt8[np.ndarray, "n h w 3"],
  y: UInt8[np.ndarray, "n h w 3"],
  distance: PerceptualDistance,
  *,
  batch: int = 16,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """The mean distance of pairs.

  Args:
    x: pictures.
    y: their counterparts.
    distance: what measures; its `name` is what the result may be called.
    batch: pairs at a time.
    key: of the bootstrap.

  Returns:
    The mean, 0 for equal pictures; smaller is closer.
  """
  values = distances(x, y, distance, batch=batch)
  method = f"{distance.name} at {x.shape[1]}x{x.shape[2]} px"
  return estimate.mean(values, key=key, method=method)


def diversity(
  images: UInt8[np.ndarray, "n h w 3"],
  distance: PerceptualDistance,
  *,
  pairs: int = 1000,
  batch: int = 16,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """The mean distance of two different pictures of a set.

  Args:
    images: what a model made.
    distance: what measures.
    pairs: how many are drawn; all where there are fewer.
    batch: pairs at a time.
    key: of the draws.

  Returns:
    The mean: 0 if all pictures are the same (mode collapse). Its interval is a
    bootstrap over the pictures drawn as pairs, which share pictures, so it is
    somewhat narrow.

  Raises:
    ValueError: if there are fewer than two pictures.
  """
  n = len(images)
  if n < 2:
    raise ValueError("Diversity needs two pictures at least.")
  first, second = np.triu_indices(n, 1)
  if len(first) > pairs:
    rng = estimate.generator(key)
    chosen = np.sort(rng.choice(len(first), pairs, replace=False))
    first, second = first[chosen], second[chosen]
  # Pairs share pictures; by batches, so that they are not all copied.
  values = np.concatenate(
    [
      distances(
        images[first[start : start + 512]],
        images[second[start : start + 512]],
        distance,
        batch=batch,
      )
      for start in range(0, len(first), 512)
    ]
  )
  method = f"{distance.name} between {len(first)} pairs of {n} pictures"
  return estimate.mean(values, key=key, method=method)


@jax.jit
def _distance(distance: PerceptualDistance, x: Array, y: Array) -> Array:
  return distance(x / 127.5 - 1.0, y / 127.5 - 1.0)
