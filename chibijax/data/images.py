"""Reads one picture file of unknown origin into uint8 sRGB, or says why not.

Conventions: results are uint8 [height, width, 3], sRGB, row 0 at the top, as a
person would see the picture: the EXIF orientation is applied, transparency is
composited over a background, 16-bit values keep their high byte, CMYK and
wide-gamut pictures go through their embedded colour profile, and an animation
gives its first frame. What a file may be and how it is refused:
`chibijax.data.image_files`.

Every problem is an `ImageError` whose `reason` is one of the few words in
`REASONS`, so that a caller can count them. `chibijax.data.photo` reads photos
with what belongs to them.
"""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from chibijax.data import image_files
from chibijax.data.image_files import REASONS, ImageError

__all__ = [
  "FITS", "READER", "REASONS", "SUFFIXES", "WHITE", "Color", "ImageError",
  "Reader", "to_rgb", "to_rgba", "upright",
]  # fmt: skip

Color: TypeAlias = tuple[int, int, int]

SUFFIXES = frozenset(
  ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm"
  " .pnm .tga .avif .jp2 .heic .heif .hif".split()
)
FITS = ("center", "top", "letterbox", "stretch")
MAX_PIXELS = 40_000_000
WHITE: Color = (255, 255, 255)

_ORIENTATION = 0x0112
_TRANSPOSE = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Reader:
  """How pictures are read.

  Attributes:
    size: side of the square result in pixels, or None for the native size.
    fit: how a picture that is not square becomes one. "center" and "top" cut
      the largest square out of the middle or, of an upright portrait, out of
      the top; "letterbox" keeps everything between bars; "stretch" changes
      the proportions.
    background: sRGB colour under transparent parts and letterbox bars.
    min_side: the least shorter side accepted, in pixels.
    max_pixels: the most pixels decoded.
  """

  size: int | None = None
  fit: str = "center"
  background: Color = WHITE
  min_side: int = 1
  max_pixels: int = MAX_PIXELS

  def __post_init__(self) -> None:
    if self.fit not in FITS:
      raise ValueError(
        f"fit must be one of {', '.join(FITS)}, got {self.fit!r}."
      )
    if self.size is not None and self.size < 1:
      raise ValueError(f"size must be positive, got {self.size}.")

  def read(self, file: image_files.File) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes one picture.

    Args:
      file: a path, or a binary file object.

    Returns:
      uint8 sRGB, [size, size, 3] or the native size.

    Raises:
      ImageError: if the file is no picture, is damaged, or is out of bounds.
    """
    with self.opened(file, self._wanted) as picture:
      image_files.load(picture)
      picture = to_rgb(upright(picture), self.background)
      if self.size is not None:
        picture = _fitted(picture, self.size, self.fit, self.background)
      return np.array(picture, np.uint8)

  def read_rgba(
    self, file: image_files.File
  ) -> UInt8[np.ndarray, "height width 4"]:
    """Decodes one picture with its transparency, at its native size.

    Pixels stay where the file has them, whatever its EXIF orientation says:
    a calibrated camera refers to them.

    Args:
      file: a path, or a binary file object.

    Returns:
      uint8 sRGB with straight alpha; opaque where the file has none.

    Raises:
      ImageError: if the file is no picture, is damaged, or is out of bounds.
    """
    with self.opened(file) as picture:
      image_files.load(picture)
      return np.array(to_rgba(picture), np.uint8)

  def check(self, file: image_files.File) -> tuple[int, int]:
    """Checks a picture by its header, without decoding it.

    Args:
      file: a path, or a binary file object.

    Returns:
      Width and height as stored, in pixels.

    Raises:
      ImageError: if the header cannot be read or the size is out of bounds.
    """
    with self.opened(file, self._wanted) as picture:
      if picture.mode == "F":
        raise ImageError("float", image_files.name_of(file))
      return picture.size

  @property
  def _wanted(self) -> int | None:
    """The shorter side to decode at least: twice the result's, for quality."""
    return None if self.size is None else 2 * self.size

  def opened(
    self,
    file: image_files.File,
    wanted: int | None = None,
    by: Callable[[tuple[int, int]], int] = min,
  ) -> contextlib.AbstractContextManager[Image.Image]:
    """Opens a picture within this reader's limits; see `image_files.opened`."""
    return image_files.opened(
      file, self.max_pixels, least=self.min_side, wanted=wanted, by=by
    )


