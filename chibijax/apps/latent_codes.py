"""The space of an autoencoder's codes.

Codes are not normal draws: they are shifted and mixed to be, by the mean and
covariance of codes of the artist's characters (Ghosh et al. 2020).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.apps import latent
from chibijax.data import characters
from chibijax.ops import image as image_ops

# Characters whose codes tell how an autoencoder's codes spread.
_CHARACTERS = 512
# There are as many as one wants to draw.
_MOST_CHARACTERS = 1_000_000


def open_space(
  task: Any, params: dict[str, Any], source: str, config: Any
) -> latent.Space:
  """The space of a trained autoencoder.

  Args:
    task: a `tasks.autoencoder.Autoencoder`.
    params: its networks by name.
    source: what was loaded, in words.
    config: of the training: its data are drawn alike.

  Returns:
    The space.
  """
  drawn = characters.LabelledChibis(
    task.size,
    seed=3 * config.data.seed,
    examples=_MOST_CHARACTERS,
    cutout=tuple(config.data.background) if config.data.cutout else None,
  )
  mean, factor = _spread(task, params, drawn)
  inverse = jnp.linalg.inv(factor)
  return latent.Space(
    jax.jit(lambda z, _: task.generate(params, mean + z @ factor)),
    jax.jit(lambda x: (task.encode(params, x) - mean) @ inverse),
    task.latent,
    task.size,
    None,
    source,
    drawn,
  )


def _spread(
  task: Any, params: dict[str, Any], source: characters.LabelledChibis
) -> tuple[Float[Array, "1 l"], Float[Array, "l l"]]:
  """Mean of codes, and the matrix that gives normal draws their covariance."""
  encode = jax.jit(lambda x: task.encode(params, image_ops.to_float(x)))
  pictures = np.stack([source.load(i)["image"] for i in range(_CHARACTERS)])
  codes = np.concatenate(
    [encode(jnp.asarray(part)) for part in np.split(pictures, 8)]
  )
  covariance = np.cov(codes, rowvar=False)
  # More directions than examples can tell apart still need some spread.
  least = 1e-3 * np.trace(covariance) / len(covariance)
  factor = np.linalg.cholesky(covariance + least * np.eye(len(covariance))).T
  return jnp.asarray(codes.mean(0, keepdims=True)), jnp.asarray(
    factor, jnp.float32
  )
