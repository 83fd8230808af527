"""What floats around the head as stickers, and the speech bubble."""

import functools
import os
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Number
from chibijax.artist.sticker_pen import (
  Design,
  Pen,
  heart,
  sparkle,
  star,
)

MAX_TEXT = 60
# Where text may stand in the bubble: centre, and half of its width and height.
BUBBLE_TEXT = ((98.0, -62.0), (31.0, 19.0))
_INK = (58, 46, 56)
FONT_VARIABLE = "CHIBIJAX_FONT"


def _hearts(pen: Pen) -> None:
  places = (
    (-66, -66, 12, -20),
    (-40, -106, 9, -8),
    (2, -118, 13, 6),
    (44, -104, 9, 14),
    (68, -62, 12, 20),
    (-74, -30, 7, -26),
    (75, -26, 7, 24),
  )
  for k, (x, y, size, angle) in enumerate(places):
    color = palette.shade(pen.color, 0.3 if k % 2 else 0.0)
    pen.piece(heart(x, y, size, angle), color=color, shade=(2, -2), width=1.4)
    tilt = np.radians(angle)
    dx, dy = -0.5 * size, -0.42 * size
    pen.fill(
      canvas.ellipse(
        x + dx * np.cos(tilt) - dy * np.sin(tilt),
        y + dx * np.sin(tilt) + dy * np.cos(tilt),
        0.2 * size,
        0.13 * size,
        -40 + angle,
      ),
      color="#ffffff",
      opacity=0.85,
    )


def _sparkles(pen: Pen) -> None:
  places = (
    (-66, -70, 18),
    (-78, -42, 8),
    (-42, -106, 9),
    (60, -88, 20),
    (74, -52, 9),
    (34, -112, 7),
    (-62, 6, 7),
    (66, -6, 10),
  )
  for x, y, radius in places:
    pen.piece(sparkle(x, y, radius), width=1.2)
    pen.fill(sparkle(x, y, 0.5 * radius), color="#ffffff", opacity=0.9)


def _stars(pen: Pen) -> None:
  places = (
    (-66, -62, 13, -16),
    (-40, -100, 10, 10),
    (0, -114, 14, 0),
    (42, -100, 10, -10),
    (68, -60, 13, 18),
    (-74, -26, 7, 0),
    (75, -24, 7, 12),
  )
  for k, (x, y, radius, angle) in enumerate(places):
    color = palette.shade(pen.color, 0.35 if k % 2 else 0.0)
    pen.piece(
      star(x, y, radius, angle=angle), color=color, shade=(2, -2), width=1.4
    )


def _speech_bubble(pen: Pen) -> None:
  x, y = BUBBLE_TEXT[0]
  left, right, top, bottom = x - 41, x + 41, y - 29, y + 29
  outline = canvas.spline(
    [
      (left + 18, top),
      (x, top - 1),
      (right - 18, top),
      (right, y),
      (right - 18, bottom),
      (x, bottom + 1),
      (left + 34, bottom),
      (left + 10, bottom + 22),
      (left + 18, bottom - 0.6),
      (left, y),
    ],
    closed=True,
    corners=[6, 7, 8],
    roundness=1.15,
  )
  pen.piece(outline, shade=(0, -3.5), line=palette.outline("#8a7f8c"))


def bubble_symbol(pen: Pen) -> None:
  """Puts a heart where the bubble's text would be."""
  x, y = BUBBLE_TEXT[0]
  pen.piece(heart(x, y, BUBBLE_TEXT[1][1]), color="#ee5f83", shade=(3, -3))
  pen.fill(canvas.ellipse(x - 9, y - 8, 4, 2.6, -40), color="#ffffff")


def clean_text(text: str) -> str:
  """Makes one line of printable characters of what a user typed.

  Args:
    text: anything; markup is not interpreted, but shown as it is.

  Returns:
    The text with runs of white space made single spaces.

  Raises:
    ValueError: if nothing is left, it is longer than `MAX_TEXT`, or the font
      lacks a character.
  """
  shown = "".join(c if c.isprintable() else " " for c in text)
  shown = " ".join(shown.split())
  if not 1 <= len(shown) <= MAX_TEXT:
    raise ValueError(
      f"the bubble's text must have 1 to {MAX_TEXT} characters; got "
      f"{len(shown)}"
    )
  missing = [c for c in dict.fromkeys(shown) if not _has(c)]
  if missing:
    raise ValueError(
      f"the font cannot draw {' '.join(map(repr, missing))}; name a font file "
      f"that can in the environment variable {FONT_VARIABLE}"
    )
  return shown


