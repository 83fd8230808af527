"""Pictures of one figure from cameras that are known exactly.

World coordinates follow the OpenCV camera: x right, y down, z away from a
viewer in front of the figure, who sees its face from -z; so do splat viewers
of `.ply` files. A unit is the height of about one and a half heads: the figure
lies in a ball of radius 0.6 around the origin. Rays are cast analytically and
every pixel averages a grid of them.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.artist import figure
from chibijax.artist.attributes import Attributes
from chibijax.artist.figure_parts import Part

# Figure units a world unit, and the figure's point that is the world's origin.
SCALE = 1000.0
MIDDLE = (0.0, 95.0, 10.0)

DISTANCE = 2.6
# Width of the picture at the origin, in world units.
FIELD = 1.32

Matrix = Float32[np.ndarray, "4 4"]


def orbit(
  azimuth: float | int,
  elevation: float | int,
  distance: float | int = DISTANCE,
) -> Matrix:
  """A camera that looks at the origin.

  Args:
    azimuth: degrees; 0 is in front, 90 sees the figure's side from +x.
    elevation: degrees above the horizon, in (-90, 90).
    distance: from the origin, in world units.

  Returns:
    World-to-camera matrix, OpenCV axes.
  """
  a, e = math.radians(azimuth), math.radians(elevation)
  place = np.array(
    [math.sin(a) * math.cos(e), -math.sin(e), -math.cos(a) * math.cos(e)]
  )
  forward = -place
  right = np.array([math.cos(a), 0.0, math.sin(a)])
  down = np.cross(forward, right)
  matrix = np.eye(4)
  matrix[:3, :3] = np.stack([right, down, forward])
  matrix[2, 3] = distance
  return matrix.astype(np.float32)


def intrinsics(size: int) -> Float32[np.ndarray, "3 3"]:
  """The pinhole camera of all views, in pixels, for square pictures."""
  focal = size * DISTANCE / FIELD
  middle = size / 2
  return np.array(
    [[focal, 0, middle], [0, focal, middle], [0, 0, 1]], np.float32
  )


def view(index: int, count: int, split: Literal["train", "eval"]) -> Matrix:
  """The camera of one view, the same for any size.

  Training views are spread evenly over the sphere between 30 degrees below
  and 65 above the horizon; held-out ones lie on a circle that rises and falls
  around it and are none of them.

  Args:
    index: in [0, count).
    count: number of views.
    split: which set.
  """
  if split == "eval":
    turn = 360 * (index + 0.25) / count
    return orbit(turn, 12 + 18 * math.sin(math.radians(2 * turn + 40)))
  low, high = math.sin(math.radians(-30)), math.sin(math.radians(65))
  height = low + (high - low) * (index + 0.5) / count
  # The golden angle: no two views share an azimuth.
  turn = math.degrees(math.pi * (3 - math.sqrt(5)) * index)
  return orbit(turn % 360, math.degrees(math.asin(height)))


def draw_posed(
  attributes: Attributes,
  viewmat: Matrix,
  size: int,
  *,
  samples: int = 3,
) -> UInt8[np.ndarray, "size size 4"]:
  """Draws a character as a 3D figure.

  Args:
    attributes: the character; its pose, headwear and glasses are not used.
    viewmat: world to camera, OpenCV axes.
    size: side of the picture in pixels; the camera is `intrinsics(size)`.
    samples: rays a pixel along each side.

  Returns:
    RGBA, straight alpha, uint8 sRGB.

  Raises:
    ValueError: if `size` is below 16 or `samples` below 1.
  """
  if size < 16 or samples < 1:
    raise ValueError(
      f"size must be 16 or more and samples 1 or more, got {size}, {samples}."
    )
  parts = figure.build(attributes)
  rows = size * samples
  K = intrinsics(rows)
  # The camera in figure coordinates.
  turn = viewmat[:3, :3]
  eye = -turn.T @ viewmat[:3, 3] * SCALE + np.array(MIDDLE, np.float32)
  rays = _rays(turn, K, rows)
  depth = np.full(rows * rows, np.inf, np.float32)
  owner = np.full(rows * rows, -1, np.int32)
  for k, piece in enumerate(parts):
    _intersect(piece, k, eye, turn, K, rays, rows, depth, owner)
  image = np.zeros((rows * rows, 4), np.float32)
  for k, piece in enumerate(parts):
    seen = np.flatnonzero(owner == k)
    if seen.size:
      image[seen, :3] = _shade(piece, eye, rays[seen], depth[seen])
      image[seen, 3] = 1
  image = image.reshape(size, samples, size, samples, 4).mean((1, 3))
  image[..., :3] /= np.maximum(image[..., 3:], 1e-6)
  return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _rays(turn: np.ndarray, K: np.ndarray, rows: int) -> np.ndarray:
  """Directions of all rays in figure axes, with depth 1: [rows * rows, 3]."""
  along = (np.arange(rows, dtype=np.float32) + 0.5 - K[0, 2]) / K[0, 0]
  y, x = np.meshgrid(along, along, indexing="ij")
  directions = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
  return directions @ turn


def _intersect(
  piece: Part,
  index: int,
  eye: np.ndarray,
  turn: np.ndarray,
  K: np.ndarray,
  rays: np.ndarray,
  rows: int,
  depth: np.ndarray,
  owner: np.ndarray,
) -> None:
  """Writes a part's nearest hits into the depth and owner buffers."""
  box = _box(piece, eye, turn, K, rows)
  if box is None:
    return
  top, bottom, left, right = box
  pixels = (
    np.arange(top, bottom)[:, None] * rows + np.arange(left, right)
  ).ravel()
  # In the ellipsoid's own axes it is the unit ball.
  shrink = (piece.turn / piece.radii).astype(np.float32)
  start = ((eye - piece.center) @ shrink).astype(np.float32)
  along = rays[pixels] @ shrink
  a = (along * along).sum(-1)
  b = along @ start
  c = start @ start - 1
  inside = b * b - a * c
  hit = inside > 0
  pixels, root = pixels[hit], np.sqrt(inside[hit])
  a, b = a[hit], b[hit]
  near = (-b - root) / a
  if piece.keep is not None:
    good = piece.keep(eye + near[:, None] * rays[pixels])
    far = (-b + root) / a
    rest = np.flatnonzero(~good)
    good_far = piece.keep(eye + far[rest, None] * rays[pixels[rest]])
    near[rest] = np.where(good_far, far[rest], np.inf)
  closer = (near > 0) & (near < depth[pixels])
  depth[pixels[closer]] = near[closer]
  owner[pixels[closer]] = index


