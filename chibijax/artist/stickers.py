"""Stickers in the artist's style: glasses, hats, ears, hearts and the like.

`draw_sticker(name, size)` returns a picture with transparent surroundings and
the points by which it is held to a face (`post.stickers` does that).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.artist import palette
from chibijax.artist.sticker_around import (
  AROUND,
  bubble_symbol,
  clean_text,
  write_text,
)
from chibijax.artist.sticker_ears import EARS
from chibijax.artist.sticker_face import FACE
from chibijax.artist.sticker_hats import HATS
from chibijax.artist.sticker_pen import ANCHORS, Design, Pen
from chibijax.errors import UserError

DESIGNS: dict[str, Design] = {**FACE, **HATS, **EARS, **AROUND}
STICKERS: tuple[str, ...] = tuple(DESIGNS)
# The face's width that a sticker is drawn for, pixels.
_SMALLEST, _LARGEST = 16, 4096


@dataclasses.dataclass(frozen=True)
class Sticker:
  """One drawn sticker.

  Attributes:
    image: RGBA, straight alpha, uint8 sRGB, cropped to what is drawn.
    anchors: points (x, y) in pixels of the image (they may lie outside of it)
      that belong on the face; which ones says `kind`, see
      `sticker_pen.ANCHORS`.
    kind: what of the face holds it: "eyes", "forehead", "head_top", "cheeks",
      "mouth", "jaw", "above" or "beside".
    layer: "over_hair" covers all, "under_hair" is covered by hair,
      "behind_head" by the whole person.
    sided: whether it sits on one side of the head (the viewer's right, or left
      if mirrored).
  """

  image: UInt8[np.ndarray, "h w 4"]
  anchors: Float32[np.ndarray, "n 2"]
  kind: str
  layer: str
  sided: bool


def draw_sticker(
  name: str,
  size: int,
  *,
  color: str | None = None,
  text: str | None = None,
  mirrored: bool = False,
) -> Sticker:
  """Draws one sticker.

  Args:
    name: one of `STICKERS`.
    size: width in pixels of the face it is for, 16 to 4096; a hat's picture is
      about 1.3 times as wide.
    color: main colour: `#rrggbb` or a name of `palette.CLOTHES`; None is the
      sticker's own.
    text: what a speech bubble says, up to 60 characters; None puts a heart
      there. Other stickers have no text.
    mirrored: exchange left and right (not of the text).

  Returns:
    The sticker; drawing it again costs nothing (the last 128 are kept).

  Raises:
    UserError: if the name or colour is unknown, or the text cannot be drawn.
    ValueError: if the size is out of range.
  """
  if name not in DESIGNS:
    raise UserError(
      f"a sticker must be one of {', '.join(STICKERS)}; got {name!r}"
    )
  if not _SMALLEST <= size <= _LARGEST:
    raise ValueError(
      f"size must be in {_SMALLEST}..{_LARGEST} pixels, got {size}"
    )
  color = DESIGNS[name].color if color is None else named_color(color)
  if name != "speech_bubble":
    text = None
  elif text is not None:
    try:
      text = clean_text(text)
    except ValueError as error:
      raise UserError(str(error)) from error
  return _draw(name, size, color, text, mirrored)


def named_color(color: str, *, pale: bool = False) -> str:
  """Returns `#rrggbb` for a colour of the artist or a hex colour.

  Args:
    color: `#rrggbb`, or a name of `palette.CLOTHES` or `palette.BACKGROUND`.
    pale: for names that are in both, take the paler one, of backgrounds.

  Raises:
    UserError: if it is neither.
  """
  first, second = palette.CLOTHES, palette.BACKGROUND
  if pale:
    first, second = second, first
  if color in first or color in second:
    return first.get(color) or second[color]
  try:
    # Written anew, so that nothing but a colour can come out.
    return "#{:02x}{:02x}{:02x}".format(*palette.rgb(color))
  except ValueError:
    raise UserError(
      f"a colour must look like '#ff8080' or be one of "
      f"{', '.join(palette.CLOTHES)}; got {color!r}"
    ) from None


@functools.lru_cache(maxsize=128)
def _draw(
  name: str, size: int, color: str, text: str | None, mirrored: bool
) -> Sticker:
  design = DESIGNS[name]
  left, top, side = design.view
  view = (-(left + side), top, side) if mirrored else design.view
  pen = Pen(view, color, mirrored)
  design.draw(pen)
  if name == "speech_bubble" and text is None:
    bubble_symbol(pen)
  pixels = max(round(size * side / 100), 8)
  image = pen.scene.render(pixels)
  if text is not None:
    image = write_text(image, text, design.view, mirrored=mirrored)
  # Anchors are as far left as right, so that a mirrored drawing has the same.
  anchors = np.array(ANCHORS[design.kind], np.float32)
  anchors = (anchors - np.array(view[:2], np.float32)) * (pixels / side)
  rows = np.flatnonzero(image[..., 3].any(1))
  columns = np.flatnonzero(image[..., 3].any(0))
  corner = int(columns[0]), int(rows[0])
  cropped = image[corner[1] : rows[-1] + 1, corner[0] : columns[-1] + 1].copy()
  cropped.setflags(write=False)
  anchors = (anchors - np.array(corner)).astype(np.float32)
  anchors.setflags(write=False)
  return Sticker(cropped, anchors, design.kind, design.layer, design.sided)
