"""A feature network with its weights: pictures in, named layers out."""

import os
from collections.abc import Iterable
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.errors import UserError
from chibijax.models.features import (
  inception,
  parts,
  plain,
  squeezenet,
  weights,
)

# The layer whose mean over the picture is the feature vector of set metrics,
# and the side of the pictures for it. FID's is pool3, a vector already.
EMBEDDING = {
  "squeezenet": ("fire9", 224),
  "vgg16": ("relu5_3", 224),
  "vgg19": ("relu5_4", 224),
  "alexnet": ("relu5", 224),
  "inception": ("pool3", 299),
}
# The root mean square of features should be about 1, because KID's kernel
# (x . y / d + 1)^3 has a scale of its own. This training, which takes pictures
# in [0, 255], has 4.1 (photos) to 4.5 (artist) without the factor.
SCALE = {("squeezenet", "keras"): 0.25}
_SHORT = {"squeezenet": "squeeze", "vgg16": "vgg", "alexnet": "alex"}


class Network(flax.struct.PyTreeNode):
  """A feature network; a pytree, so that it can be an argument under `jit`.

  Attributes:
    params: layers by name, each a `kernel` (HWIO) and a `bias`.
    name: "squeezenet", "vgg16", "vgg19", "alexnet" or "inception".
    source: which training the weights are, see `weights.Weights`.
    sha256: of their file.
    file: its name.
    pooling: VGG's, "max" or "mean".
  """

  params: Any
  name: str = flax.struct.field(pytree_node=False)
  source: str = flax.struct.field(pytree_node=False, default="random")
  sha256: str = flax.struct.field(pytree_node=False, default="")
  file: str = flax.struct.field(pytree_node=False, default="")
  pooling: str = flax.struct.field(pytree_node=False, default="max")

  @property
  def short(self) -> str:
    """Its name within those of metrics: "KID-squeeze"."""
    return _SHORT.get(self.name, self.name)

  @property
  def side(self) -> int:
    """Side of the pictures that `embed` is meant for, in pixels."""
    return EMBEDDING[self.name][1]

  @property
  def scale(self) -> float:
    """Factor of `embed`."""
    return SCALE.get((self.name, self.source), 1.0)

  def describe(self) -> dict[str, Any]:
    """What a report says of it."""
    return {
      "network": self.name,
      "weights": self.source,
      "file": self.file,
      "sha256": self.sha256,
      "layer": EMBEDDING[self.name][0],
      "scale": self.scale,
      "side": self.side,
    }

  def layers(
    self, x: Float[Array, "b h w 3"], names: Iterable[str] | None = None
  ) -> dict[str, Array]:
    """Computes layers of pictures, and nothing beyond the last one asked for.

    Args:
      x: RGB in [-1, 1]; what a network does to it first is done here.
      names: which layers; None is all.

    Returns:
      [B, H, W, C] by name (`pool3` of Inception is [B, 2048]).

    Raises:
      ValueError: if there is no such layer, or the picture is too small.
    """
    wanted = None if names is None else set(names)
    found, known = {}, []
    for name, value in self._forward(x):
      known.append(name)
      if wanted is None or name in wanted:
        found[name] = value
      if wanted is not None and len(found) == len(wanted):
        return found
    if wanted is not None:
      missing = ", ".join(sorted(wanted - set(found)))
      raise ValueError(
        f"{self.name} has no layer {missing}; it has {', '.join(known)}."
      )
    return found

  def embed(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
    """One vector for each picture, for metrics of sets.

    Args:
      x: RGB in [-1, 1], best `side` pixels a side.

    Returns:
      The mean over the picture of the layer in `EMBEDDING` (Inception's pool3
      as it is), times `scale`.
    """
    name = EMBEDDING[self.name][0]
    value = self.layers(x, (name,))[name]
    vector = value if value.ndim == 2 else value.mean((1, 2))
    return vector * self.scale

  def _forward(self, x: Array) -> parts.Named:
    x = x.astype(jnp.float32)
    if self.name == "squeezenet":
      x = squeezenet.preprocess(x, self.source)
      return squeezenet.forward(self.params, x, self.source)
    if self.name == "inception":
      return inception.forward(self.params, inception.preprocess(x))
    x = parts.imagenet(x)
    if self.name == "alexnet":
      return plain.forward_alex(self.params, x)
    return plain.forward_vgg(self.params, x, self.name, self.pooling)


def load(
  name: str,
  path: str | os.PathLike[str] | None = None,
  *,
  pooling: str = "max",
) -> Network:
  """Loads a feature network.

  Args:
    name: "squeezenet", "vgg16", "vgg19", "alexnet" or "inception".
    path: its file, or a folder with it; None asks the environment variable
      (`weights.VARIABLES`).
    pooling: VGG's, "max" or "mean".

  Returns:
    The network.

  Raises:
    UserError: if the name is unknown, or weights are missing or do not suit it.
  """
  weights.shapes(name)  # Refuses unknown names.
  if pooling not in ("max", "mean"):
    raise UserError(f"pooling is {pooling!r}, expected 'max' or 'mean'.")
  found = weights.find(name, path)
  if found is None:
    where = f" in {path}" if path else ""
    raise UserError(
      f"Weights of {name} were not found{where}: name the file, or set "
      f"{weights.VARIABLES[name]}."
    )
  read = weights.read(name, found)
  params = {
    layer: {part: jnp.asarray(value) for part, value in arrays.items()}
    for layer, arrays in read.params.items()
  }
  return Network(
    params=params,
    name=name,
    source=read.source,
    sha256=read.sha256,
    file=read.file,
    pooling=pooling,
  )


def untrained(name: str, key: PRNGKeyArray, *, pooling: str = "max") -> Network:
  """A network with random weights, for tests.

  Args:
    name: as for `load`.
    key: typed PRNG key.
    pooling: VGG's.

  Returns:
    The network; its `source` is "random".
  """
  params = weights.random(name, key)
  return Network(params=params, name=name, pooling=pooling)
