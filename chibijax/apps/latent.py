"""The spaces of trained generators: where latents live and what they show.

`load` opens a training of a GAN or an autoencoder; of StyleGAN2 either the
latents z or, unless told otherwise, the styles w (`apps.latent_style`). Codes
of an autoencoder are in `apps.latent_codes`, the ways through latents in
`apps.latent_walk`; `apps.directions` steers by attributes.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from chibijax.apps import latent_labels, latent_walk, pretrained
from chibijax.apps.latent_walk import Images, Latents
from chibijax.data import characters
from chibijax.errors import UserError
from chibijax.ops import image as image_ops

# Latents tried before one is chosen to start from.
_TRIES = 64
# Pictures decoded at a time, for memory's sake.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Space:
  """A generator and the space of its latents.

  Attributes:
    decode: latents [N, L] and labels [N, K] or None to pictures in [-1, 1].
    encode: pictures in [-1, 1] to latents; None where there is no encoder.
    latent: L.
    size: side of the pictures, in pixels.
    told: the labels that it must be told; None where it takes none.
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
  told: latent_labels.Labels | None
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

  def sample(self, key: PRNGKeyArray, count: int) -> Latents:
    """Latents by a key, untruncated; traceable."""
    return jax.random.normal(key, (count, self.latent))

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
    """Labels that a seed draws, if any are wanted."""
    return None if self.told is None else self.told.draw(seed, count)

  def saying(self, words: Sequence[str]) -> "Space":
    """The same generator, told some labels.

    Args:
      words: as of `latent_labels.Labels.saying`.

    Raises:
      UserError: if it takes no labels, or none of these.
    """
    if not words:
      return self
    if self.told is None:
      raise UserError(
        f"--label is for a generator trained with labels; {self.source} takes "
        "none."
      )
    return dataclasses.replace(self, told=self.told.saying(words))

  def path(
    self, stops: Latents, frames: int, *, first_layer: int = 0
  ) -> Float[Array, "m l"]:
    """As `latent_walk.path`; only StyleGAN2 has layers to mix."""
    _check_no_layers(first_layer)
    return latent_walk.path(stops, frames)

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
    """As `latent_walk.breed`; only StyleGAN2 has layers to cross."""
    _check_no_layers(first_layer)
    return latent_walk.breed(
      key, parents, children, mutation=mutation, blend=blend
    )

  def pictures(
    self, z: Latents, labels: Float[Array, "n k"] | None = None
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures of latents, as bytes."""
    found = []
    for start in range(0, len(z), _AT_ONCE):
      rows = slice(start, start + _AT_ONCE)
      told = None if labels is None else labels[rows]
      found.append(np.asarray(image_ops.to_uint8(self.decode(z[rows], told))))
    return np.concatenate(found)

  def find(
    self, images: Images, *, seed: int = 0, steps: int = 200
  ) -> tuple[Latents, Float[Array, " n"]]:
    """Latents of pictures, by the encoder or the nearest draw, then by search.

    Args:
      images: pictures in [-1, 1] of side `size`.
      seed: of the draws.
      steps: of `latent_walk.project`; 0 only starts.

    Returns:
      The latents and the `pyramid_distance` of their pictures.
    """
    labels = self.labels(seed, 1)

    def generate(z: Latents) -> Images:
      if labels is None:
        return self.decode(z, None)
      return self.decode(z, jnp.broadcast_to(labels, (len(z), labels.shape[1])))

    @jax.jit
    def run(images: Images, candidates: Array) -> tuple[Array, Array]:
      if self.encode is None:
        z = latent_walk.nearest(generate, images, candidates)
      else:
        z = self.encode(images)
      if steps:
        z, _ = latent_walk.project(generate, images, z, steps=steps)
      return z, latent_walk.pyramid_distance(generate(z), images)

    return run(images, self.draw(seed, _TRIES))


def load(run: str | pathlib.Path, space: str | None = None) -> Space:
  """Opens the networks of a GAN or an autoencoder.

  Args:
    run: the training's workdir, or what `chibijax export` wrote of it as
      safetensors or a folder.
    space: "z", "w", or None: "w" where there are styles.

  Returns:
    The generator, averaged where there is such.

  Raises:
    UserError: if it holds no training, one of another task, has no such space,
      or its labels are not known any more.
  """
  if space not in (None, "z", "w"):
    raise UserError(f"--space is {space!r}, expected z or w.")
  name = str(pretrained.read_config(run).get("task"))
  if name != "autoencoder" and not name.startswith("gan"):
    raise UserError(
      f"{run} is a training of {name!r}, which has no latents; give one of "
      "'gan' or 'autoencoder'."
    )
  model = pretrained.load(run)
  config, params = model.config, model.params
  task = importlib.import_module(f"chibijax.tasks.{name}").build(config)
  source = f"{run}, step {model.step}"
  if name == "autoencoder":
    _check_no_styles(space, run)
    from chibijax.apps import latent_codes

    return latent_codes.open_space(task, params, source, config)
  told = None
  if task.conditional:
    told = latent_labels.of_training(config, params["gen"], run)
  # An adapted GAN keeps the GAN that goes on.
  gan = getattr(task, "gan", task)
  if hasattr(gan, "styles"):
    from chibijax.apps import latent_style

    return latent_style.open_space(gan, params, source, space or "w", told)
  _check_no_styles(space, run)
  decode = jax.jit(lambda z, labels: task.generate(params, z, labels))
  return Space(decode, None, task.latent, task.size, told, source)


def _check_no_styles(space: str | None, run: str | pathlib.Path) -> None:
  if space == "w":
    raise UserError(f"--space w is for StyleGAN2; {run} has no styles.")


def _check_no_layers(first_layer: int) -> None:
  if first_layer:
    raise UserError(
      "--layer is for StyleGAN2 in --space w; here are no styles to mix."
    )
