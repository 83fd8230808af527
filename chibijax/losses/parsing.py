"""Losses and measures of labels per pixel and of points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def cross_entropy(
  logits: Float[Array, "b h w k"], shares: Float[Array, "b h w k"]
) -> Float[Array, ""]:
  """Mean cross-entropy of pixels whose classes may be mixed.

  Args:
    logits: what was found.
    shares: the truth, adding up to 1.

  Returns:
    Nats per pixel.
  """
  return -(shares * jax.nn.log_softmax(logits)).sum(-1).mean()


def dice(
  found: Float[Array, "b h w k"], shares: Float[Array, "b h w k"]
) -> Float[Array, ""]:
  """Soft Dice loss (Milletari et al. 2016), the mean over the classes.

  Each class counts alike, however small; sums run over the whole batch, so
  that pictures without a class do no harm.

  Args:
    found: probabilities.
    shares: the truth.

  Returns:
    1 - Dice, in [0, 1].
  """
  axes = (0, 1, 2)
  both = (found * shares).sum(axes)
  total = (found * found + shares * shares).sum(axes)
  return 1 - ((2 * both + 1) / (total + 1)).mean()


def iou(
  found: Bool[Array, "b h w"], truth: Bool[Array, "b h w"]
) -> Float[Array, " b"]:
  """Intersection over union of a mask in each picture.

  Args:
    found: the mask.
    truth: what it should be.

  Returns:
    0..1; 1 where both are empty.
  """
  either = (found | truth).sum((1, 2))
  both = (found & truth).sum((1, 2))
  return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)


def point_error(
  found: Float[Array, "b 68 2"], truth: Float[Array, "b 68 2"]
) -> Float[Array, " b"]:
  """Mean distance over that between the outer corners of the eyes.

  Args:
    found: landmarks in iBUG order.
    truth: where they should be, in the same unit.

  Returns:
    A value for each example.
  """
  eyes = jnp.linalg.norm(truth[:, 45] - truth[:, 36], axis=-1)
  return jnp.linalg.norm(found - truth, axis=-1).mean(-1) / eyes
