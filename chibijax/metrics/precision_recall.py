"""Improved precision and recall (Kynkaanniemi et al. 2019).

Each set is taken for the union of balls around its examples, each reaching its
k-th nearest neighbour. Precision is the share of generated examples within the
real set's balls, recall the share of real ones within the generated set's.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, PRNGKeyArray

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate

# Rows of a distance matrix held at once.
_ROWS = 1024


class PrecisionRecall(NamedTuple):
  """Two estimates in [0, 1].

  Attributes:
    precision: share of generated examples that look real.
    recall: share of real examples that could have been generated.
  """

  precision: Estimate
  recall: Estimate


def precision_recall(
  real: Float[np.ndarray, "n d"],
  fake: Float[np.ndarray, "m d"],
  *,
  k: int = 3,
  key: PRNGKeyArray | None = None,
) -> PrecisionRecall:
  """Measures both shares.

  Args:
    real: features of the reference.
    fake: features of what was generated.
    k: the neighbour that a ball reaches; the example itself is not counted.
    key: of the bootstrap.

  Returns:
    The shares, with bootstrap intervals over the examples that are judged (the
    balls stay as they are). Both fall with fewer examples: compare at equal n.

  Raises:
    ValueError: if a set has no more than k examples.
  """
  if min(len(real), len(fake)) <= k:
    raise ValueError(
      f"k={k} neighbours need more examples than {len(real)} and {len(fake)}."
    )
  method = f"k={k}, Euclidean, {len(real)} real and {len(fake)} generated"
  shares = []
  for judged, balls, name in (
    (fake, real, "precision"),
    (real, fake, "recall"),
  ):
    inside = _inside(judged, balls, _radii(balls, k))
    shares.append(
      estimate.mean(inside, key=key, method=f"improved {name}, {method}")
    )
  return PrecisionRecall(*shares)


def _radii(x: np.ndarray, k: int) -> Float64[np.ndarray, " n"]:
  """Squared distance of each example to its k-th nearest other."""
  found = []
  for start in range(0, len(x), _ROWS):
    d = _squared(x[start : start + _ROWS], x)
    index = np.arange(len(d))
    # Exactly zero, whatever rounding says, so it is the nearest one.
    d[index, index + start] = -1
    found.append(np.partition(d, k, axis=1)[:, k])
  return np.concatenate(found)


def _inside(
  x: np.ndarray, centres: np.ndarray, radii: np.ndarray
) -> Bool[np.ndarray, " n"]:
  """Which examples lie in some ball."""
  return np.concatenate(
    [
      (_squared(x[start : start + _ROWS], centres) <= radii).any(1)
      for start in range(0, len(x), _ROWS)
    ]
  )


def _squared(x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "n m"]:
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  products = x @ y.T
  square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * products
  return np.maximum(square, 0)