def _box(
  piece: Part, eye: np.ndarray, turn: np.ndarray, K: np.ndarray, rows: int
) -> tuple[int, int, int, int] | None:
  """Rows and columns that the part's bounding ball can touch."""
  x, y, z = turn @ (piece.center - eye)
  reach = float(piece.radii.max())
  if z <= reach:
    return 0, rows, 0, rows
  # The ball's silhouette, a little too large off the axis.
  radius = K[0, 0] * reach / math.sqrt(z * z - reach * reach) * 1.15
  u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
  left, right = math.floor(u - radius), math.ceil(u + radius)
  top, bottom = math.floor(v - radius), math.ceil(v + radius)
  box = max(top, 0), min(bottom, rows), max(left, 0), min(right, rows)
  return box if box[0] < box[1] and box[2] < box[3] else None


def _shade(
  piece: Part, eye: np.ndarray, rays: np.ndarray, depth: np.ndarray
) -> np.ndarray:
  """Colours of the hits of one part."""
  points = (eye + depth[:, None] * rays).astype(np.float32)
  shrink = piece.turn / piece.radii
  normals = (points - piece.center) @ shrink @ shrink.T
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  back = -rays / np.linalg.norm(rays, axis=-1, keepdims=True)
  # The inside of a cut shell is lit as if it were its other side.
  normals *= np.where((normals * back).sum(-1, keepdims=True) < 0, -1, 1)
  return piece.paint(
    points, normals.astype(np.float32), back.astype(np.float32)
  )
