"""Frechet distance of two sets of feature vectors (Heusel et al. 2017).

|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), of Gaussians with the sets' means
and covariances. On the features of Inception-v3 it is FID; on others it is not,
and is called "FD-squeeze", say. It is biased upwards by an amount that depends
on the number of examples, so that number belongs to the result: "FID@2000".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, PRNGKeyArray

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate

# Below this many examples the bias rules, and KID is to be preferred.
ENOUGH = 2000


class Statistics(NamedTuple):
  """What the distance knows of a set.

  Attributes:
    mean: [d].
    covariance: [d, d], divided by n - 1.
    n: examples.
  """

  mean: Float64[np.ndarray, " d"]
  covariance: Float64[np.ndarray, "d d"]
  n: int


def statistics(features: Float[np.ndarray, "n d"]) -> Statistics:
  """Mean and covariance in float64.

  Args:
    features: one row an example.

  Returns:
    The statistics.

  Raises:
    ValueError: if there are fewer than two examples.
  """
  if features.ndim != 2 or len(features) < 2:
    raise ValueError(
      f"Statistics need at least two rows of features, got {features.shape}."
    )
  x = np.asarray(features, np.float64)
  mean = x.mean(0)
  x = x - mean
  return Statistics(mean, x.T @ x / (len(x) - 1), len(x))


def distance(a: Statistics, b: Statistics) -> float:
  """The Frechet distance of two Gaussians.

  The trace of (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of
  S1^(1/2) S2 S1^(1/2), a symmetric matrix with the same ones: no complex
  numbers, no added diagonal, and singular covariances are no exception.

  Args:
    a: one set.
    b: the other.

  Returns:
    The distance, not negative.

  Raises:
    ValueError: if the features have different lengths.
  """
  if a.mean.shape != b.mean.shape:
    raise ValueError(
      f"Features of {len(a.mean)} and {len(b.mean)} numbers do not compare."
    )
  values, vectors = np.linalg.eigh(a.covariance)
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  product = root @ b.covariance @ root
  eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
  cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
  gap = a.mean - b.mean
  total = gap @ gap + np.trace(a.covariance) + np.trace(b.covariance)
  return float(max(total - 2 * cross, 0.0))


def distance_of(
  a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> float:
  """`distance` of the statistics of two sets, in the cheaper of two ways.

  With centred sets X and Y the trace of (S1 S2)^(1/2) is also the sum of the
  singular values of X Y^T, over ((n - 1) (m - 1))^(1/2): a matrix of n x m
  numbers where the covariances have d x d.

  Args:
    a: features of one set.
    b: features of the other.

  Returns:
    The distance.

  Raises:
    ValueError: if a set has fewer than two examples.
  """
  if min(len(a), len(b)) >= a.shape[1] or max(len(a), len(b)) > 4 * a.shape[1]:
    return distance(statistics(a), statistics(b))
  if min(len(a), len(b)) < 2:
    raise ValueError(
      f"Statistics need at least two rows of features, got {len(a)}, {len(b)}."
    )
  means, centred, total = [], [], 0.0
  for x in (np.asarray(a, np.float64), np.asarray(b, np.float64)):
    means.append(x.mean(0))
    centred.append((x - means[-1]) / np.sqrt(len(x) - 1))
    total += (centred[-1] ** 2).sum()
  cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
  gap = means[0] - means[1]
  return float(max(gap @ gap + total - 2 * cross, 0.0))


def frechet(
  a: Float[np.ndarray, "n d"],
  b: Float[np.ndarray, "m d"],
  *,
  at: int | None = None,
  repeats: int = 20,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """The Frechet distance of two sets, with a warning where they are small.

  Args:
    a: features of one set.
    b: features of the other.
    at: examples drawn without replacement from each, so that sets of other
      sizes can be compared ("FID@n"); None takes all.
    repeats: how often they are drawn; the value is the mean of the distances
      and the interval their central 95 %, which covers the choice of examples
      only.
    key: of the draws.

  Returns:
    The estimate; without an interval if all were taken.

  Raises:
    ValueError: if `at` is larger than a set, or a set has under two examples.
  """
  smaller, width = min(len(a), len(b)), a.shape[1]
  size = smaller if at is None else at
  note = ""
  if size <= width:
    note = (
      f"{size} examples of {width} features: covariances are singular and the "
      "distance is far too large; compare only at equal n, or use KID"
    )
  elif size < ENOUGH:
    note = f"biased upwards at n={size}; compare only at equal n, or use KID"
  if at is None:
    value = distance_of(a, b)
    sizes = f"all {len(a)} and {len(b)} examples"
    return Estimate(value, None, None, smaller, f"Frechet, {sizes}", note)
  if not 2 <= at <= smaller:
    raise ValueError(f"at is {at}; the smaller set has {smaller} examples.")
  rng = estimate.generator(key)
  draws = np.array(
    [
      distance_of(
        a[rng.choice(len(a), at, replace=False)],
        b[rng.choice(len(b), at, replace=False)],
      )
      for _ in range(repeats if at < max(len(a), len(b)) else 1)
    ]
  )
  ends = estimate.interval(draws) if len(draws) > 1 else (None, None)
  method = f"Frechet@{at}, mean of {len(draws)} draws without replacement"
  return Estimate(float(draws.mean()), *ends, at, method, note)
