"""Learned perceptual distance of two pictures (LPIPS, Zhang et al. 2018).

Each layer's channels are made a unit vector at each pixel; the squared
differences, weighted by a head for each channel, are averaged over the picture
and summed over the layers. Version 0.1 of the published heads.

What may be called LPIPS: the published heads on the trunk they were trained
for, both files known by their SHA-256. On another trunk (SqueezeNet's Keras
file, say) the heads would weight channels they have never seen; without heads
every channel weighs 1, as in the paper's unlearned baseline. Both are "PD"
(perceptual distance), with the trunk in the name.
"""

import os
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from chibijax.errors import UserError
from chibijax.models.features import network, weights

LAYERS = {
  "squeezenet": (
    *("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
  ),
  "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
  "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
}
WIDTHS = {
  "squeezenet": (64, 128, 256, 384, 384, 512, 512),
  "vgg16": (64, 128, 256, 512, 512),
  "alexnet": (64, 192, 384, 256, 256),
}
_TRUNKS = {"squeeze": "squeezenet", "vgg": "vgg16", "alex": "alexnet"}
# SHA-256 of the published heads.
_HEADS = {
  "squeezenet": (
    "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"
  ),
  "vgg16": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
  "alexnet": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
}
_EPSILON = 1e-10


class PerceptualDistance(flax.struct.PyTreeNode):
  """A trunk and its heads; a pytree.

  Attributes:
    trunk: the feature network.
    heads: weights of each layer's channels; empty: all are 1.
    heads_sha256: of their file.
  """

  trunk: network.Network
  heads: tuple[Any, ...] = ()
  heads_sha256: str = flax.struct.field(pytree_node=False, default="")

  @property
  def name(self) -> str:
    """Such as "LPIPS-squeeze" where it is that, else "PD-...", see above."""
    official = self.trunk.source == "torchvision" and (
      self.heads_sha256 == _HEADS[self.trunk.name]
    )
    if official:
      return f"LPIPS-{self.trunk.short}"
    heads = "-heads" if self.heads else ""
    return f"PD-{self.trunk.short}-{self.trunk.source}{heads}"

  def describe(self) -> dict[str, Any]:
    """What a report says of it."""
    return {
      "name": self.name,
      "trunk": {
        **{k: getattr(self.trunk, k) for k in ("name", "file", "sha256")},
        "weights": self.trunk.source,
        "layers": LAYERS[self.trunk.name],
      },
      "heads_sha256": self.heads_sha256 or "none: every channel weighs 1",
    }

  def __call__(
    self, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
  ) -> Float[Array, " b"]:
    """The distance of each pair of pictures, at their own size.

    Args:
      x: RGB in [-1, 1].
      y: the same shape.

    Returns:
      0 for equal pictures, then positive. Differentiable.

    Raises:
      ValueError: if the shapes differ.
    """
    if x.shape != y.shape:
      raise ValueError(f"Pictures of {x.shape} and {y.shape} are no pairs.")
    names = LAYERS[self.trunk.name]
    # One pass for both, so that the weights are read once.
    layers = self.trunk.layers(jnp.concatenate([x, y]), names)
    total = jnp.zeros(len(x), jnp.float32)
    for i, name in enumerate(names):
      a, b = jnp.split(_unit(layers[name]), 2)
      difference = jnp.square(a - b)
      if self.heads:
        difference = difference * jnp.asarray(self.heads[i]).reshape(
          1, 1, 1, -1
        )
      total = total + difference.sum(-1).mean((1, 2))
    return total


def load(
  name: str,
  path: str | os.PathLike[str] | None = None,
  heads: str | os.PathLike[str] | None = None,
  *,
  force_heads: bool = False,
) -> PerceptualDistance:
  """Loads a perceptual distance.

  Args:
    name: "squeeze", "vgg" or "alex".
    path: the trunk's file, or a folder of weights; None asks the environment.
    heads: the heads' file or folder; None looks where `path` says.
    force_heads: use the heads also on a trunk that they were not trained for.

  Returns:
    The distance; see its `name` for what it may be called.

  Raises:
    UserError: if the name is unknown, weights are missing or do not suit.
  """
  if name not in _TRUNKS:
    raise UserError(
      f"There is no perceptual distance {name!r}; expected one of "
      f"{', '.join(_TRUNKS)}."
    )
  trunk = network.load(_TRUNKS[name], path)
  if trunk.source == "keras" and not force_heads:
    return PerceptualDistance(trunk=trunk)
  where = heads
  if where is None and path is not None and os.path.isdir(path):
    where = path
  found = weights.find(f"lpips-{name}", where)
  if found is None:
    raise UserError(
      f"LPIPS' heads for {name} were not found: name their file, or set "
      f"{weights.VARIABLES[f'lpips-{name}']}."
    )
  arrays, digest = weights.read_heads(found, WIDTHS[trunk.name])
  return PerceptualDistance(
    trunk=trunk,
    heads=tuple(jnp.asarray(head) for head in arrays),
    heads_sha256=digest,
  )


def _unit(x: Array) -> Array:
  """Channels as a unit vector; where all are 0 the gradient is 0, not NaN."""
  square = jnp.square(x).sum(-1, keepdims=True)
  positive = square > 0
  norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
  return x / (norm + _EPSILON)
