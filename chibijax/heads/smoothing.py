"""Smoothing over time: Kalman's filter forwards, then back again.

Each number moves with a constant velocity, disturbed by white acceleration, and
is seen with white noise; H. Rauch, F. Tung and C. Striebel, "Maximum likelihood
estimates of linear dynamic systems" (1965). The second pass knows the future,
so that nothing lags, and what was not seen is filled in between.
"""

import numpy as np
from jaxtyping import Bool, Float


def smooth(
  values: Float[np.ndarray, "n d"],
  seen: Bool[np.ndarray, " n"],
  times: Float[np.ndarray, " d"],
  *,
  fps: float,
  limit: int,
) -> Float[np.ndarray, "n d"]:
  """Smooths numbers over time.

  Args:
    values: rows by frame; those of unseen frames are not looked at.
    seen: at least one.
    times: seconds over which each number is averaged, about; positive.
    fps: frames per second.
    limit: gaps of so many frames are bridged. In longer ones, before the first
      seen frame and after the last, the nearest seen frame's value stays.

  Returns:
    A row for each frame.

  Raises:
    ValueError: if no frame was seen.
  """
  frames = np.flatnonzero(seen)
  if not len(frames):
    raise ValueError("no frame was seen")
  result = np.zeros(values.shape)
  breaks = np.flatnonzero(np.diff(frames) > limit + 1) + 1
  for part in np.split(frames, breaks):
    inside = slice(part[0], part[-1] + 1)
    for time in np.unique(times):
      columns = times == time
      result[inside, columns] = _smooth(
        values[inside, columns].astype(np.float64), seen[inside], time * fps
      )
    seen = seen.copy()
    seen[inside] = True
  frames = np.flatnonzero(seen)
  nearest = np.abs(np.arange(len(seen))[:, None] - frames[None]).argmin(1)
  return result[frames[nearest]]


def _smooth(
  values: Float[np.ndarray, "n d"], seen: Bool[np.ndarray, " n"], time: float
) -> Float[np.ndarray, "n d"]:
  """Smooths numbers of one kind; `time` in frames."""
  move = np.array([[1.0, 1.0], [0.0, 1.0]])
  disturbed = np.outer([0.5, 1.0], [0.5, 1.0]) / time**4
  n = len(values)
  # Place and velocity, and their covariance, before and after each frame.
  guessed, known = np.zeros((2, n, 2, values.shape[1]))
  before, after = np.zeros((2, n, 2, 2))
  state = np.stack([values[0], np.zeros(values.shape[1])])
  spread = np.diag([1.0, 1.0])
  for i in range(n):
    if i:
      state, spread = move @ state, move @ spread @ move.T + disturbed
    guessed[i], before[i] = state, spread
    if seen[i]:
      gain = spread[:, 0] / (spread[0, 0] + 1)
      state = state + gain[:, None] * (values[i] - state[0])[None]
      spread = spread - np.outer(gain, spread[0])
    known[i], after[i] = state, spread
  for i in range(n - 2, -1, -1):
    back = np.linalg.solve(before[i + 1], move @ after[i]).T
    known[i] = known[i] + back @ (known[i + 1] - guessed[i + 1])
  return known[:, 0]