def write_text(
  image: UInt8[np.ndarray, "size size 4"],
  text: str,
  view: tuple[Number, Number, Number],
  *,
  mirrored: bool,
) -> UInt8[np.ndarray, "size size 4"]:
  """Writes text into the bubble, as large as fits on up to four lines.

  Pillow draws the glyphs, so that no markup of any kind is read from the text.
  The font is the one that Pillow carries (Aileron, ASCII only) or the file
  named by `CHIBIJAX_FONT`.

  Args:
    image: the drawn bubble.
    text: as `clean_text` returns it.
    view: of the bubble's design.
    mirrored: whether the bubble was drawn mirrored.
  """
  (x, y), (rx, ry) = BUBBLE_TEXT
  scale = image.shape[0] / view[2]
  left = -(view[0] + view[2]) if mirrored else view[0]
  centre = ((-x if mirrored else x) - left) * scale, (y - view[1]) * scale
  lines, size = _layout(text, 2 * rx * scale, 2 * ry * scale)
  picture = Image.fromarray(image)
  ImageDraw.Draw(picture).multiline_text(
    centre,
    "\n".join(lines),
    fill=(*_INK, 255),
    font=_font(size, os.environ.get(FONT_VARIABLE)),
    anchor="mm",
    align="center",
    spacing=0.15 * size,
    stroke_width=size / 40,
  )
  return np.asarray(picture)


def _layout(
  text: str, width: Number, height: Number
) -> tuple[list[str], float]:
  """Breaks text into the number of lines that lets it be largest."""
  path = os.environ.get(FONT_VARIABLE)
  best: tuple[list[str], float] = ([text], 0.0)
  for count in range(1, 5):
    lines = _wrap(text, count)
    widest = max(_font(100.0, path).getlength(line) for line in lines)
    size = min(100 * width / widest, height / (1.2 * len(lines)))
    size = min(size, 0.62 * height)
    if size > best[1]:
      best = lines, size
  return best


def _wrap(text: str, count: int) -> list[str]:
  """Breaks text into about `count` lines, at spaces where there are any."""
  limit = max(-(-len(text) // count), 1)
  lines: list[str] = []
  for word in text.split(" "):
    if lines and len(lines[-1]) + 1 + len(word) <= limit + 1:
      lines[-1] += " " + word
    else:
      lines.append(word)
  wrapped = []
  for line in lines:
    # A word that is longer than a line may be is cut.
    step = max(limit + 2, 6) if len(lines) < count else len(line)
    wrapped += [line[k : k + step] for k in range(0, len(line), step)]
  return wrapped


@functools.lru_cache(maxsize=32)
def _font(size: Number, path: str | None) -> ImageFont.FreeTypeFont:
  if path:
    if not pathlib.Path(path).is_file():
      raise ValueError(f"{FONT_VARIABLE} must name a font file; got {path!r}")
    return ImageFont.truetype(path, size)
  return ImageFont.load_default(size)


def _has(character: str) -> bool:
  """Whether the font has a glyph: it differs from the box for "missing"."""
  font = _font(40.0, os.environ.get(FONT_VARIABLE))
  missing, drawn = (font.getmask(c) for c in ("\uffff", character))
  return missing.size != drawn.size or bytes(missing) != bytes(drawn)


_FLOAT = ("above", "behind_head")
AROUND: dict[str, Design] = {
  "hearts": Design(_hearts, *_FLOAT, (-90, -148, 180), "#ee5f83"),
  "sparkles": Design(_sparkles, *_FLOAT, (-94, -148, 188), "#f9d65c"),
  "stars": Design(_stars, *_FLOAT, (-90, -148, 180), "#f7c948"),
  "speech_bubble": Design(
    _speech_bubble,
    "beside",
    "over_hair",
    (48, -116, 112),
    "#fffdfa",
    sided=True,
  ),
}
