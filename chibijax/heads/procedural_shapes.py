"""Identities of the procedural head: smooth fields, and the chibi axis.

A shape is a field of displacements over the head at rest. Eyeballs must stay
round: they take the field's value at their centre and its mean stretch there.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from chibijax.heads import procedural_surface as surface
from chibijax.heads.procedural_mesh import EYE, MOUTH, PARTS, Mesh
from chibijax.heads.procedural_surface import smooth

Numbers = tuple[int | float, ...]
Points = Float[np.ndarray, "n 3"]
Field = Callable[[Points], Points]


def bell(
  points: Points, center: Numbers, sigma: Numbers
) -> Float[np.ndarray, "n"]:
  """Both sides' Gaussian bell of |x|, y and z in millimetres."""
  at = np.abs(points * [1000, 0, 0]) + points * [0, 1000, 1000]
  k = len(center)
  return np.exp(-0.5 * (((at[:, :k] - center) / sigma) ** 2).sum(1))


def _push(center: Numbers, sigma: Numbers, by: Numbers) -> Field:
  """Moves what is under a bell; x outwards; millimetres."""

  def field(p: Points) -> Points:
    side = np.sign(p[:, :1]) * [1, 0, 0] + [0, 1, 1]
    return bell(p, center, sigma)[:, None] * side * np.array(by) / 1000

  return field


def _scale(
  center: Numbers,
  by: Numbers,
  weight: Callable[[Points], Float[np.ndarray, "n"]],
) -> Field:
  """Scales about a centre (mm; both sides') where the weight is."""

  def field(p: Points) -> Points:
    side = np.sign(p[:, :1]) * [1, 0, 0] + [0, 1, 1]
    return weight(p)[:, None] * (p - side * np.array(center) / 1000) * by

  return field


def _around(
  center: Numbers, inner: int, outer: int
) -> Callable[[Points], Float[np.ndarray, "n"]]:
  """1 within a distance (mm) of a centre on both sides, 0 beyond another."""

  def weight(p: Points) -> Float[np.ndarray, "n"]:
    at = np.abs(p * [1, 0, 0]) + p * [0, 1, 1]
    far = np.linalg.norm(at - np.array(center) / 1000, axis=1)
    return smooth(far * 1000, outer, inner)

  return weight


def _sum(*fields: Field) -> Field:
  return lambda p: np.sum([field(p) for field in fields], axis=0)


def _head(p: Points) -> Float[np.ndarray, "n"]:
  """1 on the head, 0 below on the neck; behind, the neck begins higher."""
  level = p[:, 1] + 0.35 * (0.04 - p[:, 2]).clip(0, 0.1)
  return smooth(level, -0.13, -0.075)


def _neck(p: Points) -> Float[np.ndarray, "n"]:
  return 1 - _head(p)


def _lower(p: Points) -> Float[np.ndarray, "n"]:
  return smooth(p[:, 1], 0.0, -0.07) * _head(p)


def _upper(p: Points) -> Float[np.ndarray, "n"]:
  return smooth(p[:, 1], 0.0, 0.09)


_EYE = tuple(EYE * 1000)
_MOUTH = (0.0, MOUTH[1] * 1000, 62.0)
_NOSE = (0.0, -18.0, 72.0)
_EAR = (74.0, 0.0, -14.0)
_at_eye = _around(_EYE, 20, 40)
_at_ear = _around(_EAR, 32, 52)


def _tilt(p: Points) -> Points:
  """Turns the eyes about the line of sight: outer corners up."""
  side = np.sign(p[:, 0])
  dx, dy = np.abs(p[:, 0]) - EYE[0], p[:, 1] - EYE[1]
  turned = np.stack([-side * dy, dx, np.zeros_like(dx)], 1)
  return 0.13 * _at_eye(p)[:, None] * turned


