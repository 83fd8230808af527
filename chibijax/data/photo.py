"""A photo with what belongs to it: pixels, transparency, origin.

`chibijax.data.images` says how files become pixels, and refuses the others.
"""

import dataclasses
import hashlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.data import image_files, images

# What of a photo's EXIF may go into a picture made of it: camera, date and
# exposure. All else stays behind: place, names, numbers, maker's notes.
_KEPT_EXIF = (271, 272, 306)
_EXPOSURE = 0x8769
_KEPT_EXPOSURE = (33434, 33437, 34855, 36867, 36868, 36881, 37386)


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
  """One photo as it was read.

  Attributes:
    name: the file, as a sentence calls it.
    pixels: uint8 sRGB, upright; over the background where it is transparent.
    rgba: the same with straight alpha, or None when the photo is opaque.
    size: width and height of the upright photo in its file.
    format: "JPEG", "PNG" and so on.
    sha256: of the file's bytes, as hexadecimal digits.
    exif: camera, date and exposure, for a picture made of this one; b"" when
      the file says none of them. Place and names are left out.
  """

  name: str
  pixels: UInt8[np.ndarray, "h w 3"]
  rgba: UInt8[np.ndarray, "h w 4"] | None
  size: tuple[int, int]
  format: str
  sha256: str
  exif: bytes

  @property
  def alpha(self) -> UInt8[np.ndarray, "h w"] | None:
    """The photo's transparency, 255 where it is opaque, or None."""
    return None if self.rgba is None else self.rgba[..., 3]

  @property
  def scale(self) -> float:
    """Pixels of `pixels` per pixel of the file along a side; 1 or less."""
    return max(self.pixels.shape[:2]) / max(self.size)


def read(
  file: image_files.File,
  *,
  longest: int | None = None,
  background: images.Color = images.WHITE,
  max_pixels: int = images.MAX_PIXELS,
) -> Photo:
  """Reads a photo.

  Args:
    file: a path, "-" for the standard input, the file's bytes, or a binary
      file object.
    longest: larger photos are reduced so that their longer side has so many
      pixels; large JPEGs are decoded at a lower resolution then, which saves
      most of the time and the memory. None keeps the photo's own size.
    background: sRGB colour under transparent parts.
    max_pixels: the most pixels decoded. With `longest`, JPEGs may have more.

  Returns:
    The photo.

  Raises:
    ImageError: if the file is no picture, is damaged, or is out of bounds.
  """
  if longest is not None and longest < 1:
    raise ValueError(f"longest must be positive, got {longest}.")
  data = image_files.read_bytes(file)
  name = image_files.name_of(file)
  reader = images.Reader(max_pixels=max_pixels)
  try:
    with reader.opened(data, longest, by=max) as picture:
      form, size = picture.format or "", picture.size
      image_files.load(picture)
      exif = _exif(picture)
      turned = images.upright(picture)
      if turned.size != picture.size:
        size = size[::-1]
      turned = _reduced(turned, longest)
      rgba = None
      if turned.has_transparency_data:
        rgba = np.array(images.to_rgba(turned), np.uint8)
      pixels = np.array(images.to_rgb(turned, background), np.uint8)
  except image_files.ImageError as error:
    raise image_files.ImageError(error.reason, name, error.args[2]) from error
  digest = hashlib.sha256(data).hexdigest()
  return Photo(name, pixels, rgba, size, form, digest, exif)


def _reduced(picture: Image.Image, longest: int | None) -> Image.Image:
  """Shrinks a picture, of any mode, to a longer side."""
  if longest is None or max(picture.size) <= longest:
    return picture
  scale = longest / max(picture.size)
  size = tuple(max(round(n * scale), 1) for n in picture.size)
  info = picture.info
  if picture.mode in ("P", "PA", "1") or "transparency" in info:
    # Numbers of colours cannot be averaged, nor can a transparent colour.
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    picture = picture.convert(mode)
  small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
  small.info = {k: v for k, v in info.items() if k != "transparency"}
  return small


def _exif(picture: Image.Image) -> bytes:
  """The part of a picture's EXIF that may be handed on."""
  try:
    found, kept = picture.getexif(), Image.Exif()
    kept.update({tag: found[tag] for tag in _KEPT_EXIF if tag in found})
    inner = found.get_ifd(_EXPOSURE)
    exposure = {tag: inner[tag] for tag in _KEPT_EXPOSURE if tag in inner}
    if exposure:
      kept[_EXPOSURE] = exposure
    return kept.tobytes() if len(kept) else b""
  except Exception:  # A bad EXIF block does not make the pixels bad.
    return b""
