"""Cameras: from points in the world to pixels.

View matrices are world-to-camera, OpenCV axes (x right, y down, z forward).
Intrinsics K = [[fx, ., cx], [., fy, cy], [., ., .]] are in pixels; the centre
of the top left pixel is (0.5, 0.5). Skew and the dots are ignored.
Models: "pinhole" u = fx x/z + cx; "ortho" u = fx x + cx; "fisheye"
(equidistant) u = fx x theta/r + cx with r = |(x, y)|, theta = atan2(r, z).

PyTorch3D's cameras (`from_pytorch3d`) take row vectors, x_camera = x_world R +
T, with axes x left, y up, z forward; their pictures, x left and y up too, reach
from -1 to 1 along the shorter side.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Model = Literal["pinhole", "ortho", "fisheye"]


def look_at(
  eye: Float[Array, "*batch 3"],
  target: Float[Array, "*batch 3"],
  up: Float[Array, "*batch 3"],
) -> Float[Array, "*batch 4 4"]:
  """View matrices of cameras at `eye` that look at `target`.

  Args:
    eye: camera centres in the world.
    target: points in the middle of the picture, different from `eye`.
    up: directions that are upward in the picture, not parallel to the view.

  Returns:
    World-to-camera matrices.
  """

  def unit(v: Array) -> Array:
    return v / jnp.linalg.norm(v, axis=-1, keepdims=True)

  forward = unit(target - eye)
  right = unit(jnp.cross(forward, up))
  rotation = jnp.stack([right, jnp.cross(forward, right), forward], axis=-2)
  shift = -jnp.sum(rotation * eye[..., None, :], axis=-1)
  top = jnp.concatenate([rotation, shift[..., None]], axis=-1)
  last = jnp.array([[0.0, 0.0, 0.0, 1.0]], top.dtype)
  last = jnp.broadcast_to(last, (*top.shape[:-2], 1, 4))
  return jnp.concatenate([top, last], axis=-2)


def intrinsics(width: int, height: int, fov: float) -> Float[Array, "3 3"]:
  """K of a pinhole camera with square pixels and a centred principal point.

  Args:
    width: pixels.
    height: pixels.
    fov: angle of view across the width, radians, below pi.
  """
  focal = width / 2 / math.tan(fov / 2)
  return jnp.array(
    [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], jnp.float32
  )


def from_pytorch3d(
  R: Float[Array, "*batch 3 3"],
  T: Float[Array, "*batch 3"],
  focal: Float[Array, "*batch"] | float,
  size: tuple[int, int],
  principal: tuple[float, float] = (0.0, 0.0),
) -> tuple[Float[Array, "*batch 4 4"], Float[Array, "*batch 3 3"]]:
  """Our camera of one of PyTorch3D's `PerspectiveCameras`.

  Args:
    R: rotations for row vectors; a published 3 x 4 transform is (R, T).
    T: translations.
    focal: focal length in its normalised coordinates.
    size: width and height of the picture in pixels.
    principal: principal point in its normalised coordinates (x left, y up).

  Returns:
    World-to-camera matrices and intrinsics.
  """
  half = min(size) / 2
  middle = [n / 2 - half * p for n, p in zip(size, principal)]

  def one(R: Array, T: Array, focal: Array) -> tuple[Array, Array]:
    viewmat = jnp.eye(4, dtype=R.dtype)
    viewmat = viewmat.at[:3].set(jnp.concatenate([R.T, T[:, None]], 1))
    K = jnp.diag(jnp.stack([focal * half, focal * half, jnp.ones_like(focal)]))
    return viewmat.at[:2].multiply(-1), K.at[:2, 2].set(jnp.array(middle))

  signature = "(i,i),(i),()->(j,j),(i,i)"
  return jnp.vectorize(one, signature=signature)(R, T, jnp.asarray(focal))


def to_pytorch3d(
  viewmat: Float[Array, "*batch 4 4"],
  K: Float[Array, "*batch 3 3"],
  size: tuple[int, int],
) -> tuple[
  Float[Array, "*batch 3 3"],
  Float[Array, "*batch 3"],
  Float[Array, "*batch 2"],
  Float[Array, "*batch 2"],
]:
  """The opposite of `from_pytorch3d`.

  Args:
    viewmat: world-to-camera matrices.
    K: intrinsics in pixels.
    size: width and height of the picture in pixels.

  Returns:
    R and T for row vectors, and focal lengths and principal points (x, y) in
    normalised coordinates.
  """
  half = min(size) / 2

  def one(viewmat: Array, K: Array) -> tuple[Array, Array, Array, Array]:
    ours = viewmat[:3].at[:2].multiply(-1)
    principal = (jnp.array(size, K.dtype) / 2 - K[:2, 2]) / half
    return ours[:, :3].T, ours[:, 3], jnp.diag(K)[:2] / half, principal

  signature = "(i,i),(j,j)->(j,j),(j),(k),(k)"
  return jnp.vectorize(one, signature=signature)(viewmat, K)


def centre(viewmat: Float[Array, "*batch 4 4"]) -> Float[Array, "*batch 3"]:
  """Camera centres in the world: R c + t = 0, R any invertible matrix."""
  rows, shift = viewmat[..., :3, :3], viewmat[..., :3, 3]
  a, b, c = rows[..., 0, :], rows[..., 1, :], rows[..., 2, :]
  # The inverse's columns are cross products of the rows over the determinant.
  columns = (jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b))
  determinant = jnp.sum(a * columns[0], axis=-1, keepdims=True)
  total = sum(column * shift[..., i, None] for i, column in enumerate(columns))
  return -total / determinant


def to_camera(
  points: Float[Array, "*batch N 3"], viewmat: Float[Array, "*batch 4 4"]
) -> Float[Array, "*batch N 3"]:
  """Points of the world in the camera's axes."""
  turned = jnp.einsum(
    "...ij,...nj->...ni",
    viewmat[..., :3, :3],
    points,
    precision=jax.lax.Precision.HIGHEST,
  )
  return turned + viewmat[..., None, :3, 3]


