"""The spaces of StyleGAN2: of its styles, w, and of what they are made of, z.

In w, which is what one gets unless z is asked for, a row holds one style for
each layer, flat, relative to the mean style and in units of the styles' spread:
so 0 is the average, and scaling a row is the truncation trick. Rows of draws
repeat one style; mixing, crossing and projecting give each layer its own (Abdal
et al. 2019, W+). Directions are those of one style, for all layers alike.

In z rows are normal draws, crossed and blended as other generators' are; the
truncation trick still pulls their styles, after the mapping.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.apps import latent, latent_labels, latent_walk
from chibijax.apps.latent_walk import Latents
from chibijax.errors import UserError

# Latents whose styles tell how styles spread.
_SPREAD = 512


@dataclasses.dataclass(frozen=True)
class StyleSpace(latent.Space):
  """A style generator and its rows of styles; see `latent.Space`.

  Attributes:
    find_style: normal draws and labels (or None) to one style each, relative.
    noise: numbers of a normal draw.
    layers: styles of a row.
  """

  find_style: Callable[..., Array] | None = None
  noise: int = 0
  layers: int = 0

  def draw(self, seed: int, count: int = 1) -> Latents:
    """Styles of normal draws, repeated for each layer."""
    rows = [
      np.random.default_rng([seed, i]).standard_normal(self.noise)
      for i in range(count)
    ]
    z = jnp.asarray(np.stack(rows), jnp.float32)
    labels = super().labels(seed, count)
    return self.push(self.psi * self.find_style(z, labels))

  def sample(self, key: PRNGKeyArray, count: int) -> Latents:
    """Styles of normal draws by a key; traceable."""
    z = jax.random.normal(key, (count, self.noise))
    told = super().labels(0, 1)
    if told is not None:
      told = jnp.broadcast_to(told, (count, told.shape[1]))
    return self.push(self.find_style(z, told))

  def labels(self, seed: int, count: int) -> None:
    """None: a style has heard its labels."""

  def coordinates(self, z: Latents) -> Float[Array, "n d"]:
    """The mean of the layers' styles."""
    return z.reshape(len(z), self.layers, -1).mean(1)

  def push(self, step: Float[Array, "n d"]) -> Latents:
    """The same step for each layer."""
    return jnp.tile(step, (1, self.layers))

  def path(
    self, stops: Latents, frames: int, *, first_layer: int = 0
  ) -> Float[Array, "m l"]:
    """As `latent_walk.path`, along straight lines: styles fill their space.

    Args:
      stops: two or more.
      frames: as there.
      first_layer: layers before it keep the first stop's styles. The path then
        passes the others mixed with it (style mixing): pose and shape of the
        first, colours and details of the others.

    Returns:
      As there.

    Raises:
      UserError: if there is no such layer.
    """
    latent_walk.check_path(stops, frames)
    self._check_layer(first_layer)
    apart = stops.reshape(len(stops), self.layers, -1)
    kept = jnp.arange(self.layers)[None, :, None] < first_layer
    stops = jnp.where(kept, apart[:1], apart).reshape(stops.shape)
    share = jnp.linspace(0, 1, frames)[:-1].reshape(1, -1, 1)
    rows = (1 - share) * stops[:-1, None] + share * stops[1:, None]
    rows = rows.reshape(-1, stops.shape[-1])
    return jnp.concatenate([rows, stops[-1:]])

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
    """As `latent_walk.breed`, by mixing styles: each layer is one parent's.

    Args:
      key: decides everything.
      parents: one or more.
      children: how many.
      mutation: how far towards a stranger, on the straight line.
      blend: how far towards the parents' average.
      first_layer: layers before it are all the first parent's: with about half
        of the layers, others give colours and details but no pose or shape.

    Returns:
      [children, L].

    Raises:
      UserError: if there is no such layer.
    """
    self._check_layer(first_layer)
    choose, change = jax.random.split(key)
    count = len(parents)
    which = jax.random.randint(choose, (children, self.layers), 0, count)
    which = jnp.where(jnp.arange(self.layers)[None] < first_layer, 0, which)
    apart = parents.reshape(count, self.layers, -1)
    crossed = apart[which, jnp.arange(self.layers)[None]]
    mixed = (1 - blend) * crossed + blend * apart.mean(0, keepdims=True)
    seed = int(jax.random.randint(change, (), 0, 2**31 - 1))
    strangers = self.draw(seed, children).reshape(mixed.shape)
    born = (1 - mutation) * mixed + mutation * strangers
    return born.reshape(children, -1)

  def _check_layer(self, first_layer: int) -> None:
    if not 0 <= first_layer < self.layers:
      raise UserError(
        f"--layer is {first_layer}, expected 0 to {self.layers - 1}: a layer "
        "of this generator."
      )


@dataclasses.dataclass(frozen=True)
class DrawSpace(latent.Space):
  """A style generator and its normal draws; see `latent.Space`.

  Attributes:
    generate: latents, labels (or None) and psi to pictures in [-1, 1].
  """

  generate: Callable[..., Array] | None = None

  def truncated(self, psi: float) -> "DrawSpace":
    """As `latent.Space.truncated`: in w, as a draw's length says nothing."""
    return dataclasses.replace(
      self, decode=lambda z, labels: self.generate(z, labels, psi)
    )


def open_space(
  task: Any,
  params: dict[str, Any],
  source: str,
  name: str = "w",
  told: latent_labels.Labels | None = None,
) -> latent.Space:
  """A space of a trained StyleGAN2.

  Args:
    task: a `tasks.gan_style.StyleGan`.
    params: its networks by name, the averaged generator among them.
    source: what was loaded, in words.
    name: "w" or "z".
    told: the labels that it must be told, if any.

  Returns:
    The space, a `StyleSpace` or a `DrawSpace`.
  """
  if name == "z":
    generate = jax.jit(
      lambda z, labels, psi: task.generate(params, z, labels, psi)
    )
    return DrawSpace(
      decode=lambda z, labels: generate(z, labels, 1.0),
      encode=None,
      latent=task.latent,
      size=task.size,
      told=told,
      source=source,
      generate=generate,
    )
  layers, width = task.generator.layers, task.generator.style
  mean = params["gen_stats"]["mean_style"][None]

  @jax.jit
  def relative(z: Array, labels: Array | None) -> Array:
    return task.styles(params, z, labels) - mean

  scale = _spread(relative, task.latent, told)

  @jax.jit
  def decode(rows: Array, _: None) -> Array:
    styles = rows.reshape(len(rows), layers, width) * scale
    return task.pictures(params, mean[None] + styles)

  return StyleSpace(
    decode=decode,
    encode=None,
    latent=layers * width,
    size=task.size,
    told=told,
    source=source,
    name="w",
    find_style=lambda z, labels: relative(z, labels) / scale,
    noise=task.latent,
    layers=layers,
  )


def _spread(
  relative: Callable[..., Array], noise: int, told: latent_labels.Labels | None
) -> Float[Array, ""]:
  """Root mean square of styles relative to their mean."""
  draws = np.random.default_rng(0).standard_normal((_SPREAD, noise))
  labels = None
  if told is not None:
    # Eight examples are enough to tell a spread.
    labels = jnp.tile(told.draw(0, 8), (_SPREAD // 8, 1))
  offsets = relative(jnp.asarray(draws, jnp.float32), labels)
  return jnp.maximum(jnp.sqrt(jnp.square(offsets).mean()), 1e-6)
