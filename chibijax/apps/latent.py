"""Walking among the latents of a generator: blend, breed, find.

The functions at the top know of no model. Latents are rows [N, L] that a
generator expects to be normal draws, N(0, 1); what is made here stays so as far
as it can: blends go around the origin, children keep the variance.

`load` opens a training of a GAN or an autoencoder; of StyleGAN2 either the
latents z or, unless told otherwise, the styles w (`apps.latent_style`).
`apps.directions` steers by attributes. For codes of an autoencoder see
`apps.latent_codes`.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from chibijax import artist
from chibijax.core import checkpoint, workdir
from chibijax.data import characters
from chibijax.errors import UserError
from chibijax.ops import image as image_ops

Latents = Float[Array, "n l"]
Images = Float[Array, "n h w 3"]
# Of two batches of pictures in [-1, 1], one distance for each pair.
Distance = Callable[[Array, Array], Array]

# Latents tried before one is chosen to start from.
_TRIES = 64


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
  if len(stops) < 2 or frames < 2:
    raise ValueError(
      f"a path needs 2 stops and 2 frames, got {len(stops)} and {frames}."
    )
  parts = []
  for k in range(frames - 1):
    parts.append(slerp(stops[:-1], stops[1:], k / (frames - 1)))
  rows = jnp.stack(parts, 1).reshape(-1, stops.shape[-1])
  return jnp.concatenate([rows, stops[-1:]])


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


@dataclasses.dataclass(frozen=True)
class Space:
  """A generator and the space of its latents.

  Attributes:
    decode: latents [N, L] and labels [N, K] or None to pictures in [-1, 1].
    encode: pictures in [-1, 1] to latents; None where there is no encoder.
    latent: L.
    size: side of the pictures, in pixels.
    conditional: whether it must be told labels.
    source: what was loaded, in words.
    drawn: what an encoder was trained on: the artist's characters; None where
      there is no encoder.
    name: "z" for normal draws, "w" for styles.
    psi: what draws are multiplied by; below 1 they are nearer to the average.
  """

  decode: Callable[..., Array]
  encode: Callable[[Array], Array] | None
  latent: int
  size: int
  conditional: bool
  source: str
  drawn: characters.LabelledChibis | None = None
  name: str = "z"
  psi: float = 1.0

  def draw(self, seed: int, count: int = 1) -> Latents:
    """Normal draws; the first of a seed do not depend on their number."""
    rows = [
      np.random.default_rng([seed, i]).standard_normal(self.latent)
      for i in range(count)
    ]
    return self.psi * jnp.asarray(np.stack(rows), jnp.float32)

  def truncated(self, psi: float) -> "Space":
    """The same generator, whose pictures are nearer to its average's."""
    return dataclasses.replace(self, psi=psi)

  def coordinates(self, z: Latents) -> Float[Array, "n d"]:
    """What directions are learnt in, of latents: themselves."""
    return z

  def push(self, step: Float[Array, "n d"]) -> Latents:
    """What a step of `coordinates` adds to latents."""
    return step

  def labels(self, seed: int, count: int) -> Float[Array, "n k"] | None:
    """Labels of the artist's characters of a seed, if any are wanted."""
    if not self.conditional:
      return None
    return jnp.asarray(np.stack([_label(seed, i) for i in range(count)]))

  def path(self, stops: Latents, frames: int) -> Float[Array, "m l"]:
    """As the function `path`, the way that suits this space."""
    return path(stops, frames)

  def breed(
    self,
    key: PRNGKeyArray,
    parents: Latents,
    children: int,
    *,
    mutation: float = 0.2,
    blend: float = 0.0,
    first_layer: int = 0,
  ) -> Float[Array, "{children} l"]:
    """As the function `breed`; only StyleGAN2 has layers to cross."""
    if first_layer:
      raise UserError(
        "--layer is for StyleGAN2 in --space w; here are no styles to mix."
      )
    return breed(key, parents, children, mutation=mutation, blend=blend)

  def pictures(
    self, z: Latents, labels: Float[Array, "n k"] | None = None
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures of latents, as bytes."""
    return np.asarray(image_ops.to_uint8(self.decode(z, labels)))

  def find(
    self, images: Images, *, seed: int = 0, steps: int = 200
  ) -> tuple[Latents, Float[Array, " n"]]:
    """Latents of pictures: of the encoder or the nearest draw, then `project`.

    Args:
      images: pictures in [-1, 1] of side `size`.
      seed: of the draws.
      steps: see `project`; 0 only starts.

    Returns:
      The latents and `pyramid_distance` of their pictures.
    """
    labels = self.labels(seed, 1)

    def generate(z: Latents) -> Images:
      if labels is None:
        return self.decode(z, None)
      return self.decode(z, jnp.broadcast_to(labels, (len(z), labels.shape[1])))

    @jax.jit
    def run(images: Images, candidates: Array) -> tuple[Array, Array]:
      if self.encode is None:
        z = nearest(generate, images, candidates)
      else:
        z = self.encode(images)
      if steps:
        z, _ = project(generate, images, z, steps=steps)
      return z, pyramid_distance(generate(z), images)

    return run(images, self.draw(seed, _TRIES))


def load(run: str | pathlib.Path, space: str | None = None) -> Space:
  """Opens the newest checkpoint of a training of a GAN or an autoencoder.

  Args:
    run: the training's workdir.
    space: "z", "w", or None: "w" where there are styles.

  Returns:
    The generator, averaged where there is such.

  Raises:
    UserError: if the folder holds no training, one of another task, or has no
      such space.
  """
  if space not in (None, "z", "w"):
    raise UserError(f"--space is {space!r}, expected z or w.")
  config = workdir.read_config(run)
  name = str(config.get("task"))
  if name != "autoencoder" and not name.startswith("gan"):
    raise UserError(
      f"{run} is a training of {config.get('task')!r}, which has no latents; "
      "give one of 'gan' or 'autoencoder'."
    )
  task = importlib.import_module(f"chibijax.tasks.{config.task}").build(config)
  params, ema, step = checkpoint.load_params(run)
  params = {**params, **ema}
  source = f"{run}, step {step}"
  # An adapted GAN keeps the GAN that goes on.
  gan = getattr(task, "gan", task)
  if hasattr(gan, "styles"):
    from chibijax.apps import latent_style

    return latent_style.open_space(gan, params, source, space or "w")
  if space == "w":
    raise UserError(f"--space w is for StyleGAN2; {run} has no styles.")
  if name != "autoencoder":
    decode = jax.jit(lambda z, labels: task.generate(params, z, labels))
    return Space(decode, None, task.latent, task.size, task.conditional, source)
  from chibijax.apps import latent_codes

  return latent_codes.open_space(task, params, source, config)


def _label(seed: int, index: int) -> np.ndarray:
  rng = np.random.default_rng([seed, index])
  return characters.label(artist.sample_attributes(rng))
