"""Bringing a face to a canonical place, and back into its photo.

The canonical frame is the artist's portrait: a square in which eyes and mouth
lie where they lie, on average, in `chibijax.artist.draw_portrait` of a face
that looks straight ahead. A `margin` m shows the same face with m of the
portrait's side more on every side.

A transform is a [2, 3] similarity (no shear, no reflection) that takes points
of the photo to the frame. Points are (x, y) in pixels, pixel centres at +0.5.
The maps themselves are `chibijax.ops.affine`'s; pictures that shall not show
where they end are put back by `chibijax.post.compositing`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from chibijax.ops import affine
from chibijax.ops.affine import invert, move, warp

__all__ = [
  "FACE_AREA", "FITTED", "PORTRAIT", "align", "canonical_points",
  "find_transform", "five_points", "invert", "jitter", "move", "paste",
  "umeyama", "warp",
]  # fmt: skip

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
# Rows that are pasted at a time.
_BAND = 128


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
  result = photo.copy()
  rows, columns = affine.window(transform, (height, width), photo.shape[:2])
  if columns.start == columns.stop:
    return result
  share = np.uint8(np.round(weight * 255))
  # In bands that fit a cache: a face may fill twenty megapixels.
  for y in range(rows.start, rows.stop, _BAND):
    band = slice(y, min(y + _BAND, rows.stop)), columns
    under = result[band].astype(np.float32)
    corner, shape = (columns.start, y), under.shape[:2]
    shifted = affine.moved(invert(transform), *corner)
    over = warp(aligned, shifted, shape).astype(np.float32)
    part = warp(share, shifted, shape) / np.float32(255)
    part *= affine.covered(transform, corner, shape, (width, height))
    result[band] = np.round(under + (over - under) * part[..., None])
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
