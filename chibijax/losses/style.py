"""Style losses: on feature maps, or on pictures with a feature function.

A feature function maps pictures [B, H, W, 3] in [-1, 1] to feature maps by
layer name. Targets are computed once and given as `StyleTarget`s, so that an
optimisation does not look at its style pictures again and again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from chibijax.ops import resample, statistics

Images: TypeAlias = Float[Array, "b h w 3"]
Maps: TypeAlias = Mapping[str, Float[Array, "..."]]
Features: TypeAlias = Callable[[Images], Maps]
Scalar: TypeAlias = Float[Array, ""]


class StyleTarget(NamedTuple):
  """What a picture's features should be like.

  Attributes:
    grams: Gram matrices by layer, [B, C, C] or [1, C, C] for all alike.
    weight: of this style against the others.
    mask: where in the picture it is wanted, at the picture's size; None is
      everywhere.
  """

  grams: dict[str, Float[Array, "b c c"]]
  weight: float | Scalar = 1.0
  mask: Float[Array, "b h w 1"] | None = None


def content(
  x: Maps,
  target: Maps,
  layers: Sequence[str],
  *,
  relative: bool = False,
) -> Scalar:
  """Squared distance of features, the mean over elements, summed over layers.

  Gatys et al. 2016, eq. 1 (a sum there); Johnson et al. 2016, eq. 2.

  Args:
    x: features of the picture by layer.
    target: features of the content.
    layers: which to compare.
    relative: divide each example's by its target's mean square, so that weights
      mean the same in every network and layer.

  Returns:
    The loss, float32.
  """
  return _total(
    _squared_error(x[name], target[name], relative) for name in layers
  )


def style_target(
  maps: Maps,
  layers: Sequence[str],
  *,
  weight: float | Scalar = 1.0,
  mask: Float[Array, "b h w 1"] | None = None,
) -> StyleTarget:
  """Measures a style.

  Args:
    maps: features of the style picture by layer.
    layers: which to measure.
    weight: see `StyleTarget`.
    mask: see `StyleTarget`; it is about the picture to be made.

  Returns:
    The target.
  """
  grams = {name: statistics.gram(maps[name]) for name in layers}
  return StyleTarget(grams, weight, mask)


def gram(
  x: Maps, targets: Sequence[StyleTarget], *, relative: bool = False
) -> Scalar:
  """Distance of Gram matrices (Gatys et al. 2016, eqs. 4 and 5).

  The mean over the matrices' elements, summed over layers and, weighted, over
  styles. A mask, shrunk to each layer's size, restricts the picture's Gram
  matrix to its pixels, and counts by the share of the picture that it takes.

  Args:
    x: features of the picture by layer.
    targets: one for each style.
    relative: divide each example's by its target's mean square.

  Returns:
    The loss, float32.
  """
  terms = []
  for target in targets:
    area = 1.0 if target.mask is None else target.mask.mean()
    for name, goal in target.grams.items():
      mask = resize_mask(target.mask, x[name].shape[1:3])
      found = statistics.gram(x[name], mask)
      goal = jnp.broadcast_to(goal, found.shape)
      distance = _squared_error(found, goal, relative)
      terms.append(target.weight * area * distance)
  return _total(terms)


def moments(x: Maps, target: Maps, layers: Sequence[str]) -> Float[Array, ""]:
  """Distance of the channels' means and deviations.

  The style loss of AdaIN, Huang & Belongie 2017, eq. 13, with means of squares
  where the paper writes norms.

  Args:
    x: features of the picture by layer.
    target: features of the style picture, of any size.
    layers: which to compare.

  Returns:
    The loss, float32.
  """
  terms = []
  for name in layers:
    ours = statistics.mean_std(x[name])
    theirs = statistics.mean_std(target[name])
    terms += [jnp.square(u - v).mean() for u, v in zip(ours, theirs)]
  return _total(terms)


def total_variation(x: Float[Array, "b h w c"]) -> Scalar:
  """Mean squared difference of neighbouring pixels, down plus across.

  Args:
    x: pictures of at least 2 pixels a side.

  Returns:
    The loss, float32.
  """
  x = x.astype(jnp.float32)
  down = jnp.square(x[:, 1:] - x[:, :-1]).mean()
  return down + jnp.square(x[:, :, 1:] - x[:, :, :-1]).mean()


def resize_mask(
  mask: Float[Array, "b h w 1"] | None, shape: tuple[int, int]
) -> Float[Array, "b h2 w2 1"] | None:
  """A mask at the size of a layer: each pixel the mean of what it covers.

  Args:
    mask: shares in [0, 1]; None stays None.
    shape: height and width of the layer.

  Returns:
    The mask.
  """
  if mask is None:
    return None
  return jax.vmap(lambda one: resample.area(one, shape))(mask)


def _squared_error(x: Array, target: Array, relative: bool) -> Scalar:
  if x.shape != target.shape:
    raise ValueError(f"got features {x.shape} and a target {target.shape}.")
  target = target.astype(jnp.float32)
  axes = tuple(range(1, x.ndim))
  error = jnp.square(x.astype(jnp.float32) - target).mean(axes)
  if relative:
    # Of each example: a batch's loss must be the mean of its shards'.
    error = error / jnp.maximum(jnp.square(target).mean(axes), 1e-12)
  return error.mean()


def _total(terms: object) -> Scalar:
  return sum(terms, jnp.zeros(()))