def fields() -> dict[str, Field]:
  """The identity shapes by name; a coefficient of 1 is a marked face."""
  at_mouth = _around(_MOUTH, 18, 40)
  at_nose = _around(_NOSE, 16, 34)
  return {
    "face_width": _scale((0, 0, 0), (0.07, 0, 0), _head),
    "face_height": _scale((0, 20, 0), (0, 0.07, 0), _head),
    "head_length": _scale((0, 0, 20), (0, 0, 0.08), _head),
    "cranium_height": _scale((0, 30, 0), (0, 0.12, 0), _upper),
    "cranium_width": _scale((0, 0, 0), (0.08, 0, 0), _upper),
    "forehead": _push((0, 72, 66), (45, 26, 40), (0, 0, 6)),
    "jaw_width": _push((52, -68, 0), (18, 24, 34), (7, 0, 0)),
    "jaw_height": _scale((0, 0, 0), (0, 0.10, 0), _lower),
    "chin_forward": _push((0, -88, 62), (20, 16, 26), (0, 0, 7)),
    "chin_width": _push((19, -88, 52), (11, 14, 20), (6, 0, 0)),
    "chin_height": _push((0, -100, 50), (26, 18, 34), (0, -7, 0)),
    "cheekbones": _push((54, -8, 32), (16, 15, 26), (4, 1, 3)),
    "cheeks": _push((44, -42, 36), (17, 18, 26), (5, 0, 4)),
    "nose_length": _push((0, -25, 80), (13, 11, 26), (0, -6, 0)),
    "nose_width": _scale(_NOSE, (0.28, 0, 0), at_nose),
    "nose_forward": _push((0, -17, 85), (10, 12, 30), (0, 0, 6)),
    "nose_bridge": _push((0, 8, 72), (7, 15, 30), (0, 0, 5)),
    "nose_tip_up": _push((0, -19, 86), (9, 8, 20), (0, 5, 1)),
    "mouth_width": _scale(_MOUTH, (0.22, 0, 0), at_mouth),
    "mouth_height": _push((0, -48.5, 62), (28, 15, 36), (0, 5, 0)),
    "lips_forward": _push((0, -51, 70), (20, 11, 22), (0, 0, 4)),
    "lip_thickness": _scale(_MOUTH, (0, 0.45, 0.0), _around(_MOUTH, 9, 30)),
    "eye_size": _scale(_EYE, (0.16, 0.16, 0.16), _at_eye),
    "eye_spacing": lambda p: (
      _at_eye(p)[:, None] * np.sign(p[:, :1]) * [0.004, 0, 0]
    ),
    "eye_height": lambda p: _at_eye(p)[:, None] * [[0, 0.006, 0]],
    "eye_depth": lambda p: _at_eye(p)[:, None] * [[0, 0, -0.004]],
    "eye_opening": _scale(
      (31.5, 22, 40), (0, 0.22, 0), _around((31.5, 22, 56), 15, 28)
    ),
    "eye_tilt": _tilt,
    "brow_height": _push((30, 44, 64), (26, 9, 30), (0, 5, 0)),
    "brow_ridge": _push((24, 41, 66), (22, 7, 24), (0, 0, 4)),
    "ear_size": _scale(_EAR, (0.2, 0.25, 0.25), _at_ear),
    "ear_flare": _push((88, 4, -24), (9, 30, 18), (9, 0, 4)),
    "neck_width": _scale((0, 0, -32), (0.18, 0, 0.18), _neck),
    "fullness": _sum(
      _push((52, -55, 20), (22, 28, 36), (7, 0, 3)),
      _push((0, -108, 28), (40, 16, 28), (0, -7, 2)),
      _scale((0, 0, -32), (0.12, 0, 0.10), _neck),
    ),
  }


def displacements(mesh: Mesh, field: Field) -> Float[np.ndarray, "V 3"]:
  """A field at the vertices; the eyeballs stay round."""
  moved = field(mesh.positions)
  balls = mesh.part == PARTS.index("eyeball")
  step = 0.004
  for side in (1, -1):
    center = EYE * [side, 1, 1]
    around = center + step * np.concatenate([np.eye(3), -np.eye(3)])
    ends = field(around)
    stretch = np.trace(ends[:3] - ends[3:]) / (6 * step)
    mine = balls & (np.sign(mesh.positions[:, 0]) == side)
    offsets = mesh.positions[mine] - center
    moved[mine] = ends.mean(0) + stretch * offsets
  return moved


