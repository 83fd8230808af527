"""Clothes below the neck and glasses, as meshes around a shaped head."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Half-width and half-depth as multiples of the neck's (or of the shoulders'),
# and height below the neck's foot in mm, of the rings of a garment.
_SHOULDERS = np.array(
  [
    [1.02, 1.02, 10], [1.10, 1.12, 12], [1.16, 1.20, 4], [1.30, 1.34, -5],
    [1.75, 1.55, -20], [2.4, 1.75, -34], [3.0, 1.85, -50], [3.35, 1.9, -75],
    [3.45, 2.0, -120], [3.45, 2.0, -260],
  ]
)  # fmt: skip
_AROUND = 48
_TUBE = 6


class Neck(NamedTuple):
  """The foot of a shaped head's neck.

  Attributes:
    center: its middle.
    half_width: sideways.
    half_depth: forwards.
    unit: about 1 on the mean head.
  """

  center: Float[np.ndarray, "3"]
  half_width: float
  half_depth: float
  unit: float


class Solid(NamedTuple):
  """A mesh with normals and a flat map for patterns.

  Attributes:
    vertices: positions.
    normals: outwards, of unit length.
    map: around (radians) and down (metres).
    faces: vertex indices.
  """

  vertices: Float[np.ndarray, "V 3"]
  normals: Float[np.ndarray, "V 3"]
  map: Float[np.ndarray, "V 2"]
  faces: Int[np.ndarray, "F 3"]


def measure_neck(
  template: Float[np.ndarray, "V 3"], vertices: Float[np.ndarray, "V 3"]
) -> Neck:
  """Measures the neck of a shaped head without pose."""
  level = template[:, 1]
  ring = vertices[(level < -0.122) & (level > -0.145) & (template[:, 2] < 0.02)]
  low, high = ring.min(axis=0), ring.max(axis=0)
  return Neck(
    center=(low + high) / 2,
    half_width=float(high[0] - low[0]) / 2,
    half_depth=float(high[2] - low[2]) / 2,
    unit=float(high[0] - low[0]) / 0.104,
  )


def garment(kind: str, neck: Neck, *, narrow: bool) -> Solid:
  """A piece of clothing around the neck and the shoulders.

  Args:
    kind: one of `look.GARMENTS`.
    neck: where it sits.
    narrow: small shoulders, as drawn figures have.
  """
  turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
  rings = _SHOULDERS.copy()
  if narrow:
    rings[3:, 0] = 1 + (rings[3:, 0] - 1) * 0.75
  band = {"tee": 0.0, "shirt": 14.0, "hoodie": 8.0, "sweater": 9.0}[kind]
  thick = {"tee": 0.0, "shirt": 0.06, "hoodie": 0.42, "sweater": 0.10}[kind]
  rings[1:3, 2] += [band, 0.5 * band]
  rings[0, 2] += 0.8 * band
  rings[1:4, :2] += thick * np.array([[0.6], [1.0], [0.5]])
  # In front the opening is lower; a hood is thick behind.
  front = {"tee": 20.0, "shirt": 26.0, "hoodie": 18.0, "sweater": 8.0}[kind]
  ahead = np.cos(turn)
  power = 2.4
  sine, cosine = np.sin(turn), np.cos(turn)
  radius = (np.abs(sine) ** power + np.abs(cosine) ** power) ** (-1 / power)
  shape = np.stack([radius * sine, radius * cosine], axis=1)
  upper = np.clip(1 - np.arange(len(rings)) / 4, 0, 1)
  y = rings[:, 2:] - front * upper[:, None] * np.maximum(ahead, 0) ** 2
  y = y + (12 if kind == "hoodie" else 5) * upper[:, None] * np.maximum(
    -ahead, 0
  )
  depth = rings[:, 1:2] * np.ones(_AROUND)
  if kind == "hoodie":
    behind = np.maximum(-ahead, 0) ** 2
    depth = depth + behind * (np.array([0, 0.3, 0.9, 0.8] + [0.2] * 6)[:, None])
  points = np.stack(
    [
      rings[:, :1] * neck.half_width * shape[:, 0],
      y * neck.unit / 1000,
      depth * neck.half_depth * shape[:, 1],
    ],
    axis=2,
  )
  points += neck.center - np.array([0, 0, 0.004 * neck.unit])
  normals = _grid_normals(points)
  around = np.broadcast_to(turn, points.shape[:2])
  down = neck.center[1] - points[..., 1]
  flat = np.stack([around, down / neck.unit], axis=2)
  return _solid(points, normals, flat, closed=True)


def glasses(
  landmarks: Float[np.ndarray, "68 3"], temple: float, unit: float
) -> Solid:
  """Round frames with a bridge and temples.

  Args:
    landmarks: of the shaped head.
    temple: half-width of the head where they rest.
    unit: about 1 on the mean head.
  """
  right, left = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
  half = 0.36 * abs(left[0] - right[0])
  ahead = 0.012 * unit + 0.2 * half
  parts = []
  turn = np.linspace(0, 2 * np.pi, 29)
  for eye in (right, left):
    ring = np.stack([np.cos(turn), 0.86 * np.sin(turn), 0 * turn], axis=1)
    bend = -0.25 * np.abs(ring[:, :1]) * np.sign(eye[0] * ring[:, :1])
    ring[:, 2:] += np.minimum(bend, 0)
    parts.append(eye + [0, -0.1 * half, ahead] + half * ring)
    outer = parts[-1][0 if eye[0] > 0 else 14]
    side = np.sign(eye[0])
    back = np.array([side * temple, outer[1] + 0.004, -0.01 * unit])
    bow = np.linspace(0, 1, 8)[:, None]
    parts.append(outer * (1 - bow) + back * bow)
    parts[-1][:, 0] += side * 0.003 * unit * np.sin(np.pi * bow[:, 0])
  inner = np.stack([parts[0][0], parts[2][14]])
  bow = np.linspace(0, 1, 7)[:, None]
  bridge = inner[0] * (1 - bow) + inner[1] * bow
  bridge[:, 1] += 0.003 * unit * np.sin(np.pi * bow[:, 0])
  solids = [_tube(p, 0.0013 * unit) for p in (*parts, bridge)]
  return join(solids)


def join(solids: list[Solid]) -> Solid:
  """One mesh of several."""
  counts = np.cumsum([0] + [len(s.vertices) for s in solids[:-1]])
  return Solid(
    *(np.concatenate([s[i] for s in solids]) for i in range(3)),
    np.concatenate([s.faces + k for s, k in zip(solids, counts)]),
  )


def _tube(path: np.ndarray, radius: float) -> Solid:
  """A tube around a line of points."""
  along = np.gradient(path, axis=0)
  along /= np.linalg.norm(along, axis=1, keepdims=True)
  first = np.cross(along, [0.0, 0.02, 1.0])
  flat = np.linalg.norm(first, axis=1, keepdims=True)
  first = np.where(flat > 0.3, first, np.cross(along, [0.0, 1.0, 0.0]))
  first /= np.linalg.norm(first, axis=1, keepdims=True)
  second = np.cross(along, first)
  turn = np.linspace(0, 2 * np.pi, _TUBE, endpoint=False)
  normals = first[:, None] * np.cos(turn)[:, None]
  normals = normals + second[:, None] * np.sin(turn)[:, None]
  points = path[:, None] + radius * normals
  return _solid(points, normals, np.zeros((*points.shape[:2], 2)), closed=True)


def _grid_normals(points: np.ndarray) -> np.ndarray:
  """Normals of a grid [rings, around, 3] whose second axis is closed."""
  down = np.gradient(points, axis=0)
  around = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
  normals = np.cross(down, around)
  length = np.linalg.norm(normals, axis=2, keepdims=True)
  return normals / np.maximum(length, 1e-12)


def _solid(
  points: np.ndarray, normals: np.ndarray, flat: np.ndarray, *, closed: bool
) -> Solid:
  """Triangles between the rings of a grid."""
  rings, around, _ = points.shape
  index = np.arange(rings * around).reshape(rings, around)
  beside = np.roll(index, -1, axis=1) if closed else index[:, 1:]
  a, b = index[:-1, : beside.shape[1]].ravel(), beside[:-1].ravel()
  c, d = index[1:, : beside.shape[1]].ravel(), beside[1:].ravel()
  faces = np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])
  kind = np.float32
  return Solid(
    points.reshape(-1, 3).astype(kind),
    normals.reshape(-1, 3).astype(kind),
    flat.reshape(-1, 2).astype(kind),
    faces.astype(np.int32),
  )
