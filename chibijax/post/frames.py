"""Frames and crops of a finished avatar.

"circle", "rounded", "heart", "ring", "badge" and "stamp" cut the picture out:
what is outside becomes transparent, so that they return RGBA. "border",
"polaroid" and "film" keep the alpha there was inside, and are opaque around
it. The size of the picture never changes: frames with a mount show it smaller,
cropped in the middle where its shape differs.

Shapes are signed distances in pixels, negative inside; coverage is their
clipped value, which antialiases every edge over one pixel.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Float32
from PIL import Image

from chibijax.artist import palette
from chibijax.artist.canvas import Number, Scene
from chibijax.artist.sticker_pen import heart
from chibijax.artist.stickers import named_color
from chibijax.errors import UserError

Picture: TypeAlias = Float[np.ndarray, "h w c"] | Float[jax.Array, "h w c"]
Plane: TypeAlias = Float32[np.ndarray, "h w"]
Rgba: TypeAlias = Float32[np.ndarray, "h w 4"]

_PASTELS = ("pink", "sky", "mint", "lavender", "yellow", "coral", "teal")
_PAPER = "#fdfbf7"


def frame(
  image: Picture, kind: str, *, color: str | None = None, seed: int = 0
) -> Float32[np.ndarray, "h w c2"]:
  """Puts a frame around a picture, or cuts it out.

  Args:
    image: [H, W, 3] or, with straight alpha, [H, W, 4], sRGB in [0, 1].
    kind: one of `KINDS`; a colour may follow after a colon: "ring:sky".
    color: `#rrggbb` or a name of the artist's palettes; None takes paper for
      what is made of paper and else lets the seed choose.
    seed: chooses a colour.

  Returns:
    A picture of the same height and width; RGBA where the kind cuts it out or
    the picture was RGBA, else RGB.

  Raises:
    UserError: if kind or colour is unknown.
    ValueError: if the picture has another number of channels, or a side of
      less than 16 pixels.
  """
  kind, _, given = kind.partition(":")
  if kind not in _FRAMES:
    raise UserError(f"a frame must be one of {', '.join(KINDS)}; got {kind!r}")
  picture = np.array(image, np.float32)
  height, width, channels = picture.shape
  if channels not in (3, 4) or min(height, width) < 16:
    raise ValueError(
      f"image must be at least 16 x 16 with 3 or 4 channels; "
      f"got {picture.shape}"
    )
  chosen = color or given or None
  if chosen is None and kind in ("polaroid", "stamp"):
    chosen = _PAPER
  elif chosen is None and kind == "film":
    chosen = "#2b2b33"
  elif chosen is None:
    rng = np.random.default_rng([seed, 13])
    chosen = _PASTELS[int(rng.integers(len(_PASTELS)))]
  layers = _layers(kind, height, width, named_color(chosen))
  if channels == 3:
    solid = np.ones((height, width, 1), np.float32)
    picture = np.concatenate([picture, solid], -1)
  result = _assemble(picture, layers)
  return result if channels == 4 or kind in CUTS else result[..., :3]


class Layers(NamedTuple):
  """What a frame consists of; colours are multiplied by their alpha.

  Attributes:
    window: left, top, right, bottom of where the picture goes; None is all.
    cut: how much of each pixel of the picture is kept; None is all.
    back, front: what lies behind and before the picture; None is nothing.
    trim: alpha of the whole; None is as it comes.
  """

  window: tuple[int, int, int, int] | None = None
  cut: Plane | None = None
  back: Rgba | None = None
  front: Rgba | None = None
  trim: Plane | None = None


@functools.lru_cache(maxsize=8)
def _layers(kind: str, height: int, width: int, color: str) -> Layers:
  """Draws a frame; batches of pictures of one size draw it once."""
  x, y = _grid(height, width)
  layers = _FRAMES[kind](x, y, color)
  for layer in layers:
    if isinstance(layer, np.ndarray):
      layer.setflags(write=False)
  return layers


def _assemble(picture: Rgba, layers: Layers) -> Rgba:
  """Puts the picture between the layers of its frame."""
  window, cut, back, front, trim = layers
  if back is None and front is None:
    if cut is not None:
      picture[..., 3] *= cut
    return picture
  if (picture[..., 3] < 1).any():
    picture[..., :3] *= picture[..., 3:]
  if window is not None:
    left, top, right, bottom = window
    small = _fill_window(picture, bottom - top, right - left)
    picture = np.zeros_like(picture)
    picture[top:bottom, left:right] = small
  if cut is not None:
    picture *= cut[..., None]
  if back is not None:
    picture += back * (1 - picture[..., 3:])
  if front is not None:
    picture = front + picture * (1 - front[..., 3:])
  alpha = picture[..., 3:]
  if (alpha < 1).any():
    picture[..., :3] /= np.maximum(alpha, 1e-6)
  if trim is not None:
    picture[..., 3] *= trim
  return np.clip(picture, 0, 1, out=picture)


def _circle(x: Plane, y: Plane, color: str) -> Layers:
  del color
  return Layers(cut=_cover(np.hypot(x, y) - _side(x) / 2))


def _rounded(x: Plane, y: Plane, color: str) -> Layers:
  del color
  height, width = x.shape
  corner = 0.16 * _side(x)
  return Layers(cut=_cover(_round_box(x, y, width / 2, height / 2, corner)))


def _heart(x: Plane, y: Plane, color: str) -> Layers:
  del color, y
  height, width = x.shape
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  scene = Scene()
  scene.draw(heart(500, 493, 484), fill="#000000")
  cover = np.zeros((height, width), np.float32)
  inside = scene.render(side)[..., 3].astype(np.float32) / 255
  cover[top : top + side, left : left + side] = inside
  return Layers(cut=cover)


def _ring(x: Plane, y: Plane, color: str) -> Layers:
  """A disc with a coloured ring around it, and a thin gap between them."""
  side = _side(x)
  distance = np.hypot(x, y) - side / 2
  wide, gap = 0.045 * side, 0.018 * side
  back = _clear(x)
  _paint(back, color, _cover(distance) - _cover(distance + wide))
  return Layers(cut=_cover(distance + wide + gap), back=back)


def _badge(x: Plane, y: Plane, color: str) -> Layers:
  """A rosette with a stitched rim, and the picture in its middle."""
  half = _side(x) / 2
  radius, angle = np.hypot(x, y), np.arctan2(y, x)
  edge = radius - half - 0.026 * half * (np.cos(16 * angle) - 1)
  line = max(0.012 * half, 0.8)
  dark, light = palette.outline(color), palette.shade(color, 0.6)
  inner = radius - 0.84 * half
  stitches = _cover(np.abs(radius - 0.893 * half) - 0.008 * half)
  back = _clear(x)
  _paint(back, dark, _cover(edge))
  _paint(back, color, _cover(edge + line))
  _paint(back, light, stitches * (np.cos(48 * angle) > -0.3))
  _paint(back, dark, _cover(inner - line))
  # What is transparent in the picture shows a pale disc.
  _paint(back, light, _cover(inner))
  return Layers(cut=_cover(inner), back=back)


def _border(x: Plane, y: Plane, color: str) -> Layers:
  """A coloured border with round inner corners, over the picture."""
  height, width = x.shape
  side = _side(x)
  wide, line = 0.045 * side, max(0.006 * side, 0.8)
  inner = _round_box(x, y, width / 2 - wide, height / 2 - wide, 0.06 * side)
  front = _clear(x)
  _paint(front, palette.outline(color), 1 - _cover(inner))
  _paint(front, color, 1 - _cover(inner - line))
  return Layers(front=front)


def _polaroid(x: Plane, y: Plane, color: str) -> Layers:
  """An instant photo: paper, wider below, around a smaller picture."""
  height, width = x.shape
  side = _side(x)
  gap = round(0.06 * side)
  window = gap, gap, width - gap, height - round(0.2 * side)
  return Layers(window, front=_mount(x, y, color, window, 0.012 * side))


def _film(x: Plane, y: Plane, color: str) -> Layers:
  """A film strip: bars with holes above and below."""
  height, width = x.shape
  side = _side(x)
  bar, edge = round(0.12 * side), round(0.02 * side)
  window = edge, bar, width - edge, height - bar
  front = _mount(x, y, color, window, 0.015 * side)
  step = width / max(round(width / (0.125 * side)), 2)
  across = (x + width / 2) % step - step / 2
  down = np.abs(y) - (height - bar) / 2
  hole = _round_box(across, down, 0.3 * step, 0.25 * bar, 0.08 * step)
  _paint(front, "#f4f1ea", _cover(hole))
  return Layers(window, front=front)


def _stamp(x: Plane, y: Plane, color: str) -> Layers:
  """A postage stamp: perforated paper around a smaller picture."""
  height, width = x.shape
  side = _side(x)
  gap = round(0.085 * side)
  window = gap, gap, width - gap, height - gap
  bites = []
  for near, length, other, along in (
    (y, height, x, width),
    (x, width, y, height),
  ):
    step = along / max(round(along / (0.085 * side)), 3)
    # Holes lie in the middle of each step and half outside of the edge.
    offset = (other + along / 2) % step - step / 2
    bites.append(0.3 * step - np.hypot(offset, np.abs(near) - length / 2))
  front = _mount(x, y, color, window, 0.0)
  return Layers(window, front=front, trim=_cover(np.maximum(*bites)))


def _mount(
  x: Plane,
  y: Plane,
  color: str,
  window: tuple[int, int, int, int],
  corner: Number,
) -> Rgba:
  """Paper around a window, with a thin line along its edge."""
  left, top, right, bottom = window
  height, width = x.shape
  distance = _round_box(
    x - ((left + right) - width) / 2,
    y - ((top + bottom) - height) / 2,
    (right - left) / 2,
    (bottom - top) / 2,
    corner,
  )
  paper = _clear(x)
  _paint(paper, color, 1 - _cover(distance))
  line = 0.35 * np.clip(1 - np.abs(distance), 0, 1)
  _paint(paper, palette.outline(color), line)
  return paper


def _fill_window(
  picture: Rgba, height: int, width: int
) -> Float32[np.ndarray, "{height} {width} 4"]:
  """The middle of the picture, resized to fill a window."""
  rows, columns = picture.shape[:2]
  scale = max(height / rows, width / columns)
  tall, wide = height / scale, width / scale
  top, left = (rows - tall) / 2, (columns - wide) / 2
  box = (left, top, min(left + wide, columns), min(top + tall, rows))
  planes = [
    Image.fromarray(np.ascontiguousarray(picture[..., k])).resize(
      (width, height), Image.Resampling.HAMMING, box=box
    )
    for k in range(4)
  ]
  small = np.stack([np.asarray(plane) for plane in planes], -1)
  return np.clip(small, 0, 1)


def _grid(height: int, width: int) -> tuple[Plane, Plane]:
  """Pixel centres (x, y) from the picture's."""
  y = np.arange(height, dtype=np.float32)[:, None] + np.float32(
    0.5 - height / 2
  )
  x = np.arange(width, dtype=np.float32)[None] + np.float32(0.5 - width / 2)
  y, x = np.broadcast_arrays(y, x)
  return x, y


