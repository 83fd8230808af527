"""Smooth warps that cannot fold: flows of locally affine velocity fields.

A warp is the flow of a velocity field for some time: every point drifts along
the field, and as paths of a smooth field never meet, the map is a
diffeomorphism, with the flow of the negative field as its inverse. The field is
a sum of affine fields, each faded out by a window (the polyaffine framework of
Arsigny et al. 2009, "A fast and log-Euclidean polyaffine framework for locally
linear registration", without its normalisation of the windows): inside a
window of its own a generator `diag(a, b)` acting for one unit of time scales by
exp(a) and exp(b). Windows may ride on points that the flow itself moves
(`ride`), so that a feature stays in the middle of its window.

Conventions: points are (x, y) in pixels, the origin at the picture's top-left
corner, pixel centres at +0.5, y down. The picture's frame maps to itself: the
velocity across its border is zero, so nothing outside is ever needed. Forward
maps move landmarks, backward maps (where each output pixel comes from) move
pictures. Pictures are float [H, W, C]; batches go through `jax.vmap`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.ops import resample

Points = Float[Array, "n 2"]
Scalar = float | int | Float[Array, ""]

# Nodes per side of the coarse map at least, and pixels between them at most.
_NODES = 128
_SPACING = 4


class Regions(NamedTuple):
  """Affine velocity fields and where they act.

  A leading axis of steps makes it a schedule: one set for each step of a flow.

  Attributes:
    center: middle of the window and fixed point of `matrix`, pixels.
    axes: rows are the window's two unit axes.
    radii: half axes of the window in pixels; the window is 1 in the middle,
      0.94 at half a radius, 0.37 at one and 0.003 at one and a half.
    matrix: velocity per pixel of distance from the centre, 1 / time.
    shift: velocity of the centre itself, pixels / time.
  """

  center: Float[Array, "*steps r 2"]
  axes: Float[Array, "*steps r 2 2"]
  radii: Float[Array, "*steps r 2"]
  matrix: Float[Array, "*steps r 2 2"]
  shift: Float[Array, "*steps r 2"]


class Frame(NamedTuple):
  """The rectangle that maps to itself.

  Attributes:
    width, height: size of the picture in pixels.
    margin: how far from the border the field is slowed down, pixels.
  """

  width: Scalar
  height: Scalar
  margin: Scalar


def window(points: Points, regions: Regions) -> Float[Array, "n r"]:
  """Weights of the regions at points, exp(-rho^4), in [0, 1]."""
  offset = points[:, None] - regions.center[None]
  each = jax.vmap(_window, in_axes=(1, 1, 0, 0), out_axes=1)
  return each(offset[..., 0], offset[..., 1], regions.axes, regions.radii)


def velocity(points: Points, regions: Regions, frame: Frame) -> Points:
  """The field at points: windowed affine fields, slowed down at the border.

  Args:
    points: positions in pixels.
    regions: without a steps axis.
    frame: its border is never crossed.

  Returns:
    Velocities in pixels per unit of time.
  """
  x, y = points[:, 0], points[:, 1]

  # Region after region over all points: one array of points x regions is eight
  # times slower on XLA:CPU, and unrolling compiles three times as long.
  def add(total: tuple[Array, Array], region: Regions) -> tuple:
    dx, dy = x - region.center[0], y - region.center[1]
    weight = _window(dx, dy, region.axes, region.radii)
    linear = [
      dx * region.matrix[i, 0] + dy * region.matrix[i, 1] + region.shift[i]
      for i in (0, 1)
    ]
    return tuple(t + weight * v for t, v in zip(total, linear)), None

  total, _ = jax.lax.scan(add, (0 * x, 0 * y), regions)
  # Only motion across a border is stopped; along it points may slip.
  return jnp.stack(
    [
      total[0] * _ease(x, frame.width, frame.margin),
      total[1] * _ease(y, frame.height, frame.margin),
    ],
    -1,
  )


def _window(
  dx: Float[Array, "*shape"],
  dy: Float[Array, "*shape"],
  axes: Float[Array, "2 2"],
  radii: Float[Array, "2"],
) -> Float[Array, "*shape"]:
  axes = axes / radii[:, None]
  along = dx * axes[0, 0] + dy * axes[0, 1]
  across = dx * axes[1, 0] + dy * axes[1, 1]
  square = along * along + across * across
  return jnp.exp(-square * square)


def _ease(x: Float[Array, " n"], size: Scalar, margin: Scalar) -> Array:
  depth = jnp.clip(jnp.minimum(x, size - x) / margin, 0, 1)
  return depth * depth * (3 - 2 * depth)


def _step(points: Points, regions: Regions, frame: Frame, time: Scalar):
  """One midpoint step; with negative time its inverse up to O(time^3)."""
  half = points + 0.5 * time * velocity(points, regions, frame)
  return points + time * velocity(half, regions, frame)


def ride(
  points: Points,
  regions_of: Callable[[Points], Regions],
  frame: Frame,
  *,
  time: Scalar,
  steps: int = 8,
) -> tuple[Points, Regions]:
  """Moves points by a field that is rebuilt around them at every step.

  Args:
    points: landmarks in pixels.
    regions_of: the field for landmarks at given positions.
    frame: its border is never crossed.
    time: duration; 0 moves nothing.
    steps: number of midpoint steps.

  Returns:
    The moved points, and the schedule of regions (leading axis `steps`) that
    `flow` and `backward_map` take.
  """

  def body(points: Points, _: None) -> tuple[Points, Regions]:
    regions = regions_of(points)
    return _step(points, regions, frame, time / steps), regions

  return jax.lax.scan(body, points, None, length=steps)


def flow(
  points: Points,
  schedule: Regions,
  frame: Frame,
  *,
  time: Scalar,
  inverse: bool = False,
) -> Points:
  """Moves points along a schedule of fields.

  Args:
    points: positions in pixels.
    schedule: regions with a leading axis of steps.
    frame: its border is never crossed.
    time: duration of the whole schedule.
    inverse: go back from where `flow` arrives.

  Returns:
    The moved points; `inverse` undoes the flow up to the cube of a step.
  """
  step = time / schedule.center.shape[0]
  if inverse:
    step = -step

  def body(points: Points, regions: Regions) -> tuple[Points, None]:
    return _step(points, regions, frame, step), None

  return jax.lax.scan(body, points, schedule, reverse=inverse)[0]


def backward_map(
  height: int,
  width: int,
  schedule: Regions,
  frame: Frame,
  *,
  time: Scalar,
) -> Float[Array, "height width 2"]:
  """Where each pixel of a warped picture comes from.

  The flow is integrated on a coarse lattice and interpolated by cubics, which
  is exact to about a hundredth of a pixel while windows span several nodes.

  Args:
    height: rows of the picture.
    width: its columns.
    schedule: regions with a leading axis of steps.
    frame: the picture's frame.
    time: duration of the forward flow.

  Returns:
    Source positions (x, y) in pixels for every pixel centre.
  """
  rows, columns = (
    max(-(-side // _SPACING), min(side, _NODES)) for side in (height, width)
  )
  at = [
    np.linspace(0, side, count + 1, dtype=np.float32)
    for side, count in ((height, rows), (width, columns))
  ]
  y, x = np.meshgrid(*at, indexing="ij")
  nodes = jnp.asarray(np.stack([x, y], -1).reshape(-1, 2))
  moved = flow(nodes, schedule, frame, time=time, inverse=True)
  coarse = (moved - nodes).reshape(rows + 1, columns + 1, 2)
  tall, wide = _cubic(height, rows), _cubic(width, columns)
  # Displacements are small numbers: default matrix precision would do on
  # accelerators too, but identity must stay exact, which zeros are.
  planes = [
    jnp.matmul(
      jnp.matmul(tall, coarse[..., k], precision="highest"),
      wide.T,
      precision="highest",
    )
    for k in (0, 1)
  ]
  return jnp.stack(planes, -1) + pixel_centers(height, width)


def pixel_centers(height: int, width: int) -> Float[Array, "height width 2"]:
  """The identity map: (x, y) of every pixel's centre."""
  y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
  return jnp.asarray(np.stack([x, y], -1))


