"""Losses between a picture and its translation, for pictures in [-1, 1]."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def l1(
  x: Float[Array, "*shape"], y: Float[Array, "*shape"]
) -> Float[Array, ""]:
  """Mean absolute difference.

  Args:
    x: pictures or features of any shape and float type.
    y: the same shape.

  Returns:
    The mean over all elements, float32, in the unit of the inputs.

  Raises:
    ValueError: if the shapes differ.
  """
  if x.shape != y.shape:
    raise ValueError(f"l1 needs equal shapes, got {x.shape} and {y.shape}.")
  return jnp.abs(x.astype(jnp.float32) - y.astype(jnp.float32)).mean()


def cycle_consistency(
  reconstruction: Float[Array, "b h w c"], image: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """L1 of a picture against its way there and back, |G_ba(G_ab(a)) - a|.

  Zhu et al. 2017, eq. 2, one of its two terms.

  Args:
    reconstruction: the picture translated and translated back.
    image: the original.

  Returns:
    The mean absolute difference, unweighted.
  """
  return l1(reconstruction, image)


def identity(
  translation: Float[Array, "b h w c"], image: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """L1 change of a picture already in the target domain, |G_ab(b) - b|.

  Zhu et al. 2017, section 5.2: keeps colours where nothing else ties them
  down (without it, colour inversion is a solution).

  Args:
    translation: the output of the generator *into* the picture's domain.
    image: the picture.

  Returns:
    The mean absolute difference, unweighted.
  """
  return l1(translation, image)
