"""The 68 landmarks of an aligned face: our regressor, or the mean face.

The regressor was trained on the artist's portraits only (configs/
face_landmarks.py); its weights come with the package. Points follow the
artist's conventions, which are iBUG's: a jaw line from temple to temple through
the chin, brows along their upper edge, eyes at the rim of the lids.
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

from chibijax.faces import align, parser_weights
from chibijax.models import face_parser
from chibijax.models.face_parser import LandmarkNet

VARIABLE = "CHIBIJAX_LANDMARKS"


def from_points(
  points: Float[np.ndarray, "5 2"],
) -> Float32[np.ndarray, "68 2"]:
  """The mean face where five points say that a face is.

  Needs no weights: a fallback, and what a regressor must beat.

  Args:
    points: eyes, nose, corners of the mouth in pixels.

  Returns:
    The artist's mean frontal face, moved by a similarity, in those pixels.
  """
  return align.move(
    align.invert(align.find_transform(points, 1)), face_parser.MEAN_SHAPE
  )


@functools.partial(jax.jit, static_argnames="net")
def _run(
  net: LandmarkNet, params: Any, pictures: UInt8[Array, "b s s 3"]
) -> Float[Array, "b 68 2"]:
  """The mean of both heads, in units of the window's side."""
  return _heads(net, params, pictures).mean(0)


@functools.partial(jax.jit, static_argnames="net")
def _heads(
  net: LandmarkNet, params: Any, pictures: UInt8[Array, "b s s 3"]
) -> Float[Array, "2 b 68 2"]:
  """Both heads, in units of the window's side."""
  unit = pictures.astype("float32") / 127.5 - 1
  return jnp.stack(net.apply({"params": params}, unit))


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
  """Finds 68 points in aligned pictures; make it with `load`.

  Attributes:
    net: the network.
    params: its weights.
    about: what the file beside the weights says of them.
  """

  net: LandmarkNet
  params: Any
  about: dict[str, Any] = dataclasses.field(default_factory=dict)

  # The canonical frame that pictures should be in.
  size = face_parser.LANDMARKS.size
  margin = face_parser.LANDMARKS.margin

  def __call__(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> Float32[np.ndarray, "68 2"]:
    """Finds the points of one face.

    Args:
      aligned: uint8 sRGB in the canonical frame with `margin`; best of side
        `size`, others are resized.

    Returns:
      The points in pixels of the picture.
    """
    scale = len(aligned) / self.size
    found = _run(
      self.net, self.params, jnp.asarray(self._window(aligned)[None])
    )
    return self._place(np.asarray(found)[0], scale)

  def judge(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> tuple[Float32[np.ndarray, "68 2"], float]:
    """Finds the points of what may be a face, and how doubtful they are.

    Args:
      aligned: as for a single one.

    Returns:
      The points, and how far the network's two heads are apart on average, in
      distances of the eyes. On 15 photos of faces it was 0.03 to 0.07, of the
      same faces upside down 0.14 and more, beside them 0.11 and more.
    """
    heads = np.asarray(
      _heads(self.net, self.params, jnp.asarray(self._window(aligned)[None]))
    )[:, 0]
    points = heads.mean(0)
    eyes = points[36:42].mean(0) - points[42:48].mean(0)
    apart = np.linalg.norm(heads[0] - heads[1], axis=-1).mean()
    doubt = float(apart / max(float(np.linalg.norm(eyes)), 1e-6))
    return self._place(points, len(aligned) / self.size), doubt

  def batch(
    self, pictures: Sequence[UInt8[np.ndarray, "s s 3"]]
  ) -> list[Float32[np.ndarray, "68 2"]]:
    """Finds the points of several faces.

    Args:
      pictures: each as for a single one; sizes may differ.

    Returns:
      The points of each in its pixels.
    """
    found = parser_weights.by_batches(
      functools.partial(_run, self.net, self.params), pictures, self._window
    )
    return [
      self._place(points, len(picture) / self.size)
      for points, picture in zip(found, pictures)
    ]

  def _window(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> UInt8[np.ndarray, "side side 3"]:
    """What the network sees of a picture."""
    left, top = face_parser.LANDMARKS.corner
    side = face_parser.LANDMARKS.side
    picture = parser_weights.resized(aligned, self.size)
    return picture[top : top + side, left : left + side]

  def _place(
    self, points: Float32[np.ndarray, "68 2"], scale: float
  ) -> Float32[np.ndarray, "68 2"]:
    """Pixels of a picture from units of the window's side."""
    window = face_parser.LANDMARKS
    found = points * window.side + np.array(window.corner, np.float32)
    return found * np.float32(scale)


def load(path: str | os.PathLike[str] | None = None) -> Landmarks:
  """Reads the regressor's weights.

  Args:
    path: a safetensors file that `parser_weights.save` wrote; None looks at the
      environment variable CHIBIJAX_LANDMARKS, then into the package.

  Returns:
    The function that finds points.

  Raises:
    UserError: if the file is missing, damaged, or of another network.
  """
  named = path or os.environ.get(VARIABLE)
  side = face_parser.LANDMARKS.side
  return Landmarks(*parser_weights.load(named, "landmarks", LandmarkNet, side))