def to_pixels(
  points: Float[Array, "*batch N 3"],
  K: Float[Array, "*batch 3 3"],
  model: Model = "pinhole",
) -> Float[Array, "*batch N 2"]:
  """Pixel coordinates of points in the camera's axes.

  Args:
    points: x, y, z; for a pinhole z must not be 0.
    K: intrinsics.
    model: see the module.
  """
  x, y, z = jnp.moveaxis(points, -1, 0)
  fx, fy, cx, cy = _parameters(K)
  if model == "pinhole":
    x, y = x / z, y / z
  elif model == "fisheye":
    k, _ = _fisheye(x * x + y * y, z)
    x, y = x * k, y * k
  return jnp.stack([fx * x + cx, fy * y + cy], axis=-1)


def jacobian(
  points: Float[Array, "*batch N 3"],
  K: Float[Array, "*batch 3 3"],
  model: Model,
  size: tuple[int, int],
) -> Float[Array, "*batch N 2 3"]:
  """Derivative of `to_pixels` with respect to the points.

  For a pinhole it is taken at the edge of a frame 15 % wider than the picture
  on each side, if the point lies outside it: the affine
  approximation of a splat far outside would explode (Zwicker et al. 2002).

  Args:
    points: x, y, z in the camera's axes.
    K: intrinsics.
    model: see the module.
    size: width and height in pixels.
  """
  x, y, z = jnp.moveaxis(points, -1, 0)
  fx, fy, cx, cy = _parameters(K)
  zero = jnp.zeros_like(z)
  if model == "pinhole":
    u = _clamp(fx * x / z, cx, size[0])
    v = _clamp(fy * y / z, cy, size[1])
    rows = [[fx / z, zero, -u / z], [zero, fy / z, -v / z]]
  elif model == "ortho":
    rows = [[fx + zero, zero, zero], [zero, fy + zero, zero]]
  else:
    squared = x * x + y * y
    k, m = _fisheye(squared, z)
    depth = squared + z * z
    rows = [
      [fx * (k + x * x * m), fx * x * y * m, -fx * x / depth],
      [fy * x * y * m, fy * (k + y * y * m), -fy * y / depth],
    ]
  return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _parameters(K: Array) -> tuple[Array, Array, Array, Array]:
  """Returns fx, fy, cx, cy, each [*batch, 1]."""
  return tuple(K[..., i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))


def _clamp(offset: Array, centre: Array, size: int) -> Array:
  """Holds pixels from the principal point inside the widened picture.

  Written so that at its edge no gradient is halved.
  """
  low = jnp.broadcast_to(-centre - 0.15 * size, offset.shape)
  high = jnp.broadcast_to(1.15 * size - centre, offset.shape)
  return jnp.where(offset < low, low, jnp.where(offset > high, high, offset))


def _fisheye(squared: Array, z: Array) -> tuple[Array, Array]:
  """k = theta / r and m = (dk/dr) / r from r^2; smooth on the axis.

  In s = (r / z)^2: z k = 1 - s/3 + s^2/5 - ..., z^3 m = -2/3 + 4 s/5 - ...
  """
  near = (squared < 0.03 * z * z) & (z > 0)
  z1 = jnp.where(near, z, 1.0)
  s = jnp.where(near, squared, 0.0) / (z1 * z1)
  k_near = m_near = jnp.zeros_like(s)
  for i in reversed(range(6)):
    sign = (-1.0) ** i
    k_near = k_near * s + sign / (2 * i + 1)
    m_near = m_near * s - sign * (2 * i + 2) / (2 * i + 3)
  r2 = jnp.where(near, 1.0, squared)
  r = jnp.sqrt(r2)
  k_far = jnp.arctan2(r, z) / r
  m_far = (z / (r2 + z * z) - k_far) / r2
  return (
    jnp.where(near, k_near / z1, k_far),
    jnp.where(near, m_near / z1**3, m_far),
  )