def _cubic(size: int, cells: int) -> Float[np.ndarray, "size nodes"]:
  """Catmull-Rom interpolation from nodes at 0..size to pixel centres."""
  at = (np.arange(size) + 0.5) * cells / size
  first = np.minimum(at.astype(int), cells - 1)
  t = at - first
  weights = (
    -0.5 * t * (1 - t) ** 2,
    1 + t * t * (1.5 * t - 2.5),
    t * (0.5 + t * (2 - 1.5 * t)),
    -0.5 * t * t * (1 - t),
  )
  matrix = np.zeros((size, cells + 3), np.float32)
  for k, weight in enumerate(weights):
    np.add.at(matrix, (np.arange(size), first + k), weight)
  # Nodes beyond the ends are extrapolated: f(-1) = 2 f(0) - f(1).
  inner = matrix[:, 1:-1]
  inner[:, 0] += 2 * matrix[:, 0]
  inner[:, 1] -= matrix[:, 0]
  inner[:, -1] += 2 * matrix[:, -1]
  inner[:, -2] -= matrix[:, -1]
  return inner


def jacobian(
  coords: Float[Array, "h w 2"],
) -> Float[Array, "h w 2 2"]:
  """Derivatives of a map on the pixel grid, `[..., i, j]` = d coord_i / d x_j.

  Central differences inside, one-sided ones at the border.
  """
  across = jnp.gradient(coords, axis=1)
  down = jnp.gradient(coords, axis=0)
  return jnp.stack([across, down], -1)


