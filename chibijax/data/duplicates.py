"""Pictures that show the same, told by what they look like.

A picture's `Fingerprint` is the signs of its 255 lowest frequencies (the DCT of
its grey values at 64 x 64 px: a perceptual hash, Zauner 2010), and its colours
at 16 x 16. Copies differ in few signs, whatever their size, quality, brightness
or colours.

The 64 signs that are usual are too few for portraits, which resemble each other
in their light and place. Of 459 photos of 459 people (`../shared/data/photos`),
two differ in 7 of 63 signs, as many as a brighter copy of one does; of 255, no
two differ in fewer than 69, while JPEGs of quality 30, pictures of a quarter of
the size, brighter ones by 25 % and those cut by 1 % all around differ from
their original in at most 34.

Drawings in one style have the same outlines in other colours: two of 384 of one
set differ in 4 signs. There the colours must agree too: at 16 x 16, those of
the 1405 drawings beside those photos, four styles, differ somewhere by 34 or
more wherever 40 signs or fewer do, and those of a JPEG of quality 30 or of half
the size from their original by at most 22.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt64
from PIL import Image
from scipy import fft

SIGNS = 255
# Signs in which copies may differ.
LIMIT = 40
# By how much the colours of drawings' copies may differ at 16 x 16, of 255.
COLOURS = 28

_SIDE, _LOW, _COLOURS = 64, 16, 16
# Below this a frequency is rounding: drawings that are symmetric lack some.
_NOTHING = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Fingerprint:
  """What is compared of a picture.

  Attributes:
    signs: of its lowest frequencies, packed; the first bit is 0.
    colours: its sRGB colours, averaged over 256 fields.
  """

  signs: UInt64[np.ndarray, "4"]
  colours: UInt8[np.ndarray, "16 16 3"]

  def to_dict(self) -> dict[str, str]:
    """The fingerprint as hexadecimal digits."""
    signs, colours = self.signs.tobytes().hex(), self.colours.tobytes().hex()
    return {"signs": signs, "colours": colours}

  @classmethod
  def from_dict(cls, fields: dict[str, Any]) -> "Fingerprint":
    """Reads what `to_dict` gave.

    Raises:
      ValueError: if it is something else.
      KeyError: if a field is missing.
    """
    signs = np.frombuffer(bytes.fromhex(fields["signs"]), np.uint64)
    colours = np.frombuffer(bytes.fromhex(fields["colours"]), np.uint8)
    return cls(signs.reshape(4), colours.reshape(_COLOURS, _COLOURS, 3))

  @property
  def mirrored(self) -> "Fingerprint":
    """The fingerprint of the picture's mirror image."""
    # Mirroring changes the sign of every odd horizontal frequency.
    odd = np.zeros((_LOW, _LOW), bool)
    odd[:, 1::2] = True
    return Fingerprint(self.signs ^ _packed(odd), self.colours[:, ::-1])


def fingerprint(picture: UInt8[np.ndarray, "h w 3"]) -> Fingerprint:
  """Looks at a picture.

  Args:
    picture: sRGB, of any size.

  Returns:
    What it is compared by.
  """
  whole = Image.fromarray(picture)
  box = Image.Resampling.BOX
  grey = whole.convert("L").resize((_SIDE, _SIDE), box)
  values = np.asarray(grey, np.float64)
  frequencies = fft.dctn(values, norm="ortho")[:_LOW, :_LOW]
  colours = np.asarray(whole.resize((_COLOURS, _COLOURS), box))
  return Fingerprint(_packed(frequencies > _NOTHING), colours)


def _packed(signs: np.ndarray) -> UInt64[np.ndarray, "4"]:
  """Signs as four numbers, without that of the mean."""
  signs = signs.ravel().copy()
  signs[0] = False
  # Little-endian everywhere, as the digits are kept in files.
  return np.packbits(signs).view("<u8").astype(np.uint64)


class Seen:
  """The pictures so far, to find copies among.

  Attributes:
    limit: signs in which copies differ at most; none are found below 0.
    colours: how much their colours may differ, or None for any.
  """

  def __init__(self, limit: int, colours: int | None = None) -> None:
    self.limit = limit
    self.colours = colours
    self._names: list[str] = []
    # Four rows, so that a row is counted at the processor's own width.
    self._signs = np.zeros((4, 64), np.uint64)
    self._colours = np.zeros((64, _COLOURS, _COLOURS, 3), np.uint8)

  def add(self, name: str, picture: Fingerprint) -> None:
    """Remembers a picture under a name."""
    count = len(self._names)
    if count == self._signs.shape[1]:
      self._signs = np.pad(self._signs, ((0, 0), (0, count)))
    self._signs[:, count] = picture.signs
    if self.colours is not None:
      if count == len(self._colours):
        self._colours = np.pad(self._colours, ((0, count), *[(0, 0)] * 3))
      self._colours[count] = picture.colours
    self._names.append(name)

  def find(self, picture: Fingerprint) -> tuple[str, int] | None:
    """Finds the picture of which this is a copy, or a mirrored one.

    Args:
      picture: the picture; 100,000 remembered ones take about a millisecond.

    Returns:
      The closest one's name and in how many signs it differs, or None.
    """
    best: tuple[str, int] | None = None
    count = len(self._names)
    for one in (picture, picture.mirrored):
      different = np.bitwise_count(self._signs[:, :count] ^ one.signs[:, None])
      # At most 255, which a byte holds.
      distances = different.sum(0, dtype=np.uint8)
      near = np.flatnonzero(distances <= self.limit)
      if self.colours is not None:
        known = self._colours[near].astype(int)
        apart = np.abs(known - one.colours).max((1, 2, 3), initial=0)
        near = near[apart <= self.colours]
      if near.size:
        index = near[distances[near].argmin()]
        if best is None or distances[index] < best[1]:
          best = self._names[index], int(distances[index])
    return best
