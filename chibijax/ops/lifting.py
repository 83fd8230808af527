"""The plane of points that a picture's pixels are lifted from.

As in GAGAvatar (Chu and Harada 2024, section 3.2): the plane stands through the
world's origin, across the view axis n of the source's camera, and is as large
as what the camera sees there. Each of its P x P points is moved in front of it
and behind it: xyz = plane -+ lift n. Rows go down the picture, columns to the
right; the first and the last lie on the picture's edges.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def plane(
  viewmat: Float[Array, "*batch 4 4"],
  K: Float[Array, "*batch 3 3"],
  size: tuple[int, int],
  count: int,
) -> tuple[Float[Array, "*batch n 3"], Float[Array, "*batch 3"]]:
  """Points of the plane, and its normal.

  Args:
    viewmat: world-to-camera, a rotation and a shift; the origin must lie in
      front of the camera.
    K: intrinsics in pixels; skew is ignored.
    size: width and height of the picture in pixels.
    count: points along each side, P >= 2.

  Returns:
    P^2 points in the world, row after row, and the view axis n in the world,
    unit length, away from the camera.
  """

  def one(viewmat: Array, K: Array) -> tuple[Array, Array]:
    rotation, shift = viewmat[:3, :3], viewmat[:3, 3]
    steps = jnp.linspace(0.0, 1.0, count, dtype=viewmat.dtype)
    x = (steps * size[0] - K[0, 2]) / K[0, 0]
    y = (steps * size[1] - K[1, 2]) / K[1, 1]
    x, y = (g.reshape(-1) for g in jnp.meshgrid(x, y))
    seen = [shift[2] * ray - shift[i] for i, ray in enumerate((x, y, 1.0))]
    # R^T as a sum of three products: exact on accelerators too.
    points = sum(
      jnp.broadcast_to(seen[i], x.shape)[:, None] * rotation[i][None]
      for i in range(3)
    )
    return points, rotation[2]

  return jnp.vectorize(one, signature="(i,i),(j,j)->(n,k),(k)")(viewmat, K)


def lift(
  points: Float[Array, "*batch n 3"],
  normal: Float[Array, "*batch 3"],
  amount: Float[Array, "*batch 2 n"],
) -> Float[Array, "*batch m 3"]:
  """Moves the plane's points along its normal, once each way.

  Args:
    points: of the plane.
    normal: of the plane.
    amount: distances >= 0 in world units, away from the camera and toward it.

  Returns:
    The n points behind the plane, then the n in front of it; m = 2 n.
  """

  def one(points: Array, normal: Array, amount: Array) -> Array:
    behind, front = (x[:, None] * normal[None] for x in amount)
    return jnp.concatenate([points + behind, points - front])

  signature = "(n,k),(k),(s,n)->(m,k)"
  return jnp.vectorize(one, signature=signature)(points, normal, amount)
