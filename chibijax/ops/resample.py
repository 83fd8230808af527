"""Looking pictures up between their pixels: bilinear, affine and area.

Pixel (row i, column j) is the unit square around (x, y) = (j + 0.5, i + 0.5);
points are (x, y). Pictures are one [H, W, C] array of floats in any range; use
`jax.vmap` for batches. Every function is differentiable in the picture, and
`bilinear` and `affine` also in where they look (almost everywhere).

An affine map is a [2, 3] matrix `m` that takes the point p to m[:, :2] p +
m[:, 2].
"""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

Border: TypeAlias = Literal["edge", "reflect", "zero"]


def bilinear(
  image: Float[Array, "h w c"],
  points: Float[Array, "*shape 2"],
  *,
  border: Border = "edge",
) -> Float[Array, "*shape c"]:
  """Interpolates a picture linearly between the four nearest pixel centres.

  Args:
    image: [H, W, C].
    points: where to look, (x, y) in pixels.
    border: what lies outside: the nearest pixel ("edge"), the picture mirrored
      about its edges, again and again ("reflect"), or 0 ("zero", which fades
      over the half pixel on either side of the edge).

  Returns:
    The colours at the points.
  """
  height, width, _ = image.shape
  x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
  left, top = jnp.floor(x), jnp.floor(y)
  # The weights alone depend on the points in a differentiable way.
  across, down = (x - left)[..., None], (y - top)[..., None]

  def corner(dx: int, dy: int) -> Float[Array, "*shape c"]:
    j, inside_x = _index(left + dx, width, border)
    i, inside_y = _index(top + dy, height, border)
    colors = image[i, j]
    if border != "zero":
      return colors
    return jnp.where((inside_x & inside_y)[..., None], colors, 0)

  upper = corner(0, 0) * (1 - across) + corner(1, 0) * across
  lower = corner(0, 1) * (1 - across) + corner(1, 1) * across
  return upper * (1 - down) + lower * down


def affine(
  image: Float[Array, "h w c"],
  transform: Float[Array, "2 3"],
  shape: tuple[int, int],
  *,
  border: Border = "edge",
  samples: int = 1,
) -> Float[Array, "h2 w2 c"]:
  """Moves a picture by an affine map.

  Args:
    image: [H, W, C].
    transform: takes points of `image` to points of the result; it must be
      invertible.
    shape: height and width of the result.
    border: what lies outside of `image`, as for `bilinear`.
    samples: n x n points are averaged in each pixel of the result; take about
      the factor by which the picture shrinks, so that nothing aliases.

  Returns:
    The moved picture, [H2, W2, C].
  """
  height, width = shape
  rows, columns = (
    (jnp.arange(n * samples, dtype=jnp.float32) + 0.5) / samples for n in shape
  )
  targets = jnp.stack(jnp.meshgrid(columns, rows), -1)
  found = bilinear(
    image, apply_affine(invert_affine(transform), targets), border=border
  )
  found = found.reshape(height, samples, width, samples, -1)
  return found.mean((1, 3))


def area(
  image: Float[Array, "h w c"], shape: tuple[int, int]
) -> Float[Array, "h2 w2 c"]:
  """Resizes a picture so that each new pixel is the mean of what it covers.

  Exact box filtering, for shrinking; the mean of the picture is kept. When
  enlarging it repeats pixels.

  Args:
    image: [H, W, C].
    shape: height and width of the result.

  Returns:
    The resized picture.
  """
  down = jnp.asarray(area_weights(image.shape[0], shape[0]), image.dtype)
  across = jnp.asarray(area_weights(image.shape[1], shape[1]), image.dtype)
  rows = jnp.einsum("ih,hwc->iwc", down, image, precision="highest")
  return jnp.einsum("jw,iwc->ijc", across, rows, precision="highest")


