"""Adversarial losses on a discriminator's scores, of any shape.

Each is a mean over all scores, so a patch discriminator's map counts as many
judgements of one picture.
"""

import jax
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


def logistic_discriminator(
  real: Float[Array, "*real"], fake: Float[Array, "*fake"]
) -> Float[Array, ""]:
  """Cross-entropy of real against generated (Goodfellow et al. 2014, eq. 1).

  Args:
    real: logits of real pictures.
    fake: logits of generated pictures.

  Returns:
    -log sigmoid(real) - log(1 - sigmoid(fake)), float32.
  """
  return _softplus(-real).mean() + _softplus(fake).mean()


def minimax_generator(fake: Float[Array, "*shape"]) -> Float[Array, ""]:
  """What the original game has a generator minimise (eq. 1).

  Args:
    fake: logits of generated pictures.

  Returns:
    log(1 - sigmoid(fake)), float32, at most 0; flat where fakes are caught.
  """
  return -_softplus(fake).mean()


def non_saturating_generator(fake: Float[Array, "*shape"]) -> Float[Array, ""]:
  """The loss that Goodfellow et al. 2014, section 3, use in practice.

  Args:
    fake: logits of generated pictures.

  Returns:
    -log sigmoid(fake), float32.
  """
  return _softplus(-fake).mean()


def wasserstein_discriminator(
  real: Float[Array, "*real"], fake: Float[Array, "*fake"]
) -> Float[Array, ""]:
  """Loss of a critic (Arjovsky et al. 2017, eq. 2, negated).

  Args:
    real: scores of real pictures.
    fake: scores of generated pictures.

  Returns:
    The difference of the means, float32.
  """
  return fake.astype(jnp.float32).mean() - real.astype(jnp.float32).mean()


def wasserstein_generator(fake: Float[Array, "*shape"]) -> Float[Array, ""]:
  """Loss of a critic's generator.

  Args:
    fake: scores of generated pictures.

  Returns:
    The negated mean, float32.
  """
  return -fake.astype(jnp.float32).mean()


def relativistic(
  better: Float[Array, " b"], worse: Float[Array, " b"]
) -> Float[Array, ""]:
  """Relativistic pairing loss (Huang et al. 2024, eq. 2).

  A discriminator minimises it with real pictures as `better`, a generator with
  its own.

  Args:
    better: scores of those that should be higher.
    worse: scores of their partners.

  Returns:
    The mean of softplus(worse - better), float32.
  """
  return _softplus(worse - better).mean()


def _softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  return jax.nn.softplus(x.astype(jnp.float32))