def _side(x: Plane) -> int:
  return min(x.shape)


def _round_box(
  x: Plane, y: Plane, across: Number, down: Number, corner: Number
) -> Plane:
  """Signed distance to a rectangle of these half sides with round corners."""
  dx = np.abs(x) - np.float32(across - corner)
  dy = np.abs(y) - np.float32(down - corner)
  outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
  inside = np.minimum(np.maximum(dx, dy), 0)
  return outside + inside - np.float32(corner)


def _cover(distance: np.ndarray) -> Plane:
  """How much of each pixel lies inside."""
  return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def _clear(x: Plane) -> Rgba:
  return np.zeros((*x.shape, 4), np.float32)


def _paint(layer: Rgba, color: str, cover: np.ndarray) -> None:
  """Paints one colour over a layer (alpha multiplied), in place."""
  opaque = np.array([*(c / 255 for c in palette.rgb(color)), 1], np.float32)
  layer += (opaque - layer) * cover.astype(np.float32)[..., None]


_FRAMES: dict[str, Callable[[Plane, Plane, str], Layers]] = {
  "circle": _circle,
  "rounded": _rounded,
  "heart": _heart,
  "ring": _ring,
  "badge": _badge,
  "border": _border,
  "polaroid": _polaroid,
  "film": _film,
  "stamp": _stamp,
}
KINDS: tuple[str, ...] = tuple(_FRAMES)
# Kinds that make alpha.
CUTS = ("circle", "rounded", "heart", "ring", "badge", "stamp")
