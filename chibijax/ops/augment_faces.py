"""Augmentation of drawn portraits, so that networks also see photographs.

What a step of training does with labelled portraits: it brings each face to a
frame as a detector would, with the detector's errors, bends its shape, and
changes everything about the picture that a label does not depend on: what is
behind, colours of hair, skin and clothes, light, texture, focus, compression,
and things in front.

All functions treat one example; use `jax.vmap` with a key for each, so that a
batch may be split over devices without changing a value. Pictures are float
[H, W, C] in [0, 1]; points are (x, y), pixel centres at +0.5; labels are
0 background, 1 hair, 2 skin, 3 the rest of the person.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from chibijax.ops import image as image_ops
from chibijax.ops import resample

Picture = Float[Array, "h w 3"]
Points = Float[Array, "n 2"]

LABELS = ("background", "hair", "skin", "rest")
# Which of the 68 points a mirror image shows at each place.
MIRRORED = np.array(
  [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
  ]
)
# Waves of a random bend: their number, and the least and largest of their
# wave numbers in radians per side of the frame.
_WAVES, _WAVE_NUMBERS = 6, (3.0, 11.0)
# Steps to solve for where a bend takes a point; each leaves half at most.
_SOLVE = 16
# Windows around eyes, nose, mouth and face, in distances between the eyes.
_RADII = (0.30, 0.30, 0.32, 0.42, 1.0)
# Pixels between the nodes of a map: what linear interpolation loses of the
# shortest wave is 0.03 of its height.
_SPACING = 4


class View(NamedTuple):
  """A map from the portrait to a frame, and back.

  Attributes:
    forward: [3, 3] homography from the portrait to the frame before bending.
    waves: wave vectors of the bend in radians per pixel of the frame.
    phases: their phases.
    pushes: their displacements in pixels of the frame.
    centers: middles of eyes, nose, mouth and face in pixels of the frame.
    radii: standard deviations of the Gaussian windows around them, pixels.
    growths: by which share each window's middle shrinks on either axis.
    shifts: how far each window's middle moves, in pixels.
  """

  forward: Float[Array, "3 3"]
  waves: Float[Array, "k 2"]
  phases: Float[Array, " k"]
  pushes: Float[Array, "k 2"]
  centers: Float[Array, "m 2"]
  radii: Float[Array, " m"]
  growths: Float[Array, "m 2"]
  shifts: Float[Array, "m 2"]


def align(points: Points, target: Points) -> Float[Array, "3 3"]:
  """The similarity that takes points closest to others, as a homography.

  Args:
    points: at least two points.
    target: where each should go.

  Returns:
    The matrix; see `chibijax.faces.align.umeyama`, of which this is the
    differentiable form.
  """
  a, b = (x - x.mean(0, keepdims=True) for x in (points, target))
  spread = jnp.maximum(jnp.sum(a * a), 1e-12)
  cos = jnp.sum(a * b) / spread
  sin = jnp.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / spread
  linear = jnp.array([[cos, -sin], [sin, cos]])
  shift = target.mean(0) - linear @ points.mean(0)
  top = jnp.concatenate([linear, shift[:, None]], 1)
  return jnp.concatenate([top, jnp.array([[0.0, 0.0, 1.0]])])


def draw_view(
  key: Key[Array, ""],
  aligned: Float[Array, "3 3"],
  points: Float[Array, "68 2"],
  size: int,
  unit: float,
  *,
  shift: float = 0.0,
  scale: float = 0.0,
  turn: float = 0.0,
  stretch: float = 0.0,
  perspective: float = 0.0,
  bend: float = 0.0,
  features: float = 0.0,
  parallax: float = 0.0,
) -> View:
  """Draws how a face is seen.

  Args:
    key: one key.
    aligned: takes the portrait to the frame exactly.
    points: the portrait's landmarks in its pixels.
    size: side of the frame in pixels.
    unit: distance between the eyes in pixels of the frame.
    shift: standard deviation of each coordinate, in units of `unit`.
    scale: standard deviation of the size's logarithm.
    turn: standard deviation of the angle in degrees.
    stretch: standard deviation of the logarithm of width over height, and of
      the shear.
    perspective: standard deviation of the change of size from one side of
      the frame to the other, left to right and top to bottom.
    bend: standard deviation of a smooth displacement, in units of `unit`.
    features: standard deviation of the logarithm of the width and height of
      eyes, nose and mouth.
    parallax: standard deviation of how far the middle of the face moves
      against its outline, in units of `unit`, as when a head turns.

  Returns:
    The view.
  """
  keys = jax.random.split(key, 5)
  n = jax.random.truncated_normal(keys[0], -2.5, 2.5, (8,))
  angle = jnp.deg2rad(turn) * n[2]
  grow = jnp.exp(scale * n[3])
  wide = jnp.exp(stretch * n[4] / 2)
  cos, sin = grow * jnp.cos(angle), grow * jnp.sin(angle)
  linear = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array(
    [[wide, stretch * n[5] / 2], [0.0, 1 / wide]]
  )
  middle = size / 2
  center = jnp.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1.0]])
  moved = jnp.concatenate([linear, shift * unit * n[:2, None]], 1)
  tilt = jnp.append(perspective * n[6:] / size, 1.0)
  change = jnp.concatenate([moved, tilt[None]])
  forward = jnp.linalg.inv(center) @ change @ center @ aligned
  angles = jax.random.uniform(keys[1], (_WAVES,), maxval=2 * jnp.pi)
  low, high = _WAVE_NUMBERS
  numbers = jax.random.uniform(keys[2], (_WAVES,), minval=low, maxval=high)
  directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)
  draws = jax.random.normal(keys[3], (3, _WAVES))
  # Longer waves push further, so that no wave is steep: no fold.
  push = bend * unit * (2 / _WAVES) ** 0.5 * low / numbers * 1.5
  draws = jnp.clip(draws, -2, 2)
  m = jnp.clip(jax.random.normal(keys[4], (5, 2)), -2, 2)
  both = m[0] + 0.25 * m[4]
  # One factor for both eyes. Beyond 0.5 a window would begin to fold.
  grow = jnp.stack([m[0], both, m[1], m[2], jnp.zeros(2)])
  still = jnp.zeros((4, 2))
  spots = ((36, 42), (42, 48), (30, 36), (48, 68), (27, 36))
  centers = jnp.stack([points[a:b].mean(0) for a, b in spots])
  return View(
    forward,
    directions * (numbers / size)[:, None],
    draws[2] * 10,
    push[:, None] * draws[:2].T,
    _project(forward, centers),
    unit * jnp.array(_RADII),
    jnp.clip(jnp.expm1(features * grow), -0.5, 0.5),
    unit * parallax * jnp.concatenate([still, m[3:4] * jnp.array([[1, 0.5]])]),
  )


def _bend(view: View, points: Float[Array, "*s 2"]) -> Float[Array, "*s 2"]:
  """The displacement at points of the frame."""
  shape = (1,) * (points.ndim - 1) + (-1,)
  phase = points @ view.waves.T + view.phases.reshape(shape)
  found = jnp.sin(phase) @ view.pushes
  lead = (1,) * (points.ndim - 1)
  for k in range(len(_RADII)):
    away = points - view.centers[k].reshape(*lead, 2)
    square = jnp.square(away / view.radii[k]).sum(-1, keepdims=True)
    move = away * view.growths[k].reshape(*lead, 2)
    move = move + view.shifts[k].reshape(*lead, 2)
    found = found + jnp.exp(-0.5 * square) * move
  return found


def _project(matrix: Float[Array, "3 3"], points: Array) -> Array:
  ends = (1,) * (points.ndim - 1)
  found = points @ matrix[:, :2].T + matrix[:, 2].reshape(*ends, 3)
  return found[..., :2] / found[..., 2:]


def see_points(view: View, points: Points) -> Points:
  """Where points of the portrait are seen.

  Args:
    view: the view.
    points: in pixels of the portrait.

  Returns:
    Points in pixels of the frame, exact to some hundredths of one.
  """
  flat = _project(view.forward, points)
  found = flat
  for _ in range(_SOLVE):
    found = flat - _bend(view, found)
  return found


def see(
  view: View,
  planes: Float[Array, "h w c"],
  height: int,
  width: int,
  corner: tuple[int, int] = (0, 0),
) -> Float[Array, "h2 w2 c"]:
  """What is seen of a picture; its border goes on for ever.

  Args:
    view: the view.
    planes: the portrait, or anything of its size.
    height: of the result in pixels.
    width: of the result in pixels.
    corner: where its left top pixel lies in the frame, (x, y).

  Returns:
    The window of the frame.
  """
  # The map is smooth: exact at nodes, linear between them.
  rows, columns = (max(n // _SPACING, 2) + 1 for n in (height, width))
  x = jnp.linspace(0, width, columns) + corner[0]
  y = jnp.linspace(0, height, rows) + corner[1]
  nodes = jnp.stack(jnp.meshgrid(x, y), -1)
  back = jnp.linalg.inv(view.forward)
  nodes = _project(back, nodes + _bend(view, nodes))
  at = jnp.einsum(
    "hi,ijc,wj->hwc",
    _hats(height, rows),
    nodes,
    _hats(width, columns),
    precision="highest",
  )
  return resample.bilinear(planes, at)


def fog(
  key: Key[Array, ""], height: int, width: int, cells: int, channels: int
) -> Float[Array, "h w c"]:
  """Smooth random fields of mean 0 and about unit variance.

  Args:
    key: one key.
    height: of the result.
    width: of the result.
    cells: nodes on each axis, between which values are linear.
    channels: number of fields.

  Returns:
    The fields.
  """
  nodes = jax.random.normal(key, (cells, cells, channels)) * 1.4
  rows, columns = _hats(height, cells), _hats(width, cells)
  return jnp.einsum("hi,ijc,wj->hwc", rows, nodes, columns)


def _hats(size: int, cells: int) -> np.ndarray:
  """Linear interpolation from `cells` nodes to pixel centres."""
  x = (np.arange(size) + 0.5) / size * (cells - 1)
  weights = np.maximum(1 - np.abs(x[:, None] - np.arange(cells)), 0)
  return weights.astype(np.float32)


def _texture(key: Key[Array, ""], height: int, width: int) -> Picture:
  """A picture of nothing: coloured fields of several sizes."""
  keys = jax.random.split(key, 6)
  base = jax.random.uniform(keys[0], (1, 1, 3))
  sizes = jnp.exp(jax.random.normal(keys[1], (4,)) - 2.5)
  found = base
  for k, cells in enumerate((3, 7, 17, 40)):
    grey = fog(keys[2 + k], height, width, cells, 4)
    found = found + sizes[k] * (grey[..., 3:] + 0.5 * grey[..., :3])
  return jnp.clip(found, 0, 1)


def change_parts(
  key: Key[Array, ""],
  picture: Picture,
  label: Float[Array, "h w 4"],
  other: Picture,
) -> Picture:
  """Changes what is behind, and the colours of the parts apart from each other.

  Args:
    key: one key.
    picture: what is seen.
    label: shares of `LABELS`, which add up to 1.
    other: another picture, which may come behind.

  Returns:
    The changed picture.
  """
  height, width, _ = picture.shape
  keys = jax.random.split(key, 5)
  choice = jax.random.uniform(keys[0])
  texture = _texture(keys[1], height, width)
  behind = jnp.where(
    choice < 0.45, picture, jnp.where(choice < 0.8, texture, other)
  )
  gain = 0.22 * jax.random.normal(keys[2], (4, 1))
  gain = gain + 0.10 * jax.random.normal(keys[3], (4, 3))
  gain = gain * (jax.random.uniform(keys[4]) < 0.7)
  # Sums of few terms: XLA:CPU is slow on matrix products this narrow.
  gains = sum(label[..., k : k + 1] * gain[None, k : k + 1] for k in range(4))
  colored = picture * jnp.exp(gains)
  return colored + label[..., :1] * (behind - colored)


def occlude(
  key: Key[Array, ""], picture: Picture, other: Picture
) -> tuple[Picture, Float[Array, "h w 1"]]:
  """Puts up to two things in front: ellipses and bars of any colour.

  Args:
    key: one key.
    picture: what is seen.
    other: another picture, which some of the things show.

  Returns:
    The picture and the things' shares of its pixels.
  """
  height, width, _ = picture.shape
  grid = jnp.stack(
    jnp.meshgrid(jnp.linspace(0, 1, width), jnp.linspace(0, 1, height)), -1
  )
  covered = jnp.zeros((height, width, 1))
  for each in jax.random.split(key, 2):
    u = jax.random.uniform(each, (10,))
    angle = u[2] * jnp.pi
    axis = jnp.array([jnp.cos(angle), jnp.sin(angle)])
    across = jnp.stack([axis, jnp.array([-axis[1], axis[0]])])
    radii = 0.03 + 0.20 * u[3:5] ** 2
    x, y = grid[..., 0] - u[0], grid[..., 1] - u[1]
    at = [jnp.abs(x * a[0] + y * a[1]) / r for a, r in zip(across, radii)]
    round_ = jnp.sqrt(at[0] ** 2 + at[1] ** 2 + 1e-9)
    reach = jnp.where(u[5] < 0.5, round_, jnp.maximum(*at))
    share = jnp.clip((1 - reach) * 8, 0, 1)[..., None] * (u[6] < 0.22)
    color = jnp.where(u[5] < 0.3, other, u[7:].reshape(1, 1, 3))
    picture = picture + share * (color - picture)
    covered = jnp.maximum(covered, share)
  return picture, covered


def relight(key: Key[Array, ""], picture: Picture) -> Picture:
  """Light that is uneven, tones, white balance, colour or none of it.

  Args:
    key: one key.
    picture: what is seen.

  Returns:
    The changed picture.
  """
  height, width, _ = picture.shape
  keys = jax.random.split(key, 8)
  u = jax.random.uniform(keys[0], (6,))
  # Some photographs are plain, some are odd in every way.
  n = jax.random.normal(keys[1], (8,)) * (0.2 + 0.8 * u[4])
  light = fog(keys[2], height, width, 3, 1) * 0.35 * u[0]
  grain = fog(keys[3], height, width, 24, 1) * 0.10 * u[1] ** 2
  fine = fog(keys[4], height, width, 60, 1) * 0.10 * u[2] ** 2
  picture = picture * jnp.exp(light + grain + fine)
  gamma = jnp.exp(0.30 * n[0] + 0.06 * n[1:4]).reshape(1, 1, 3)
  picture = jnp.clip(picture, 1e-4, 1) ** gamma
  grey = image_ops.luminance(picture)[..., None]
  color = jnp.where(u[3] < 0.12, 0.0, jnp.exp(0.4 * n[4]))
  picture = grey + color * (picture - grey)
  middle = picture.mean()
  contrast = jnp.exp(0.25 * n[5])
  picture = middle + contrast * (picture - middle) + 0.08 * n[6]
  tint = 0.05 * u[4] * jax.random.normal(keys[5], (1, 1, 3))
  # The two balances of a photograph's colour: blue to yellow is the wider.
  warm = jnp.array([0.06, 0.0, -0.06]).reshape(1, 1, 3) * n[7]
  picture = picture * (1 + tint + warm)
  mix = jnp.eye(3) + 0.08 * u[4] * jax.random.normal(keys[6], (3, 3))
  mixed = sum(picture[..., k : k + 1] * mix[None, k : k + 1] for k in range(3))
  return jnp.clip(mixed, 0, 1)


def _filter(picture: Picture, down: Array, across: Array) -> Picture:
  """Filters columns and rows by matrices."""
  return jnp.einsum("hi,ijc,wj->hwc", down, picture, across)


def _gaussian(size: int, width: Array) -> Float[Array, "size size"]:
  """The matrix that blurs a row by a standard deviation in pixels."""
  at = np.arange(size)
  square = np.square(at[:, None] - at[None]).astype(np.float32)
  weights = jnp.exp(-0.5 * square / width**2)
  return weights / weights.sum(1, keepdims=True)


def photograph(key: Key[Array, ""], picture: Picture) -> Picture:
  """Focus and motion, sharpening, noise and the marks of compression.

  Args:
    key: one key.
    picture: what is seen; both sides multiples of 8.

  Returns:
    The changed picture, in [0, 1].
  """
  keys = jax.random.split(key, 3)
  u = jax.random.uniform(keys[0], (8,))
  widths = 0.25 + 1.5 * u[:2] ** 3
  height, width, _ = picture.shape
  focus = _gaussian(height, widths[0]), _gaussian(width, widths[1])
  blurred = _filter(picture, *focus)
  # Sharpening is the difference to a blurred picture, added once more.
  smooth = _filter(
    blurred, *(_gaussian(n, jnp.float32(0.8)) for n in (height, width))
  )
  sharp = jnp.where(u[2] < 0.6, 1.6 * u[3] * u[3], 0.0)
  picture = jnp.clip(blurred + sharp * (blurred - smooth), 0, 1)
  noise = jax.random.normal(keys[1], picture.shape)
  grey = u[7] * noise[..., :1] + (1 - u[7]) * noise
  picture = picture + 0.06 * u[4] ** 4 * grey
  step = jnp.where(u[5] < 0.4, 0.01 + 0.15 * u[6] ** 2, 0.002)
  return jnp.clip(_compress(picture, step), 0, 1)


def _compress(picture: Picture, step: Float[Array, ""]) -> Picture:
  """Rounds the cosine coefficients of blocks of 8, the finer the coarser."""
  height, width, _ = picture.shape
  k = np.arange(8)
  cosines = np.cos(np.pi / 8 * (k[None] + 0.5) * k[:, None]) / 2
  cosines[0] /= np.sqrt(2)
  cosines = cosines.astype(np.float32)
  coarse = (1 + (k[:, None] + k[None]) / 3).astype(np.float32)
  blocks = picture.reshape(height // 8, 8, width // 8, 8, 3)
  found = jnp.einsum("ai,hiwjc,bj->hwcab", cosines, blocks, cosines)
  steps = (step * coarse).reshape(1, 1, 1, 8, 8)
  found = jnp.round(found / steps) * steps
  blocks = jnp.einsum("ai,hwcab,bj->hiwjc", cosines, found, cosines)
  return blocks.reshape(height, width, 3)


def one_hot(label: UInt8[Array, "h w"]) -> Float[Array, "h w 4"]:
  """Shares of `LABELS` from numbers."""
  return (label[..., None] == jnp.arange(4).reshape(1, 1, 4)).astype(
    jnp.float32
  )