def chibi(mesh: Mesh) -> Points:
  """The displacement to a chibi: a round head, big eyes, all else small."""
  p = mesh.positions
  side = np.sign(p[:, :1]) * [1, 0, 0] + [0, 1, 1]
  head = _head(p)[:, None]
  # Over the face: small nose and mouth, room for big eyes.
  q = p.copy()
  for center, size, down, weight in (
    (_NOSE, 0.55, 0.0, _around(_NOSE, 16, 26)),
    (_MOUTH, 0.68, 0.007, _around(_MOUTH, 27, 66)),
  ):
    w = weight(p)[:, None]
    q += w * (size - 1) * (p - np.array(center) / 1000) * [1, 0.7, 0.7]
    q[:, 1:2] -= w * down
  # A ball has no chin.
  q[:, 1] -= 0.012 * bell(p, (0, -96, 56), (24, 18, 26))
  # The corners of the mouth would hang on it.
  corner = bell(p, (24, MOUTH[1] * 1000, 58), (12, 14, 30))
  q[:, 1] += 0.0055 * corner
  apart = smooth(np.abs(p[:, 0]), 0, 0.014)
  nose = 1 - 0.95 * bell(p, (0, -18, 72), (19, 20, 40))
  room = _around(_EYE, 20, 84)(p)[:, None]
  spread = 0.42 * (p - side * EYE) + side * [0.009, -0.013, 0]
  q += room * spread * np.stack([apart, nose, 0 * nose], 1)
  # Round: the loft becomes nearly a ball, what is on or in it goes along.
  after = _direction(q - _MIDDLE)
  wide = np.array([1.05, 0.99, 0.97]) * 0.108
  reach = _reach(mesh)
  goal = 1 / np.linalg.norm(after / wide, axis=1) / reach
  far = np.linalg.norm(p - _MIDDLE + (q - p) * [0, 0, 1], axis=1)
  # The nose is flat, its bridge nearly gone; the cheeks are full.
  flat = 1 - 0.5 * bell(p, (0, 2, 78), (14, 18, 40))
  far = reach + np.where(far > reach, flat, 1) * (far - reach)
  far = far + 0.006 * bell(p, (58, -48, 20), (18, 18, 34))
  far = far + 0.008 * bell(p, (0, -92, 56), (22, 16, 26))
  ball = _MIDDLE + after * (far * (0.12 + 0.88 * goal))[:, None]
  q += head * (ball - q)
  # Neck: thin and short, up to the chin.
  neck = 1 - head
  q += neck * (p - [0, 0, -0.03]) * [-0.42, 0, -0.42]
  q[:, 1:2] += neck * 0.032
  # Big eyes, as they are but larger.
  goal = side * [0.0415, 0.002, 0.052] + 1.5 * (p - side * EYE)
  weight = _around(_EYE, 23, 42)(p) * apart
  q += weight[:, None] * (goal - q)
  # Small ears, low.
  ear = side * np.array(_EAR) / 1000
  goal = ear + side * [0.026, -0.022, 0] + 0.8 * (p - ear)
  q += _at_ear(p)[:, None] * (goal - q)
  # Teeth and tongue go with the mouth around them.
  mouth = (mesh.part == PARTS.index("mouth")) & (mesh.ring >= 5)
  inside = mesh.part >= PARTS.index("upper_teeth")
  with_one = np.column_stack([p, np.ones(len(p))])
  affine = np.linalg.lstsq(with_one[mouth], q[mouth], rcond=None)[0]
  q[inside] = with_one[inside] @ affine
  return q - p


def _direction(offsets: Points) -> Points:
  far = np.linalg.norm(offsets, axis=1, keepdims=True)
  return offsets / np.maximum(far, 1e-6)


_MIDDLE = np.array([0, 0.012, -0.014])


def _reach(mesh: Mesh) -> Float[np.ndarray, "V"]:
  """How far the loft under each vertex is from the middle of the head."""
  mouth = (mesh.part == PARTS.index("mouth")) & (mesh.ring == 6)
  parts = np.isnan(mesh.angle)
  angle = np.where(parts, 0, mesh.angle)
  row = np.where(parts, mesh.row[mouth].mean(), mesh.row)
  return np.linalg.norm(surface.loft(angle, row) - _MIDDLE, axis=1)
