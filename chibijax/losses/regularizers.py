"""Penalties that keep a network smooth or a code simple.

Those of a discriminator are functions of its gradient with respect to its
input, so a training step differentiates twice: reverse mode over reverse mode,
the only order that `ops.convolution` has.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Pictures [B, H, W, C] to a score each, [B], or one for each of their patches.
ScoreFn = Callable[[Array], Array]


def squared_gradient(
  score: ScoreFn, images: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b *patches"], Float[Array, " b"]]:
  """Scores pictures and measures how steep the score is at each.

  Args:
    score: the discriminator; each score may depend on its own picture only.
    images: where to measure.

  Returns:
    The scores as they are, [B] or [B, ...] of patches, and for each picture
    the squared norm of the gradient of its mean score, [B], float32.
  """
  scores, pullback = jax.vjp(score, images)
  share = 1.0 / math.prod(scores.shape[1:])
  (slope,) = pullback(jnp.full_like(scores, share))
  slope = slope.astype(jnp.float32)
  return scores, jnp.square(slope).sum((1, 2, 3))


def zero_centered(squared: Float[Array, " b"]) -> Float[Array, ""]:
  """Half of the mean squared gradient norm (Mescheder et al. 2018, eq. 9).

  Of real pictures it is R1, of generated ones R2.

  Args:
    squared: what `squared_gradient` measured.

  Returns:
    The penalty, to be weighted with gamma.
  """
  return 0.5 * squared.mean()


def one_centered(squared: Float[Array, " b"]) -> Float[Array, ""]:
  """Mean of (|gradient| - 1)^2, WGAN-GP's (Gulrajani et al. 2017, eq. 3).

  Args:
    squared: what `squared_gradient` measured at random points between real and
      generated pictures (`mixed`).

  Returns:
    The penalty, to be weighted with lambda. Its gradient is finite where the
    score is flat.
  """
  flat = squared < 1e-24
  norm = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))
  return jnp.square(norm - 1).mean()


def mixed(
  real: Float[Array, "b h w c"],
  fake: Float[Array, "b h w c"],
  share: Float[Array, " b"],
) -> Float[Array, "b h w c"]:
  """Points on the lines between pictures.

  Args:
    real: pictures.
    fake: as many others.
    share: of the real picture in each, in [0, 1].

  Returns:
    share * real + (1 - share) * fake.
  """
  share = share.reshape(-1, 1, 1, 1)
  return share * real + (1 - share) * fake


def path_lengths(
  generate: Callable[[Array], Array],
  styles: Float[Array, "b l s"],
  noise: Float[Array, "b h w c"],
) -> Float[Array, " b"]:
  """How far pictures move with their styles (Karras et al. 2020a, eq. 4).

  Args:
    generate: styles to pictures [B, H, W, C].
    styles: one for each layer.
    noise: normal draws, a direction among pictures for each.

  Returns:
    |J^T y| with y = noise / sqrt(H W), root mean square over the layers,
    float32.
  """
  _, pullback = jax.vjp(generate, styles)
  (slope,) = pullback(noise / math.sqrt(noise.shape[1] * noise.shape[2]))
  squares = jnp.square(slope.astype(jnp.float32)).sum(-1).mean(-1)
  return jnp.sqrt(squares + 1e-12)


def gaussian_kl(
  mean: Float[Array, "b n"], log_variance: Float[Array, "b n"]
) -> Float[Array, ""]:
  """KL divergence of N(mean, variance) from N(0, 1), in nats per example.

  Kingma and Welling 2014, appendix B.

  Args:
    mean: of each number of the code.
    log_variance: natural logarithm of its variance.

  Returns:
    The sum over the code, the mean over the batch.
  """
  terms = jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance
  return 0.5 * terms.sum(-1).mean()
