"""Reads one picture file of unknown origin into uint8 sRGB, or says why not.

Conventions: results are uint8 [height, width, 3], sRGB, row 0 at the top, as a
person would see the picture: the EXIF orientation is applied, transparency is
composited over a background, 16-bit values keep their high byte, CMYK and
wide-gamut pictures go through their embedded colour profile, and an animation
gives its first frame.

Every problem is an `ImageError` whose `reason` is one of the few words in
`REASONS`, so that a caller can count them. The number of pixels is checked from
the header, before anything is decoded.
"""

import contextlib
import dataclasses
import functools
import io
import os
import warnings
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from chibijax.errors import UserError

Color: TypeAlias = tuple[int, int, int]
File: TypeAlias = str | os.PathLike[str] | io.IOBase

# Readers written in C or small Python; no PostScript, which starts a program.
FORMATS = "JPEG PNG WEBP GIF BMP DIB TIFF PPM TGA AVIF JPEG2000".split()
SUFFIXES = frozenset(
  ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm"
  " .pnm .tga .avif .jp2 .heic .heif".split()
)
FITS = ("center", "top", "letterbox", "stretch")
REASONS = {
  "empty": "is an empty file",
  "unreadable": "is not a picture that can be read",
  "damaged": "is damaged or truncated",
  "huge": "has too many pixels",
  "small": "is too small",
  "float": "holds floating-point values",
}
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

# `catch_warnings` is not safe in the threads that read pictures, so the filter
# is set once, here, and concerns this one class of warning only.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class ImageError(UserError):
  """A picture cannot be used.

  Attributes:
    reason: a key of `REASONS`.
  """

  def __init__(self, reason: str, name: str, detail: str = "") -> None:
    """Makes the sentence "NAME is damaged or truncated (DETAIL)"."""
    super().__init__(reason, name, detail)  # The arguments survive pickling.
    self.reason = reason

  def __str__(self) -> str:
    _, name, detail = self.args
    tail = f" ({detail})" if detail else ""
    return f"{name} {REASONS[self.reason]}{tail}."


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
    max_pixels: the most pixels accepted.
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

  def read(self, file: File) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes one picture.

    Args:
      file: a path, or a binary file object.

    Returns:
      uint8 sRGB, [size, size, 3] or the native size.

    Raises:
      ImageError: if the file is no picture, is damaged, or is out of bounds.
    """
    with self._opened(file) as picture:
      if self.size is not None:
        # JPEG decodes at 1/2, 1/4 or 1/8; twice the target keeps the quality.
        picture.draft(None, (2 * self.size, 2 * self.size))
      picture.load()
      picture = to_rgb(_upright(picture), self.background)
      if self.size is not None:
        picture = _fitted(picture, self.size, self.fit, self.background)
      return np.array(picture, np.uint8)

  def read_rgba(self, file: File) -> UInt8[np.ndarray, "height width 4"]:
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
    with self._opened(file) as picture:
      picture.load()
      if not picture.has_transparency_data:
        opaque = to_rgb(picture)
        opaque.putalpha(255)
        return np.array(opaque, np.uint8)
      above = picture.convert("RGBA")
      plain = above.convert("RGB")
      plain.info.pop("transparency", None)
      plain = to_rgb(plain)
      plain.putalpha(above.getchannel("A"))
      return np.array(plain, np.uint8)

  def check(self, file: File) -> tuple[int, int]:
    """Checks a picture by its header, without decoding it.

    Args:
      file: a path, or a binary file object.

    Returns:
      Width and height as stored, in pixels.

    Raises:
      ImageError: if the header cannot be read or the size is out of bounds.
    """
    with self._opened(file) as picture:
      if picture.mode == "F":
        raise ImageError("float", _name(file))
      return picture.size

  @contextlib.contextmanager
  def _opened(self, file: File) -> Iterator[Image.Image]:
    """Opens a picture, checks its size, and translates every failure."""
    name = _name(file)
    reason = "unreadable"
    try:
      if isinstance(file, str | os.PathLike) and os.path.getsize(file) == 0:
        raise ImageError("empty", name)
      Image.init()  # Registers the formats this build of Pillow has.
      known = [name for name in FORMATS if name in Image.OPEN]
      with Image.open(file, formats=known) as picture:
        width, height = picture.size
        if width * height > self.max_pixels:
          detail = f"{width} x {height}, at most {self.max_pixels:,} pixels"
          raise ImageError("huge", name, detail)
        if min(width, height) < self.min_side:
          detail = f"{width} x {height}, at least {self.min_side} a side"
          raise ImageError("small", name, detail)
        reason = "damaged"
        yield picture
    except (ImageError, MemoryError):
      raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as e:
      raise ImageError("huge", name) from e
    except Exception as e:  # A bad file makes Pillow's parsers raise anything.
      if isinstance(file, str | os.PathLike):
        if os.path.splitext(file)[1].lower() in (".heic", ".heif"):
          raise ImageError(reason, name, "convert HEIC to JPEG first") from e
      raise ImageError(reason, name, type(e).__name__) from e


READER = Reader()


def _name(file: File) -> str:
  """A file as an error message calls it."""
  if isinstance(file, str | os.PathLike):
    return os.fspath(file)
  return str(getattr(file, "name", "the picture"))


def _upright(picture: Image.Image) -> Image.Image:
  """Applies the EXIF orientation; unreadable EXIF data counts as none."""
  try:
    orientation = picture.getexif().get(_ORIENTATION, 1)
  except Exception:  # A bad EXIF block does not make the pixels bad.
    return picture
  method = _TRANSPOSE.get(orientation)
  return picture if method is None else picture.transpose(method)


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
    raise ImageError("float", _name(getattr(picture, "filename", "") or "it"))
  if picture.mode == "I" or picture.mode.startswith("I;16"):
    # Pillow holds some 16-bit greys, and even 8-bit ones, as 32-bit integers.
    values = np.asarray(picture).astype(np.int64).clip(0)
    bits = int(values.max(initial=0)).bit_length()
    shift = 8 if picture.mode != "I" else max(-(-bits // 8) - 1, 0) * 8
    picture = Image.fromarray((values >> shift).astype(np.uint8))
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
  if not profile or picture.mode not in ("RGB", "CMYK"):
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
