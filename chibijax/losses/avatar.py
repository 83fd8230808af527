"""Losses of one-shot Gaussian heads (GAGAvatar, Chu and Harada 2024).

Pictures are in [0, 1], NHWC; points in the world's unit. The coarse picture is
the first three channels of the splatted features, the fine one what the neural
renderer makes of all of them.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from chibijax.losses import translation
from chibijax.ops import resample

Images: TypeAlias = Float[Array, "b h w 3"]
# Compares pictures in [0, 1] as a network of features sees them.
Perceptual: TypeAlias = Callable[[Array, Array], Float[Array, ""]]

# Targets that are compared with all sources at once: what memory holds is a
# few arrays of sources x this.
_BLOCK = 256


def picture_terms(
  coarse: Images,
  fine: Images,
  target: Images,
  boxes: Float[Array, "b 4"],
  size: int,
  perceptual: Perceptual | None = None,
) -> dict[str, Float[Array, ""]]:
  """What compares pictures (section 3.5), each term for coarse plus fine.

  Args:
    coarse: the splatted colours.
    fine: the renderer's picture.
    target: the truth.
    boxes: x0, y0, x1, y1 of the head in pixels.
    size: pixels to which the head's box is resized.
    perceptual: compares crops of the head; None leaves its term out.

  Returns:
    Unweighted "l1", "box" (L1 of the heads) and, where asked for,
    "perceptual".
  """
  around = square(boxes)
  crops = [resample.crop(x, around, (size, size)) for x in (coarse, fine)]
  truth = resample.crop(target, around, (size, size))
  terms = {
    "l1": sum(translation.l1(x, target) for x in (coarse, fine)),
    "box": sum(translation.l1(x, truth) for x in crops),
  }
  if perceptual is not None:
    terms["perceptual"] = sum(perceptual(x, truth) for x in crops)
  return terms


def uncovered(
  colors: Images, alpha: Float[Array, "b h w"], target: Images
) -> Float[Array, ""]:
  """L1 of some of the Gaussians alone, put over the truth.

  Not in the paper: Gaussians at vertices are hidden as long as their colours
  are wrong, and hidden ones hardly learn.

  Args:
    colors: of them splatted alone over black.
    alpha: what they cover.
    target: the truth.

  Returns:
    The mean absolute difference.
  """
  return translation.l1(colors, alpha[..., None] * target)


def square(
  boxes: Float[Array, "b 4"], scale: float = 1.1
) -> Float[Array, "b 4"]:
  """Squares around boxes, as large as their longer side times `scale`.

  Args:
    boxes: x0, y0, x1, y1 in pixels.
    scale: of the side.

  Returns:
    The squares, which may reach out of the picture.
  """
  middle = (boxes[:, :2] + boxes[:, 2:]) / 2
  longer = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
  half = jnp.tile(longer * (scale / 2), (1, 2))
  return jnp.concatenate([middle - half, middle + half], 1)


def lifting(
  vertices: Float[Array, "b v 3"], points: Float[Array, "b m 3"]
) -> Float[Array, ""]:
  """Squared distance of the head model's vertices to the nearest lifted point.

  Equation 6: it draws the lifted plane to where the head is known to be. Its
  gradient reaches the vertices and the points that are nearest to one.

  Args:
    vertices: of the head model.
    points: lifted ones, any number.

  Returns:
    The mean over vertices and batch.
  """

  def one(vertices: Array, points: Array) -> Array:
    found = points[nearest(vertices, points)]
    return jnp.square(vertices - found).sum(-1).mean()

  return jax.vmap(one)(vertices, points).mean()


def nearest(
  sources: Float[Array, "v 3"], targets: Float[Array, "m 3"]
) -> Int[Array, " v"]:
  """Index of the target nearest to each source, exactly.

  Block after block, so that the V x M distances never stand in memory: first
  which block has the nearest target, then which of its targets. Distances are
  sums of squared differences, not |a|^2 - 2ab + |b|^2: these lose the digits by
  which near targets differ, and for three coordinates they are slower.

  Args:
    sources: where to measure from.
    targets: finite; of equally near ones the first counts.

  Returns:
    Indices into `targets`; no gradient passes.
  """
  sources, targets = lax.stop_gradient((sources, targets))
  block = min(_BLOCK, len(targets))
  blocks = -(-len(targets) // block)
  padding = ((0, blocks * block - len(targets)), (0, 0))
  # Beyond the end the distance is infinite.
  rows = jnp.pad(targets, padding, constant_values=jnp.inf)
  rows = rows.reshape(blocks, block, 3)

  def step(best: tuple[Array, Array], part: tuple[Array, Array]) -> tuple:
    index, row = part
    least = _squares(sources[:, None], row[None]).min(1)
    nearer = least < best[0]
    return (
      jnp.where(nearer, least, best[0]),
      jnp.where(nearer, index, best[1]),
    ), None

  count = len(sources)
  first = jnp.full(count, jnp.inf), jnp.zeros(count, jnp.int32)
  (_, which), _ = lax.scan(
    step, first, (jnp.arange(blocks, dtype=jnp.int32), rows)
  )
  inside = _squares(sources[:, None], rows[which]).argmin(1)
  return which * block + inside.astype(jnp.int32)


def _squares(a: Array, b: Array) -> Array:
  """Squared distances, the last axis summed in a fixed order."""
  x, y, z = (a[..., i] - b[..., i] for i in range(3))
  return x * x + y * y + z * z
