"""Hair, skin and background of an aligned face, as shares of its pixels.

The network was trained on the artist's portraits only (configs/
face_segment.py); its weights come with the package. Skin is bare skin of face,
ears, neck and body without eyes, brows, lips, beard and glasses; hair is that
of the scalp; background is what is not the person. The three need not add up to
1: the rest is clothes, features and headwear.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from chibijax.faces import parser_weights
from chibijax.models import face_parser
from chibijax.models.face_parser import SegmentNet

VARIABLE = "CHIBIJAX_SEGMENT"
# Channels of the network that are told; the third is the rest of the person.
CLASSES = {"background": 0, "hair": 1, "skin": 2}

Shares = dict[str, Float32[np.ndarray, "s s"]]


@functools.partial(jax.jit, static_argnames="net")
def _run(
  net: SegmentNet, params: Any, pictures: UInt8[Array, "b s s 3"]
) -> Float[Array, "b s s 4"]:
  """Probabilities of the classes."""
  logits = net.apply({"params": params}, pictures.astype("float32") / 127.5 - 1)
  return jax.nn.softmax(logits)


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
  """Finds masks in aligned pictures; make it with `load`.

  Attributes:
    net: the network.
    params: its weights.
    about: what the file beside the weights says of them.
  """

  net: SegmentNet
  params: Any
  about: dict[str, Any] = dataclasses.field(default_factory=dict)

  # The canonical frame that pictures should be in.
  size = face_parser.SEGMENT.size
  margin = face_parser.SEGMENT.margin

  def __call__(self, aligned: UInt8[np.ndarray, "s s 3"]) -> Shares:
    """Finds the masks of one picture.

    Args:
      aligned: uint8 sRGB in the canonical frame with `margin`; best of side
        `size`, others are resized, and the result back.

    Returns:
      "hair", "skin" and "background", shares in [0, 1] of its pixels.
    """
    picture = parser_weights.resized(aligned, self.size)
    found = np.asarray(_run(self.net, self.params, jnp.asarray(picture[None])))[
      0
    ]
    return _named(found, len(aligned))

  def batch(
    self, pictures: Sequence[UInt8[np.ndarray, "s s 3"]]
  ) -> list[Shares]:
    """Finds the masks of several pictures.

    Args:
      pictures: each as for a single one; sizes may differ.

    Returns:
      The masks of each.
    """
    found = parser_weights.by_batches(
      functools.partial(_run, self.net, self.params),
      pictures,
      functools.partial(parser_weights.resized, side=self.size),
    )
    return [_named(x, len(picture)) for x, picture in zip(found, pictures)]


def _named(shares: Float32[np.ndarray, "n n 4"], side: int) -> Shares:
  """The told classes by name, at the side of the picture asked about."""
  if side != len(shares):
    shares = parser_weights.enlarged(shares, side)
  return {name: shares[..., k] for name, k in CLASSES.items()}


def load(path: str | os.PathLike[str] | None = None) -> Segment:
  """Reads the network's weights.

  Args:
    path: a safetensors file that `parser_weights.save` wrote; None looks at the
      environment variable CHIBIJAX_SEGMENT, then into the package.

  Returns:
    The function that finds masks.

  Raises:
    UserError: if the file is missing, damaged, or of another network.
  """
  named = path or os.environ.get(VARIABLE)
  side = face_parser.SEGMENT.side
  return Segment(*parser_weights.load(named, "segment", SegmentNet, side))