def jacobian_determinant(
  coords: Float[Array, "h w 2"],
) -> Float[Array, "h w"]:
  """Local change of area of a map; where it is positive nothing folds."""
  j = jacobian(coords)
  return j[..., 0, 0] * j[..., 1, 1] - j[..., 0, 1] * j[..., 1, 0]


def cell_areas(
  coords: Float[Array, "h w 2"],
) -> Float[Array, "h-1 w-1"]:
  """Smallest triangle of each cell of the grid, doubled; 1 for the identity.

  Each cell of four neighbouring pixels has four corner triangles. If all are
  positive everywhere, the piecewise bilinear map is one-to-one: a stricter test
  than the determinant of central differences.
  """
  x, y = coords[..., 0], coords[..., 1]
  right = x[:, 1:] - x[:, :-1], y[:, 1:] - y[:, :-1]
  below = x[1:] - x[:-1], y[1:] - y[:-1]
  smallest = jnp.inf
  for top in (slice(None, -1), slice(1, None)):
    for left in (slice(None, -1), slice(1, None)):
      area = (
        right[0][top] * below[1][:, left] - right[1][top] * below[0][:, left]
      )
      smallest = jnp.minimum(smallest, area)
  return smallest


def sample(
  image: Float[Array, "h w c"],
  coords: Float[Array, "h2 w2 2"],
  *,
  antialias: bool = True,
) -> Float[Array, "h2 w2 c"]:
  """Looks a picture up at given positions, bilinearly.

  Where the map shrinks, a copy filtered for half the resolution is mixed in
  (two levels of the pyramid of Williams 1983, at full resolution), which
  suffices down to a local scale of one half.

  Args:
    image: picture of any range; four channels are taken for independent, see
      `sample_rgba` for transparency.
    coords: positions (x, y) in pixels; outside, the border is repeated.
    antialias: whether to filter where the map shrinks.

  Returns:
    The picture at these positions; exactly the input for the identity.
  """
  channels = image.shape[-1]
  if antialias:
    image = jnp.concatenate([image, _half_band(image)], -1)
  found = resample.bilinear(image, coords)
  if not antialias:
    return found
  # Root mean square of the footprint's axes; the larger one would blur more
  # than it helps where the map shrinks one way only.
  size = jnp.square(jacobian(coords)).sum((-1, -2)) / 2
  mix = jnp.clip(jnp.sqrt(jnp.maximum(size, 1e-12)) - 1, 0, 1)[..., None]
  fine, half = found[..., :channels], found[..., channels:]
  return fine + mix * (half - fine)


def _half_band(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
  """Binomial filter (1 4 6 4 1) / 16 along both axes, borders repeated."""
  for axis in (0, 1):
    pads = [(2, 2) if k == axis else (0, 0) for k in range(3)]
    padded = jnp.pad(image, pads, mode="edge")
    n = image.shape[axis]
    image = sum(
      weight / 16 * jax.lax.slice_in_dim(padded, k, k + n, axis=axis)
      for k, weight in enumerate((1, 4, 6, 4, 1))
    )
  return image


def sample_rgba(
  image: Float[Array, "h w 4"],
  coords: Float[Array, "h2 w2 2"],
  *,
  antialias: bool = True,
) -> Float[Array, "h2 w2 4"]:
  """Looks up a picture with straight alpha in [0, 1].

  Colours are weighted by alpha while they are mixed, so that the hidden colour
  of transparent pixels does not bleed into edges.

  Args:
    image: RGBA, straight alpha.
    coords: positions (x, y) in pixels.
    antialias: whether to filter where the map shrinks.

  Returns:
    RGBA, straight alpha; colour is 0 where alpha is.
  """
  alpha = image[..., 3:]
  weighted = jnp.concatenate([image[..., :3] * alpha, alpha], -1)
  found = sample(weighted, coords, antialias=antialias)
  alpha = found[..., 3:]
  color = jnp.where(
    alpha > 1e-6, found[..., :3] / jnp.maximum(alpha, 1e-6), 0.0
  )
  return jnp.concatenate([color, alpha], -1)
