"""Expressions of the procedural head, for any identity of it.

Each is a displacement of the vertices of a given face, so that a chibi's big
lids close as well as small ones: its sizes are taken from the face.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chibijax.heads.procedural_mesh import EYE_LOOP, MOUTH, PARTS, Mesh
from chibijax.heads.procedural_surface import smooth

Numbers = tuple[int | float, ...]
# How far a lid ring goes with the margin, from outside; then the pocket.
_FOLLOW = np.array([0.05, 0.28, 0.6, 0.9, 1.0, 1.0, 1.0, 0.5, 0.2, 0.0, 0.0])
JAW = np.array([0.0, -0.012, 0.0])
# Where the lids meet: the share of the opening that the lower lid rises.
_LOWER_SHARE = 0.14


class Face(NamedTuple):
  """A face to be moved: `rest` is the mean head, `at` this identity of it."""

  mesh: Mesh
  at: Float[np.ndarray, "V 3"]

  @classmethod
  def of(cls, mesh: Mesh, moved: Float[np.ndarray, "V 3"]) -> "Face":
    """The mean head displaced."""
    return cls(mesh, mesh.positions + moved)

  def part(self, name: str) -> np.ndarray:
    """Which vertices belong to a part."""
    return self.mesh.part == PARTS.index(name)


def lower_lip(mesh: Mesh) -> Float[np.ndarray, "V"]:
  """0 on the upper lip, 1 on the lower, smooth beside the corners."""
  p, part = mesh.positions, mesh.part
  width = 0.004 + 0.5 * np.maximum(np.abs(p[:, 0]) - 0.024, 0)
  skin = smooth((MOUTH[1] - p[:, 1]) / width, -1.0, 1.0)
  mouth = part == PARTS.index("mouth")
  place = smooth(np.where(mouth, mesh.place, 0), 0.22, 0.78)
  inner = smooth(mesh.ring, 0, 3)
  result = np.where(mouth, skin + inner * (place - skin), skin)
  result[part == PARTS.index("upper_teeth")] = 0
  for name in ("lower_teeth", "tongue"):
    result[part == PARTS.index(name)] = 1
  return result


def jaw_weight(mesh: Mesh) -> Float[np.ndarray, "V"]:
  """How much a vertex goes with the jaw."""
  p, part = mesh.positions, mesh.part
  below, ahead = JAW[1] - p[:, 1], p[:, 2] - JAW[2]
  angle = np.rad2deg(np.arctan2(below, ahead))
  front = smooth(angle, 24, 50)
  near = smooth(np.abs(p[:, 0]), 0.045, 0.026)
  # Before the corner of the mouth the lips decide.
  front = front + near * smooth(p[:, 2], 0.03, 0.05) * (lower_lip(mesh) - front)
  result = front * smooth(angle, 112, 74) * smooth(p[:, 1], -0.128, -0.104)
  result *= smooth(p[:, 2], -0.01, 0.03)
  mouth = (part == PARTS.index("mouth")) & (mesh.ring >= 3)
  depth = smooth(mesh.ring, 11, 7)
  result = np.where(mouth, lower_lip(mesh) * (0.35 + 0.65 * depth), result)
  for name, weight in (
    ("ear", 0.0),
    ("lids", 0.0),
    ("eyeball", 0.0),
    ("upper_teeth", 0.0),
    ("lower_teeth", 1.0),
    ("tongue", 0.9),
  ):
    result[part == PARTS.index(name)] = weight
  return result


def _bell(
  face: Face, center: Numbers, sigma: Numbers
) -> Float[np.ndarray, "V 1"]:
  """A bell over the left half of the face, in x and y of the mean head (mm)."""
  p = face.mesh.positions * 1000
  far = ((p[:, :2] - center) / sigma) ** 2
  weight = np.exp(-0.5 * far.sum(1)) * smooth(p[:, 2], 0.0, 25.0)
  hard = face.part("eyeball") | face.part("upper_teeth")
  hard |= face.part("lower_teeth") | face.part("tongue")
  weight[hard | (face.part("lids") & (face.mesh.ring > 6))] = 0
  return weight[:, None]


def _sizes(face: Face) -> tuple[float, float]:
  """How much larger the eyes and the mouth are than the mean head's."""

  def size(vertices: np.ndarray) -> float:
    spread = [np.ptp(x[vertices, 0]) for x in (face.at, face.mesh.positions)]
    return spread[0] / spread[1]

  left = face.mesh.positions[:, 0] > 0
  return (
    size(face.part("eyeball") & left),
    size(face.part("mouth") & (face.mesh.ring == 6)),
  )


