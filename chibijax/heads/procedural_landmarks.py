"""Where the 68 landmarks of iBUG lie on the procedural head, and its texture.

Order: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner
lips 60-67, each from the subject's right (left in the picture).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import spatial

from chibijax.heads import procedural_surface as surface
from chibijax.heads.procedural_mesh import PARTS, Mesh
from chibijax.heads.procedural_surface import LAST

# Angle and row on the loft, for the left side: jaw from the ear to the chin.
_JAW = np.array(
  [
    [1.30, 5.2],
    [1.29, 6.2],
    [1.27, 7.2],
    [1.22, 8.2],
    [1.12, 9.1],
    [0.95, 9.8],
    [0.70, 10.3],
    [0.38, 10.6],
    [0.0, 10.75],
  ]
)
# Front view, millimetres: brows from inside outwards; nose.
_BROW = np.array([[14, 37.2], [22, 39.2], [31, 39.9], [40, 38.9], [48, 36.4]])
_BRIDGE = np.array([[0, 18], [0, 6], [0, -6], [0, -18.5]])
_NOSTRILS = np.array([[0, -31.5], [6.5, -30.5], [13, -28]])
# Vertices of rings: outer and inner corner and between, from inside outwards.
_EYE_INNER, _EYE_UPPER, _EYE_OUTER, _EYE_LOWER = 14, (9, 5), 0, (23, 19)
_LIP_OUTER = {51: 0, 52: 2, 53: 5, 54: 12, 55: 19, 56: 22, 57: 24}
_LIP_INNER = {62: 0, 63: 4, 64: 12, 65: 20, 66: 24}


def embedding(
  mesh: Mesh,
) -> tuple[Int[np.ndarray, "68"], Float[np.ndarray, "68 3"]]:
  """Faces and barycentric weights of the landmarks."""
  left = _left(mesh)
  faces = np.zeros(68, np.int32)
  weights = np.zeros((68, 3))
  half = len(mesh.faces) // 2
  numbers = np.array([*left])
  points = np.array([left[i] for i in numbers])
  found, at = _nearest(mesh, points)
  faces[numbers], weights[numbers] = found, at
  for i, face, weight in zip(numbers, found, at, strict=True):
    other = MIRROR[i]
    if other != i:
      # Mirrored faces follow all others, with their corners reversed.
      faces[other], weights[other] = face + half, weight[::-1]
  return faces, weights


def _mirror() -> np.ndarray:
  """The landmark on the other side, for each."""
  pairs = {i: 16 - i for i in range(9)}
  pairs |= {17 + i: 26 - i for i in range(5)}
  pairs |= {i: i for i in range(27, 31)} | {31: 35, 32: 34, 33: 33}
  pairs |= {36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46}
  pairs |= {48: 54, 49: 53, 50: 52, 51: 51, 59: 55, 58: 56, 57: 57}
  pairs |= {60: 64, 61: 63, 62: 62, 67: 65, 66: 66}
  pairs |= {b: a for a, b in pairs.items()}
  return np.array([pairs[i] for i in range(68)])


MIRROR = _mirror()


def _left(mesh: Mesh) -> dict[int, np.ndarray]:
  """Positions of the landmarks of the left side and of the middle."""
  result = dict(zip(range(16, 7, -1), surface.skin(*_JAW.T), strict=True))
  for first, step, targets in (
    (22, 1, _BROW),
    (27, 1, _BRIDGE),
    (33, 1, _NOSTRILS),
  ):
    at = surface.skin(*surface.locate(targets / 1000, (0, 1)))
    result |= {first + step * i: x for i, x in enumerate(at)}
  left = mesh.positions[:, 0] >= 0

  def ring(part: str, number: int) -> np.ndarray:
    chosen = left & (mesh.part == PARTS.index(part)) & (mesh.ring == number)
    return mesh.positions[chosen]

  lid = ring("lids", 5)
  order = (_EYE_INNER, *_EYE_UPPER, _EYE_OUTER, *_EYE_LOWER)
  result |= {42 + i: lid[k] for i, k in enumerate(order)}
  result |= {i: ring("mouth", 2)[k] for i, k in _LIP_OUTER.items()}
  return result | {i: ring("mouth", 5)[k] for i, k in _LIP_INNER.items()}


def _nearest(
  mesh: Mesh, points: Float[np.ndarray, "n 3"]
) -> tuple[np.ndarray, np.ndarray]:
  """The nearest of the left faces to each point, and where on it."""
  corners = mesh.positions[mesh.faces[: len(mesh.faces) // 2]]
  near = spatial.cKDTree(corners.mean(1)).query(points, 24)[1]
  a, b, c = np.moveaxis(corners[near], 2, 0)
  u, v, w = b - a, c - a, points[:, None] - a
  uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
  wu, wv = (w * u).sum(-1), (w * v).sum(-1)
  det = np.maximum(uu * vv - uv**2, 1e-30)
  second, third = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
  weights = np.stack([1 - second - third, second, third], -1).clip(0)
  weights /= weights.sum(-1, keepdims=True)
  # A point in the middle stays there: on the edge of its face.
  middle = (points[:, 0] == 0)[:, None, None]
  weights = np.where(middle & (corners[near][..., 0] != 0), 0, weights)
  weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9)
  found = np.einsum("nki,nkid->nkd", weights, corners[near])
  best = ((found - points[:, None]) ** 2).sum(-1).argmin(1)
  rows = np.arange(len(points))
  return near[rows, best].astype(np.int32), weights[rows, best]


def texture_coordinates(mesh: Mesh) -> Float[np.ndarray, "V 2"]:
  """Places in a square picture, v downwards, without seams.

  The skin fills the disk: the crown in the middle, the face below it. What lies
  behind an opening overlaps its rim a little. Eyeballs, teeth and tongue have
  disks in the corners, left ones on the right.
  """
  radius = 0.495 * mesh.row / LAST
  angle = mesh.angle
  uv = 0.5 + np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)
  side = np.where(mesh.positions[:, 0] >= 0, 1, -1)
  ball = mesh.part == PARTS.index("eyeball")
  far = 0.066 * mesh.row[ball] / np.pi
  place = mesh.place[ball]
  uv[ball, 0] = 0.5 + side[ball] * (0.43 + far * np.cos(place))
  uv[ball, 1] = 0.07 - far * np.sin(place)
  for name, u in (
    ("upper_teeth", 0.07),
    ("lower_teeth", 0.93),
    ("tongue", 0.93),
  ):
    mine = mesh.part == PARTS.index(name)
    p = mesh.positions[mine]
    low, high = p.min(0), p.max(0)
    scaled = (p - low) / (high - low) - 0.5
    uv[mine, 0] = u + 0.09 * scaled[:, 0]
    uv[mine, 1] = 0.93 - 0.09 * scaled[:, 1]
  return uv
