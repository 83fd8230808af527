"""What keeps an adapted generator like the one it came from.

Two generators see the same latents; whatever the style, pictures that were
alike should stay alike (Ojha et al. 2021, "Few-shot Image Generation via
Cross-domain Correspondence", section 3.1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def distance_consistency(
  source: Float[Array, "n *s"], adapted: Float[Array, "n *s"]
) -> Float[Array, ""]:
  """How differently two sets of maps are spread: equations 1 and 2.

  For each row the cosines with the others, through a softmax, are a
  distribution; the loss is the divergence KL(source || adapted), averaged over
  rows.

  Args:
    source: maps of N latents, N >= 3 (with 2 there is nothing to compare).
    adapted: of the same latents.

  Returns:
    In nats, >= 0; 0 where all cosines agree.
  """
  one, other = _log_likeness(source), _log_likeness(adapted)
  return (jnp.exp(one) * (one - other)).sum(-1).mean()


def order_kept(
  source: Float[Array, "n *s"], adapted: Float[Array, "n *s"]
) -> Float[Array, ""]:
  """Correlation of the distances between rows, here and there.

  Args:
    source: N rows, N >= 3.
    adapted: N others.

  Returns:
    Pearson's correlation over all pairs, in [-1, 1]: 1 where what was far stays
    far; 0 where all rows became one.
  """
  one, other = _distances(source), _distances(adapted)
  one, other = one - one.mean(), other - other.mean()
  scale = jnp.sqrt(jnp.square(one).sum() * jnp.square(other).sum())
  return (one * other).sum() / jnp.maximum(scale, 1e-8)


def _log_likeness(maps: Float[Array, "n *s"]) -> Float[Array, "n m"]:
  rows = maps.astype(jnp.float32).reshape(len(maps), -1)
  squares = jnp.square(rows).sum(-1, keepdims=True)
  rows = rows * jax.lax.rsqrt(squares + 1e-8)
  return jax.nn.log_softmax(_others(rows @ rows.T), -1)


def _distances(maps: Float[Array, "n *s"]) -> Float[Array, " p"]:
  rows = maps.astype(jnp.float32).reshape(len(maps), -1)
  first, second = jnp.triu_indices(len(rows), 1)
  return jnp.sqrt(jnp.square(rows[first] - rows[second]).mean(-1) + 1e-12)


def _others(square: Float[Array, "n n"]) -> Float[Array, "n m"]:
  """Each row without its diagonal."""
  n = len(square)
  return square.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