def _lids(
  face: Face, upper: int | float, lower: int | float, raised: float = 0.0
) -> Float[np.ndarray, "V 3"]:
  """Moves the left eye's lids over its ball.

  Args:
    face: whose.
    upper: how far the upper margin goes towards the lower, in openings.
    lower: how far the lower goes towards the upper.
    raised: millimetres that a closed margin stands out further.
  """
  mesh, moved = face.mesh, np.zeros_like(face.at)
  left = mesh.positions[:, 0] > 0
  center = face.at[face.part("eyeball") & left]
  center = (center.max(0) + center.min(0)) / 2
  rings = [
    np.flatnonzero(face.part("lids") & left & (mesh.ring == k))
    for k in range(10)
  ]
  partner = -np.arange(EYE_LOOP) % EYE_LOOP
  margin = face.at[rings[5]]
  opening = (margin[partner] - margin)[:, :2]
  above = np.sin(mesh.place[rings[5]]) > 1e-6
  share = np.where(above, upper, lower)[:, None]
  for k, ring in enumerate(rings):
    offset = face.at[ring] - center
    goal = offset.copy()
    goal[:, :2] += _FOLLOW[k] * share * opening
    radius = np.linalg.norm(offset, axis=1)
    flat = np.linalg.norm(goal[:, :2], axis=1)
    before = np.linalg.norm(offset[:, :2], axis=1)
    # Along the ball: the same distance from its centre as before.
    ball = np.sqrt(np.maximum(radius**2 - flat**2, (0.3 * radius) ** 2))
    ball -= np.sqrt(np.maximum(radius**2 - before**2, (0.3 * radius) ** 2))
    goal[:, 2] += ball * np.sign(offset[:, 2])
    goal[:, 2] += raised / 1000 * above * _FOLLOW[k] * (k < 7)
    moved[ring] = goal - offset
  return moved


def _mouth(
  face: Face,
  center: Numbers,
  sigma: Numbers,
  by: Numbers,
) -> Float[np.ndarray, "V 3"]:
  """Pushes what is under a bell of the left half, by mouth sizes (mm)."""
  return _bell(face, center, sigma) * np.array(by) / 1000 * _sizes(face)[1]


def _brow(
  face: Face,
  center: Numbers,
  sigma: Numbers,
  by: Numbers,
) -> Float[np.ndarray, "V 3"]:
  """Pushes what is under a bell of the left half, by eye sizes (mm)."""
  weight = _bell(face, center, sigma)
  # The lids' margins lie on the ball, whatever the brows do.
  lids = face.part("lids") & (face.mesh.ring >= 3)
  weight[lids] *= 0.15
  return weight * np.array(by) / 1000 * _sizes(face)[0]


