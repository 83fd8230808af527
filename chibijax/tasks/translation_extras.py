"""Losses that any translation model can be given on top of its own.

* `loss.crop`: weight of crop consistency (VToonify), against the flicker of
  videos: MSE(crop(G(x)), G(crop(x))) for one part of the picture a step.
* `loss.face`: weight of face identity (photo2cartoon), 1 - cosine between the
  embeddings of a picture and of its translation. `loss.face_embedder` is the
  dotted name of a function without arguments that returns the embedder, such as
  "mine.make" of a file mine.py where the training is started. The embedder maps
  pictures in [-1, 1], [B, H, W, 3], to vectors [B, D] and is differentiable.
  Its weights become constants of the compiled step.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core.types import Metrics
from chibijax.errors import UserError
from chibijax.losses import translation
from chibijax.tasks.translation_common import Images

# A crop's share of a picture's side, at most.
SHARE = 0.75


@dataclasses.dataclass(frozen=True)
class Extras:
  """The extra losses; none by default.

  Attributes:
    crop: weight of crop consistency.
    face: weight of face identity.
    embed: the face embedder, needed where `face` is above 0.
    multiple: what the generator needs sides to be multiples of.
    min_size: how long it needs them at least.
  """

  crop: float = 0.0
  face: float = 0.0
  embed: Callable[[Images], Float[Array, "b d"]] | None = None
  multiple: int = 1
  min_size: int = 1

  @property
  def active(self) -> bool:
    """Whether there is any extra loss."""
    return self.crop > 0 or self.face > 0

  def __call__(
    self,
    generate: Callable[[Images], Images],
    x: Images,
    y: Images,
    key: PRNGKeyArray,
  ) -> tuple[Float[Array, ""], Metrics]:
    """Computes the weighted sum and the unweighted parts.

    Args:
      generate: the generator.
      x: pictures in [-1, 1].
      y: `generate(x)`.
      key: draws the part; the same on all shards.

    Returns:
      The loss and metrics by name.

    Raises:
      UserError: if the pictures are too small to be cropped.
    """
    loss, metrics = jnp.zeros(()), {}
    if self.crop > 0:
      crop = self._crop(x.shape[1:3], key)
      value = translation.crop_consistency(crop(y), generate(crop(x)))
      loss += self.crop * value
      metrics["loss/crop"] = value
    if self.face > 0:
      value = translation.face_identity(self.embed(y), self.embed(x))
      loss += self.face * value
      metrics["loss/face"] = value
    return loss, metrics

  def _crop(
    self, shape: tuple[int, int], key: PRNGKeyArray
  ) -> Callable[[Images], Images]:
    """Cuts the same part, drawn at random, out of whatever it is given."""
    size = [int(SHARE * n) // self.multiple * self.multiple for n in shape]
    if min(size) < max(self.min_size, 1):
      raise UserError(
        f"loss.crop cuts parts out of pictures of {shape[0]}x{shape[1]}, but "
        f"the generator needs sides that are multiples of {self.multiple} and "
        f"at least {self.min_size}: train on larger pictures or set it to 0."
      )
    start = [
      jax.random.randint(k, (), 0, n - s + 1)
      for k, n, s in zip(jax.random.split(key), shape, size)
    ]

    def crop(images: Images) -> Float[Array, "b h2 w2 c"]:
      begin = (0, *start, 0)
      return lax.dynamic_slice(
        images, begin, (len(images), *size, images.shape[3])
      )

    return crop


def make(config: Any, multiple: int, min_size: int) -> Extras:
  """Reads the extra losses of a config.

  Args:
    config: the experiment.
    multiple: what the generator needs sides to be multiples of.
    min_size: how long it needs them at least.

  Returns:
    The losses.

  Raises:
    UserError: if a weight is negative or the embedder cannot be had.
  """
  loss = config.loss
  crop, face = loss.get("crop", 0.0), loss.get("face", 0.0)
  if min(crop, face) < 0:
    raise UserError(
      f"loss.crop and loss.face must not be negative, got {crop} and {face}."
    )
  embed = _embedder(loss.get("face_embedder", "")) if face > 0 else None
  return Extras(crop, face, embed, multiple, min_size)


def _embedder(name: str) -> Callable[[Images], Float[Array, "b d"]]:
  """Imports the function of a dotted name and calls it."""
  module, _, function = name.rpartition(".")
  try:
    factory = getattr(importlib.import_module(module), function)
  except (ImportError, AttributeError, ValueError) as error:
    raise UserError(f"{_wanted(name)} ({error}).") from None
  embedder = factory() if callable(factory) else None
  if not callable(embedder):
    raise UserError(f"{_wanted(name)}; it returns none.")
  return embedder


def _wanted(name: str) -> str:
  return (
    f"loss.face_embedder is {name!r}, expected the dotted name of a function "
    "that returns a face embedder"
  )