READER = Reader()


def upright(picture: Image.Image) -> Image.Image:
  """Applies the EXIF orientation; unreadable EXIF data counts as none.

  Args:
    picture: a loaded picture.

  Returns:
    The picture as a person would see it.
  """
  try:
    orientation = picture.getexif().get(_ORIENTATION, 1)
  except Exception:  # A bad EXIF block does not make the pixels bad.
    return picture
  # A damaged one may be anything, even a list.
  method = next((m for k, m in _TRANSPOSE.items() if k == orientation), None)
  return picture if method is None else picture.transpose(method)


def to_rgba(picture: Image.Image) -> Image.Image:
  """Converts a picture of any mode to 8-bit sRGB with straight alpha.

  Args:
    picture: a loaded picture.

  Returns:
    A picture of mode "RGBA", opaque where the file has no transparency.

  Raises:
    ImageError: as for `to_rgb`.
  """
  if not picture.has_transparency_data:
    plain = to_rgb(picture)
    plain.putalpha(255)
    return plain
  above = picture.convert("RGBA")
  plain = above.convert("RGB")
  plain.info.pop("transparency", None)
  plain = to_rgb(plain)
  plain.putalpha(above.getchannel("A"))
  return plain


def to_rgb(picture: Image.Image, background: Color = WHITE) -> Image.Image:
  """Converts a picture of any mode to 8-bit sRGB.

  Args:
    picture: a loaded picture.
    background: sRGB colour under transparent parts.

  Returns:
    A picture of mode "RGB".

  Raises:
    ImageError: if the picture holds floating-point values, whose range no
      header gives.
  """
  if picture.mode == "F":
    raise ImageError("float", getattr(picture, "filename", "") or "The picture")
  if picture.mode == "I" or picture.mode.startswith("I;16"):
    # Pillow holds some 16-bit greys, and even 8-bit ones, as 32-bit integers.
    values = np.asarray(picture).astype(np.int64).clip(0)
    bits = int(values.max(initial=0)).bit_length()
    shift = 8 if picture.mode != "I" else max(-(-bits // 8) - 1, 0) * 8
    info = picture.info
    picture = Image.fromarray((values >> shift).astype(np.uint8))
    picture.info = info
  if picture.has_transparency_data:
    above = picture.convert("RGBA")
    below = Image.new("RGBA", above.size, (*background, 255))
    below.alpha_composite(above)
    below.info = picture.info
    picture = below.convert("RGB")
  return _to_srgb(picture)


def _to_srgb(picture: Image.Image) -> Image.Image:
  """Applies an embedded colour profile, unless it is sRGB already."""
  profile = picture.info.get("icc_profile")
  if picture.mode == "LAB":  # Pillow itself cannot convert it.
    lab = ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(
      picture, lab, _srgb_profile(), outputMode="RGB"
    )
  if not profile or picture.mode not in ("RGB", "CMYK", "L"):
    return picture.convert("RGB")
  # The description is ASCII or UTF-16; the test saves a costly no-op.
  if b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile:
    return picture.convert("RGB")
  try:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
      picture, source, _srgb_profile(), outputMode="RGB"
    )
  except (ImageCms.PyCMSError, OSError):  # A bad profile: the plain values.
    return picture.convert("RGB")
  return converted or picture.convert("RGB")


@functools.cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
  """The profile of the results, made at first use."""
  return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _fitted(
  picture: Image.Image, size: int, fit: str, background: Color
) -> Image.Image:
  """Makes an RGB picture square by an antialiased bicubic resize."""
  width, height = picture.size
  # `reducing_gap` shrinks by whole factors first: 2-4 times faster, and at 3
  # indistinguishable from the exact filter.
  resize = functools.partial(
    picture.resize, resample=Image.Resampling.BICUBIC, reducing_gap=3.0
  )
  if fit == "stretch":
    return resize((size, size))
  if fit == "letterbox":
    scale = size / max(width, height)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    canvas = Image.new("RGB", (size, size), background)
    corner = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas.paste(resize(inner), corner)
    return canvas
  side = min(width, height)
  x = (width - side) / 2
  y = 0.0 if fit == "top" else (height - side) / 2
  return resize((size, size), box=(x, y, x + side, y + side))
