"""Writing pictures: PNG, JPEG or WebP by the name, whole or not at all.

Pictures are uint8, or float in [0, 1], sRGB: [h, w], [h, w, 1], [h, w, 3], or
[h, w, 4] with straight alpha. PNG and WebP keep the transparency; JPEG has
none, so there the picture is set on a background.
"""

import dataclasses
import io
import pathlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, PngImagePlugin

from chibijax.core import workdir
from chibijax.data.images import WHITE, Color
from chibijax.errors import UserError

Picture: TypeAlias = UInt8[np.ndarray, "h w *c"] | Float[np.ndarray, "h w *c"]

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 92
# A side in pixels that the format can have at most.
_MOST = {"JPEG": 65_535, "WEBP": 16_383, "PNG": 2**31 - 1}


@dataclasses.dataclass(frozen=True)
class Metadata:
  """What a picture says about itself.

  Attributes:
    text: text of a PNG by keyword of 1 to 79 Latin-1 characters; the other
      formats have no such place.
    xmp: an XMP packet, UTF-8; all formats keep it.
    exif: an EXIF block; all formats keep it.
    icc: a colour profile; None is sRGB, unsaid.
  """

  text: Mapping[str, str] = dataclasses.field(default_factory=dict)
  xmp: bytes = b""
  exif: bytes = b""
  icc: bytes | None = None


def save(
  path: pathlib.Path,
  image: Picture,
  *,
  quality: int = QUALITY,
  metadata: Metadata | None = None,
  background: Color = WHITE,
) -> None:
  """Writes a whole picture or none, and the folders above it.

  Args:
    path: its suffix is one of `FORMATS`.
    image: see above.
    quality: of JPEG and WebP, 1 to 100; WebP is lossless at 100.
    metadata: what the file shall say.
    background: sRGB colour under transparent parts in a JPEG.

  Raises:
    UserError: if the name is none of a picture, or the file cannot be written.
  """
  write(
    path,
    encode(
      image,
      form_of(path),
      quality=quality,
      metadata=metadata,
      background=background,
    ),
  )


def form_of(path: pathlib.Path) -> str:
  """The format that a name stands for.

  Args:
    path: the name of a picture.

  Returns:
    A value of `FORMATS`.

  Raises:
    UserError: if it is none of them.
  """
  form = FORMATS.get(path.suffix.lower())
  if form is None:
    raise UserError(
      f"{path} is not a name that pictures are written under; expected one of "
      f"{', '.join(FORMATS)}."
    )
  return form


def check_other(path: pathlib.Path, photo: pathlib.Path) -> None:
  """Refuses to write a result in the place of what it is made from.

  Args:
    path: the result.
    photo: what is read.

  Raises:
    UserError: if they are one file.
  """
  try:
    same = path.samefile(photo)
  except OSError:  # One of them does not exist.
    return
  if same:
    raise UserError(
      f"{path} is the photo itself; give the result another name."
    )


def write(path: pathlib.Path, data: bytes) -> None:
  """Writes a whole file or none, and the folders above it.

  Args:
    path: the file.
    data: all of it.

  Raises:
    UserError: if it cannot be written.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    workdir.write_bytes(path, data)
  except OSError as error:
    raise UserError(
      f"{path} cannot be written ({error.strerror or error})."
    ) from error


def encode(
  image: Picture,
  form: str = "PNG",
  *,
  quality: int = QUALITY,
  metadata: Metadata | None = None,
  background: Color = WHITE,
) -> bytes:
  """The bytes of a picture's file.

  Args:
    image: see above.
    form: "PNG", "JPEG" or "WEBP".
    quality: as for `save`.
    metadata: as for `save`.
    background: as for `save`.

  Returns:
    The file's bytes.

  Raises:
    ValueError: if the picture's shape, or the quality, is not allowed.
    UserError: if the format has no room for so many pixels.
  """
  if not 1 <= quality <= 100:
    raise ValueError(f"quality must be in 1 to 100, got {quality}")
  picture = _to_picture(image)
  if max(picture.size) > _MOST[form]:
    raise UserError(
      f"a {form} has at most {_MOST[form]:,} pixels a side, and this picture "
      f"{picture.width} x {picture.height}."
    )
  if form == "JPEG":
    picture = _flat(picture, background)
  buffer = io.BytesIO()
  picture.save(buffer, form, **_options(form, quality, metadata or Metadata()))
  return buffer.getvalue()


def flatten(
  image: Picture, background: Color = WHITE
) -> UInt8[np.ndarray, "h w *opaque"]:
  """Sets a picture with transparent parts on a background, as a JPEG has it.

  Args:
    image: see above.
    background: sRGB colour under transparent parts.

  Returns:
    The picture as bytes, without transparency.
  """
  return np.asarray(_flat(_to_picture(image), background))


def _flat(picture: Image.Image, background: Color) -> Image.Image:
  if picture.mode != "RGBA":
    return picture
  below = Image.new("RGBA", picture.size, (*background, 255))
  below.alpha_composite(picture)
  return below.convert("RGB")


def _options(form: str, quality: int, metadata: Metadata) -> dict[str, Any]:
  """What Pillow's writer of a format is told."""
  options: dict[str, Any] = {}
  if metadata.exif:
    options["exif"] = metadata.exif
  if metadata.icc:
    options["icc_profile"] = metadata.icc
  if form == "PNG":
    info = PngImagePlugin.PngInfo()
    for keyword, text in metadata.text.items():
      info.add_itxt(keyword, text)
    if metadata.xmp:
      info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8"))
    return options | {"pnginfo": info}
  if metadata.xmp:
    options["xmp"] = metadata.xmp
  options["quality"] = quality
  if form == "WEBP":
    # Colours under full transparency are kept, as in a PNG.
    return options | {"lossless": quality == 100, "method": 4, "exact": True}
  # Flat colours next to lines fray where the colour is stored at half size.
  return options | {"subsampling": 0 if quality >= 90 else 2, "optimize": True}


def _to_picture(image: Picture) -> Image.Image:
  array = np.asarray(image)
  if array.ndim == 3 and array.shape[2] == 1:
    array = array[..., 0]
  if array.ndim not in (2, 3) or (
    array.ndim == 3 and array.shape[2] not in (3, 4)
  ):
    raise ValueError(
      f"a picture must be [h, w], [h, w, 3] or [h, w, 4], got {array.shape}"
    )
  if array.dtype != np.uint8:
    array = np.round(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
  return Image.fromarray(np.ascontiguousarray(array))
