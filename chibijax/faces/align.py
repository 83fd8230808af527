"""Bringing a face to a canonical place, and back into its photo.

The canonical frame is the artist's portrait: a square in which eyes and mouth
lie where they lie, on average, in `chibijax.artist.draw_portrait` of a face
that looks straight ahead. A `margin` m shows the same face with m of the
portrait's side more on every side.

A transform is a [2, 3] similarity (no shear, no reflection) that takes points
of the photo to the frame. Points are (x, y) in pixels, pixel centres at +0.5.
These functions run on the host with Pillow, whatever the photo's size and with
nothing to compile; the differentiable counterparts are in
`chibijax.ops.resample`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8
from PIL import Image

# Left eye, right eye, nose tip, left and right mouth corner of the artist's
# mean frontal portrait (60 faces), in units of the frame's side.
PORTRAIT = np.array(
  [[0.404, 0.480], [0.596, 0.480], [0.5, 0.583], [0.426, 0.676], [0.574, 0.676]]
)
# The nose moves most when a head turns, and would pull the frame along.
FITTED = (0, 1, 3, 4)
# Left, top, right and bottom of the face itself, ears and hair left out, in
# units of the frame's side.
FACE_AREA = (0.29, 0.39, 0.71, 0.82)


def canonical_points(
  size: int = 256, margin: float = 0.0
) -> Float[np.ndarray, "5 2"]:
  """Where the five points lie in the canonical frame.

  Args:
    size: side of the frame in pixels.
    margin: what is added on every side, in units of the portrait's side, >
      -0.5; negative values cut into it.

  Returns:
    Left eye, right eye, nose, left and right mouth corner in pixels.

  Raises:
    ValueError: if nothing would be left of the frame.
  """
  if margin <= -0.5 or size < 1:
    raise ValueError(
      f"margin must be above -0.5 and size positive; got {margin} and {size}"
    )
  return (PORTRAIT + margin) * (size / (1 + 2 * margin))


def five_points(
  landmarks: Float[np.ndarray, "68 2"],
) -> Float[np.ndarray, "5 2"]:
  """The middles of the eyes, the nose tip and the mouth corners of 68 points.

  Args:
    landmarks: in iBUG order.

  Returns:
    Left eye, right eye, nose, left and right mouth corner.
  """
  eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
  return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def umeyama(
  source: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"]
) -> Float32[np.ndarray, "2 3"]:
  """The similarity that takes points closest to others, in least squares.

  Umeyama 1991, without reflections; in the plane it has a closed form: with
  points as complex numbers about their means, the factor is <source, target> /
  <source, source>.

  Args:
    source: at least two points that are not all the same.
    target: where each should go.

  Returns:
    The transform; the identity's rotation and scale when all source points are
    the same.
  """
  a, b = (
    np.asarray(points, np.float64) @ np.array([1, 1j])
    for points in (source, target)
  )
  centre_a, centre_b = a.mean(), b.mean()
  spread = np.sum(np.abs(a - centre_a) ** 2)
  factor = 1.0 + 0j
  if spread > 1e-12:
    factor = np.vdot(a - centre_a, b - centre_b) / spread
  shift = centre_b - factor * centre_a
  return np.array(
    [
      [factor.real, -factor.imag, shift.real],
      [factor.imag, factor.real, shift.imag],
    ],
    np.float32,
  )


def find_transform(
  points: Float[np.ndarray, "n 2"], size: int = 256, margin: float = 0.0
) -> Float32[np.ndarray, "2 3"]:
  """The similarity from a photo to the canonical frame.

  Args:
    points: the five points, or 68 landmarks, in pixels of the photo.
    size: side of the frame in pixels.
    margin: as for `canonical_points`.

  Returns:
    The transform, fitted to the eyes and the corners of the mouth.

  Raises:
    ValueError: if there are neither 5 nor 68 points.
  """
  if len(points) not in (5, 68):
    raise ValueError(f"points must be 5 or 68, got {len(points)}")
  if len(points) == 68:
    points = five_points(points)
  fitted = list(FITTED)
  return umeyama(points[fitted], canonical_points(size, margin)[fitted])


def invert(transform: Float[np.ndarray, "2 3"]) -> Float32[np.ndarray, "2 3"]:
  """The affine map that undoes another.

  Args:
    transform: a map that can be undone.

  Returns:
    Its inverse.
  """
  linear = np.linalg.inv(transform[:, :2].astype(np.float64))
  shift = -linear @ transform[:, 2]
  return np.concatenate([linear, shift[:, None]], 1).astype(np.float32)


def move(
  transform: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "*n 2"]
) -> Float32[np.ndarray, "*n 2"]:
  """Takes points through an affine map.

  Args:
    transform: the map.
    points: (x, y).

  Returns:
    Where they go.
  """
  moved = points @ transform[:, :2].T.astype(np.float64) + transform[:, 2]
  return moved.astype(np.float32)


def warp(
  photo: UInt8[np.ndarray, "h w *c"],
  transform: Float[np.ndarray, "2 3"],
  shape: tuple[int, int],
  *,
  border: Literal["edge", "reflect"] = "edge",
) -> UInt8[np.ndarray, "h2 w2 *c"]:
  """Resamples a photo by an affine map: bicubic, antialiased when it shrinks.

  Args:
    photo: grey [H, W], RGB or RGBA bytes of any size.
    transform: takes points of the photo to points of the result.
    shape: height and width of the result.
    border: what lies outside the photo: its nearest pixel, or its mirror image.

  Returns:
    The resampled picture.
  """
  height, width = shape
  inverse = invert(transform)
  reached = move(inverse, _corners(height, width))
  scale = min(float(np.sqrt(abs(np.linalg.det(transform[:, :2])))), 1.0)
  # Bicubic looks two pixels around; so many of the shrunk picture are needed.
  extra = int(np.ceil(3 / scale))
  x0, y0 = np.floor(reached.min(0)).astype(int) - extra
  x1, y1 = np.ceil(reached.max(0)).astype(int) + extra
  rows = _inside(np.arange(y0, y1), photo.shape[0], border)
  columns = _inside(np.arange(x0, x1), photo.shape[1], border)
  region = Image.fromarray(np.ascontiguousarray(photo[rows][:, columns]))
  full = np.array(region.size)
  if scale < 1:
    small = [max(round(n * scale), 1) for n in region.size]
    region = region.resize(small, Image.Resampling.BICUBIC, reducing_gap=3.0)
  # From the result to the photo, to the region, to the shrunk region.
  step = np.array(region.size) / full
  linear = inverse[:, :2] * step[:, None]
  shift = (inverse[:, 2] - [x0, y0]) * step
  coefficients = np.concatenate([linear, shift[:, None]], 1).ravel().tolist()
  warped = region.transform(
    (width, height),
    Image.Transform.AFFINE,
    coefficients,
    Image.Resampling.BICUBIC,
  )
  return np.asarray(warped)


def align(
  photo: UInt8[np.ndarray, "h w *c"],
  points: Float[np.ndarray, "n 2"],
  size: int = 256,
  margin: float = 0.0,
) -> tuple[UInt8[np.ndarray, "size size *c"], Float32[np.ndarray, "2 3"]]:
  """Brings a face to the canonical frame.

  Args:
    photo: the whole photo.
    points: the five points, or 68 landmarks, in pixels of the photo.
    size: side of the frame in pixels.
    margin: as for `canonical_points`.

  Returns:
    The aligned picture and the transform from the photo to it.

  Raises:
    ValueError: if there are neither 5 nor 68 points.
  """
  transform = find_transform(points, size, margin)
  return warp(photo, transform, (size, size)), transform


def paste(
  photo: UInt8[np.ndarray, "h w 3"],
  aligned: UInt8[np.ndarray, "h2 w2 3"],
  transform: Float[np.ndarray, "2 3"],
  *,
  alpha: Float[np.ndarray, "h2 w2"] | None = None,
  feather: float = 0.0,
) -> UInt8[np.ndarray, "h w 3"]:
  """Puts an aligned picture back into its photo.

  Args:
    photo: the whole photo; it is not changed.
    aligned: the picture in the canonical frame.
    transform: from the photo to the frame.
    alpha: how much of `aligned` is used, 0..1; None is all of it.
    feather: width of the fade at the frame's border, in units of its side, 0
      to 0.5.

  Returns:
    A photo of the same size.
  """
  height, width = aligned.shape[:2]
  weight = np.ones((height, width)) if alpha is None else np.asarray(alpha)
  weight = weight * _fade(height, width, feather)
  inverse = invert(transform)
  reached = move(inverse, _corners(height, width))
  limit = np.array(photo.shape[1::-1])
  x0, y0 = np.clip(np.floor(reached.min(0)).astype(int), 0, limit)
  x1, y1 = np.clip(np.ceil(reached.max(0)).astype(int), 0, limit)
  result = photo.copy()
  if x0 >= x1 or y0 >= y1:
    return result
  shifted = inverse - np.array([[0, 0, x0], [0, 0, y0]], np.float32)
  corner, shape = (int(x0), int(y0)), (int(y1 - y0), int(x1 - x0))
  over = warp(aligned, shifted, shape).astype(np.float32)
  share = warp(np.uint8(np.round(weight * 255)), shifted, shape)
  share = share * _covered(transform, corner, shape, (width, height)) / 255.0
  under = result[y0:y1, x0:x1].astype(np.float32)
  mixed = under + (over - under) * share[..., None]
  result[y0:y1, x0:x1] = np.round(mixed)
  return result


def jitter(
  key: jax.Array,
  transform: Float[Array, "2 3"],
  size: int,
  *,
  shift: float = 0.03,
  scale: float = 0.08,
  angle: float = 8.0,
) -> Float[Array, "2 3"]:
  """Moves a canonical frame by a random similarity, for training.

  Args:
    key: JAX random key.
    transform: from the photo to the frame.
    size: side of the frame in pixels.
    shift: the furthest it moves along each axis, in units of the side.
    scale: the largest change of scale, as a fraction.
    angle: the largest turn, degrees.

  Returns:
    A transform from the photo to the moved frame; uniform in each quantity
    (log-uniform in the scale), about the middle of the frame.
  """
  low_high = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
  zoom = jnp.exp(low_high[0] * jnp.log1p(scale))
  turn = jnp.deg2rad(low_high[1] * angle)
  cos, sin = zoom * jnp.cos(turn), zoom * jnp.sin(turn)
  rotation = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
  middle = jnp.full(2, size / 2)
  moved = jnp.dot(rotation, transform[:, 2] - middle, precision="highest")
  offset = middle + moved + low_high[2:] * (shift * size)
  linear = jnp.dot(rotation, transform[:, :2], precision="highest")
  return jnp.concatenate([linear, offset[:, None]], 1)


def _corners(height: int, width: int) -> Float[np.ndarray, "4 2"]:
  return np.array([[0, 0], [width, 0], [0, height], [width, height]], float)


def _inside(index: np.ndarray, size: int, border: str) -> np.ndarray:
  """Indices beyond a row of pixels as indices into it."""
  if border == "reflect":
    turn = index % (2 * size)
    return np.minimum(turn, 2 * size - 1 - turn)
  return np.clip(index, 0, size - 1)


def _fade(height: int, width: int, feather: float) -> np.ndarray:
  """1 inside, falling smoothly to 0 within `feather` of the border."""
  if feather <= 0:
    return np.ones((height, width))
  across, down = (
    np.clip(
      np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (feather * n),
      *(0, 1),
    )
    for n in (width, height)
  )
  nearest = np.minimum(down[:, None], across[None])
  return nearest * nearest * (3 - 2 * nearest)


def _covered(
  transform: Float[np.ndarray, "2 3"],
  corner: tuple[int, int],
  shape: tuple[int, int],
  size: tuple[int, int],
) -> Float[np.ndarray, "h w"]:
  """How much of each pixel of a region the frame covers, about.

  One inside, zero outside, linear over a pixel at the frame's border, so that
  what `warp` repeats beyond the border is not pasted.
  """
  rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
  x = np.add.outer(transform[0, 1] * rows, transform[0, 0] * columns)
  y = np.add.outer(transform[1, 1] * rows, transform[1, 0] * columns)
  start = move(transform, np.array(corner, np.float64))
  scale = np.sqrt(abs(np.linalg.det(transform[:, :2])))
  share = np.ones(shape)
  for value, offset, limit in ((x, start[0], size[0]), (y, start[1], size[1])):
    inside = np.minimum(value + offset, limit - value - offset)
    share = share * np.clip(inside / scale + 0.5, 0, 1)
  return share
