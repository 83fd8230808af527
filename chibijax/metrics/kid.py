"""Kernel distance of two sets of feature vectors (Binkowski et al. 2018).

The unbiased estimate of the squared maximum mean discrepancy under the kernel
(x . y / d + 1)^3. On the features of Inception-v3 it is KID; on others it is
called "KID-squeeze", say. Being unbiased it may be a little negative, and sets
of different sizes compare.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, PRNGKeyArray

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate

# Rows of a kernel matrix held at once.
_ROWS = 1024
# Bootstrap draws of the interval.
_DRAWS = 500


def mmd(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
  """The unbiased squared discrepancy of two whole sets.

  Args:
    a: features of one set, at least two rows.
    b: features of the other.

  Returns:
    The estimate, in float64.
  """
  ones = np.ones((1, len(a))), np.ones((1, len(b)))
  return float(_weighted(a, b, *ones)[0])


def kid(
  a: Float[np.ndarray, "n d"],
  b: Float[np.ndarray, "m d"],
  *,
  block: int = 1000,
  repeats: int = 100,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """Kernel distance as published: the mean over subsets, and an interval.

  Args:
    a: features of one set.
    b: features of the other.
    block: examples in each subset, drawn without replacement; at most the
      smaller set's (1000 in the paper, clean-fid and torch-fidelity).
    repeats: subsets. Where a block is the whole of both sets all subsets are
      the same, and one is computed.
    key: of the draws.

  Returns:
    The mean over subsets. Its interval is the central 95 % of a bootstrap over
    the examples of both whole sets (each draw weights the pairs of different
    examples, which leaves the estimate unbiased), moved to the value. The
    deviation between subsets, as often published, is `details["block_std"]`.

  Raises:
    ValueError: if a set has fewer than two examples, or features differ.
  """
  if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
    raise ValueError(f"Features of {a.shape} and {b.shape} do not compare.")
  smaller = min(len(a), len(b))
  if smaller < 2 or block < 2:
    raise ValueError(
      f"KID needs two examples in each set and block, got {len(a)}, {len(b)}"
      f" and {block}."
    )
  rng = estimate.generator(key)
  size = min(block, smaller)
  whole = size == len(a) == len(b)
  draws = np.array(
    [
      mmd(
        a[rng.choice(len(a), size, replace=False)],
        b[rng.choice(len(b), size, replace=False)],
      )
      for _ in range(1 if whole else repeats)
    ]
  )
  value = float(draws.mean())
  weights = [
    np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), _DRAWS)])
    for n in (len(a), len(b))
  ]
  full, *others = _weighted(a, b, *weights)
  low, high = estimate.interval(np.array(others) - full)
  note = f"only {smaller} examples" if smaller < 100 else ""
  method = (
    f"unbiased MMD^2, (x.y/{a.shape[1]}+1)^3, block {size}, "
    f"{len(draws)} subset(s); 95% bootstrap over examples, {_DRAWS} draws"
  )
  return Estimate(
    value,
    value + low,
    value + high,
    smaller,
    method,
    note,
    {"block": size, "subsets": len(draws), "block_std": float(draws.std())},
  )


def _weighted(
  a: np.ndarray, b: np.ndarray, wa: np.ndarray, wb: np.ndarray
) -> Float64[np.ndarray, " r"]:
  """The estimate with weighted examples, for each row of weights."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  total = np.zeros(len(wa))
  for x, w in ((a, wa), (b, wb)):
    pairs = sum(
      np.einsum("ri,ri->r", w[:, rows], w @ k.T)
      for rows, k in _kernel(x, x, diagonal=False)
    )
    total += pairs / (w.sum(1) ** 2 - (w**2).sum(1))
  cross = sum(
    np.einsum("ri,ri->r", wa[:, rows], wb @ k.T) for rows, k in _kernel(a, b)
  )
  return total - 2 * cross / (wa.sum(1) * wb.sum(1))


def _kernel(
  x: np.ndarray, y: np.ndarray, *, diagonal: bool = True
) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields some rows of the kernel matrix at a time."""
  for start in range(0, len(x), _ROWS):
    rows = slice(start, min(start + _ROWS, len(x)))
    values = x[rows] @ y.T / x.shape[1] + 1
    values = values * values * values
    if not diagonal:
      index = np.arange(rows.start, rows.stop)
      values[index - start, index] = 0
    yield rows, values
