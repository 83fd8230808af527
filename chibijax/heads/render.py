"""A small software rasteriser of triangle meshes, in NumPy.

It makes training pictures of heads with known cameras, without a GPU and the
same on every machine. Conventions are those of `ops.camera`: world-to-camera
matrices with OpenCV axes, intrinsics in pixels, the centre of the top left
pixel at (0.5, 0.5). A pixel belongs to a triangle if its centre lies inside,
left and upper edges included, so that meshes have neither gaps nor overlaps.
Attributes are interpolated with perspective. A triangle that is not wholly in
front of the near plane is left out rather than clipped.

No loop runs over triangles: each becomes its rows of pixel centres, each row
its span between two edges, and `numpy.maximum.at` keeps the nearest fragment.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from chibijax.errors import UserError

# Nearer triangles than this are left out, in the world's unit.
NEAR = 0.01
# Larger pictures would not fit the 32-bit arithmetic of spans.
_MAX_SIDE = 8192


class Fragments(NamedTuple):
  """What each pixel shows.

  Attributes:
    face: the triangle's index; -1 where there is none.
    weights: perspective-correct barycentric weights of its three vertices,
      adding up to 1; 0 where there is none.
    depth: z in the camera's axes; infinity where there is none.
  """

  face: Int[np.ndarray, "H W"]
  weights: Float[np.ndarray, "H W 3"]
  depth: Float[np.ndarray, "H W"]


def rasterize(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  viewmat: Float[np.ndarray, "4 4"],
  K: Float[np.ndarray, "3 3"],
  size: tuple[int, int],
  *,
  cull: Bool[np.ndarray, " F"] | bool = False,
) -> Fragments:
  """Finds the nearest triangle at each pixel's centre.

  Args:
    vertices: in the world.
    faces: vertex indices, anticlockwise where seen from outside.
    viewmat: world to camera, OpenCV axes.
    K: intrinsics in pixels.
    size: height and width in pixels.
    cull: which triangles are invisible from behind.

  Returns:
    The fragments; of equally near triangles the first.

  Raises:
    UserError: if the size is not within 1 to 8192.
  """
  height, width = size
  if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
    raise UserError(f"a picture has 1 to {_MAX_SIDE} pixels a side, got {size}")
  corners, chosen = _screen_triangles(vertices, faces, viewmat, K, size, cull)
  key = np.zeros(height * width, np.int64)
  _draw(key, corners, width, height)
  pixel = np.flatnonzero(key)
  inside = 0xFFFFFFFF - (key[pixel] & 0xFFFFFFFF)
  face = np.full(height * width, -1, np.int32)
  face[pixel] = chosen[inside]
  weights = np.zeros((height * width, 3), np.float32)
  depth = np.full(height * width, np.inf, np.float32)
  rows, columns = np.divmod(pixel, width)
  u, v, inverse = corners[:, :, inside]
  scaled = _flat_weights(u - (columns + 0.5), v - (rows + 0.5)) * inverse
  total = scaled[0] + scaled[1] + scaled[2]
  for k in range(3):
    weights[pixel, k] = scaled[k] / total
  depth[pixel] = 1 / total
  return Fragments(
    face.reshape(height, width),
    weights.reshape(height, width, 3),
    depth.reshape(height, width),
  )


def interpolate(
  fragments: Fragments,
  faces: Int[np.ndarray, "F 3"],
  attributes: Float[np.ndarray, "V C"],
) -> Float[np.ndarray, "H W C"]:
  """Attributes of the vertices at each pixel.

  Args:
    fragments: of these faces.
    faces: as they were drawn.
    attributes: of each vertex.

  Returns:
    float32; 0 where there is no triangle.
  """
  shape = (*fragments.face.shape, attributes.shape[1])
  result = np.zeros(shape, np.float32)
  seen = fragments.face >= 0
  corners = faces[fragments.face[seen]]
  result[seen] = blend(corners, attributes, fragments.weights[seen])
  return result


def blend(
  corners: Int[np.ndarray, "N 3"],
  attributes: Float[np.ndarray, "V C"],
  weights: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N C"]:
  """Attributes at points of triangles, float32.

  Args:
    corners: vertex indices of each point's triangle.
    attributes: of each vertex.
    weights: barycentric.
  """
  values = attributes.astype(np.float32, copy=False)
  result = values[corners[:, 0]] * weights[:, :1]
  for k in (1, 2):
    result += values[corners[:, k]] * weights[:, k : k + 1]
  return result


def shrink(
  colors: Float[np.ndarray, "SH SW C"],
  covered: Bool[np.ndarray, "SH SW"],
  samples: int,
) -> Float[np.ndarray, "H W 4"]:
  """Averages blocks of samples x samples pixels into one with coverage.

  Args:
    colors: linear or sRGB, [samples H, samples W, 3].
    covered: which of these pixels show anything.
    samples: side of a block.

  Returns:
    Colours multiplied by alpha, and alpha: on black they are the picture.
  """
  height, width = (n // samples for n in covered.shape)
  result = np.zeros((height, width, 4), np.float32)
  for row in range(samples):
    for column in range(samples):
      seen = covered[row::samples, column::samples]
      part = colors[row::samples, column::samples]
      result[..., :3] += part * seen[..., None]
      result[..., 3] += seen
  return result / np.float32(samples**2)


def render(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  colors: Float[np.ndarray, "V 3"],
  viewmat: Float[np.ndarray, "4 4"],
  K: Float[np.ndarray, "3 3"],
  size: tuple[int, int],
  *,
  samples: int = 2,
) -> Float[np.ndarray, "H W 4"]:
  """Draws a mesh with a colour at each vertex, without any light.

  Args:
    vertices: in the world.
    faces: vertex indices.
    colors: of the vertices.
    viewmat: world to camera, OpenCV axes.
    K: intrinsics in pixels of the result.
    size: height and width of the result in pixels.
    samples: this many rows and columns of samples for each pixel.

  Returns:
    Colours multiplied by alpha, and alpha.
  """
  fine = (samples * size[0], samples * size[1])
  fragments = rasterize(vertices, faces, viewmat, finer(K, samples), fine)
  covered = fragments.face >= 0
  return shrink(interpolate(fragments, faces, colors), covered, samples)


def finer(
  K: Float[np.ndarray, "3 3"], samples: int
) -> Float[np.ndarray, "3 3"]:
  """Intrinsics of a picture with `samples` times as many pixels a side."""
  return np.diag([samples, samples, 1.0]) @ K


def _screen_triangles(
  vertices: np.ndarray,
  faces: np.ndarray,
  viewmat: np.ndarray,
  K: np.ndarray,
  size: tuple[int, int],
  cull: np.ndarray | bool,
) -> tuple[np.ndarray, np.ndarray]:
  """Projects; gives (u, v, 1/z) of the corners, [3, 3, N], and which they are.

  What cannot be seen is left out.
  """
  viewmat, K = np.asarray(viewmat, np.float64), np.asarray(K, np.float64)
  x, y, z = viewmat[:3, :3] @ vertices.T + viewmat[:3, 3:]
  far = z > NEAR
  inverse = 1 / np.where(far, z, 1.0)
  u = K[0, 0] * x * inverse + K[0, 2]
  v = K[1, 1] * y * inverse + K[1, 2]
  corner = np.ascontiguousarray(faces.T)
  area = _area(u[corner], v[corner])
  kept = far[corner[0]] & far[corner[1]] & far[corner[2]] & (area != 0)
  for values, end in ((u, size[1]), (v, size[0])):
    low, high = _extremes(values[corner])
    # Where no pixel centre lies between the extremes, nothing is drawn.
    kept &= (np.ceil(low - 0.5) < np.ceil(high - 0.5)) & (high > 0)
    kept &= low < end
  # Anticlockwise with y up is a negative area with v down.
  kept &= ~((area > 0) & cull)
  chosen = np.flatnonzero(kept)
  corner = corner[:, chosen]
  screen = np.stack([u[corner], v[corner], inverse[corner]])
  return screen, chosen.astype(np.int32)


def _area(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """Twice the signed area of triangles, corners first."""
  return (u[1] - u[0]) * (v[2] - v[0]) - (v[1] - v[0]) * (u[2] - u[0])


def _extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The least and the greatest of three rows."""
  a, b, c = values
  return (
    np.minimum(np.minimum(a, b), c),
    np.maximum(np.maximum(a, b), c),
  )


