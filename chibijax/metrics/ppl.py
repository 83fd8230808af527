"""Perceptual path length of a generator (Karras et al. 2019).

How much pictures change for a small step between two latents, divided by the
step squared: small where the latent space is smooth. The distance is any; only
with VGG16's LPIPS are the numbers those of the papers.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate

Generator = Callable[[Array], Array]
Distance = Callable[[Array, Array], Array]


def lerp(
  a: Float[Array, "n d"], b: Float[Array, "n d"], t: Float[Array, "n 1"]
) -> Float[Array, "n d"]:
  """Points between latents on a line: for mapped latents (StyleGAN's w).

  Args:
    a: ends at t = 0.
    b: ends at t = 1.
    t: where, in [0, 1].
  """
  return a + (b - a) * t


def slerp(
  a: Float[Array, "n d"], b: Float[Array, "n d"], t: Float[Array, "n 1"]
) -> Float[Array, "n d"]:
  """Points between latents on a great circle: for normal latents (z).

  Args:
    a: ends at t = 0; only directions count.
    b: ends at t = 1.
    t: where, in [0, 1].

  Returns:
    Unit vectors.
  """
  a, b = _unit(a), _unit(b)
  cosine = (a * b).sum(-1, keepdims=True)
  angle = t * jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
  return a * jnp.cos(angle) + _unit(b - cosine * a) * jnp.sin(angle)


def path_length(
  generate: Generator,
  sample: Callable[[PRNGKeyArray, int], Array],
  distance: Distance,
  *,
  space: Literal["z", "w"] = "z",
  full: bool = True,
  epsilon: float = 1e-4,
  count: int = 1000,
  batch: int = 8,
  key: PRNGKeyArray,
) -> Estimate:
  """Perceptual path length.

  Args:
    generate: latents [b, d] to pictures [b, h, w, 3] in [-1, 1]; traceable.
    sample: (key, n) to latents [n, d].
    distance: (x, y) to [b]; traceable, such as `PerceptualDistance`.
    space: "z" steps on a great circle, "w" on a line.
    full: steps anywhere on the path; else at its beginning ("end").
    epsilon: length of a step as a share of the path.
    count: paths.
    batch: of them at a time.
    key: of the latents.

  Returns:
    The mean over the paths of distance / epsilon^2, without the smallest and
    the largest 1 % of the values, as published.

  Raises:
    ValueError: if space is neither "z" nor "w", or count is below 1.
  """
  if space not in ("z", "w") or count < 1:
    raise ValueError(f"space is {space!r} and count is {count}.")
  between = slerp if space == "z" else lerp

  @jax.jit
  def step(key: PRNGKeyArray) -> Array:
    ends, place = jax.random.split(key)
    a, b = jnp.split(sample(ends, 2 * batch), 2)
    t = jax.random.uniform(place, (batch, 1)) if full else jnp.zeros((batch, 1))
    x, y = (generate(between(a, b, t + d)) for d in (0.0, epsilon))
    return distance(x, y) / epsilon**2

  rounds = -(-count // batch)
  values = np.concatenate(
    [np.asarray(step(jax.random.fold_in(key, i))) for i in range(rounds)]
  )[:count]
  low, high = np.quantile(values, [0.01, 0.99])
  kept = values[(values >= low) & (values <= high)]
  where = "anywhere on" if full else "at the beginning of"
  name = getattr(distance, "name", "a distance")
  return estimate.mean(
    kept,
    key=key,
    method=f"{name} / {epsilon:g}^2 {where} {count} paths in {space}, "
    "without the outermost 1% on either side",
  )


def _unit(x: Array) -> Array:
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