def crop(
  images: Float[Array, "b h w c"],
  boxes: Float[Array, "b 4"],
  shape: tuple[int, int],
) -> Float[Array, "b h2 w2 c"]:
  """Cuts a box out of each picture and resizes it, bilinearly.

  Two products with matrices that the box decides: unlike a look-up, its
  gradient needs no scatter. Made for enlarging; shrinking aliases.

  Args:
    images: [B, H, W, C].
    boxes: x0, y0, x1, y1 in pixels, also beyond the picture, where it is 0.
    shape: height and width of the result.

  Returns:
    The pictures in the boxes, differentiable in both.
  """

  def weights(low: Array, high: Array, source: int, target: int) -> Array:
    steps = (jnp.arange(target, dtype=jnp.float32) + 0.5) / target
    at = low + (high - low) * steps - 0.5
    away = at[:, None] - jnp.arange(source, dtype=jnp.float32)[None]
    return jnp.maximum(1 - jnp.abs(away), 0)

  def one(image: Array, box: Array) -> Array:
    down = weights(box[1], box[3], image.shape[0], shape[0])
    across = weights(box[0], box[2], image.shape[1], shape[1])
    rows = jnp.einsum("ih,hwc->iwc", down, image, precision="highest")
    return jnp.einsum("jw,iwc->ijc", across, rows, precision="highest")

  return jax.vmap(one)(images, boxes)


def area_weights(source: int, target: int) -> Float32[np.ndarray, "target src"]:
  """The matrix that averages `source` pixels in a row into `target` ones.

  Args:
    source: pixels there are.
    target: pixels wanted.

  Returns:
    [target, source]; each row sums to 1.
  """
  edges = np.arange(target + 1) * (source / target)
  pixels = np.arange(source)
  first = np.maximum(edges[:-1, None], pixels[None, :])
  last = np.minimum(edges[1:, None], pixels[None, :] + 1)
  overlap = np.clip(last - first, 0, None)
  return (overlap * (target / source)).astype(np.float32)


def node_weights(size: int, nodes: int) -> Float32[np.ndarray, "size nodes"]:
  """The matrix that interpolates linearly from nodes to pixel centres.

  Args:
    size: pixels; the first node lies at their beginning, the last at their end.
    nodes: at least two.

  Returns:
    The matrix; each row adds up to 1.
  """
  at = (np.arange(size) + 0.5) / size * (nodes - 1)
  weights = np.maximum(1 - np.abs(at[:, None] - np.arange(nodes)), 0)
  return weights.astype(np.float32)


def apply_affine(
  transform: Float[Array, "2 3"], points: Float[Array, "*shape 2"]
) -> Float[Array, "*shape 2"]:
  """Takes points through an affine map.

  Args:
    transform: the map.
    points: (x, y).

  Returns:
    Where they go.
  """
  x, y = points[..., 0], points[..., 1]
  # Written out: a matrix product may lose precision on accelerators.
  return jnp.stack(
    [
      transform[0, 0] * x + transform[0, 1] * y + transform[0, 2],
      transform[1, 0] * x + transform[1, 1] * y + transform[1, 2],
    ],
    -1,
  )


def invert_affine(transform: Float[Array, "2 3"]) -> Float[Array, "2 3"]:
  """The inverse of an affine map.

  Args:
    transform: a map with a determinant other than 0.

  Returns:
    The map that undoes it.
  """
  (a, b, x), (c, d, y) = transform
  det = a * d - b * c
  return (
    jnp.stack(
      [
        jnp.stack([d, -b, b * y - d * x]),
        jnp.stack([-c, a, c * x - a * y]),
      ]
    )
    / det
  )


def _index(
  position: Float[Array, "*shape"], size: int, border: Border
) -> tuple[Array, Array]:
  """Whole positions as indices, and which of them lie inside."""
  inside = (position >= 0) & (position < size)
  if border == "reflect":
    # Mirrored about the edges, so the edge's pixel is seen twice.
    turn = jnp.mod(position, 2 * size)
    position = jnp.minimum(turn, 2 * size - 1 - turn)
  return jnp.clip(position, 0, size - 1).astype(jnp.int32), inside
