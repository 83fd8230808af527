"""Adversarial losses on a discriminator's scores, of any shape.

Each is a mean over all scores, so a patch discriminator's map counts as many
judgements of one picture.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def least_squares(
  scores: Float[Array, "*shape"], target: float
) -> Float[Array, ""]:
  """Mean squared distance of the scores from a target (LSGAN).

  Mao et al. 2017, eq. 9 with labels 0 and 1, without its factor 1/2: CycleGAN
  puts that factor on the discriminator's loss only.

  Args:
    scores: the discriminator's output, any shape and float type.
    target: the label, 1 for real and 0 for fake.

  Returns:
    The loss, float32.
  """
  return jnp.square(scores.astype(jnp.float32) - target).mean()


def least_squares_generator(fake: Float[Array, "*shape"]) -> Float[Array, ""]:
  """LSGAN loss of a generator: its fakes should be scored 1.

  Args:
    fake: scores of generated pictures.

  Returns:
    The loss, float32.
  """
  return least_squares(fake, 1.0)


def least_squares_discriminator(
  real: Float[Array, "*real"], fake: Float[Array, "*fake"]
) -> Float[Array, ""]:
  """LSGAN loss of a discriminator, half of real -> 1 plus fake -> 0.

  Args:
    real: scores of real pictures.
    fake: scores of generated pictures.

  Returns:
    The loss, float32. The half slows the discriminator down against the
    generator (Zhu et al. 2017, section 4).
  """
  return 0.5 * (least_squares(real, 1.0) + least_squares(fake, 0.0))