def _left(face: Face) -> dict[str, Float[np.ndarray, "V 3"]]:
  """Expressions of the left half."""
  corner = (24.0, -48.5)
  smile = _mouth(face, corner, (12, 12), (7, 5.5, -4.5))
  smile = smile + _mouth(face, (40, -22), (13, 13), (2, 4, 3.5))
  smile = smile + 0.5 * _lids(face, 0, 0.2)
  frown = _mouth(face, corner, (11, 11), (1.5, -7, -1))
  frown = frown + _mouth(face, (14, -66), (9, 6), (0, 1, 1.5))
  sneer = _mouth(face, (13, -22), (8, 10), (1.5, 4, 1))
  sneer = sneer + _mouth(face, (12, -42), (9, 7), (0, 4, 0.5))
  return {
    "lids_close": _lids(face, 1 - _LOWER_SHARE, _LOWER_SHARE, 0.5),
    "lids_wide": _lids(face, -0.2, -0.08),
    "lids_squint": _lids(face, 0.2, 0.3)
    + _mouth(face, (36, -2), (14, 10), (0, 2.5, 1.5)),
    "smile": smile,
    "frown": frown,
    "mouth_stretch": _mouth(face, corner, (11, 12), (8, -1.5, -4)),
    "dimple": _mouth(face, corner, (8, 9), (3, 0.5, -4.5)),
    "upper_lip_raise": _lip(face, (10, 12), (0, 5, 1.0), upper=True),
    "lower_lip_drop": _lip(face, (10, 12), (0, -5.5, 0.5), upper=False),
    "brow_inner_up": _brow(face, (13, 45), (11, 13), (0, 7, 0.5)),
    "brow_outer_up": _brow(face, (41, 45), (14, 13), (0, 7, 0)),
    "brow_down": _brow(face, (20, 42), (15, 9), (-2.5, -5.5, 1)),
    "cheek_puff": _mouth(face, (42, -45), (13, 15), (7, 0, 7)),
    "sneer": sneer,
  }


def _lip(
  face: Face,
  sigma: Numbers,
  by: Numbers,
  *,
  upper: bool,
) -> Float[np.ndarray, "V 3"]:
  """Moves the left half of one lip."""
  weight = lower_lip(face.mesh)[:, None]
  weight = 1 - weight if upper else weight
  center = (9.0, -47.0 if upper else -55.0)
  return weight * _mouth(face, center, sigma, by)


def _both(face: Face) -> dict[str, Float[np.ndarray, "V 3"]]:
  """Expressions of the whole mouth and jaw."""
  mesh, size = face.mesh, _sizes(face)[1]
  jaw, lip = jaw_weight(mesh)[:, None], lower_lip(mesh)[:, None]
  offset = face.at - JAW
  turn = np.deg2rad(15)
  cosine, sine = np.cos(turn), np.sin(turn)
  drop = offset @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
  middle = face.at[face.part("mouth") & (mesh.ring == 6)].mean(0)
  x = face.at[:, :1] - middle[0]
  y = face.at[:, 1:2] - middle[1]
  near = _bell(face, (0, -48.5), (26, 15)) * [1, 1, 1]
  lips = _bell(face, (0, -48.5), (22, 9)) * [1, 1, 1]
  across = np.concatenate([x, 0 * x, 0 * x], 1)
  up = np.concatenate([0 * y, y, 0 * y], 1)
  ahead = np.array([0, 0, 1]) / 1000 * size
  part = np.array([0, 1, 0]) / 1000 * size * lips
  taper = np.sqrt(np.clip(1 - (x / 0.0236 / size) ** 2, 0, 1))
  mouth_open = part * taper * (3.0 * (1 - lip) - 4.5 * lip)
  pucker = near * (-0.38 * across + 7 * ahead) + 0.12 * lips * up
  return {
    "jaw_drop": jaw * (drop - offset),
    "jaw_forward": jaw * [0, 0, 0.006],
    "jaw_side": jaw * [0.007, 0, 0],
    "lips_open": mouth_open,
    "lips_press": lips * (-0.45 * up - 2.0 * ahead),
    "mouth_pucker": pucker,
    "mouth_funnel": near * (-0.3 * across + 3 * ahead)
    + lips * (5 * ahead + 0.5 * up)
    + 1.3 * mouth_open,
    "mouth_side": near * np.array([7, 0, 0]) / 1000 * size,
  }


def expressions(face: Face) -> dict[str, Float[np.ndarray, "V 3"]]:
  """All expressions of a face by name; a coefficient of 1 is a full one."""
  result = _both(face)
  for name, moved in _left(face).items():
    result[f"{name}_left"] = moved
    result[f"{name}_right"] = moved[face.mesh.mirror] * [-1, 1, 1]
  return result
