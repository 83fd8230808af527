"""Walking among latents: blend, breed, find. No model is known here.

Latents are rows [N, L] that a generator expects to be normal draws, N(0, 1);
what is made here stays so as far as it can: blends go around the origin,
children keep the variance.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

Latents = Float[Array, "n l"]
Images = Float[Array, "n h w 3"]
# Of two batches of pictures in [-1, 1], one distance for each pair.
Distance = Callable[[Array, Array], Array]


def slerp(a: Latents, b: Latents, share: Float[Array, ""] | float) -> Latents:
  """Interpolates along great circles (Shoemake 1985), lengths linearly.

  Normal draws lie near a sphere; a straight line would pass through its inside,
  where a generator has never been.

  Args:
    a: latents at share 0.
    b: latents at share 1.
    share: where between them, 0..1.

  Returns:
    Latents; where two point the same or opposite ways, the straight line's.
  """
  lengths = [jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
  units = [x / jnp.maximum(n, 1e-8) for x, n in zip((a, b), lengths)]
  cosine = jnp.clip((units[0] * units[1]).sum(-1, keepdims=True), -1, 1)
  angle = jnp.arccos(cosine)
  sine = jnp.sin(angle)
  straight = jnp.abs(sine) < 1e-4
  sine = jnp.where(straight, 1.0, sine)
  way = (
    jnp.sin((1 - share) * angle) * units[0] + jnp.sin(share * angle) * units[1]
  ) / sine
  length = (1 - share) * lengths[0] + share * lengths[1]
  return jnp.where(straight, (1 - share) * a + share * b, way * length)


def path(stops: Latents, frames: int) -> Float[Array, "m l"]:
  """Latents on the way from stop to stop.

  Args:
    stops: two or more.
    frames: latents from one stop to the next, both counted, >= 2.

  Returns:
    [(stops - 1) (frames - 1) + 1, L], the stops among them.

  Raises:
    ValueError: for fewer stops or frames.
  """
  check_path(stops, frames)
  parts = []
  for k in range(frames - 1):
    parts.append(slerp(stops[:-1], stops[1:], k / (frames - 1)))
  rows = jnp.stack(parts, 1).reshape(-1, stops.shape[-1])
  return jnp.concatenate([rows, stops[-1:]])


def check_path(stops: Latents, frames: int) -> None:
  """Refuses what no path can be made of.

  Args:
    stops: as of `path`.
    frames: as of `path`.

  Raises:
    ValueError: for fewer than two stops or frames.
  """
  if len(stops) < 2 or frames < 2:
    raise ValueError(
      f"a path needs 2 stops and 2 frames, got {len(stops)} and {frames}."
    )


def breed(
  key: PRNGKeyArray,
  parents: Latents,
  children: int,
  *,
  mutation: float = 0.2,
  blend: float = 0.0,
) -> Float[Array, "{children} l"]:
  """Crosses latents and mutates the children.

  Each number of a child comes from one of its parents, each as likely
  (uniform crossover, Syswerda 1989), so that it keeps a normal draw's spread.

  Args:
    key: decides everything.
    parents: one or more.
    children: how many.
    mutation: share of chance, 0 none to 1 a stranger: sqrt(1 - m^2) z + m noise
      has the variance of z.
    blend: 0 takes each number from one parent, 1 the parents' average, scaled
      to keep the variance.

  Returns:
    [children, L].

  Raises:
    ValueError: if a strength is not in [0, 1].
  """
  if not (0 <= mutation <= 1 and 0 <= blend <= 1):
    raise ValueError(
      f"mutation and blend must lie in [0, 1], got {mutation} and {blend}."
    )
  choose, change = jax.random.split(key)
  count, size = parents.shape
  which = jax.random.randint(choose, (children, size), 0, count)
  crossed = jnp.take_along_axis(parents, which, 0)
  average = parents.sum(0, keepdims=True) / np.sqrt(count)
  mixed = slerp(crossed, jnp.broadcast_to(average, crossed.shape), blend)
  noise = jax.random.normal(change, mixed.shape)
  return np.sqrt(1 - mutation**2) * mixed + mutation * noise


def pyramid_distance(x: Images, y: Images) -> Float[Array, " n"]:
  """Mean squared difference at full, half and quarter size, added up.

  Args:
    x: pictures whose sides are multiples of 4.
    y: as many others.

  Returns:
    One distance for each pair.
  """
  difference = x - y
  total = jnp.square(difference).mean((1, 2, 3))
  for _ in range(2):
    n, h, w, c = difference.shape
    blocks = difference.reshape(n, h // 2, 2, w // 2, 2, c)
    difference = blocks.mean((2, 4))
    total += jnp.square(difference).mean((1, 2, 3))
  return total


def project(
  generate: Callable[[Latents], Images],
  images: Images,
  start: Latents,
  *,
  steps: int = 200,
  rate: float = 0.05,
  prior: float = 1e-4,
  distance: Distance = pyramid_distance,
) -> tuple[Latents, Float[Array, "steps n"]]:
  """Finds latents whose pictures are like given ones, by Adam on the latents.

  Args:
    generate: latents to pictures.
    images: what to come near to.
    start: latents to start from.
    steps: of Adam.
    rate: the first learning rate; it falls to 0 as a cosine.
    prior: weight of a latent's mean square, which keeps it among the normal
      draws.
    distance: what is made small.

  Returns:
    The latents, and the distance before each step.
  """
  optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

  def loss(z: Latents) -> tuple[Array, Array]:
    far = distance(generate(z), images)
    return (far + prior * jnp.square(z).sum(-1)).sum(), far

  def step(carry: Any, _: None) -> tuple[Any, Array]:
    z, opt = carry
    grads, far = jax.grad(loss, has_aux=True)(z)
    updates, opt = optimizer.update(grads, opt, z)
    return (optax.apply_updates(z, updates), opt), far

  carry = (start, optimizer.init(start))
  (z, _), distances = jax.lax.scan(step, carry, length=steps)
  return z, distances


def nearest(
  generate: Callable[[Latents], Images],
  images: Images,
  candidates: Float[Array, "m l"],
  distance: Distance = pyramid_distance,
) -> Latents:
  """For each picture the candidate whose picture is nearest.

  Args:
    generate: latents to pictures.
    images: what to come near to, [N, H, W, 3].
    candidates: any number of latents.
    distance: what counts as near.

  Returns:
    [N, L].
  """
  made = generate(candidates)

  def best(image: Float[Array, "h w 3"]) -> Array:
    return distance(made, jnp.broadcast_to(image, made.shape)).argmin()

  return candidates[jax.lax.map(best, images)]
