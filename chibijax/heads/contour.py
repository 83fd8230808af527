"""The outline of a head seen from the side: where its jaw landmarks slide to.

On a face that looks at the camera the landmarks 0 to 16 lie on the jaw. On one
that turns away, those of the far side lie where the cheek hides what is behind
it. Each of them therefore has a line of candidates on the skin, from the jaw
forwards at the same height, and is the one furthest out ("landmark marching",
X. Zhu et al., "High-fidelity pose and expression normalization for face
recognition in the wild", CVPR 2015, section 2.2).
"""

import numpy as np
from jaxtyping import Float, Int

from chibijax.heads.model import HeadModel, landmarks

# Landmarks that slide; the chin does not.
SLIDING = np.array([0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16])
# To the picture's left or right, where it is further out.
SIDES = np.where(SLIDING < 8, -1.0, 1.0).astype(np.float32)
# Candidates of each besides the landmark itself, and how far forwards they go
# in units of its own angle about the vertical axis.
CANDIDATES = 4
_REACH = 0.6
# The axis lies so far behind the landmarks at the ears, metres.
_BEHIND = 0.03


def candidates(
  model: HeadModel,
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k 3"]]:
  """Points of the skin that the sliding landmarks may go to.

  Args:
    model: a head whose landmarks 0 and 16 lie at the ears.

  Returns:
    Faces and barycentric weights, for each landmark of `SLIDING`. Where the
    skin has a hole, the landmark itself stands in.
  """
  template = np.asarray(model.template, np.float64)
  triangles = template[np.asarray(model.faces)]
  own = landmarks(model, np.asarray(model.template)).astype(np.float64)
  axis = (own[0, 2] + own[16, 2]) / 2 - _BEHIND
  lows, highs = triangles[..., 1].min(1), triangles[..., 1].max(1)
  faces = np.zeros((len(SLIDING), CANDIDATES), np.int32)
  weights = np.zeros((len(SLIDING), CANDIDATES, 3), np.float32)
  for row, index in enumerate(SLIDING):
    x, y, z = own[index]
    crossing = np.flatnonzero((lows <= y) & (y <= highs))
    start = np.arctan2(x, z - axis)
    for k in range(CANDIDATES):
      angle = start * (1 - _REACH * (k + 1) / CANDIDATES)
      direction = np.array([np.sin(angle), 0.0, np.cos(angle)])
      found = _farthest(
        triangles[crossing], np.array([0.0, y, axis]), direction
      )
      if found is None:
        faces[row, k] = np.asarray(model.landmark_faces)[index]
        weights[row, k] = np.asarray(model.landmark_barycentric)[index]
      else:
        faces[row, k], weights[row, k] = crossing[found[0]], found[1]
  return faces, weights


def _farthest(
  triangles: Float[np.ndarray, "n 3 3"],
  origin: Float[np.ndarray, "3"],
  direction: Float[np.ndarray, "3"],
) -> tuple[int, Float[np.ndarray, "3"]] | None:
  """The last triangle that a ray leaves, and where on it.

  T. Möller and B. Trumbore, "Fast, minimum storage ray/triangle intersection"
  (1997), for all triangles at once.
  """
  first = triangles[:, 1] - triangles[:, 0]
  second = triangles[:, 2] - triangles[:, 0]
  normal = np.cross(direction, second)
  determinant = (first * normal).sum(-1)
  safe = np.where(np.abs(determinant) < 1e-14, np.inf, determinant)
  offset = origin - triangles[:, 0]
  u = (offset * normal).sum(-1) / safe
  crossed = np.cross(offset, first)
  v = crossed @ direction / safe
  distance = (second * crossed).sum(-1) / safe
  inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
  if not (inside & np.isfinite(safe)).any():
    return None
  best = int(np.where(inside & np.isfinite(safe), distance, -1).argmax())
  return best, np.array([1 - u[best] - v[best], u[best], v[best]])
