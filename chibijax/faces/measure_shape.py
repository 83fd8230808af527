"""Proportions of a face and the shape of its mouth, told from 68 landmarks.

Each number is a ratio of lengths in the face's own frame, with the eyes level,
against its mean and spread over 200 sampled portraits of the artist.
"""

import numpy as np
from jaxtyping import Float

# Mean and standard deviation of every ratio of `ratios`.
_USUAL = {
  "face_width": (1.039, 0.082),
  "eye_size": (0.113, 0.041),
  "nose_size": (0.308, 0.025),
  "mouth_width": (0.741, 0.118),
  "brow_height": (0.304, 0.043),
}


def ratios(landmarks: Float[np.ndarray, "68 2"]) -> dict[str, float]:
  """Lengths of a face in units of each other.

  Args:
    landmarks: in iBUG order, in pixels.

  Returns:
    `face_width`: over the height from brows to chin; the others over the
    distance between the eyes (`eye_size`: the mean opening of the lids).
  """
  p = _level(landmarks)
  brows, eyes = p[17:27, 1], p[36:48, 1]
  openings = np.abs(p[[37, 38, 43, 44], 1] - p[[41, 40, 47, 46], 1])
  values = {
    "face_width": (p[14, 0] - p[2, 0]) / max(p[8, 1] - brows.mean(), 1e-3),
    "eye_size": float(openings.mean()),
    "nose_size": p[35, 0] - p[31, 0],
    "mouth_width": p[54, 0] - p[48, 0],
    "brow_height": eyes.mean() - brows.mean(),
  }
  return {name: float(value) for name, value in values.items()}


def proportions(landmarks: Float[np.ndarray, "68 2"]) -> dict[str, float]:
  """The ratios against the mean face, as `Person` has them.

  Args:
    landmarks: in iBUG order, in pixels.

  Returns:
    By field name, -1..1: two standard deviations are one.
  """
  values = ratios(landmarks)
  scaled = {
    name: (values[name] - mean) / (2 * spread)
    for name, (mean, spread) in _USUAL.items()
  }
  return {name: float(np.clip(v, -1, 1)) for name, v in scaled.items()}


def mouth(landmarks: Float[np.ndarray, "68 2"]) -> tuple[float, float]:
  """How far the mouth's corners are up, and how far it is open.

  Args:
    landmarks: in iBUG order, in pixels.

  Returns:
    Corners above the middle between the lips, and the opening between the
    lips, over the distance between the eyes.
  """
  p = _level(landmarks)
  lips = (p[51, 1] + p[57, 1]) / 2
  corners = (p[48, 1] + p[54, 1]) / 2
  return float(lips - corners), float(p[66, 1] - p[62, 1])


def _level(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
  """The points with the eyes level, their distance being one."""
  left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
  across = right - left
  square = max(float(across @ across), 1e-6)
  turn = np.array([across, [-across[1], across[0]]]) / square
  return (landmarks - (left + right) / 2) @ turn.T
