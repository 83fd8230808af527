"""A face seen in the frames that measuring needs, and colours in OKLab.

Places are (x, y) in units of the canonical frame's side (`faces.align`): the
eyes lie at y 0.48, the mouth at 0.676, the chin at about 0.81, the top of the
skull at about 0.15; one distance between the eyes is 0.19. Two pictures are
taken of a face: `wide` shows head, shoulders and what is around, coarsely;
`near` shows the face, finely. Colours are OKLab (Ottosson 2020).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from chibijax.faces import align

WIDE_SIDE = 96
# The wide frame's left, top and side, in units of the canonical frame's side.
WIDE_BOX = (-0.35, -0.30, 1.70)
CROWN_SIDE = 128
CROWN_BOX = (0.1, -0.1, 0.8)
NEAR_SIDE = 160
NEAR_BOX = (0.20, 0.28, 0.60)

_TO_LMS = np.array(
  [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ],
  np.float32,
)
_TO_LAB = np.array(
  [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
  ],
  np.float32,
)


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """A square picture of a part of the canonical frame.

  Attributes:
    lab: OKLab.
    valid: what the photo shows; elsewhere `lab` repeats the photo's border.
    box: left, top and side in units of the canonical frame's side.
    transform: from the photo to this picture's pixels.
  """

  lab: Float32[np.ndarray, "s s 3"]
  valid: Bool[np.ndarray, "s s"]
  box: tuple[float, float, float]
  transform: Float32[np.ndarray, "2 3"]

  @property
  def scale(self) -> float:
    """Pixels per unit of the canonical frame's side."""
    return len(self.lab) / self.box[2]

  def part(
    self, left: float, top: float, right: float, bottom: float
  ) -> tuple[slice, slice]:
    """The rows and columns of a rectangle, at least one of each."""
    side, size = len(self.lab), self.scale
    x0, x1 = (round((x - self.box[0]) * size) for x in (left, right))
    y0, y1 = (round((y - self.box[1]) * size) for y in (top, bottom))
    y0, x0 = (min(max(v, 0), side - 1) for v in (y0, x0))
    return slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))


def view(
  photo: UInt8[np.ndarray, "h w 3"],
  points: Float[np.ndarray, "5 2"],
  box: tuple[float, float, float],
  side: int,
) -> View:
  """Takes a square picture of a face.

  Args:
    photo: uint8 sRGB.
    points: the five points of the face in pixels of the photo.
    box: left, top and side in units of the canonical frame's side.
    side: pixels.

  Returns:
    The picture.
  """
  unit = align.find_transform(points, 256) * np.float32(1 / 256)
  shift = np.array([[0, 0, box[0]], [0, 0, box[1]]], np.float32)
  transform = (unit - shift) * np.float32(side / box[2])
  picture = _shrunk_warp(photo, transform, side)
  x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
  places = align.move(align.invert(transform), np.stack([x, y], -1))
  limit = np.array(photo.shape[1::-1])
  valid = ((places >= 0) & (places <= limit)).all(-1)
  return View(oklab(picture), valid, box, transform)


def _shrunk_warp(
  photo: UInt8[np.ndarray, "h w 3"],
  transform: Float32[np.ndarray, "2 3"],
  side: int,
) -> UInt8[np.ndarray, "side side 3"]:
  """`align.warp`, with less to copy where the picture is much coarser."""
  scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
  factor = min(int(1 / max(scale, 1e-6)), *photo.shape[:2])
  if factor < 2:
    return align.warp(photo, transform, (side, side))
  small = np.asarray(Image.fromarray(photo).reduce(factor))
  coarse = transform * np.array([factor, factor, 1], np.float32)
  return align.warp(small, coarse, (side, side))


@functools.lru_cache(maxsize=4)
def places(
  box: tuple[float, float, float], side: int
) -> tuple[Float32[np.ndarray, "s s"], Float32[np.ndarray, "s s"]]:
  """x and y of a view's pixels, in units of the canonical frame's side."""
  steps = (np.arange(side, dtype=np.float32) + 0.5) * (box[2] / side)
  x, y = np.meshgrid(box[0] + steps, box[1] + steps)
  x.flags.writeable = y.flags.writeable = False
  return x, y


def oklab(rgb: UInt8[np.ndarray, "*n 3"]) -> Float32[np.ndarray, "*n 3"]:
  """Converts sRGB bytes to OKLab: lightness 0..1, then the a and b axes."""
  lms = _linear()[rgb] @ _TO_LMS.T
  return np.cbrt(lms) @ _TO_LAB.T


def hex_of(lab: Float[np.ndarray, "3"]) -> str:
  """The sRGB hex string of an OKLab colour, clipped to the gamut."""
  lms = np.linalg.solve(_TO_LAB.astype(np.float64), lab) ** 3
  linear = np.clip(np.linalg.solve(_TO_LMS.astype(np.float64), lms), 0, 1)
  coded = np.where(
    linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
  )
  return "#{:02x}{:02x}{:02x}".format(*np.round(255 * coded).astype(int))


def typical(lab: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
  """A robust mean colour: the mean of the half that is closest to the median.

  Args:
    lab: OKLab colours, at least one.

  Returns:
    The colour.
  """
  middle = np.median(lab, axis=0)
  far = np.abs(lab - middle) @ np.array([1.0, 2.0, 2.0])
  return lab[far <= np.median(far)].mean(0)


def box_mean(
  plane: Float[np.ndarray, "h w *c"], radius: int
) -> Float[np.ndarray, "h w *c"]:
  """The mean over a square of 2 radius + 1 pixels, borders repeated."""
  for axis in (0, 1):
    n = plane.shape[axis]
    total = plane.copy()
    # Few shifted sums are faster than a running sum at the small radii in use.
    for step in range(1, radius + 1):
      at = np.arange(n)
      total += np.take(plane, np.minimum(at + step, n - 1), axis)
      total += np.take(plane, np.maximum(at - step, 0), axis)
    plane = total / plane.dtype.type(2 * radius + 1)
  return plane


@functools.lru_cache(maxsize=1)
def _linear() -> Float32[np.ndarray, "256"]:
  coded = np.arange(256) / 255
  low = coded / 12.92
  high = ((coded + 0.055) / 1.055) ** 2.4
  return np.where(coded <= 0.04045, low, high).astype(np.float32)
