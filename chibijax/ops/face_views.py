"""How a face is seen in a frame: its place there, bent and turned at random.

What a step of training does with labelled portraits: it brings each face to a
frame as a detector would, with the detector's errors, and bends its shape.

All functions treat one example; use `jax.vmap` with a key for each, so that a
batch may be split over devices without changing a value. Points are (x, y),
pixel centres at +0.5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chibijax.ops import resample

Points = Float[Array, "n 2"]

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
    resample.node_weights(height, rows),
    nodes,
    resample.node_weights(width, columns),
    precision="highest",
  )
  return resample.bilinear(planes, at)
