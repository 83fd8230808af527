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
    head: coverage of the head, whatever hides it, for the head mask.
    bare: share of visible bare skin, for the skin mask.
    locks: share of visible scalp hair, for the hair mask.
    pixel: the size of a pixel in face units.
  """

  def __init__(self, size: int, pixel: float) -> None:
    self.pixel = pixel
    # All planes in one array, so that one call thins them all under a layer.
    planes = np.zeros((15, size, size), np.float32)
    self._planes = planes
    self.surface = Surface(
      albedo=planes[0:3],
      normal=planes[3:6],
      height=planes[6],
      skin=planes[7],
      hair=planes[8],
      gloss=planes[9],
      tangent=planes[13:15],
    )
    self.alpha, self.bare, self.locks = planes[10], planes[11], planes[12]
    self.surface.height[:] = -0.8
    self.head = np.zeros((size, size), np.float32)

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
    rows, columns = box
    # Only a layer with strands changes the direction of the strands.
    last = 13 if tangent is None else 15
    self._planes[:last, rows, columns] *= 1 - c

    def add(plane: np.ndarray, value: np.ndarray | float) -> None:
      if isinstance(value, np.ndarray):
        plane[..., rows, columns] += value[..., rows, columns] * c
      elif value:
        plane[rows, columns] += c * np.float32(value)

    height = np.broadcast_to(layer.height, self.alpha.shape)
    add(s.albedo, layer.albedo)
    add(s.height, height)
    add(s.skin, skin)
    add(s.hair, hair)
    add(s.gloss, layer.gloss)
    if tangent is not None:
      add(s.tangent, tangent)
    add(self.alpha, 1.0)
    add(self.bare, bare)
    add(self.locks, hair if locks is None else locks)
    s.normal[:, rows, columns] += normals(height[box], self.pixel) * c


def _bounds(cover: np.ndarray) -> tuple[slice, slice] | None:
  """The box of a coverage, with a margin for the slopes of its heights."""
  rows = np.flatnonzero(cover.max(1))
  if not rows.size:
    return None
  columns = np.flatnonzero(cover.max(0))
  low = max(rows[0] - 2, 0), max(columns[0] - 2, 0)
  return slice(low[0], rows[-1] + 3), slice(low[1], columns[-1] + 3)
