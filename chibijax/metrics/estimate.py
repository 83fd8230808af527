"""A measured number with its interval, and how the interval was made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

# Share of the draws inside an interval.
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
  """One metric of one comparison.

  Attributes:
    value: the number.
    low: lower end of its interval; None where there is none.
    high: upper end.
    n: examples it rests on; of two sets, the smaller one's.
    method: what was computed, with its settings (block size, k, repeats).
    note: a warning to the reader, such as too few examples; "" for none.
    details: further numbers by name.
  """

  value: float
  low: float | None
  high: float | None
  n: int
  method: str = ""
  note: str = ""
  details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __str__(self) -> str:
    """Such as "0.0123 [0.0101, 0.0150] (n=500)"."""
    interval = "" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]"
    return f"{self.value:.4g}{interval} (n={self.n})"


def generator(key: PRNGKeyArray | None) -> np.random.Generator:
  """NumPy's generator from a JAX key; None is key 0.

  The draws choose examples on the host, where the float64 arithmetic is.
  """
  key = jax.random.key(0) if key is None else key
  return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


def interval(draws: Float[np.ndarray, " r"]) -> tuple[float, float]:
  """The central 95 % of draws."""
  low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return float(low), float(high)


def mean(
  values: Any,
  *,
  repeats: int = 1000,
  key: PRNGKeyArray | None = None,
  method: str = "mean",
) -> Estimate:
  """The mean of one value per example, with a bootstrap interval.

  Args:
    values: [n].
    repeats: bootstrap draws.
    key: of the draws.
    method: what the values are.

  Returns:
    The estimate; without an interval for a single example.

  Raises:
    ValueError: if there is no value.
  """
  values = np.asarray(values, np.float64).reshape(-1)
  if not len(values):
    raise ValueError("The mean of no values was asked for.")
  method = f"{method}; 95% bootstrap over examples, {repeats} draws"
  if len(values) == 1:
    return Estimate(float(values[0]), None, None, 1, method, "one example only")
  rng = generator(key)
  # In parts, so that many values do not need repeats x n numbers at once.
  draws = np.array(
    [
      values[rng.integers(0, len(values), len(values))].mean()
      for _ in range(repeats)
    ]
  )
  return Estimate(float(values.mean()), *interval(draws), len(values), method)
