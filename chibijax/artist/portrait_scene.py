"""Layers of a portrait and the planes they are laid on, from back to front."""

import dataclasses

import numpy as np
from jaxtyping import Float32

from chibijax.artist.portrait_shading import Surface, normals


@dataclasses.dataclass
class Layer:
  """A layer to be laid over the picture, for the shading.

  Attributes:
    cover: coverage 0..1.
    albedo: reflectance, per pixel.
    height: height field.
    gloss: strength of specular light.
  """

  cover: Float32[np.ndarray, "h w"]
  albedo: Float32[np.ndarray, "3 h w"]
  height: Float32[np.ndarray, "h w"]
  gloss: float | np.ndarray = 0.1


class Scene:
  """The layers painted so far, as planes for the deferred shading.

  Attributes:
    surface: the G-buffer.
    alpha: coverage of the person.
    bare: share of visible bare skin, for the skin mask.
    locks: share of visible scalp hair, for the hair mask.
    pixel: the size of a pixel in face units.
  """

  def __init__(self, size: int, pixel: float) -> None:
    shape = (size, size)
    self.pixel = pixel
    self.alpha = np.zeros(shape, np.float32)
    self.bare = np.zeros(shape, np.float32)
    self.locks = np.zeros(shape, np.float32)
    self.surface = Surface(
      albedo=np.zeros((3, *shape), np.float32),
      normal=np.zeros((3, *shape), np.float32),
      height=np.full(shape, -0.8, np.float32),
      skin=np.zeros(shape, np.float32),
      hair=np.zeros(shape, np.float32),
      gloss=np.zeros(shape, np.float32),
      tangent=np.zeros((2, *shape), np.float32),
    )

  def lay(
    self,
    layer: Layer,
    *,
    skin: float | np.ndarray = 0.0,
    hair: float = 0.0,
    bare: float | np.ndarray = 0.0,
    tangent: np.ndarray | None = None,
    locks: float | None = None,
  ) -> None:
    """Lays a layer over what is there.

    Args:
      layer: what to lay.
      skin: its share of skin, for the shading.
      hair: its share of hair, for the shading.
      bare: its share of bare skin, for the mask.
      tangent: direction of its strands, where it has any.
      locks: its share of scalp hair, for the mask; `hair` if left out.
    """
    box = _bounds(layer.cover)
    if box is None:
      return
    s, c = self.surface, layer.cover[box]

    def blend(plane: np.ndarray, value: np.ndarray | float) -> None:
      target = plane[(..., *box)]
      if isinstance(value, np.ndarray):
        value = value[(..., *box)]
      target += (value - target) * c

    blend(s.albedo, layer.albedo)
    blend(s.height, layer.height)
    blend(s.skin, skin)
    blend(s.hair, hair)
    blend(s.gloss, layer.gloss)
    if tangent is not None:
      blend(s.tangent, tangent)
    blend(self.alpha, 1.0)
    blend(self.bare, bare)
    blend(self.locks, hair if locks is None else locks)
    target = s.normal[(..., *box)]
    height = np.broadcast_to(layer.height, self.alpha.shape)[box]
    target += (normals(height, self.pixel) - target) * c


def _bounds(cover: np.ndarray) -> tuple[slice, slice] | None:
  """The box of a coverage, with a margin for the slopes of its heights."""
  rows = np.flatnonzero(cover.max(1))
  if not rows.size:
    return None
  columns = np.flatnonzero(cover.max(0))
  low = max(rows[0] - 2, 0), max(columns[0] - 2, 0)
  return slice(low[0], rows[-1] + 3), slice(low[1], columns[-1] + 3)