def _draw(
  key: np.ndarray, corners: np.ndarray, width: int, height: int
) -> None:
  """Puts (1/z, triangle) of the nearest fragment into `key`, as one integer.

  The bits of a positive float32 grow with it; below them stands the triangle,
  counted from the top so that the first one wins.
  """
  x, y, inverse = corners
  top, bottom = _extremes(y)
  first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
  end = np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64)
  triangle, row = _expand(first, end)
  start, stop = _spans(x, y, triangle, row + 0.5, width)
  span, column = _expand(start, stop)
  # 1/z is affine on the screen: its slopes, from Cramer's rule.
  area = _area(x, y)
  du = _area(inverse, y) / area
  dv = _area(x, inverse) / area
  at_left = (inverse[0] - dv * (y[0] - 0.5) - du * (x[0] - 0.5))[triangle]
  at_left += dv[triangle] * row
  owner = triangle[span]
  near = at_left[span] + du[owner] * column
  # Of slivers, the slopes are noise.
  low, high = _extremes(inverse)
  near = np.clip(near, low[owner], high[owner]).astype(np.float32)
  packed = near.view(np.int32).astype(np.int64) << 32
  packed |= 0xFFFFFFFF - owner
  np.maximum.at(key, row[span] * width + column, packed)


def _expand(
  first: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """All integers of the ranges [first, end), and the range of each."""
  count = np.maximum(end - first, 0)
  owner = np.repeat(np.arange(len(count)), count)
  before = np.cumsum(count) - count
  return owner, np.arange(len(owner)) + (first - before)[owner]


def _spans(
  x: np.ndarray,
  y: np.ndarray,
  triangle: np.ndarray,
  centre: np.ndarray,
  width: int,
) -> tuple[np.ndarray, np.ndarray]:
  """The columns [start, stop) of triangles in a row of pixel centres."""
  left = np.full(len(triangle), np.inf)
  right = np.full(len(triangle), -np.inf)
  for i, j in ((0, 1), (1, 2), (2, 0)):
    # From the upper end, so that both triangles at an edge reckon the same.
    swap = y[i] > y[j]
    x0, x1 = np.where(swap, x[j], x[i]), np.where(swap, x[i], x[j])
    y0, y1 = np.where(swap, y[j], y[i]), np.where(swap, y[i], y[j])
    slope = (x1 - x0) / np.where(y1 > y0, y1 - y0, 1.0)
    top = y0[triangle]
    crosses = (top <= centre) & (centre < y1[triangle])
    at = x0[triangle] + (centre - top) * slope[triangle]
    np.minimum(left, at, out=left, where=crosses)
    np.maximum(right, at, out=right, where=crosses)
  start = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
  stop = np.clip(np.ceil(right - 0.5), 0, width).astype(np.int64)
  return start, stop


def _flat_weights(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Barycentric weights of the origin on the screen, at least 0, [3, N]."""
  weights = np.stack(
    [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
  )
  weights *= np.sign(weights[0] + weights[1] + weights[2])
  weights = np.maximum(weights, 0)
  total = weights[0] + weights[1] + weights[2]
  # On an edge of a sliver all may round to 0.
  return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / 3)
